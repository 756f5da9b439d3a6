//! `HEALTHCHECK`.

use super::{Command, flags::Flags};
use crate::shown;

/// How a container's health is checked; times are nanoseconds, 0 = the engine's default.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    /// What is run.
    pub command: Command,
    /// `--interval`.
    pub interval: i64,
    /// `--timeout`.
    pub timeout: i64,
    /// `--start-period`.
    pub start_period: i64,
    /// `--start-interval`.
    pub start_interval: i64,
    /// `--retries`.
    pub retries: i64,
}

/// Units of a time, longest name first.
const UNITS: [(&str, f64); 8] =
    [("ms", 1e6), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ns", 1.0), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];
/// The shortest time but none.
const SHORTEST: i64 = 1_000_000;

pub(super) fn read(rest: &str, mut flags: Flags) -> Result<Option<Health>, String> {
    let (first, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if first.eq_ignore_ascii_case("none") {
        flags.end().map_err(|_| "HEALTHCHECK NONE takes no flags".to_owned())?;
        return Ok(None);
    }
    let mut time = |name: &str| flags.one(name)?.map_or(Ok(0), |text| duration(name, &text));
    let (interval, timeout) = (time("interval")?, time("timeout")?);
    let (start_period, start_interval) = (time("start-period")?, time("start-interval")?);
    let retries = match flags.one("retries")? {
        None => 0,
        Some(text) => match text.parse::<i64>() {
            Ok(number) if number >= 1 => number,
            Ok(_) | Err(_) => {
                return Err(format!("HEALTHCHECK: --retries={} is no number from 1 on", shown(&text)));
            }
        },
    };
    flags.end()?;
    let command = Command::read(after.trim_start());
    Ok(Some(Health { command, interval, timeout, start_period, start_interval, retries }))
}

/// `1h30m`, `1.5s`, `0`.
fn duration(name: &str, text: &str) -> Result<i64, String> {
    let wrong = || format!("HEALTHCHECK: --{name}={} is no time such as 30s or 1m30s", shown(text));
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text.trim_start_matches('+');
    let mut total = 0.0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..end].parse().map_err(|_| wrong())?;
        let after = &rest[end..];
        let (unit, size) = UNITS.iter().find(|(unit, _)| after.starts_with(unit)).ok_or_else(wrong)?;
        total += number * size;
        rest = &after[unit.len()..];
    }
    // More than 292 years is none.
    #[expect(clippy::cast_possible_truncation, reason = "a cast of a number with a fraction saturates")]
    let nanos = total as i64;
    if nanos == i64::MAX || (nanos != 0 && nanos < SHORTEST) || (nanos == 0 && total > 0.0) {
        return Err(format!("HEALTHCHECK: --{name}={} is not from 1ms to 292 years", shown(text)));
    }
    Ok(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let nanos = |text| duration("interval", text).ok();
        for (text, expected) in [
            ("30s", Some(30_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            ("100ms", Some(100_000_000)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("999us", None),
            ("1ns", None),
            ("30", None),
            ("s", None),
            ("", None),
            ("-1s", None),
            ("1e3s", None),
            ("99999999h", None),
        ] {
            assert_eq!(nanos(text), expected, "{text}");
        }
    }
}
