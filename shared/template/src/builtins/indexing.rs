//! `len`, `index` and `slice`.

use super::Answer;
use crate::exec::convert;
use crate::function::FunctionError;
use crate::value::{GoString, MapKey, UintKind, Value};

fn error(message: impl Into<String>) -> FunctionError {
    FunctionError::new(message)
}

/// Whether there is no value, as opposed to a nil one: what Go can tell nothing about.
fn is_nothing(value: &Value) -> bool {
    value.is_absent()
}

fn is_nil_pointer(value: &Value) -> bool {
    matches!(value, Value::Nil) || matches!(value, Value::Object(object) if object.is_nil())
}

/// The number of items, entries or bytes.
pub(super) fn len(item: &Value) -> Answer {
    let length = match item {
        Value::NoValue => return Err(error("reflect: call of reflect.Value.Type on zero Value")),
        Value::String(text) => text.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        other if is_nil_pointer(other) => return Err(error("len of nil pointer")),
        other => return Err(error(format!("len of type {}", other.type_name()))),
    };
    Ok(Value::int(length as i64))
}

/// `item[index][index]…`.
pub(super) fn index(item: &Value, indexes: &[Value]) -> Answer {
    if is_nothing(item) {
        return Err(error("index of untyped nil"));
    }
    let mut item = item.clone();
    for index in indexes {
        item = match &item {
            value if value.is_absent() || is_nil_pointer(value) => return Err(error("index of nil pointer")),
            Value::List(list) => {
                let at = position(index, list.len())?;
                list.get(at).cloned().ok_or_else(|| error("reflect: slice index out of range"))?
            }
            Value::String(text) => {
                let at = position(index, text.len())?;
                let byte = text.get(at).ok_or_else(|| error("reflect: string index out of range"))?;
                Value::Uint(u64::from(*byte), UintKind::Uint8)
            }
            Value::Map(map) => {
                let key = convert(index.clone(), map.key_type()).map_err(error)?;
                map.get_key(&MapKey::of(&key)?).unwrap_or_else(|| map.value_type().zero())
            }
            other => return Err(error(format!("can't index item of type {}", other.type_name()))),
        };
    }
    Ok(item)
}

/// `item[from:to:limit]`, each of them optional.
pub(super) fn slice(item: &Value, indexes: &[Value]) -> Answer {
    if is_nothing(item) {
        return Err(error("slice of untyped nil"));
    }
    if is_nil_pointer(item) {
        return Err(error("slice of nil pointer"));
    }
    if indexes.len() > 3 {
        return Err(error(format!("too many slice indexes: {}", indexes.len())));
    }
    let (length, capacity) = match item {
        Value::String(_) if indexes.len() == 3 => return Err(error("cannot 3-index slice a string")),
        Value::String(text) => (text.len(), text.len()),
        Value::List(list) => (list.len(), list.capacity()),
        other => return Err(error(format!("can't slice item of type {}", other.type_name()))),
    };
    let mut bounds = [0, length, capacity];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = position(index, capacity)?;
    }
    let [from, to, limit] = bounds;
    if from > to {
        return Err(error(format!("invalid slice index: {from} > {to}")));
    }
    if indexes.len() == 3 && to > limit {
        return Err(error(format!("invalid slice index: {to} > {limit}")));
    }
    match item {
        Value::String(text) => Ok(Value::String(GoString::from(&text[from..to]))),
        Value::List(list) => {
            let limit = (indexes.len() == 3).then_some(limit);
            list.window(from, to, limit)
                .map(Value::List)
                .ok_or_else(|| error("reflect.Value.Slice: slice index out of bounds"))
        }
        other => Err(error(format!("can't slice item of type {}", other.type_name()))),
    }
}

/// The index as a number from 0 to `end`, `end` included.
fn position(index: &Value, end: usize) -> Result<usize, FunctionError> {
    let number = match index {
        Value::Int(number, _) => *number,
        Value::Uint(number, _) => *number as i64,
        Value::NoValue | Value::Nil => return Err(error("cannot index slice/array with nil")),
        other => return Err(error(format!("cannot index slice/array with type {}", other.type_name()))),
    };
    usize::try_from(number).ok().filter(|at| *at <= end).ok_or_else(|| error(format!("index out of range: {number}")))
}
