//! What is kept on this host, and how much of it.

use std::path::Path;

use super::{
    flag::{COMPOSE, CommandName, Flag, HOST, WORKING, Werf, joined},
    resolve::{FlagError, Values},
};

/// Commands that keep layers of the native backend, or look after them.
const STORES: &[CommandName] =
    &joined::<{ WORKING.len() + 2 }>(WORKING, &[CommandName::HostUsage, CommandName::HostCleanup]);

pub(crate) const STORE_LIMIT: Flag = Flag::text(
    "allowed-backend-storage-volume-usage",
    "LIMIT",
    "What the layers of the native backend may take: a share of their volume in percent, such as 70 or 70%, or an amount, \
     such as 50GB",
)
.default("70")
.on(STORES);
pub(crate) const STORE_MARGIN: Flag =
    Flag::text("allowed-backend-storage-volume-usage-margin", "LIMIT", "How far below that a cleanup goes")
        .default("5")
        .on(&[CommandName::HostCleanup]);
pub(crate) const DRY_RUN: Flag =
    Flag::switch("dry-run", "Change nothing, and show what would be done").on(&joined::<{ COMPOSE.len() + 5 }>(
        COMPOSE,
        &[CommandName::Export, CommandName::Run, CommandName::HostCleanup, CommandName::Cleanup, CommandName::Purge],
    ));
pub(crate) const HOST_OUTPUT: Flag = Flag::choice("output", &["text", "json"], "Form of what is printed")
    .short('o')
    .default("text")
    .werf(Werf::Absent)
    .on(HOST);

pub(super) const FLAGS: &[Flag] = &[STORE_LIMIT, STORE_MARGIN, DRY_RUN, HOST_OUTPUT];

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
