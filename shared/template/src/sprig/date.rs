//! Dates. The local zone is UTC: a template must not render differently on another machine.

use std::sync::Arc;

use super::arguments::{Outcome, string, text};
use super::time::Time;
use super::world::World;
use super::{duration, layout};
use crate::function::{Function, FunctionError, Functions};
use crate::value::{IntKind, Type, Value};

/// Adds the functions of this file.
pub(super) fn register(all: &mut Functions, world: &Arc<dyn World>) {
    let clock = Arc::clone(world);
    all.insert("now", Function::new([], move |_, _| Ok(Value::object(now(&*clock)))).returning(Time::go_type()));
    register_formatting(all, world);
    register_durations(all, world);
    for name in ["dateModify", "date_modify"] {
        all.insert(
            name,
            Function::new([Type::String, Time::go_type()], |_, arguments| {
                modified(arguments).or_else(|_| Ok(arguments[1].clone()))
            }),
        );
    }
    for name in ["mustDateModify", "must_date_modify"] {
        all.insert(name, Function::new([Type::String, Time::go_type()], |_, arguments| modified(arguments)));
    }
    all.insert(
        "toDate",
        Function::new([Type::String, Type::String], |_, arguments| {
            Ok(Value::object(
                layout::parse(&text(&arguments[0]), &text(&arguments[1])).unwrap_or_else(|_| Time::zero()),
            ))
        })
        .returning(Time::go_type()),
    );
    all.insert(
        "mustToDate",
        Function::new([Type::String, Type::String], |_, arguments| {
            let time = layout::parse(&text(&arguments[0]), &text(&arguments[1])).map_err(FunctionError::new)?;
            Ok(Value::object(time))
        })
        .returning(Time::go_type()),
    );
    all.insert(
        "unixEpoch",
        Function::new([Time::go_type()], |_, arguments| {
            Ok(string(Time::of(&arguments[0]).map_or(0, |time| time.seconds).to_string()))
        }),
    );
}

fn now(world: &dyn World) -> Time {
    let (seconds, nanoseconds) = world.now();
    Time::utc(seconds, nanoseconds)
}

/// A time, or seconds since 1970; anything else is now.
fn moment(world: &dyn World, value: &Value) -> Time {
    match value {
        Value::Int(seconds, IntKind::Int | IntKind::Int64 | IntKind::Int32) => Time::utc(*seconds, 0),
        other => Time::of(other).cloned().unwrap_or_else(|| now(world)),
    }
}

fn register_formatting(all: &mut Functions, world: &Arc<dyn World>) {
    let clock = Arc::clone(world);
    all.insert(
        "date",
        Function::new([Type::String, Type::Any], move |_, arguments| {
            Ok(in_zone(&*clock, &text(&arguments[0]), &arguments[1], "Local"))
        }),
    );
    for name in ["dateInZone", "date_in_zone"] {
        let clock = Arc::clone(world);
        all.insert(
            name,
            Function::new([Type::String, Type::Any, Type::String], move |_, arguments| {
                Ok(in_zone(&*clock, &text(&arguments[0]), &arguments[1], &text(&arguments[2])))
            }),
        );
    }
    let clock = Arc::clone(world);
    all.insert(
        "htmlDate",
        Function::new([Type::Any], move |_, arguments| Ok(in_zone(&*clock, "2006-01-02", &arguments[0], "Local"))),
    );
    let clock = Arc::clone(world);
    all.insert(
        "htmlDateInZone",
        Function::new([Type::Any, Type::String], move |_, arguments| {
            Ok(in_zone(&*clock, "2006-01-02", &arguments[0], &text(&arguments[1])))
        }),
    );
}

fn in_zone(world: &dyn World, layout: &str, value: &Value, zone: &str) -> Value {
    string(layout::format(&moment(world, value).in_zone(zone), layout))
}

fn register_durations(all: &mut Functions, world: &Arc<dyn World>) {
    let clock = Arc::clone(world);
    all.insert(
        "ago",
        Function::new([Type::Any], move |_, arguments| {
            let then = match &arguments[0] {
                Value::Int(_, IntKind::Int32) => now(&*clock),
                other => moment(&*clock, other),
            };
            let elapsed = now(&*clock).since(&then);
            let seconds = (i128::from(elapsed) + 500_000_000 * i128::from(elapsed.signum())) / 1_000_000_000;
            Ok(string(duration::print((seconds as i64).saturating_mul(1_000_000_000))))
        }),
    );
    all.insert(
        "duration",
        Function::new([Type::Any], |_, arguments| {
            let seconds = match &arguments[0] {
                Value::String(text) => text.to_text().parse().unwrap_or(0),
                Value::Int(seconds, IntKind::Int64) => *seconds,
                _ => 0i64,
            };
            Ok(string(duration::print(seconds.wrapping_mul(1_000_000_000))))
        }),
    );
    let clock = Arc::clone(world);
    all.insert(
        "durationRound",
        Function::new([Type::Any], move |_, arguments| {
            let nanoseconds = match &arguments[0] {
                Value::String(text) => duration::parse(&text.to_text()).unwrap_or(0),
                Value::Int(nanoseconds, IntKind::Int64) => *nanoseconds,
                other => Time::of(other).map_or(0, |then| now(&*clock).since(then)),
            };
            Ok(string(duration::round(nanoseconds)))
        }),
    );
}

fn modified(arguments: &[Value]) -> Outcome {
    let change = duration::parse(&text(&arguments[0])).map_err(FunctionError::new)?;
    let time = Time::of(&arguments[1]).cloned().unwrap_or_else(Time::zero);
    Ok(Value::object(time.plus(change)))
}
