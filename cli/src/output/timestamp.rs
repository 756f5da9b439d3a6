//! Moments as users read them.

use jiff::{
    Timestamp,
    tz::{Offset, TimeZone},
};
use slipway_git::Authored;

/// Pieces of a Go time layout and what strftime calls them, longer ones before their own beginnings.
const LAYOUT: [(&str, &str); 26] = [
    ("Z07:00", "%:z"),
    ("-07:00", "%:z"),
    ("Z0700", "%z"),
    ("-0700", "%z"),
    ("January", "%B"),
    ("Monday", "%A"),
    ("2006", "%Y"),
    (".000000000", "%.9f"),
    (".000000", "%.6f"),
    (".000", "%.3f"),
    ("Jan", "%b"),
    ("Mon", "%a"),
    ("MST", "%Z"),
    ("15", "%H"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("PM", "%p"),
    ("_2", "%e"),
    ("1", "%-m"),
    ("2", "%-d"),
    ("3", "%-I"),
    ("%", "%%"),
];

/// How moments are written.
#[derive(Clone, Debug)]
pub(crate) struct TimeFormat {
    strftime: String,
    zone: TimeZone,
}

impl TimeFormat {
    /// A format of strftime if it holds a `%`, of Go's time package otherwise; in the zone of this host.
    pub(crate) fn new(format: &str) -> Self {
        Self::in_zone(format, TimeZone::system())
    }

    fn in_zone(format: &str, zone: TimeZone) -> Self {
        let strftime = if format.contains('%') { format.to_owned() } else { from_go(format) };
        Self { strftime, zone }
    }

    /// The moment `millis` after the Unix epoch; the number itself when the format cannot be used.
    pub(crate) fn write(&self, millis: u64) -> String {
        let plain = || millis.to_string();
        let Some(moment) = i64::try_from(millis).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok())
        else {
            return plain();
        };
        let moment = moment.to_zoned_datetime(self.zone.clone());
        jiff::fmt::strtime::format(self.strftime.as_bytes(), &moment).unwrap_or_else(|_| plain())
    }
}

/// The moment in the form of logs and reports: `2024-05-06T07:08:09.123Z`.
pub(crate) fn iso(millis: u64) -> String {
    TimeFormat::in_zone("%Y-%m-%dT%H:%M:%S%.3fZ", TimeZone::UTC).write(millis)
}

/// The day of a moment, as names of builds begin: `20240506`.
pub(crate) fn day(millis: u64) -> String {
    TimeFormat::in_zone("%Y%m%d", TimeZone::UTC).write(millis)
}

/// When a commit was made, as Go's `time.String` writes it on the author's clock, whose zone has a number for a name:
/// `2006-01-02 15:04:05 +0300 +0300`.
pub(crate) fn go(authored: Authored) -> String {
    let zone = Offset::from_seconds(authored.offset).unwrap_or(Offset::UTC).to_time_zone();
    match Timestamp::from_second(authored.time) {
        Ok(moment) => moment.to_zoned_datetime(zone).strftime("%Y-%m-%d %H:%M:%S %z %z").to_string(),
        // Beyond the year 9999 a number says as much.
        Err(_) => authored.time.to_string(),
    }
}

fn from_go(layout: &str) -> String {
    let mut format = String::new();
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        match LAYOUT.iter().find(|(go, _)| rest.starts_with(go)) {
            Some((go, strftime)) => {
                format.push_str(strftime);
                rest = &rest[go.len()..];
            }
            None => {
                format.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    format
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_of_go_and_strftime_are_read() {
        let write = |format: &str| TimeFormat::in_zone(format, TimeZone::UTC).write(1_589_786_063_772);
        assert_eq!(write("2006-01-02T15:04:05Z07:00"), "2020-05-18T07:14:23+00:00");
        assert_eq!(write("Mon Jan _2 15:04:05.000 2006"), "Mon May 18 07:14:23.772 2020");
        assert_eq!(write("3:04PM"), "7:14AM");
        assert_eq!(write("%H:%M"), "07:14");
        assert_eq!(write("%Q%!"), "1589786063772");
        assert_eq!(iso(1_589_786_063_772), "2020-05-18T07:14:23.772Z");
        assert_eq!(iso(u64::MAX), u64::MAX.to_string());
    }

    #[test]
    fn a_commit_has_the_time_that_go_would_write() {
        for (time, offset, written) in [
            (0, 0, "1970-01-01 00:00:00 +0000 +0000"),
            (1_714_979_289, 0, "2024-05-06 07:08:09 +0000 +0000"),
            (1_714_979_289, 10_800, "2024-05-06 10:08:09 +0300 +0300"),
            (1_714_979_289, -34_200, "2024-05-05 21:38:09 -0930 -0930"),
            (1_714_979_289, 20_700, "2024-05-06 12:53:09 +0545 +0545"),
            (-1, 0, "1969-12-31 23:59:59 +0000 +0000"),
            (1, i32::MAX, "1970-01-01 00:00:01 +0000 +0000"),
            (i64::MAX, 0, "9223372036854775807"),
        ] {
            assert_eq!(go(Authored { time, offset }), written);
        }
    }
}
