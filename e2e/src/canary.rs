//! A secret that must be found nowhere, in none of the forms that it is commonly given.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};

use crate::engine;

/// A value that nothing else holds, with characters that change their look in addresses and quotes.
pub struct Canary {
    /// The value: two lines.
    pub value: String,
    forms: Vec<String>,
}

impl Canary {
    /// A new one.
    pub fn new() -> Self {
        let (one, other) = (slipway_process::random_id(), slipway_process::random_id());
        let lines = [format!("canary/{one}+x y"), format!("second-{other}")];
        let mut forms: Vec<String> = lines.to_vec();
        // The parts that look alike in most forms.
        forms.extend([one, other]);
        // Base64 at the three places where the bytes of a random part can begin; the ends depend on what is around.
        for part in &forms.clone() {
            for before in 0..3 {
                let text = [&b"xx"[..before], part.as_bytes()].concat();
                let encoded = base64(&text);
                forms.push(encoded[4..encoded.len() - 4].to_owned());
            }
        }
        Self { value: lines.join("\n"), forms }
    }

    /// A text of which no line may be found, such as a private key.
    pub fn of(value: &str) -> Self {
        let forms = value.lines().filter(|line| line.len() >= 40 && !line.starts_with('-')).map(str::to_owned);
        Self { value: value.to_owned(), forms: forms.collect() }
    }

    /// Fails when it is in a text.
    ///
    /// # Errors
    /// Says in which, and in which form.
    pub fn is_not_in(&self, what: &str, text: &[u8]) -> Result<()> {
        for form in &self.forms {
            let found = text.windows(form.len()).position(|window| window == form.as_bytes());
            let around = found.map(|at| String::from_utf8_lossy(&text[at.saturating_sub(80)..at + form.len()]));
            ensure!(found.is_none(), "{what} holds the canary as `{form}`: {around:?}");
        }
        Ok(())
    }

    /// Fails when it is in a file below a directory, or in the name of one.
    ///
    /// # Errors
    /// Says in which.
    pub fn is_not_below(&self, directory: &Path) -> Result<()> {
        for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            self.is_not_in("a name", path.as_os_str().as_encoded_bytes())?;
            if kind.is_dir() {
                self.is_not_below(&path)?;
            } else if kind.is_file() {
                self.is_not_in(&path.display().to_string(), &fs::read(&path)?)?;
            }
        }
        Ok(())
    }

    /// Fails when it is in an image of the engine: in a layer, the config with its history and labels, or a name.
    ///
    /// # Errors
    /// Says where.
    pub fn is_not_in_image(&self, image: &str) -> Result<()> {
        let home = tempfile::tempdir()?;
        let archive = home.path().join("image.tar");
        let path = archive.to_str().context("a UTF-8 path")?;
        engine::run(&["pull", "--quiet", image]).or_else(|_| engine::run(&["image", "inspect", image]))?;
        engine::run(&["save", "--output", path, image])?;
        self.is_not_in(image, &fs::read(&archive)?)?;
        self.is_not_in("its history", engine::run(&["history", "--no-trunc", image])?.as_bytes())
    }
}

impl Default for Canary {
    fn default() -> Self {
        Self::new()
    }
}

fn base64(text: &[u8]) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for three in text.chunks(3) {
        let number =
            three.iter().fold(0_u32, |number, byte| (number << 8) | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..=three.len() {
            let digit = (number >> (18 - 6 * at)) & 63;
            encoded.push(char::from(digits[digit as usize]));
        }
    }
    encoded
}
