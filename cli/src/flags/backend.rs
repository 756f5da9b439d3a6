//! What builds containers.

use std::path::PathBuf;

use slipway_native::{Addresses, Compression, driver};

use super::{
    flag::{CommandName, Flag, REGISTRY, WORKING, Werf, joined},
    host::Limit,
    resolve::{FlagError, Values},
};

pub(crate) const BACKEND: Flag = Flag::choice(
    "backend",
    &["auto", "docker", "native", "buildah"],
    "What builds containers; auto: this host itself (native) where it can, else a Docker engine",
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

pub(crate) const ANSIBLE_PATH: Flag = Flag::text(
    "ansible-path",
    "DIR",
    "Virtual environment of Python that has ansible-core, for `ansible` of Stapel images; one is made of PyPI on first use by default",
)
.werf(Werf::Absent)
.on(WORKING);

pub(crate) const COMMAND_MEMORY: Flag = Flag::text(
    "command-memory",
    "AMOUNT",
    "Memory that the commands of one stage may use, such as 2GiB; native backend",
)
.werf(Werf::Absent)
.on(REGISTRY);
pub(crate) const COMMAND_PIDS: Flag =
    Flag::number("command-pids", "N", "Processes and threads that the commands of one stage may be; native backend")
        .werf(Werf::Absent)
        .on(REGISTRY);

pub(crate) const COMPRESSION: Flag = Flag::choice(
    "compression",
    &["gzip", "zstd"],
    "How the native and buildah backends compress layers for a repository; zstd: smaller and faster, Docker reads it from version 23 on",
)
.default("gzip")
.werf(Werf::Absent)
.on(WORKING);

/// Commands that build on this host, or try what it can do.
const NATIVE: &[CommandName] = &joined::<{ REGISTRY.len() + 1 }>(REGISTRY, &[CommandName::HostCheck]);
pub(crate) const RUNTIME: Flag = Flag::text(
    "native-runtime",
    "NAME",
    "What the native backend runs commands by, instead of its own sandbox, and the buildah backend without root: runc, crun, kata, runsc, or the path of one",
)
.werf(Werf::Absent)
.on(NATIVE);
pub(crate) const STORAGE_DRIVER: Flag = Flag::choice(
    "native-storage-driver",
    &driver::NAMES,
    "How layers of the native and buildah backends lie on each other; the first of overlay and fuse-overlayfs that works by default",
)
.werf(Werf::Named("WERF_BUILDAH_STORAGE_DRIVER"))
.on(NATIVE);

pub(crate) const NEAR_ADDRESSES: Flag = Flag::switch(
    "allow-near-addresses",
    "Let ADD of a Dockerfile fetch from this host itself, its link and its cloud's metadata; native backend",
)
.werf(Werf::Absent)
.on(REGISTRY);

pub(super) const FLAGS: &[Flag] = &[
    BACKEND,
    STAPEL_IMAGE_NAME,
    STAPEL_IMAGE_VERSION,
    ANSIBLE_PATH,
    COMPRESSION,
    COMMAND_MEMORY,
    COMMAND_PIDS,
    RUNTIME,
    STORAGE_DRIVER,
    NEAR_ADDRESSES,
];

/// What builds containers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BackendFlags {
    /// `--backend`; `None` = automatic.
    pub(crate) backend: Option<String>,
    /// `--stapel-image-name` and `--stapel-image-version`, joined; `None` = the program's own.
    pub(crate) toolbox: Option<String>,
    /// `--ansible-path`, absolute; `None` = made on first use.
    pub(crate) ansible: Option<PathBuf>,
    /// `--allowed-backend-storage-volume-usage`
    pub(crate) limit: Limit,
    /// `--command-memory`, in bytes.
    pub(crate) memory: Option<u64>,
    /// `--command-pids`
    pub(crate) pids: Option<u64>,
    /// `--compression`
    pub(crate) compression: Compression,
    /// `--native-runtime`
    pub(crate) runtime: Option<String>,
    /// `--native-storage-driver`
    pub(crate) driver: Option<String>,
    /// `--allow-near-addresses`
    pub(crate) addresses: Addresses,
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
        let ansible = match values.text(&ANSIBLE_PATH).map(std::path::absolute) {
            None => None,
            Some(Ok(path)) => Some(path),
            Some(Err(error)) => return Err(FlagError(format!("{}: {error}", values.spelling(&ANSIBLE_PATH)))),
        };
        let backend = values.text(&BACKEND).filter(|backend| backend != "auto");
        let pids = match values.number(&COMMAND_PIDS).map(u64::try_from) {
            None => None,
            Some(Ok(pids @ 1..)) => Some(pids),
            Some(_) => {
                return Err(FlagError(format!("{}: at least one process is needed", values.spelling(&COMMAND_PIDS))));
            }
        };
        let memory = Limit::amount(values, &COMMAND_MEMORY)?;
        let compression = match values.text(&COMPRESSION).as_deref() {
            Some("zstd") => Compression::Zstd,
            Some(_) | None => Compression::Gzip,
        };
        let (runtime, driver) = (values.text(&RUNTIME), values.text(&STORAGE_DRIVER));
        let limit = Limit::from_values(values)?;
        let addresses = if values.switch(&NEAR_ADDRESSES) { Addresses::All } else { Addresses::Far };
        Ok(Self { backend, toolbox, ansible, limit, memory, pids, compression, runtime, driver, addresses })
    }
}
