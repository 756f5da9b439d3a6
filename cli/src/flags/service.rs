//! How a worker runs.

use std::{net::SocketAddr, time::Duration};

use super::{
    capacity::CapacityFlags,
    flag::{CommandName, Flag, SERVERS, Werf},
    resolve::{FlagError, Values},
};

/// Most jobs that a worker runs at once.
const MOST_SLOTS: i64 = 1024;
/// Longest time that can be given, in seconds: a year.
const LONGEST: i64 = 365 * 24 * 3600;

const WORKER: &[CommandName] = &[CommandName::Worker];

pub(crate) const NAME: Flag =
    Flag::text("name", "NAME", "Name of the worker, unlike that of any other; the name of this host by default")
        .werf(Werf::Absent)
        .on(WORKER);
pub(crate) const DATA_DIR: Flag = Flag::text(
    "data-dir",
    "DIR",
    "Directory for everything kept between runs, of this process alone; below or as --home-dir of a build by default",
)
.werf(Werf::Absent)
.on(SERVERS);
pub(crate) const SLOTS: Flag =
    Flag::number("slots", "N", "How many jobs run at once; as many as there are CPUs by default")
        .werf(Werf::Absent)
        .on(WORKER);
pub(crate) const HOLD: Flag = Flag::number(
    "hold",
    "SECONDS",
    "How long what runs goes on when no coordinator is heard; 0: as the coordinator says",
)
.default("600")
.werf(Werf::Absent)
.on(WORKER);
pub(crate) const DRAIN_LIMIT: Flag =
    Flag::number("drain-limit", "SECONDS", "How long what runs may go on after a first interrupt")
        .default("600")
        .werf(Werf::Absent)
        .on(WORKER);
pub(crate) const HEALTH_LISTEN: Flag =
    Flag::text("health-listen", "HOST:PORT", "Address on which /livez and /metrics are answered; none by default")
        .werf(Werf::Absent)
        .on(WORKER);

pub(super) const FLAGS: &[Flag] = &[NAME, DATA_DIR, SLOTS, HOLD, DRAIN_LIMIT, HEALTH_LISTEN];

/// How a worker runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WorkerFlags {
    /// `--name`; `None` = the host's.
    pub(crate) name: Option<String>,
    /// `--data-dir`
    pub(crate) data_dir: Option<String>,
    /// `--slots`; `None` = as many as there are CPUs.
    pub(crate) slots: Option<u16>,
    /// `--hold`; zero = as the coordinator says.
    pub(crate) hold: Duration,
    /// `--drain-limit`
    pub(crate) drain_limit: Duration,
    /// `--health-listen`
    pub(crate) health: Option<SocketAddr>,
    /// `--cpu`, `--memory`, `--label`
    pub(crate) capacity: CapacityFlags,
}

impl WorkerFlags {
    /// What the flags and variables say.
    ///
    /// # Errors
    /// When a value is out of its range, or a name or address is malformed.
    pub(crate) fn from_values(values: &Values) -> Result<Self, FlagError> {
        let health = values.text(&HEALTH_LISTEN).map(|text| {
            let refuse = |_| FlagError(format!("--health-listen: `{text}` is no address; write 127.0.0.1:9090"));
            text.parse().map_err(refuse)
        });
        Ok(Self {
            name: values.text(&NAME).map(|name| checked_name(&name)).transpose()?,
            data_dir: values.text(&DATA_DIR),
            slots: number(values, &SLOTS, 1..=MOST_SLOTS)?.and_then(|slots| u16::try_from(slots).ok()),
            hold: seconds(values, &HOLD, 0)?,
            drain_limit: seconds(values, &DRAIN_LIMIT, 0)?,
            health: health.transpose()?,
            capacity: CapacityFlags::from_values(values)?,
        })
    }
}

/// A number within its range; `None` = it was not given and has no default.
fn number(values: &Values, flag: &Flag, range: std::ops::RangeInclusive<i64>) -> Result<Option<i64>, FlagError> {
    match values.number(flag) {
        None => Ok(None),
        Some(number) if range.contains(&number) => Ok(Some(number)),
        Some(number) => {
            let (spelled, least, most) = (values.spelling(flag), range.start(), range.end());
            Err(FlagError(format!("{spelled}: {number} is not between {least} and {most}")))
        }
    }
}

/// A time in seconds, of a flag that has a default.
///
/// # Errors
/// When it is shorter than `least`, or longer than a year.
pub(super) fn seconds(values: &Values, flag: &Flag, least: i64) -> Result<Duration, FlagError> {
    let seconds = number(values, flag, least..=LONGEST)?.unwrap_or_default();
    Ok(Duration::from_secs(seconds.unsigned_abs()))
}

/// A name that can be part of an address and of a label.
///
/// # Errors
/// When it cannot.
pub(crate) fn checked_name(name: &str) -> Result<String, FlagError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if begins && name.len() <= 63 && name.bytes().all(plain) {
        return Ok(name.to_owned());
    }
    Err(FlagError(format!(
        "--name: `{}` names no worker; a name has up to 63 letters, digits, `-`, `_` and `.`, and begins with a letter or \
         digit",
        name.chars().take(100).filter(|c| !c.is_control()).collect::<String>()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_workers_are_checked() {
        for name in ["w", "worker-1.example", "A_b"] {
            assert_eq!(checked_name(name).as_deref(), Ok(name));
        }
        for name in ["", "-a", "a/b", "../a", "a b", "caf\u{e9}", &"x".repeat(64)] {
            assert!(checked_name(name).is_err(), "{name}");
        }
    }
}
