//! `eq`, `lt` and their kin.

use crate::format::sprintf;
use crate::function::FunctionError;
use crate::value::{Kind, Value, equal};

type Truth = Result<bool, FunctionError>;

/// What can be compared by size, whatever its width.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Basic {
    Bool,
    Complex,
    Int,
    Float,
    String,
    Uint,
}

fn basic(value: &Value) -> Option<Basic> {
    match value {
        Value::Bool(_) => Some(Basic::Bool),
        Value::Complex(..) => Some(Basic::Complex),
        Value::Int(..) => Some(Basic::Int),
        Value::Float(..) => Some(Basic::Float),
        Value::String(_) => Some(Basic::String),
        Value::Uint(..) => Some(Basic::Uint),
        Value::NoValue | Value::Nil | Value::List(_) | Value::Map(_) | Value::Object(_) | Value::Function(_) => None,
    }
}

/// Whether the first equals any of the others.
pub(super) fn eq(first: &Value, others: &[Value]) -> Truth {
    if others.is_empty() {
        return Err(FunctionError::new("missing argument for comparison"));
    }
    for other in others {
        if eq_one(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn eq_one(one: &Value, two: &Value) -> Truth {
    match (one, two) {
        (Value::Int(one, _), Value::Uint(two, _)) => Ok(u64::try_from(*one).is_ok_and(|one| one == *two)),
        (Value::Uint(one, _), Value::Int(two, _)) => Ok(u64::try_from(*two).is_ok_and(|two| two == *one)),
        (Value::Bool(one), Value::Bool(two)) => Ok(one == two),
        (Value::Complex(one, i), Value::Complex(two, j)) => Ok(one == two && i == j),
        (Value::Float(one, _), Value::Float(two, _)) => Ok(one == two),
        (Value::Int(one, _), Value::Int(two, _)) => Ok(one == two),
        (Value::String(one), Value::String(two)) => Ok(one == two),
        (Value::Uint(one, _), Value::Uint(two, _)) => Ok(one == two),
        _ if basic(one) != basic(two) => {
            if one.is_absent() || two.is_absent() {
                return Ok(false);
            }
            Err(incompatible(one, two))
        }
        _ => eq_others(one, two),
    }
}

/// Values that are not of a basic kind.
fn eq_others(one: &Value, two: &Value) -> Truth {
    let (one_kind, two_kind) = (one.kind(), two.kind());
    if one_kind != two_kind && one_kind != Kind::Invalid && two_kind != Kind::Invalid {
        let (first, second) = (shown(one, b"%s")?, shown(two, b"%v")?);
        let message = format!("non-comparable types {first}: {}, {}: {second}", one.type_name(), two.type_name());
        return Err(FunctionError::new(message));
    }
    if is_nil(one) || is_nil(two) {
        return Ok(is_nil(one) == is_nil(two));
    }
    if matches!(two, Value::List(_) | Value::Map(_) | Value::Function(_)) {
        let message = format!("non-comparable type {}: {}", shown(two, b"%s")?, two.type_name());
        return Err(FunctionError::new(message));
    }
    equal(one, two)
}

fn is_nil(value: &Value) -> bool {
    value.is_nil()
}

fn shown(value: &Value, format: &[u8]) -> Result<String, FunctionError> {
    Ok(sprintf(format, std::slice::from_ref(value))?.to_string())
}

fn incompatible(one: &Value, two: &Value) -> FunctionError {
    FunctionError::new(format!("incompatible types for comparison: {} and {}", one.type_name(), two.type_name()))
}

/// Whether the first is less than the second.
pub(super) fn lt(one: &Value, two: &Value) -> Truth {
    let bad = || FunctionError::new("invalid type for comparison");
    let (one_kind, two_kind) = (basic(one).ok_or_else(bad)?, basic(two).ok_or_else(bad)?);
    match (one, two) {
        (Value::Int(one, _), Value::Uint(two, _)) => Ok(u64::try_from(*one).map_or(true, |one| one < *two)),
        (Value::Uint(one, _), Value::Int(two, _)) => Ok(u64::try_from(*two).is_ok_and(|two| *one < two)),
        (Value::Float(one, _), Value::Float(two, _)) => Ok(one < two),
        (Value::Int(one, _), Value::Int(two, _)) => Ok(one < two),
        (Value::String(one), Value::String(two)) => Ok(one < two),
        (Value::Uint(one, _), Value::Uint(two, _)) => Ok(one < two),
        _ if one_kind != two_kind => Err(incompatible(one, two)),
        _ => Err(bad()),
    }
}

/// Whether the first is at most the second.
pub(super) fn le(one: &Value, two: &Value) -> Truth {
    Ok(lt(one, two)? || eq_one(one, two)?)
}
