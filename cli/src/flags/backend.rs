//! What builds containers.

use super::{
    flag::{Flag, REGISTRY, Werf},
    host::Limit,
    resolve::{FlagError, Values},
};

pub(crate) const BACKEND: Flag = Flag::choice(
    "backend",
    &["auto", "docker", "native", "buildah"],
    "What builds containers; auto: a Docker engine if one answers, else this host itself (native)",
)
.default("auto")
.werf(Werf::Absent)
.on(REGISTRY);
pub(crate) const STAPEL_IMAGE_NAME: Flag = Flag::text(
    "stapel-image-name",
    "NAME",
    "Image of the tools that run in build containers; made by this program and loaded on first use by default",
)
.on(REGISTRY);
pub(crate) const STAPEL_IMAGE_VERSION: Flag =
    Flag::text("stapel-image-version", "TAG", "Tag of --stapel-image-name").on(REGISTRY);

pub(super) const FLAGS: &[Flag] = &[BACKEND, STAPEL_IMAGE_NAME, STAPEL_IMAGE_VERSION];

/// What builds containers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BackendFlags {
    /// `--backend`; `None` = automatic.
    pub(crate) backend: Option<String>,
    /// `--stapel-image-name` and `--stapel-image-version`, joined; `None` = the program's own.
    pub(crate) toolbox: Option<String>,
    /// `--allowed-backend-storage-volume-usage`
    pub(crate) limit: Limit,
}

impl BackendFlags {
    /// What the flags and variables say.
    ///
    /// # Errors
    /// When the limit is none.
    pub(crate) fn from_values(values: &Values) -> Result<Self, FlagError> {
        let version = values.text(&STAPEL_IMAGE_VERSION);
        let toolbox = values.text(&STAPEL_IMAGE_NAME).map(|name| match version {
            Some(version) => format!("{name}:{version}"),
            None => name,
        });
        let backend = values.text(&BACKEND).filter(|backend| backend != "auto");
        Ok(Self { backend, toolbox, limit: Limit::from_values(values)? })
    }
}
