//! How layers lie on each other: overlays of the kernel, of fuse-overlayfs, or copies.

use std::{fmt, path::PathBuf};

/// Names of all drivers.
pub const NAMES: [&str; 3] = ["overlay", "fuse-overlayfs", "vfs"];

/// How layers lie on each other.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Driver {
    /// The kernel's overlay.
    #[default]
    Overlay,
    /// The program fuse-overlayfs, which the path leads to.
    FuseOverlayfs(PathBuf),
    /// Copies: on every file system, and slow.
    Vfs,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overlay => "overlay",
            Self::FuseOverlayfs(_) => "fuse-overlayfs",
            Self::Vfs => "vfs",
        })
    }
}
