//! What is kept on this host, and how much of it.

use std::path::{Path, PathBuf};

use super::{
    flag::{COMPOSE, CommandName, Flag, HOST, WORKING, Werf, joined},
    resolve::{FlagError, Values},
};

/// Commands that keep things that are cleaned, and the one that does nothing else.
const CLEANED: &[CommandName] = &joined::<{ WORKING.len() + 1 }>(WORKING, &[CommandName::HostCleanup]);
/// The same, and the one that shows what is kept.
const STORES: &[CommandName] = &joined::<{ CLEANED.len() + 1 }>(CLEANED, &[CommandName::HostUsage]);
/// Commands that delete on this host.
const DELETING: &[CommandName] = &[CommandName::HostCleanup, CommandName::HostPurge];

pub(crate) const STORE_LIMIT: Flag = Flag::text(
    "allowed-backend-storage-volume-usage",
    "LIMIT",
    "How full the volume of the native backend's layers and of Buildah's images may be, in percent, such as 70 or 70%, or what \
     they may take, such as 50GB; more is cleaned",
)
.default("70")
.on(STORES);
pub(crate) const STORE_MARGIN: Flag =
    Flag::text("allowed-backend-storage-volume-usage-margin", "LIMIT", "How far below that a cleanup goes")
        .default("5")
        .on(CLEANED);
pub(crate) const DOCKER_LIMIT: Flag = Flag::text(
    "allowed-docker-storage-volume-usage",
    "LIMIT",
    "The same for the images of a Docker engine; as --allowed-backend-storage-volume-usage by default",
)
.on(CLEANED);
pub(crate) const DOCKER_MARGIN: Flag =
    Flag::text("allowed-docker-storage-volume-usage-margin", "LIMIT", "How far below that a cleanup goes").on(CLEANED);
pub(crate) const CACHE_LIMIT: Flag = Flag::text(
    "allowed-local-cache-volume-usage",
    "LIMIT",
    "The same for copies of git repositories and blobs of registries in the home directory",
)
.default("70")
.on(CLEANED);
pub(crate) const CACHE_MARGIN: Flag =
    Flag::text("allowed-local-cache-volume-usage-margin", "LIMIT", "How far below that a cleanup goes")
        .default("5")
        .on(CLEANED);
pub(crate) const BACKEND_PATH: Flag = Flag::text(
    "backend-storage-path",
    "DIR",
    "Where the Docker engine keeps images, to see how full that volume is; as the engine says by default",
)
.on(CLEANED);
pub(crate) const DOCKER_PATH: Flag =
    Flag::text("docker-server-storage-path", "DIR", "The same, when that is not given").on(CLEANED);
pub(crate) const DISABLE_AUTO: Flag = Flag::switch(
    "disable-auto-host-cleanup",
    "Do not look after a build whether volumes are too full, and clean this host in the background when they are",
)
.on(WORKING);
pub(crate) const FORCE: Flag = Flag::switch(
    "force",
    "host cleanup: also remove images that containers use, with those containers; host purge: do it, for it asks nobody",
)
.on(DELETING);
pub(crate) const DRY_RUN: Flag =
    Flag::switch("dry-run", "Change nothing, and show what would be done").on(&joined::<{ COMPOSE.len() + 6 }>(
        COMPOSE,
        &[
            CommandName::Export,
            CommandName::Run,
            CommandName::HostCleanup,
            CommandName::HostPurge,
            CommandName::Cleanup,
            CommandName::Purge,
        ],
    ));
pub(crate) const HOST_OUTPUT: Flag = Flag::choice("output", &["text", "json"], "Form of what is printed")
    .short('o')
    .default("text")
    .werf(Werf::Absent)
    .on(HOST);

pub(super) const FLAGS: &[Flag] = &[
    STORE_LIMIT,
    STORE_MARGIN,
    DOCKER_LIMIT,
    DOCKER_MARGIN,
    CACHE_LIMIT,
    CACHE_MARGIN,
    BACKEND_PATH,
    DOCKER_PATH,
    DISABLE_AUTO,
    FORCE,
    DRY_RUN,
    HOST_OUTPUT,
];

/// Where the Docker engine keeps images, when the user says so.
pub(crate) fn storage_path(values: &Values) -> Option<PathBuf> {
    values.text(&BACKEND_PATH).or_else(|| values.text(&DOCKER_PATH)).map(PathBuf::from)
}

/// How full volumes may be, and how far below that a cleanup goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    /// That of the native backend's layers and Buildah's images.
    pub(crate) backend: (Limit, Limit),
    /// That of a Docker engine.
    pub(crate) docker: (Limit, Limit),
    /// That of the home directory.
    pub(crate) cache: (Limit, Limit),
    /// The flags that say all this, to be given to another process.
    pub(crate) arguments: Vec<String>,
}

