//! What yaml.v2 takes a scalar for.

use super::{YamlError, YamlValue};

/// The value of a scalar without quotes and without a tag.
pub(crate) fn plain(text: &str) -> YamlValue {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => YamlValue::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => YamlValue::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => YamlValue::Bool(false),
        ".nan" | ".NaN" | ".NAN" => YamlValue::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => YamlValue::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => YamlValue::Float(f64::NEG_INFINITY),
        _ => number(text).unwrap_or_else(|| YamlValue::Text(text.as_bytes().to_vec())),
    }
}

/// The value of a scalar with a tag of YAML itself (`int` of `!!int`).
pub(super) fn tagged(tag: &str, text: &str) -> Result<YamlValue, YamlError> {
    let words = || YamlValue::Text(text.as_bytes().to_vec());
    match tag {
        "str" => return Ok(words()),
        "binary" => {
            let bytes = base64(text).ok_or_else(|| YamlError("!!binary value contains invalid base64 data".into()))?;
            return Ok(YamlValue::Text(bytes));
        }
        "bool" | "int" | "float" | "null" | "timestamp" => {}
        _ => return Ok(words()),
    }
    let value = plain(text);
    let own = match &value {
        YamlValue::Null => "null",
        YamlValue::Bool(_) => "bool",
        YamlValue::Int(_) | YamlValue::Uint(_) => "int",
        YamlValue::Float(_) => "float",
        YamlValue::Text(_) if is_timestamp(text) => "timestamp",
        YamlValue::Text(_) | YamlValue::List(_) | YamlValue::Mapping(_) => "str",
    };
    match (tag, value) {
        (_, value) if tag == own => Ok(value),
        ("float", YamlValue::Int(number)) => Ok(YamlValue::Float(number as f64)),
        _ => Err(YamlError(format!("cannot decode !!{own} `{text}` as a !!{tag}"))),
    }
}

/// Whether a plain scalar of this text would be read as the text itself.
pub(super) fn is_text(text: &str) -> bool {
    matches!(plain(text), YamlValue::Text(_)) && !is_timestamp(text) && !is_sexagesimal(text)
}

fn number(text: &str) -> Option<YamlValue> {
    match text.as_bytes().first()? {
        b'.' => float(text).map(YamlValue::Float),
        b'+' | b'-' | b'0'..=b'9' => {
            let plain = text.replace('_', "");
            integer(&plain).or_else(|| float(&plain).map(YamlValue::Float))
        }
        _ => None,
    }
}

/// A whole number with Go's prefixes: `0x`, `0b`, `0o`, and `0` for octal.
fn integer(plain: &str) -> Option<YamlValue> {
    let (negative, digits) = match plain.as_bytes().first()? {
        b'-' => (true, &plain[1..]),
        b'+' => (false, &plain[1..]),
        _ => (false, plain),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, base).ok()?;
    match i64::try_from(magnitude) {
        Ok(number) => Some(YamlValue::Int(if negative { -number } else { number })),
        Err(_) if negative && magnitude == 1 << 63 => Some(YamlValue::Int(i64::MIN)),
        Err(_) => (!negative && !plain.starts_with('+')).then_some(YamlValue::Uint(magnitude)),
    }
}

fn float(plain: &str) -> Option<f64> {
    let digits = plain.trim_start_matches(['+', '-']);
    let is_float = plain.len() - digits.len() <= 1
        && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
        && digits.bytes().any(|byte| byte.is_ascii_digit());
    plain.parse().ok().filter(|number: &f64| is_float && number.is_finite())
}

/// Numbers in base 60 (`1:30`): YAML 1.1 reads them so, and other readers may.
fn is_sexagesimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut parts = whole.split(':');
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let first = parts.next().is_some_and(|part| part.starts_with(|c: char| c.is_ascii_digit()) && digits(part));
    let rest: Vec<&str> = parts.collect();
    let minute = |part: &&str| match part.as_bytes() {
        [ones] => ones.is_ascii_digit(),
        [tens, ones] => (b'0'..=b'5').contains(tens) && ones.is_ascii_digit(),
        _ => false,
    };
    first && !rest.is_empty() && rest.iter().all(minute) && digits(fraction)
}

/// Whether yaml.v2 takes the text for a point in time.
fn is_timestamp(text: &str) -> bool {
    let Some((date, time)) = split_date(text) else { return false };
    let Some([year, month, day]) = numbers(date, '-', [4, 2, 2]) else { return false };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    date.find('-') == Some(4) && (1..=days).contains(&day) && time.is_none_or(|(mark, time)| is_time(mark, time))
}

/// The date, and what stands after it with the mark between.
fn split_date(text: &str) -> Option<(&str, Option<(u8, &str)>)> {
    if !text.is_ascii() {
        return None;
    }
    match text.find(['T', 't', ' ']) {
        Some(at) => Some((&text[..at], Some((text.as_bytes()[at], &text[at + 1..])))),
        None => Some((text, None)),
    }
}

fn is_time(mark: u8, text: &str) -> bool {
    let zone = text.find(['Z', '+', '-']).unwrap_or(text.len());
    let (clock, zone) = text.split_at(zone);
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let Some([hour, minute, second]) = numbers(whole, ':', [2, 2, 2]) else { return false };
    let zone_fits = match (mark, zone.as_bytes()) {
        (b' ', []) | (b'T' | b't', b"Z") => true,
        (b'T' | b't', [b'+' | b'-', ..]) if zone.len() == 6 => {
            numbers(&zone[1..], ':', [2, 2, 0]).is_some_and(|[hour, minute, _]| hour < 25 && minute < 61)
        }
        _ => false,
    };
    let digits = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    hour < 24 && minute < 60 && second < 60 && digits && zone_fits
}

/// Numbers of one digit up to the widths given; a width of 0 = no such number.
fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[u32; 3]> {
    let mut found = [0; 3];
    let wanted = widths.iter().filter(|width| **width > 0).count();
    let parts: Vec<&str> = text.split(separator).collect();
    if parts.len() != wanted {
        return None;
    }
    for ((part, width), number) in parts.iter().zip(widths).zip(&mut found) {
        let is_number = (1..=width).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = part.parse().ok().filter(|_| is_number)?;
    }
    Some(found)
}

/// Base 64 with line breaks.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    if !digits.len().is_multiple_of(4) {
        return None;
    }
    let padding = digits.iter().rev().take_while(|byte| **byte == b'=').count();
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in digits.get(..digits.len() - padding)? {
        let six = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    (padding <= 2).then_some(bytes)
}

/// Base 64, broken into lines of 70 characters when it is longer.
pub(super) fn to_base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let six = (bits >> (18 - 6 * place)) & 63;
            text.push(if place <= chunk.len() { DIGITS[six as usize] as char } else { '=' });
        }
    }
    if text.len() < 70 {
        return text;
    }
    let mut lines = String::with_capacity(text.len() + text.len() / 70 + 1);
    for (at, digit) in text.chars().enumerate() {
        lines.push(digit);
        if at % 70 == 69 || at + 1 == text.len() {
            lines.push('\n');
        }
    }
    lines
}
