//! `OS/ARCH[/VARIANT]`.

use std::{fmt, str::FromStr};

/// A text that is no platform.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no platform; write OS/ARCH or OS/ARCH/VARIANT, such as linux/amd64")]
pub struct PlatformError(String);

/// A target platform.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
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

    /// What the usual entry of binfmt_misc is called that has the kernel run programs of this platform; `None` for architectures
    /// that have none.
    pub fn binfmt(&self) -> Option<&'static str> {
        Some(match self.arch.as_str() {
            "amd64" => "qemu-x86_64",
            "386" => "qemu-i386",
            "arm64" => "qemu-aarch64",
            "arm" => "qemu-arm",
            "riscv64" => "qemu-riscv64",
            "ppc64le" => "qemu-ppc64le",
            "s390x" => "qemu-s390x",
            _ => return None,
        })
    }

    /// Whether who runs programs of this platform runs those of another: the same one, or any variant if this one names none.
    pub fn covers(&self, other: &Self) -> bool {
        self.os == other.os && self.arch == other.arch && (self.variant.is_none() || self.variant == other.variant)
    }

    /// The platform that a document spells in parts; `None` when it leaves the system or the architecture open.
    pub fn from_parts(os: &str, arch: &str, variant: Option<&str>) -> Option<Self> {
        if os.is_empty() || arch.is_empty() {
            return None;
        }
        let variant = variant.filter(|variant| !variant.is_empty()).map(str::to_ascii_lowercase);
        Some(Self { os: os.to_ascii_lowercase(), arch: arch.to_ascii_lowercase(), variant })
    }

    /// The variants of an image that run here, best first; `None` stands for an image that names none.
    ///
    /// An architecture's plain name means its usual variant (`arm64` = `v8`, `arm` = `v7`, `amd64` = `v1`), and a
    /// newer variant runs what an older one does.
    pub fn variants(&self) -> Vec<Option<String>> {
        let own = self.variant.as_deref();
        let down = |newest: &str, all: &[&str], plain: &str| {
            let from = all.iter().position(|one| *one == newest)?;
            let below = all[from..].iter().flat_map(|one| {
                let unnamed = (*one == plain).then_some(None);
                std::iter::once(Some((*one).to_owned())).chain(unnamed)
            });
            Some(below.collect::<Vec<_>>())
        };
        let ranked = match self.arch.as_str() {
            "amd64" => down(own.unwrap_or("v1"), &["v4", "v3", "v2", "v1"], "v1"),
            "arm64" => down(own.unwrap_or("v8"), &["v8"], "v8"),
            "arm" => down(own.unwrap_or("v7"), &["v8", "v7", "v6", "v5"], "v7"),
            _ => None,
        };
        let mut variants = vec![self.variant.clone()];
        for variant in ranked.unwrap_or_default() {
            if !variants.contains(&variant) {
                variants.push(variant);
            }
        }
        variants
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.arch)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl TryFrom<String> for Platform {
    type Error = PlatformError;

    fn try_from(text: String) -> Result<Self, PlatformError> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
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
