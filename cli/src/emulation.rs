//! Whether this host runs the commands of images for other platforms.

use std::path::Path;

use anyhow::anyhow;
use slipway_backend::emulation;
use slipway_config::{Image, ImageKind, ImageName};
use slipway_git::GitView as _;
use slipway_oci::Platform;
use slipway_stages::{Graph, Target};

use crate::{failure::Failure, project::Project};

/// The platforms whose programs a build runs, each with the first image that does. Blocks.
pub(crate) fn commands(project: &Project, graph: &Graph) -> Vec<(ImageName, Platform)> {
    let first = |platform: &Platform| {
        let mut targets = graph.targets().iter().enumerate();
        let runs = |(number, target): &(usize, &Target)| {
            target.platform.as_ref() == Some(platform) && runs_commands(project, graph.image(*number))
        };
        let (number, _) = targets.find(runs)?;
        Some((graph.image(number).name().clone(), platform.clone()))
    };
    graph.platforms().into_iter().filter_map(first).collect()
}

/// Stops a build that would run commands of a platform whose programs this host cannot run. Blocks. `room` is where
/// programs may be tried. What cannot be found out stops nothing.
///
/// # Errors
/// Names the first such image, and what is missing.
pub(crate) fn check(commands: &[(ImageName, Platform)], room: &Path) -> Result<(), Failure> {
    let host = Platform::host();
    for (image, platform) in commands.iter().filter(|(_, platform)| !host.covers(platform)) {
        if let Some(binfmt) = emulation::missing(platform, room) {
            return Err(anyhow!(
                "image {image} for {platform} runs commands, and this host cannot run programs of {platform}: register \
                 an interpreter as {binfmt} in binfmt_misc (Debian's package qemu-user-static does), or build on a \
                 cluster that has workers for {platform}; --require-built-images takes what is built already"
            )
            .into());
        }
    }
    Ok(())
}

/// Whether building an image runs programs that are in it.
fn runs_commands(project: &Project, image: &Image) -> bool {
    let dockerfile = match &image.kind {
        ImageKind::Stapel(stapel) => return !stapel.shell.stages.is_empty() || stapel.ansible.is_some(),
        ImageKind::Dockerfile(dockerfile) => dockerfile,
    };
    let path = project.prefix.join(dockerfile.dockerfile.as_bytes());
    // What is wrong with it is for the build to say.
    let Ok(Some(bytes)) = project.repository.read(project.commit, &path) else { return false };
    slipway_dockerfile::runs_on_target(&String::from_utf8_lossy(&bytes))
}
