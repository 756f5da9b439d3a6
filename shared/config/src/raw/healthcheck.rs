//! `HEALTHCHECK`, as a Dockerfile has it: `[--interval=… …] CMD …` or `NONE`.

use slipway_oci::config::Healthcheck;

use super::{Reader, section::Section, value::Written};
use crate::yaml::shorten;

const OPTIONS: &str = "--interval=30s --timeout=5s --start-period=10s --retries=3";

/// Reads `HEALTHCHECK` of `docker`.
pub(super) fn read(reader: &mut Reader<'_>, docker: &Section<'_>) -> Option<Healthcheck> {
    let written = reader.filled(docker, "HEALTHCHECK")?;
    match parse(&written.text) {
        Ok(healthcheck) => Some(healthcheck),
        Err(fault) => {
            refuse(reader, &written, &fault);
            None
        }
    }
}

fn refuse(reader: &mut Reader<'_>, written: &Written, fault: &str) {
    let hint = format!("write `NONE`, or `{OPTIONS} CMD COMMAND` with the options you need");
    reader.refuse(written.position, format!("`HEALTHCHECK`: {fault}"), hint);
}

fn parse(text: &str) -> Result<Healthcheck, String> {
    let mut healthcheck = Healthcheck::default();
    let mut rest = text.trim();
    while rest.starts_with("--") {
        let (option, after) = word(rest);
        option_value(&mut healthcheck, option)?;
        rest = after;
    }
    let (kind, command) = word(rest);
    match kind.to_ascii_uppercase().as_str() {
        "NONE" if command.is_empty() && text.trim().eq_ignore_ascii_case("NONE") => {
            healthcheck.test = vec!["NONE".to_owned()];
        }
        "NONE" => return Err("`NONE` stands alone".to_owned()),
        "CMD" if command.is_empty() => return Err("`CMD` has no command".to_owned()),
        "CMD" => healthcheck.test = test(command),
        "" => return Err("`CMD` or `NONE` is missing".to_owned()),
        _ => return Err(format!("`{}` stands where `CMD` or `NONE` is expected", shorten(kind))),
    }
    Ok(healthcheck)
}

/// A JSON array is the exec form; anything else is run by the shell.
fn test(command: &str) -> Vec<String> {
    let (kind, words) = match serde_json::from_str::<Vec<String>>(command) {
        Ok(words) if !words.is_empty() => ("CMD", words),
        _ => ("CMD-SHELL", vec![command.to_owned()]),
    };
    std::iter::once(kind.to_owned()).chain(words).collect()
}

fn option_value(healthcheck: &mut Healthcheck, option: &str) -> Result<(), String> {
    let (name, value) =
        option.split_once('=').ok_or_else(|| format!("the option `{}` has no value", shorten(option)))?;
    let time = || {
        duration(value)
            // Docker refuses times below one millisecond; 0 stands for its default.
            .filter(|time| *time == 0 || *time >= 1_000_000)
            .ok_or_else(|| format!("`{name}` is no duration of at least 1ms: `{}`", shorten(value)))
    };
    match name {
        "--interval" => healthcheck.interval = time()?,
        "--timeout" => healthcheck.timeout = time()?,
        "--start-period" => healthcheck.start_period = time()?,
        "--retries" => {
            let retries = value.parse::<i64>().ok().filter(|retries| (0..=1_000_000).contains(retries));
            healthcheck.retries =
                retries.ok_or_else(|| format!("`--retries` is no number of attempts: `{}`", shorten(value)))?;
        }
        _ => return Err(format!("unknown option `{}`", shorten(name))),
    }
    Ok(())
}

/// The first word of `text`, and the rest without leading blanks.
fn word(text: &str) -> (&str, &str) {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// A duration as Go writes it (`1h30m`, `500ms`, `1.5s`), in nanoseconds. `None` = it is none or negative.
pub(super) fn duration(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    if text.is_empty() || text.len() > 64 {
        return None;
    }
    let mut rest = text;
    let mut total = 0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number = rest[..digits].parse::<f64>().ok()?;
        rest = &rest[digits..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..unit_end] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        rest = &rest[unit_end..];
        total += number * unit;
    }
    // Below 2^53 nanoseconds (104 days) a float is exact; longer times lose nothing that matters.
    (total < 9e18).then_some(total as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn healthchecks_are_read() {
        let shell =
            parse("--interval=1m30s --timeout=500ms --start-period=2s --retries=3 CMD curl -f  http://x || exit 1");
        let shell = shell.expect("a health check");
        assert_eq!(shell.test, ["CMD-SHELL", "curl -f  http://x || exit 1"]);
        let times = (shell.interval, shell.timeout, shell.start_period, shell.retries);
        assert_eq!(times, (90 * SECOND, SECOND / 2, 2 * SECOND, 3));
        assert_eq!(parse("cmd [\"a\", \"b c\"]").expect("exec form").test, ["CMD", "a", "b c"]);
        assert_eq!(parse(" NONE ").expect("none").test, ["NONE"]);
    }

    #[test]
    fn wrong_healthchecks_are_refused() {
        for (text, fault) in [
            ("curl x", "`curl` stands where"),
            ("--interval=30 CMD x", "`--interval` is no duration"),
            ("--interval CMD x", "has no value"),
            ("--wait=1s CMD x", "unknown option `--wait`"),
            ("--retries=many CMD x", "`--retries` is no number"),
            ("CMD", "has no command"),
            ("--retries=1", "`CMD` or `NONE` is missing"),
            ("--retries=1 NONE", "stands alone"),
            ("--timeout=1us CMD x", "at least 1ms"),
        ] {
            let found = parse(text).expect_err(text);
            assert!(found.contains(fault), "{text}: {found}");
        }
    }

    #[test]
    fn durations_are_those_of_go() {
        for (text, nanoseconds) in [
            ("0", Some(0)),
            ("1h30m", Some(5400 * SECOND)),
            ("1.5s", Some(1_500_000_000)),
            ("100ns", Some(100)),
            ("", None),
            ("s", None),
            ("1", None),
            ("1d", None),
            ("-1s", None),
            ("1..5s", None),
        ] {
            assert_eq!(duration(text), nanoseconds, "{text}");
        }
    }
}
