//! Reading arguments and making results. The engine has checked the arguments against the signature, so a reader of
//! the wrong kind does not happen; it gives the zero value rather than a panic.

use crate::function::{Call, FunctionError};
use crate::value::{GoString, List, Map, Type, Value};

/// What a function gives.
pub(super) type Outcome = Result<Value, FunctionError>;

/// What Go says when a nil is followed.
pub(super) const NIL_POINTER: &str = "runtime error: invalid memory address or nil pointer dereference";

/// The bytes of a string argument.
pub(super) fn bytes(value: &Value) -> &[u8] {
    value.as_string().map_or(&[], GoString::as_bytes)
}

/// The text of a string argument.
pub(super) fn text(value: &Value) -> std::borrow::Cow<'_, str> {
    value.as_string().map(GoString::to_text).unwrap_or_default()
}

/// An integer argument.
pub(super) fn integer(value: &Value) -> i64 {
    value.as_int().unwrap_or(0)
}

/// A `float64` argument.
pub(super) fn float(value: &Value) -> f64 {
    match value {
        Value::Float(number, _) => *number,
        _ => 0.0,
    }
}

/// A map argument; anything else reads as the nil map.
pub(super) fn map(value: &Value) -> Map {
    value.as_map().cloned().unwrap_or_else(|| Map::nil(Type::String, Type::Any))
}

/// A string of these bytes.
pub(super) fn string(bytes: impl Into<GoString>) -> Value {
    Value::String(bytes.into())
}

/// An error of the function's own.
pub(super) fn fail<T>(message: impl Into<String>) -> Result<T, FunctionError> {
    Err(FunctionError::new(message))
}

/// The list among `value`, or what sprig's list functions say of anything else: `wrong` with the kind put after it.
pub(super) fn list<'a>(value: &'a Value, wrong: &str) -> Result<&'a List, FunctionError> {
    match value {
        Value::List(list) => Ok(list),
        Value::NoValue | Value::Nil => fail(NIL_POINTER),
        other => fail(format!("{wrong} {}", other.kind())),
    }
}

/// sprig's `strval`: a string as it is, bytes as a string, anything else as `%v` prints it.
pub(super) fn to_string(value: &Value) -> Result<GoString, FunctionError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::List(list) => match list.to_bytes() {
            Some(bytes) => Ok(GoString::from(bytes)),
            None => print(value),
        },
        other => print(other),
    }
}

/// `%v`.
pub(super) fn print(value: &Value) -> Result<GoString, FunctionError> {
    crate::format::sprintf(b"%v", &[value.clone().or_nil()])
}

/// sprig's `strslice`: the items of a list as strings, nils left out; anything else as a list of one.
pub(super) fn to_strings(value: &Value) -> Result<Vec<GoString>, FunctionError> {
    match value {
        Value::List(list) => list.items().iter().filter(|item| !item.is_absent()).map(to_string).collect(),
        Value::NoValue | Value::Nil => Ok(Vec::new()),
        other => Ok(vec![to_string(other)?]),
    }
}

/// Accounts for a list of `count` items that is about to be made.
pub(super) fn charge_items(call: &mut Call<'_>, count: usize) -> Result<(), FunctionError> {
    call.step(count as u64)?;
    call.charge(count.saturating_mul(size_of::<Value>()))
}

/// The same character repeated, as Go's `strings.Repeat` does it, its refusals included.
pub(super) fn repeat(call: &mut Call<'_>, unit: &[u8], count: i64) -> Result<Vec<u8>, FunctionError> {
    let Ok(count) = usize::try_from(count) else { return fail("strings: negative Repeat count") };
    let Some(total) = unit.len().checked_mul(count).filter(|total| isize::try_from(*total).is_ok()) else {
        return fail("strings: Repeat output length overflow");
    };
    call.charge(total)?;
    Ok(unit.repeat(count))
}

/// Bytes with every `old` replaced by `new`, as Go's `strings.ReplaceAll` does it.
pub(super) fn replace_all(
    call: &mut Call<'_>,
    source: &[u8],
    old: &[u8],
    new: &[u8],
) -> Result<Vec<u8>, FunctionError> {
    let pieces = split(source, old, if old.is_empty() { None } else { Some(usize::MAX) });
    call.charge(source.len().saturating_add(pieces.len().saturating_mul(new.len())))?;
    if !old.is_empty() {
        return Ok(pieces.join(new));
    }
    let mut out = new.to_vec();
    for piece in pieces {
        out.extend_from_slice(piece);
        out.extend_from_slice(new);
    }
    Ok(out)
}

/// Go's `strings.SplitN`: at most `limit` pieces (`None`: all); an empty separator parts the characters.
pub(super) fn split<'a>(source: &'a [u8], separator: &[u8], limit: Option<usize>) -> Vec<&'a [u8]> {
    let limit = limit.unwrap_or(usize::MAX);
    let mut pieces = Vec::new();
    let mut rest = source;
    if separator.is_empty() {
        while !rest.is_empty() && pieces.len() + 1 < limit {
            let (piece, after) = rest.split_at(super::runes::width(rest));
            pieces.push(piece);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(rest);
        }
        return pieces;
    }
    while pieces.len() + 1 < limit {
        let Some(at) = find(rest, separator) else { break };
        pieces.push(&rest[..at]);
        rest = &rest[at + separator.len()..];
    }
    pieces.push(rest);
    pieces
}

/// Where `needle` first is in `haystack`.
pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return Some(0);
    }
    let first = needle[0];
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|byte| *byte == first) {
        if haystack[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}
