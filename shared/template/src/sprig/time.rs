//! `time.Time` as templates see it.

use std::any::Any;
use std::borrow::Cow;

use super::arguments::{integer, string, text};
use super::civil::{self, Civil};
use super::layout;
use crate::function::Function;
use crate::value::{GoString, IntKind, Kind, Object, Type, Value};

/// A zone as it is at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Zone {
    /// `UTC`, `CET`.
    pub(super) name: String,
    /// Seconds east of UTC.
    pub(super) offset: i32,
}

impl Zone {
    pub(super) fn utc() -> Zone {
        Zone { name: "UTC".to_owned(), offset: 0 }
    }
}

/// A moment and the zone to show it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Time {
    /// Since 1970-01-01 UTC.
    pub(super) seconds: i64,
    pub(super) nanoseconds: u32,
    pub(super) zone: Zone,
}

/// Seconds from 1970-01-01 back to the year 1, where Go's zero time is.
const ZERO: i64 = -62_135_596_800;

impl Time {
    /// Go's zero time: the year 1 in UTC.
    pub(super) fn zero() -> Time {
        Time::utc(ZERO, 0)
    }

    pub(super) fn utc(seconds: i64, nanoseconds: u32) -> Time {
        Time { seconds, nanoseconds, zone: Zone::utc() }
    }

    /// The same moment shown in a named zone; in UTC when there is no such zone.
    pub(super) fn in_zone(&self, name: &str) -> Time {
        let zone = match name {
            "" | "UTC" | "Local" => None,
            name => jiff::tz::TimeZoneDatabase::bundled().get(name).ok(),
        };
        let zone = zone.zip(jiff::Timestamp::from_second(self.seconds).ok()).map(|(zone, moment)| {
            let info = zone.to_offset_info(moment);
            Zone { name: info.abbreviation().to_string(), offset: info.offset().seconds() }
        });
        Time { zone: zone.unwrap_or_else(Zone::utc), ..self.clone() }
    }

    pub(super) fn civil(&self) -> Civil {
        Civil::of(self.seconds.saturating_add(i64::from(self.zone.offset)))
    }

    /// The moment this many nanoseconds later.
    pub(super) fn plus(&self, nanoseconds: i64) -> Time {
        let total = i128::from(self.nanoseconds) + i128::from(nanoseconds);
        let seconds = self.seconds.saturating_add(total.div_euclid(1_000_000_000) as i64);
        Time { seconds, nanoseconds: total.rem_euclid(1_000_000_000) as u32, zone: self.zone.clone() }
    }

    /// Nanoseconds from `earlier` to this moment, as many as a duration can hold.
    pub(super) fn since(&self, earlier: &Time) -> i64 {
        let seconds = i128::from(self.seconds) - i128::from(earlier.seconds);
        let nanoseconds = seconds * 1_000_000_000 + i128::from(self.nanoseconds) - i128::from(earlier.nanoseconds);
        nanoseconds.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }

    pub(super) fn rfc3339(&self) -> String {
        layout::format(self, "2006-01-02T15:04:05.999999999Z07:00")
    }

    fn printed(&self) -> String {
        layout::format(self, "2006-01-02 15:04:05.999999999 -0700 MST")
    }

    /// The time among the values.
    pub(super) fn of(value: &Value) -> Option<&Time> {
        match value {
            Value::Object(object) => object.as_any().downcast_ref::<Time>(),
            _ => None,
        }
    }

    /// The type of a parameter that takes a time.
    pub(super) fn go_type() -> Type {
        Type::Named(Cow::Borrowed("time.Time"), Kind::Struct)
    }

