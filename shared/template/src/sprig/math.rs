//! Whole numbers (`int64`), conversions between numbers, ranges of them, and rounding.

use super::arguments::{Outcome, charge_items, fail, float, integer, print, string, text};
use crate::function::{Call, Function, FunctionError, Functions};
use crate::value::{IntKind, List, Type, Value};

/// One of two numbers.
type Choose<N> = fn(N, N) -> N;

/// Adds the functions of this file.
pub(super) fn register(all: &mut Functions) {
    register_conversions(all);
    register_arithmetic(all);
    register_extremes(all);
    register_rounding(all);
    all.insert(
        "until",
        Function::new([Type::INT], |call, arguments| {
            let count = integer(&arguments[0]);
            Ok(int_list(range(call, 0, count, if count < 0 { -1 } else { 1 })?))
        }),
    );
    all.insert(
        "untilStep",
        Function::new([Type::INT, Type::INT, Type::INT], |call, arguments| {
            let [start, stop, step] = [0, 1, 2].map(|at| integer(&arguments[at]));
            Ok(int_list(range(call, start, stop, step)?))
        }),
    );
    all.insert("seq", Function::variadic([], Type::INT, seq).returning(Type::String));
}

fn register_conversions(all: &mut Functions) {
    all.insert("int64", Function::new([Type::Any], |_, arguments| Ok(Value::int64(to_int(&arguments[0])))));
    all.insert("int", Function::new([Type::Any], |_, arguments| Ok(Value::int(to_int(&arguments[0])))));
    all.insert("float64", Function::new([Type::Any], |_, arguments| Ok(Value::float(to_float(&arguments[0])))));
    all.insert("atoi", Function::new([Type::String], |_, arguments| Ok(Value::int(atoi(&text(&arguments[0]))))));
    all.insert(
        "toDecimal",
        Function::new([Type::Any], |_, arguments| {
            let printed = print(&arguments[0])?;
            Ok(Value::int64(i64::from_str_radix(&printed.to_text(), 8).unwrap_or(0)))
        }),
    );
}

fn register_arithmetic(all: &mut Functions) {
    all.insert(
        "add1",
        Function::new([Type::Any], |_, arguments| Ok(Value::int64(to_int(&arguments[0]).wrapping_add(1)))),
    );
    all.insert(
        "add",
        Function::variadic([], Type::Any, |_, arguments| {
            Ok(Value::int64(arguments.iter().map(to_int).fold(0, i64::wrapping_add)))
        })
        .returning(Type::INT64),
    );
    all.insert(
        "mul",
        Function::variadic([Type::Any], Type::Any, |_, arguments| {
            Ok(Value::int64(arguments.iter().map(to_int).fold(1, i64::wrapping_mul)))
        }),
    );
    two_numbers(all, "sub", |one, two| Ok(one.wrapping_sub(two)));
    two_numbers(all, "div", |one, two| one.checked_div(two).or((two != 0).then_some(one)).ok_or_else(by_zero));
    two_numbers(all, "mod", |one, two| one.checked_rem(two).or((two != 0).then_some(0)).ok_or_else(by_zero));
}

fn two_numbers(all: &mut Functions, name: &str, body: fn(i64, i64) -> Result<i64, FunctionError>) {
    all.insert(
        name,
        Function::new([Type::Any, Type::Any], move |_, arguments| {
            Ok(Value::int64(body(to_int(&arguments[0]), to_int(&arguments[1]))?))
        }),
    );
}

fn by_zero() -> FunctionError {
    FunctionError::new("runtime error: integer divide by zero")
}

fn register_extremes(all: &mut Functions) {
    let integers: [(&str, Choose<i64>); 3] = [("max", i64::max), ("biggest", i64::max), ("min", i64::min)];
    for (name, choose) in integers {
        all.insert(
            name,
            Function::variadic([Type::Any], Type::Any, move |_, arguments| {
                Ok(Value::int64(arguments.iter().map(to_int).reduce(choose).unwrap_or(0)))
            }),
        );
    }
    let floats: [(&str, Choose<f64>); 2] = [("maxf", go_max), ("minf", |one, two| -go_max(-one, -two))];
    for (name, choose) in floats {
        all.insert(
            name,
            Function::variadic([Type::Any], Type::Any, move |_, arguments| {
                Ok(Value::float(arguments.iter().map(to_float).reduce(choose).unwrap_or(0.0)))
            }),
        );
    }
}

/// Go's `math.Max`: NaN wins, except over +Inf; 0 is more than -0.
fn go_max(one: f64, two: f64) -> f64 {
    if one == f64::INFINITY || two == f64::INFINITY {
        f64::INFINITY
    } else if one.is_nan() || two.is_nan() {
        f64::NAN
    } else if one == 0.0 && two == 0.0 {
        one + two
    } else {
        one.max(two)
    }
}

