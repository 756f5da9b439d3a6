//! What workers have, and what the jobs of a build need of them.

use std::collections::BTreeMap;

use slipway_oci::Platform;
use slipway_protocol::Requirements;

use super::{
    flag::{CommandName, Flag, Werf},
    resolve::{FlagError, Values},
};

/// Longest name and longest value of a label, in bytes.
const LONGEST: usize = 63;
/// Most CPUs that can be given.
const MOST_CPUS: u64 = 100_000;
/// Most memory that can be given, in MiB: a pebibyte.
const MOST_MEMORY: u64 = 1 << 30;

const fn own(flag: Flag) -> Flag {
    flag.on(&[CommandName::Worker]).werf(Werf::Absent)
}

const fn wanted(flag: Flag) -> Flag {
    flag.on(&[CommandName::Build]).werf(Werf::Absent)
}

pub(crate) const CPU: Flag = own(Flag::text(
    "cpu",
    "N",
    "CPUs that jobs share, such as 4 or 1.5; those of this machine or control group by default",
));
pub(crate) const MEMORY: Flag = own(Flag::text(
    "memory",
    "SIZE",
    "Memory that jobs share, such as 8GiB or 512MiB; that of this machine or control group by default",
));
pub(crate) const LABEL: Flag =
    own(Flag::list("label", "NAME=VALUE", "What the worker is said to be: builds may ask for it by --job-label"));
pub(crate) const PLATFORMS: Flag = own(Flag::words(
    "platforms",
    "OS/ARCH[/VARIANT], several times or with commas",
    "Platforms whose programs jobs run; that of this machine, and those that it runs by emulation, by default",
));
pub(crate) const JOB_CPU: Flag =
    wanted(Flag::text("job-cpu", "N", "CPUs of a worker that each job takes while it runs; with --coordinator"));
pub(crate) const JOB_MEMORY: Flag = wanted(Flag::text(
    "job-memory",
    "SIZE",
    "Memory of a worker that each job takes while it runs; with --coordinator",
));
pub(crate) const JOB_LABEL: Flag =
    wanted(Flag::list("job-label", "NAME=VALUE", "Only workers with this label do the jobs; with --coordinator"));

/// Of workers.
pub(super) const WORKER: &[Flag] = &[CPU, MEMORY, PLATFORMS, LABEL];
/// Of builds.
pub(super) const BUILD: &[Flag] = &[JOB_CPU, JOB_MEMORY, JOB_LABEL];

/// What a worker is said to have.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct CapacityFlags {
    /// `--cpu`, in thousandths; `None` = as measured.
    pub(crate) cpu_millis: Option<u64>,
    /// `--memory`; `None` = as measured.
    pub(crate) memory_mib: Option<u64>,
    /// `--platforms`; `None` = those that run here.
    pub(crate) platforms: Option<Vec<Platform>>,
    /// `--label`
    pub(crate) labels: BTreeMap<String, String>,
}

impl CapacityFlags {
    /// What the flags and variables say.
    ///
    /// # Errors
    /// When a value is malformed.
    pub(crate) fn from_values(values: &Values) -> Result<Self, FlagError> {
        Ok(Self {
            cpu_millis: read(values, &CPU, cpu_millis)?,
            memory_mib: read(values, &MEMORY, memory_mib)?,
            platforms: platforms(values)?,
            labels: labels(values, &LABEL)?,
        })
    }
}

fn platforms(values: &Values) -> Result<Option<Vec<Platform>>, FlagError> {
    let texts = values.list(&PLATFORMS);
    let refuse = |error| FlagError(format!("{}: {error}", values.spelling(&PLATFORMS)));
    let parsed: Result<Vec<Platform>, FlagError> =
        texts.iter().map(|text| text.trim().parse().map_err(refuse)).collect();
    Ok(Some(parsed?).filter(|all| !all.is_empty()))
}

/// What the jobs of a build need, as the flags and variables say.
///
/// # Errors
/// When a value is malformed.
pub(crate) fn requirements(values: &Values) -> Result<Requirements, FlagError> {
    Ok(Requirements {
        cpu_millis: read(values, &JOB_CPU, cpu_millis)?.unwrap_or_default(),
        memory_mib: read(values, &JOB_MEMORY, memory_mib)?.unwrap_or_default(),
        labels: labels(values, &JOB_LABEL)?,
        ..Requirements::default()
    })
}

fn read(values: &Values, flag: &Flag, parse: fn(&str) -> Result<u64, String>) -> Result<Option<u64>, FlagError> {
    let refuse = |text: &str, why| FlagError(format!("{}: `{}` {why}", values.spelling(flag), shown(text)));
    values.text(flag).map(|text| parse(text.trim()).map_err(|why| refuse(&text, why))).transpose()
}

fn cpu_millis(text: &str) -> Result<u64, String> {
    let refuse = || "is no number of CPUs; write 4 or 1.5".to_owned();
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 3 {
        return Err(refuse());
    }
    let whole: u64 = whole.parse().ok().filter(|whole| *whole <= MOST_CPUS).ok_or_else(refuse)?;
    let part: u64 = format!("{part:0<3}").parse().map_err(|_| refuse())?;
    Some(whole * 1000 + part).filter(|millis| *millis > 0).ok_or_else(refuse)
}

fn memory_mib(text: &str) -> Result<u64, String> {
    let refuse = || "is no size; write 512MiB, 8GiB or 1TiB".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
    let (number, unit) = text.split_at(split);
    let unit = match unit.trim() {
        "MiB" => 1,
        "GiB" => 1 << 10,
        "TiB" => 1 << 20,
        _ => return Err(refuse()),
    };
    let size = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    size.filter(|size| (1..=MOST_MEMORY).contains(size)).ok_or_else(refuse)
}

fn labels(values: &Values, flag: &Flag) -> Result<BTreeMap<String, String>, FlagError> {
    let mut labels = BTreeMap::new();
    for text in values.list(flag) {
        let plain = |text: &str| {
            let byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
            text.len() <= LONGEST && text.bytes().all(byte)
        };
        let pair = text.trim().split_once('=').filter(|(name, value)| !name.is_empty() && plain(name) && plain(value));
        let Some((name, value)) = pair else {
            let rule = format!("write NAME=VALUE, each of up to {LONGEST} letters, digits, `-`, `_`, `.` and `/`");
            return Err(FlagError(format!("{}: `{}` is no label; {rule}", values.spelling(flag), shown(&text))));
        };
        labels.insert(name.to_owned(), value.to_owned());
    }
    Ok(labels)
}

fn shown(text: &str) -> String {
    text.chars().take(100).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_and_sizes_are_read() {
        for (text, millis) in [("4", 4000), ("1.5", 1500), ("0.25", 250), ("0.001", 1)] {
            assert_eq!(cpu_millis(text), Ok(millis), "{text}");
        }
        for text in ["", "0", "0.0", "-1", "1.", ".5", "1.0001", "two", "999999999999"] {
            assert!(cpu_millis(text).is_err(), "{text}");
        }
        for (text, mib) in [("512MiB", 512), ("8GiB", 8192), ("1 TiB", 1 << 20)] {
            assert_eq!(memory_mib(text), Ok(mib), "{text}");
        }
        for text in ["", "0MiB", "8", "8GB", "GiB", "-1GiB", "99999999999999999999TiB", "9999999TiB"] {
            assert!(memory_mib(text).is_err(), "{text}");
        }
    }
}