    /// What a method without arguments gives.
    fn answer(&self, name: &str) -> Option<Value> {
        let civil = self.civil();
        Some(match name {
            "Year" => Value::int(civil.year),
            "Month" => Value::object(Named::new(
                "time.Month",
                i64::from(civil.month),
                layout::MONTHS[civil.month as usize - 1],
            )),
            "Day" => Value::int(i64::from(civil.day)),
            "Hour" => Value::int(i64::from(civil.hour)),
            "Minute" => Value::int(i64::from(civil.minute)),
            "Second" => Value::int(i64::from(civil.second)),
            "Nanosecond" => Value::int(i64::from(self.nanoseconds)),
            "YearDay" => Value::int(civil.year_day()),
            "Weekday" => {
                Value::object(Named::new("time.Weekday", civil.weekday() as i64, layout::DAYS[civil.weekday()]))
            }
            "Unix" => Value::int64(self.seconds),
            "UnixMilli" => Value::int64(self.seconds.wrapping_mul(1_000) + i64::from(self.nanoseconds / 1_000_000)),
            "UnixMicro" => Value::int64(self.seconds.wrapping_mul(1_000_000) + i64::from(self.nanoseconds / 1_000)),
            "UnixNano" => Value::int64(self.seconds.wrapping_mul(1_000_000_000) + i64::from(self.nanoseconds)),
            "UTC" | "Local" => Value::object(Time::utc(self.seconds, self.nanoseconds)),
            "IsZero" => Value::Bool(self.seconds == ZERO && self.nanoseconds == 0),
            "String" => string(self.printed()),
            _ => return None,
        })
    }

    /// The date moved by years, months and days; days past a month's end carry over.
    fn moved(&self, years: i64, months: i64, days: i64) -> Time {
        let civil = self.civil();
        let day_number = civil::days(
            civil.year.saturating_add(years),
            i64::from(civil.month).saturating_add(months),
            i64::from(civil.day).saturating_add(days),
        );
        let within = civil.seconds().rem_euclid(86_400);
        let seconds = day_number.saturating_mul(86_400).saturating_add(within) - i64::from(self.zone.offset);
        Time { seconds, nanoseconds: self.nanoseconds, zone: self.zone.clone() }
    }
}

impl Object for Time {
    fn type_name(&self) -> Cow<'static, str> {
        Cow::Borrowed("time.Time")
    }

    fn method(&self, name: &str) -> Option<Function> {
        if let Some(answer) = self.answer(name) {
            return Some(Function::new([], move |_, _| Ok(answer.clone())));
        }
        let time = self.clone();
        let order: Option<fn(std::cmp::Ordering) -> bool> = match name {
            "Before" => Some(std::cmp::Ordering::is_lt),
            "After" => Some(std::cmp::Ordering::is_gt),
            "Equal" => Some(std::cmp::Ordering::is_eq),
            _ => None,
        };
        if let Some(order) = order {
            return Some(Function::new([Time::go_type()], move |_, arguments| {
                let other = Time::of(&arguments[0]).cloned().unwrap_or_else(Time::zero);
                Ok(Value::Bool(order(time.since(&other).cmp(&0))))
            }));
        }
        match name {
            "Format" => Some(Function::new([Type::String], move |_, arguments| {
                Ok(string(layout::format(&time, &text(&arguments[0]))))
            })),
            "AddDate" => Some(Function::new([Type::INT, Type::INT, Type::INT], move |_, arguments| {
                let [years, months, days] = [0, 1, 2].map(|at| integer(&arguments[at]));
                Ok(Value::object(time.moved(years, months, days)))
            })),
            _ => None,
        }
    }

    fn text(&self) -> Option<GoString> {
        Some(GoString::from(self.printed()))
    }

    fn equals(&self, other: &dyn Object) -> Option<bool> {
        Some(other.as_any().downcast_ref::<Time>() == Some(self))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A number with a name: a month, a weekday.
struct Named {
    type_name: &'static str,
    number: i64,
    name: &'static str,
}

impl Named {
    fn new(type_name: &'static str, number: i64, name: &'static str) -> Named {
        Named { type_name, number, name }
    }
}

impl Object for Named {
    fn type_name(&self) -> Cow<'static, str> {
        Cow::Borrowed(self.type_name)
    }

    fn kind(&self) -> Kind {
        IntKind::Int.kind()
    }

    fn method(&self, name: &str) -> Option<Function> {
        let text = self.name;
        (name == "String").then(|| Function::new([], move |_, _| Ok(Value::from(text))))
    }

    fn text(&self) -> Option<GoString> {
        Some(GoString::from(self.name))
    }

    fn equals(&self, other: &dyn Object) -> Option<bool> {
        let same = |other: &Named| other.type_name == self.type_name && other.number == self.number;
        Some(other.as_any().downcast_ref::<Named>().is_some_and(same))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
