//! Go's `time.Duration`: nanoseconds, read from and written as `1h2m3.5s`.

const SECOND: i64 = 1_000_000_000;

/// Reads a duration. The error is Go's.
pub(super) fn parse(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, body) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if body == "0" {
        return Ok(0);
    }
    if body.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    let mut rest = body;
    while !rest.is_empty() {
        let length =
            rest.find(|character: char| !(character.is_ascii_digit() || character == '.')).unwrap_or(rest.len());
        let (number, after) = rest.split_at(length);
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        if decimals.contains('.') || whole.is_empty() && decimals.is_empty() {
            return Err(invalid());
        }
        let length =
            after.find(|character: char| character.is_ascii_digit() || character == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(length);
        let scale = match unit {
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => SECOND,
            "m" => 60 * SECOND,
            "h" => 3600 * SECOND,
            _ => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
        };
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        let fraction = format!("0.{decimals}0").parse::<f64>().unwrap_or(0.0);
        total += whole.checked_mul(i128::from(scale)).ok_or_else(invalid)? + (fraction * scale as f64) as i128;
        if total > i128::from(i64::MAX) + i128::from(negative) {
            return Err(invalid());
        }
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| invalid())
}

/// The duration as Go prints it: `1h0m0s`, `1.5s`, `20ms`, `0s`.
pub(super) fn print(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let size = nanoseconds.unsigned_abs();
    let unit = |size: u64, scale: u64| {
        let decimals = format!("{:0width$}", size % scale, width = scale.ilog10() as usize);
        let decimals = decimals.trim_end_matches('0');
        let point = if decimals.is_empty() || scale == 1 { String::new() } else { format!(".{decimals}") };
        format!("{}{point}", size / scale)
    };
    match size {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{size}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", unit(size, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", unit(size, 1_000_000)),
        _ => {
            let (minutes, seconds) = (size / 60_000_000_000, unit(size % 60_000_000_000, 1_000_000_000));
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// The largest unit that fits, cut down: `3d`, `2mo`, `0s`.
pub(super) fn round(nanoseconds: i64) -> String {
    let size = nanoseconds.unsigned_abs();
    let second = SECOND as u64;
    let units = [("y", 365 * 86_400), ("mo", 30 * 86_400), ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    units
        .into_iter()
        .find(|(_, seconds)| size > seconds * second)
        .map_or_else(|| "0s".to_owned(), |(name, seconds)| format!("{}{name}", size / (seconds * second)))
}