impl Limits {
    /// What the flags say.
    ///
    /// # Errors
    /// When one of them says no amount.
    pub(crate) fn from_values(values: &Values) -> Result<Self, FlagError> {
        let backend = (Limit::from_values(values)?, Limit::margin(values)?);
        let docker = (Limit::of(values, &DOCKER_LIMIT, backend.0)?, Limit::of(values, &DOCKER_MARGIN, backend.1)?);
        let (seventy, five) = (Limit::Share(70), Limit::Share(5));
        let cache = (Limit::of(values, &CACHE_LIMIT, seventy)?, Limit::of(values, &CACHE_MARGIN, five)?);
        let given = [
            STORE_LIMIT,
            STORE_MARGIN,
            DOCKER_LIMIT,
            DOCKER_MARGIN,
            CACHE_LIMIT,
            CACHE_MARGIN,
            BACKEND_PATH,
            DOCKER_PATH,
        ];
        let given = given.iter().filter_map(|flag| Some(format!("--{}={}", flag.name, values.text(flag)?)));
        Ok(Self { backend, docker, cache, arguments: given.collect() })
    }
}

/// An amount of disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Limit {
    /// Percent of a volume.
    Share(u64),
    /// Bytes.
    Bytes(u64),
}

impl Limit {
    /// What `--allowed-backend-storage-volume-usage` says.
    ///
    /// # Errors
    /// When that is no amount.
    pub(crate) fn from_values(values: &Values) -> Result<Self, FlagError> {
        Self::of(values, &STORE_LIMIT, Self::Share(70))
    }

    /// What `--allowed-backend-storage-volume-usage-margin` says.
    ///
    /// # Errors
    /// When that is no amount.
    pub(crate) fn margin(values: &Values) -> Result<Self, FlagError> {
        Self::of(values, &STORE_MARGIN, Self::Share(5))
    }

    fn of(values: &Values, flag: &Flag, default: Self) -> Result<Self, FlagError> {
        let Some(text) = values.text(flag) else { return Ok(default) };
        let spelled = values.spelling(flag);
        let refuse =
            || FlagError(format!("{spelled}: `{text}` is neither a percentage such as 70 nor an amount such as 50GB"));
        Self::parse(text.trim()).ok_or_else(refuse)
    }

    /// An amount that a flag says, not a share; `None` when it says nothing.
    ///
    /// # Errors
    /// When that is no amount.
    pub(crate) fn amount(values: &Values, flag: &Flag) -> Result<Option<u64>, FlagError> {
        let Some(text) = values.text(flag) else { return Ok(None) };
        match Self::parse(text.trim()) {
            Some(Self::Bytes(bytes)) if bytes > 0 => Ok(Some(bytes)),
            _ => Err(FlagError(format!("{}: `{text}` is no amount such as 2GiB", values.spelling(flag)))),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Ok(percent) = text.strip_suffix('%').unwrap_or(text).trim_end().parse::<u64>() {
            return (percent <= 100).then_some(Self::Share(percent));
        }
        let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim_start().to_ascii_lowercase();
        let factor = match unit.as_str() {
            "b" => 1,
            "k" | "kb" => 1_000,
            "m" | "mb" => 1_000_000,
            "g" | "gb" => 1_000_000_000,
            "t" | "tb" => 1_000_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            "tib" => 1 << 40,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(factor).map(Self::Bytes)
    }

    /// As bytes, for something that lies in `home`.
    pub(crate) fn bytes(self, home: &Path) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Share(percent) => slipway_layers::store::share_of_volume(home, percent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_shares_or_amounts() {
        for (text, limit) in [
            ("70", Limit::Share(70)),
            ("0", Limit::Share(0)),
            ("100 %", Limit::Share(100)),
            ("50GB", Limit::Bytes(50_000_000_000)),
            ("3 MiB", Limit::Bytes(3 << 20)),
            ("9b", Limit::Bytes(9)),
        ] {
            assert_eq!(Limit::parse(text), Some(limit), "{text}");
        }
        for text in ["", "101", "-1", "GB", "1.5GB", "5 parsecs", "99999999999TB", "%", "\u{7f}"] {
            assert_eq!(Limit::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_share_is_of_the_volume_that_is_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let below = directory.path().join("not/there/yet");
        let whole = Limit::Share(100).bytes(directory.path());
        assert!(whole > 0);
        assert_eq!(Limit::Share(100).bytes(&below), whole);
        assert_eq!(Limit::Share(0).bytes(&below), 0);
    }
}