fn register_rounding(all: &mut Functions) {
    all.insert("floor", Function::new([Type::Any], |_, arguments| Ok(Value::float(to_float(&arguments[0]).floor()))));
    all.insert("ceil", Function::new([Type::Any], |_, arguments| Ok(Value::float(to_float(&arguments[0]).ceil()))));
    all.insert(
        "round",
        Function::variadic([Type::Any, Type::INT], Type::FLOAT64, |_, arguments| {
            let threshold = arguments.get(2).map_or(0.5, float);
            let power = 10f64.powf(integer(&arguments[1]) as f64);
            let digit = power * to_float(&arguments[0]);
            let rounded = if digit - digit.trunc() >= threshold { digit.ceil() } else { digit.floor() };
            Ok(Value::float(rounded / power))
        }),
    );
}

/// sprig's lenient conversion to an integer: 0 for what is none.
pub(super) fn to_int(value: &Value) -> i64 {
    match value {
        Value::Int(number, _) => *number,
        Value::Uint(number, _) => *number as i64,
        Value::Float(number, _) => float_to_int(*number),
        Value::Bool(flag) => i64::from(*flag),
        Value::String(text) => parse_int(without_zero_decimals(&text.to_text())).unwrap_or(0),
        _ => 0,
    }
}

/// A float cut to `int64` as x86-64 does it: what does not fit is the smallest number.
fn float_to_int(number: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number) { number as i64 } else { i64::MIN }
}

/// sprig's lenient conversion to a float: 0 for what is none.
pub(super) fn to_float(value: &Value) -> f64 {
    match value {
        Value::Int(number, _) => *number as f64,
        Value::Uint(number, _) => *number as f64,
        Value::Float(number, _) => *number,
        Value::Bool(flag) => f64::from(u8::from(*flag)),
        Value::String(text) => parse_float(&text.to_text()).unwrap_or(0.0),
        _ => 0.0,
    }
}

/// Go's `strconv.ParseFloat` for decimal numbers; one too large for a float is refused.
pub(super) fn parse_float(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    if number.is_infinite() && text.contains(|character: char| character.is_ascii_digit()) {
        None
    } else {
        Some(number)
    }
}

/// `12.000` is `12`; other texts stay.
fn without_zero_decimals(text: &str) -> &str {
    let trimmed = text.trim_end_matches('0');
    if trimmed.len() == text.len() { text } else { trimmed.strip_suffix('.').unwrap_or(text) }
}

/// Go's `strconv.ParseInt` with base 0: prefixes give the base, underscores part digits.
fn parse_int(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, body) = if let Some(body) = lower.strip_prefix("0x") {
        (16, body)
    } else if let Some(body) = lower.strip_prefix("0b") {
        (2, body)
    } else if let Some(body) = lower.strip_prefix("0o") {
        (8, body)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    let prefixed = base != 10;
    if body.is_empty() || body.starts_with(['+', '-']) || body.ends_with('_') || body.contains("__") {
        return None;
    }
    if body.starts_with('_') && !prefixed {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{}", body.replace('_', "")), base).ok()
}

/// Go's `strconv.Atoi` with its error ignored: 0 for no number, the nearest one for a number too large.
fn atoi(text: &str) -> i64 {
    use std::num::IntErrorKind;
    text.parse::<i64>().unwrap_or_else(|error| match error.kind() {
        IntErrorKind::PosOverflow => i64::MAX,
        IntErrorKind::NegOverflow => i64::MIN,
        _ => 0,
    })
}

fn int_list(numbers: Vec<i64>) -> Value {
    Value::List(List::typed(Type::INT, numbers.into_iter().map(|number| Value::Int(number, IntKind::Int)).collect()))
}

/// From `start` up or down to before `stop`; empty when the step leads away from it.
fn range(call: &mut Call<'_>, start: i64, stop: i64, step: i64) -> Result<Vec<i64>, FunctionError> {
    if stop < start && step >= 0 || stop >= start && step <= 0 {
        return Ok(Vec::new());
    }
    let count = (i128::from(stop) - i128::from(start)).unsigned_abs().div_ceil(i128::from(step).unsigned_abs());
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    charge_items(call, count)?;
    Ok((0..count as i64).map(|at| start.wrapping_add(at.wrapping_mul(step))).collect())
}

fn seq(call: &mut Call<'_>, arguments: &[Value]) -> Outcome {
    let toward = |start: i64, end: i64| if end < start { -1 } else { 1 };
    let (start, step, end) = match arguments {
        [end] => (1, toward(1, integer(end)), integer(end)),
        [start, end] => (integer(start), toward(integer(start), integer(end)), integer(end)),
        [start, step, end] => (integer(start), integer(step), integer(end)),
        _ => return Ok(Value::from("")),
    };
    let Some(stop) = end.checked_add(toward(start, end)) else {
        return fail(format!("the sequence ends at {end}, beyond which there are no numbers"));
    };
    let numbers = if end < start && step > 0 { Vec::new() } else { range(call, start, stop, step)? };
    let words: Vec<String> = numbers.iter().map(i64::to_string).collect();
    Ok(string(words.join(" ")))
}
