//! The toolbox: a static bash and a static busybox that build containers see under `/.werf/stapel`, so that a base image
//! may hold anything, even nothing.
//!
//! The program carries both when they were on the machine that built it ([`carried`]); else they are taken from the host
//! that builds images. They are programs of their own under the GPL; `THIRD_PARTY.md` says where their source is.

mod archive;
mod carried;
mod elf;
mod places;
mod source;

pub use archive::{Archive, archive, archive_with};
pub use carried::carried;
pub use places::Places;
pub use source::{REQUIRED, Source, complaint};

/// A static bash and a static busybox.
#[derive(Clone, PartialEq, Eq)]
pub struct Programs {
    /// bash.
    pub bash: Vec<u8>,
    /// busybox.
    pub busybox: Vec<u8>,
}

/// Why there is no toolbox.
#[derive(Debug, thiserror::Error)]
pub enum ToolboxError {
    /// Neither the program nor the host has the programs.
    #[error(
        "stapel stages need a static bash and a static busybox: this build of the program carries none, and this host \
         has none{0}: run `apt-get install bash-static busybox-static`, or name a toolbox image with \
         WERF_STAPEL_IMAGE_NAME and WERF_STAPEL_IMAGE_VERSION"
    )]
    Missing(String),
    /// What the program carries cannot be unpacked, or the archive cannot be written.
    #[error("pack the toolbox: {0}")]
    Pack(std::io::Error),
}
