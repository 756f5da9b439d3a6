//! For which platforms the images of a build are built.

use slipway_config::{Config, Image};
use slipway_oci::Platform;

/// What was said of platforms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Platforms {
    /// Those that the user wants for all images, whatever their configuration says.
    pub forced: Vec<Platform>,
    /// What an image is built for of which nothing is said.
    pub otherwise: Platform,
}

impl Platforms {
    /// The platforms of an image, each once: those that are forced, else its own, else those of the project, else the one
    /// that is left.
    pub fn of(&self, config: &Config, image: &Image) -> Vec<Platform> {
        let said = [&self.forced, &image.platforms, &config.platforms].into_iter().find(|said| !said.is_empty());
        let mut platforms: Vec<Platform> = Vec::new();
        for platform in said.into_iter().flatten() {
            if !platforms.contains(platform) {
                platforms.push(platform.clone());
            }
        }
        if platforms.is_empty() {
            platforms.push(self.otherwise.clone());
        }
        platforms
    }
}
