//! `OS/ARCH[/VARIANT]`.

use std::{fmt, str::FromStr};

/// A text that is no platform.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no platform; write OS/ARCH or OS/ARCH/VARIANT, such as linux/amd64")]
pub struct PlatformError(String);

/// A target platform.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Platform {
    /// Operating system, as Go names it (`linux`).
    pub os: String,
    /// Architecture, as Go names it (`amd64`, `arm64`).
    pub arch: String,
    /// Variant of the architecture (`v7`).
    pub variant: Option<String>,
}

impl Platform {
    /// `linux` on the architecture this program was compiled for.
    pub fn host() -> Self {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            other => other,
        };
        Self { os: "linux".to_owned(), arch: arch.to_owned(), variant: None }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.arch)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let refuse = || PlatformError(text.chars().take(100).collect());
        let word = |part: &str| {
            let plain = !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
            plain.then(|| part.to_ascii_lowercase())
        };
        let parts: Vec<&str> = text.split('/').collect();
        let (os, arch, variant) = match parts.as_slice() {
            [os, arch] => (os, arch, None),
            [os, arch, variant] => (os, arch, Some(word(variant).ok_or_else(refuse)?)),
            _ => return Err(refuse()),
        };
        Ok(Self { os: word(os).ok_or_else(refuse)?, arch: word(arch).ok_or_else(refuse)?, variant })
    }
}
