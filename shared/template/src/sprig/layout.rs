//! Go's date layouts, written as the reference time Mon Jan 2 15:04:05 MST 2006: formatting and parsing by them.

use super::civil::{Civil, month_length};
use super::time::{Time, Zone};

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Parts of the reference time. Of those that begin alike the longer stands first.
const PARTS: [&str; 33] = [
    "January",
    "Jan",
    "Monday",
    "Mon",
    "MST",
    "2006",
    "002",
    "__2",
    "_2",
    "Z070000",
    "Z07:00:00",
    "Z0700",
    "Z07:00",
    "Z07",
    "-070000",
    "-07:00:00",
    "-0700",
    "-07:00",
    "-07",
    "01",
    "02",
    "03",
    "04",
    "05",
    "06",
    "15",
    "1",
    "2",
    "3",
    "4",
    "5",
    "PM",
    "pm",
];

/// A piece of a layout.
enum Piece<'a> {
    Text(&'a str),
    Part(&'a str),
    /// `.000` or `,999`: fractions of a second.
    Fraction(&'a str),
}

/// The next piece of the layout, and what follows it.
fn next(layout: &str) -> (Piece<'_>, &str) {
    for (at, _) in layout.char_indices() {
        let Some(length) = special(&layout[at..]) else { continue };
        if at > 0 {
            return (Piece::Text(&layout[..at]), &layout[at..]);
        }
        let (part, rest) = layout.split_at(length);
        let piece = if part.starts_with(['.', ',']) { Piece::Fraction(part) } else { Piece::Part(part) };
        return (piece, rest);
    }
    (Piece::Text(layout), "")
}

/// Length of the part of the reference time at the start.
fn special(text: &str) -> Option<usize> {
    if text.starts_with(['.', ',']) {
        let digit = text[1..].chars().next().filter(|digit| matches!(digit, '0' | '9'))?;
        let count = text[1..].chars().take_while(|other| *other == digit).count();
        let ends = !text[1 + count..].starts_with(|character: char| character.is_ascii_digit());
        return ends.then_some(1 + count);
    }
    // An underscore before the year is itself, not the day padded by a space.
    if text.starts_with("_2006") {
        return None;
    }
    let found = PARTS.iter().find(|part| text.starts_with(**part))?;
    let follows_lower = |length: usize| text[length..].starts_with(|character: char| character.is_ascii_lowercase());
    match *found {
        "Jan" | "Mon" if follows_lower(3) => None,
        part => Some(part.len()),
    }
}

/// The time by a layout.
pub(super) fn format(time: &Time, layout: &str) -> String {
    let civil = time.civil();
    let mut out = String::new();
    let mut rest = layout;
    while !rest.is_empty() {
        let (piece, after) = next(rest);
        rest = after;
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Fraction(text) => out.push_str(&fraction(time.nanoseconds, text)),
            Piece::Part(part) => out.push_str(&format_part(time, civil, part)),
        }
    }
    out
}

fn fraction(nanoseconds: u32, text: &str) -> String {
    let digits = format!("{nanoseconds:09}");
    let digits = &digits[..(text.len() - 1).min(9)];
    if text.ends_with('0') {
        return format!("{}{digits}", &text[..1]);
    }
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() { String::new() } else { format!("{}{digits}", &text[..1]) }
}

fn format_part(time: &Time, civil: Civil, part: &str) -> String {
    let month = MONTHS[civil.month as usize - 1];
    let weekday = DAYS[civil.weekday()];
    let hour = match civil.hour % 12 {
        0 => 12,
        hour => hour,
    };
    match part {
        "2006" if civil.year < 0 => format!("-{:04}", -civil.year),
        "2006" => format!("{:04}", civil.year),
        "06" => format!("{:02}", civil.year.rem_euclid(100)),
        "January" => month.to_owned(),
        "Jan" => month[..3].to_owned(),
        "Monday" => weekday.to_owned(),
        "Mon" => weekday[..3].to_owned(),
        "01" => format!("{:02}", civil.month),
        "1" => civil.month.to_string(),
        "02" => format!("{:02}", civil.day),
        "_2" => format!("{:2}", civil.day),
        "2" => civil.day.to_string(),
        "002" => format!("{:03}", civil.year_day()),
        "__2" => format!("{:3}", civil.year_day()),
        "15" => format!("{:02}", civil.hour),
        "03" => format!("{hour:02}"),
        "3" => hour.to_string(),
        "04" => format!("{:02}", civil.minute),
        "4" => civil.minute.to_string(),
        "05" => format!("{:02}", civil.second),
        "5" => civil.second.to_string(),
        "PM" => if civil.hour >= 12 { "PM" } else { "AM" }.to_owned(),
        "pm" => if civil.hour >= 12 { "pm" } else { "am" }.to_owned(),
        "MST" => time.zone.name.clone(),
        offset => format_offset(time.zone.offset, offset),
    }
}

fn format_offset(offset: i32, part: &str) -> String {
    if part.starts_with('Z') && offset == 0 {
        return "Z".to_owned();
    }
    let sign = if offset < 0 { '-' } else { '+' };
    let size = offset.unsigned_abs();
    let (hours, minutes, seconds) = (size / 3600, size / 60 % 60, size % 60);
    match &part[1..] {
        "07" => format!("{sign}{hours:02}"),
        "0700" => format!("{sign}{hours:02}{minutes:02}"),
        "07:00" => format!("{sign}{hours:02}:{minutes:02}"),
        "070000" => format!("{sign}{hours:02}{minutes:02}{seconds:02}"),
        _ => format!("{sign}{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

/// What was read of a date so far.
struct Reading<'a> {
    civil: Civil,
    nanoseconds: u32,
    offset: Option<i32>,
    zone: Option<&'a str>,
    afternoon: Option<bool>,
    year_day: Option<u32>,
    rest: &'a str,
}

/// Reads a date by a layout, in UTC where it names no zone. The error is Go's.
pub(super) fn parse(layout: &str, text: &str) -> Result<Time, String> {
    let civil = Civil { year: 0, month: 1, day: 1, hour: 0, minute: 0, second: 0 };
    let mut reading =
        Reading { civil, nanoseconds: 0, offset: None, zone: None, afternoon: None, year_day: None, rest: text };
    let cannot = |value: &str, element: &str| {
        Err(format!("parsing time {text:?} as {layout:?}: cannot parse {value:?} as {element:?}"))
    };
    let mut rest = layout;
    while !rest.is_empty() {
        let (piece, after) = next(rest);
        rest = after;
        let held = reading.rest;
        match piece {
            Piece::Text(wanted) => match reading.rest.strip_prefix(wanted) {
                Some(after) => reading.rest = after,
                None => return cannot(held, wanted),
            },
            Piece::Fraction(part) => {
                if reading.fraction(part.ends_with('9')).is_none() {
                    return cannot(held, part);
                }
            }
            Piece::Part(part) => {
                let Some(range) = reading.part(part, after) else { return cannot(held, part) };
                if let Err(what) = range {
                    return Err(format!("parsing time {text:?}: {what} out of range"));
                }
            }
        }
    }
    if !reading.rest.is_empty() {
        return Err(format!("parsing time {text:?}: extra text: {:?}", reading.rest));
    }
    reading.finish().map_err(|what| format!("parsing time {text:?}: {what} out of range"))
}

impl Reading<'_> {
    /// Between `least` and `most` digits.
    fn digits(&mut self, least: usize, most: usize) -> Option<u32> {
        let count = self.rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if count < least {
            return None;
        }
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        digits.parse().ok()
    }

    fn name(&mut self, names: &[&str], length: Option<usize>) -> Option<usize> {
        for (at, name) in names.iter().enumerate() {
            let name = length.map_or(*name, |length| &name[..length]);
            if self.rest.get(..name.len()).is_some_and(|given| given.eq_ignore_ascii_case(name)) {
                self.rest = &self.rest[name.len()..];
                return Some(at);
            }
        }
        None
    }

    fn fraction(&mut self, optional: bool) -> Option<()> {
        let Some(after) = self.rest.strip_prefix(['.', ',']) else { return optional.then_some(()) };
        let count = after.bytes().take_while(u8::is_ascii_digit).count();
        if count == 0 {
            return optional.then_some(());
        }
        let digits = format!("{:0<9}", &after[..count]);
        self.nanoseconds = digits[..9].parse().ok()?;
        self.rest = &after[count..];
        Some(())
    }

    /// Reads one part: `None` when it is not there, the name of what is out of range otherwise.
    fn part(&mut self, part: &str, after: &str) -> Option<Result<(), &'static str>> {
        let within = |valid: bool, what| if valid { Ok(()) } else { Err(what) };
        Some(match part {
            "2006" => {
                self.civil.year = i64::from(self.digits(4, 4)?);
                Ok(())
            }
            "06" => {
                let year = i64::from(self.digits(2, 2)?);
                self.civil.year = if year >= 69 { year + 1900 } else { year + 2000 };
                Ok(())
            }
            "January" => self.month(None)?,
            "Jan" => self.month(Some(3))?,
            "Monday" => self.name(&DAYS, None).map(|_| Ok(()))?,
            "Mon" => self.name(&DAYS, Some(3)).map(|_| Ok(()))?,
            "01" | "1" => {
                self.civil.month = self.digits(part.len(), 2)?;
                within((1..=12).contains(&self.civil.month), "month")
            }
            "02" | "2" | "_2" => {
                if part == "_2" {
                    self.rest = self.rest.strip_prefix(' ').unwrap_or(self.rest);
                }
                self.civil.day = self.digits(if part == "02" { 2 } else { 1 }, 2)?;
                Ok(())
            }
            "002" | "__2" => {
                if part == "__2" {
                    self.rest = self.rest.trim_start_matches(' ');
                }
                self.year_day = Some(self.digits(if part == "002" { 3 } else { 1 }, 3)?);
                Ok(())
            }
            "15" => {
                self.civil.hour = self.digits(1, 2)?;
                within(self.civil.hour < 24, "hour")
            }
            "03" | "3" => {
                self.civil.hour = self.digits(part.len(), 2)?;
                within(self.civil.hour <= 12, "hour")
            }
            "04" | "4" => {
                self.civil.minute = self.digits(part.len(), 2)?;
                within(self.civil.minute < 60, "minute")
            }
            "05" | "5" => {
                self.civil.second = self.digits(part.len(), 2)?;
                let explicit = matches!(next(after).0, Piece::Fraction(_));
                if !explicit && self.rest.len() > 1 && self.rest.as_bytes()[1].is_ascii_digit() {
                    self.fraction(true)?;
                }
                within(self.civil.second < 60, "second")
            }
            "PM" | "pm" => {
                self.afternoon = Some(self.name(&["AM", "PM"], None)? == 1);
                Ok(())
            }
            "MST" => self.zone_name()?,
            offset => self.zone_offset(offset)?,
        })
    }

    fn month(&mut self, length: Option<usize>) -> Option<Result<(), &'static str>> {
        self.civil.month = self.name(&MONTHS, length)? as u32 + 1;
        Some(Ok(()))
    }

    fn zone_name(&mut self) -> Option<Result<(), &'static str>> {
        let count = self.rest.bytes().take_while(u8::is_ascii_uppercase).count();
        if !(3..=5).contains(&count) {
            return None;
        }
        let (name, rest) = self.rest.split_at(count);
        (self.zone, self.rest) = (Some(name), rest);
        Some(Ok(()))
    }

    fn zone_offset(&mut self, part: &str) -> Option<Result<(), &'static str>> {
        if part.starts_with('Z')
            && let Some(rest) = self.rest.strip_prefix('Z')
        {
            (self.offset, self.rest) = (Some(0), rest);
            return Some(Ok(()));
        }
        let negative = match self.rest.as_bytes().first()? {
            b'-' => true,
            b'+' => false,
            _ => return None,
        };
        self.rest = &self.rest[1..];
        let mut offset = self.digits(2, 2)? as i32 * 3600;
        for (index, scale) in [(3usize, 60), (5, 1)] {
            let digits = part.bytes().filter(u8::is_ascii_digit).count();
            if digits > index {
                if part.contains(':') {
                    self.rest = self.rest.strip_prefix(':')?;
                }
                offset += self.digits(2, 2)? as i32 * scale;
            }
        }
        self.offset = Some(if negative { -offset } else { offset });
        Some(Ok(()))
    }

    fn finish(mut self) -> Result<Time, &'static str> {
        match self.afternoon {
            Some(true) if self.civil.hour < 12 => self.civil.hour += 12,
            Some(false) if self.civil.hour == 12 => self.civil.hour = 0,
            _ => {}
        }
        if let Some(number) = self.year_day {
            let start = Civil { month: 1, day: 1, ..self.civil }.seconds();
            let found = Civil::of(start + (i64::from(number) - 1) * 86_400);
            if number == 0 || found.year != self.civil.year {
                return Err("day-of-year");
            }
            (self.civil.month, self.civil.day) = (found.month, found.day);
        }
        if self.civil.day == 0 || self.civil.day > month_length(self.civil.year, self.civil.month) {
            return Err("day");
        }
        let zone = match (self.offset, self.zone) {
            (Some(0), None | Some("UTC")) | (None, None | Some("UTC")) => Zone::utc(),
            (offset, name) => Zone { name: self.zone_text(offset, name), offset: offset.unwrap_or(0) },
        };
        Ok(Time { seconds: self.civil.seconds() - i64::from(zone.offset), nanoseconds: self.nanoseconds, zone })
    }

    /// A zone without a name prints as its offset.
    fn zone_text(&self, offset: Option<i32>, name: Option<&str>) -> String {
        match (name, offset) {
            (Some(name), _) => name.to_owned(),
            (None, offset) => format_offset(offset.unwrap_or(0), "-0700"),
        }
    }
}
