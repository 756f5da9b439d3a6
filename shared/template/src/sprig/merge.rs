//! `merge` and its kin: fill the first dictionary from the others, in place.
//!
//! The rules, as sprig's merging library has them for maps: a nil in the source is skipped (or put in, when
//! overwriting); maps on both sides are merged; otherwise the source's value goes in where the destination has none or
//! an empty one, or always when overwriting. Maps of the source that go in are shared with it, not copied.

use super::arguments::{Outcome, fail, map};
use super::defaults::is_empty;
use super::dict::DEPTH;
use crate::function::{Call, Function, FunctionError, Functions};
use crate::limits::LimitError;
use crate::value::{List, Map, MapKey, Type, Value};

/// Adds the functions of this file.
pub(super) fn register(all: &mut Functions) {
    for (name, overwrite) in
        [("merge", false), ("mustMerge", false), ("mergeOverwrite", true), ("mustMergeOverwrite", true)]
    {
        all.insert(
            name,
            Function::variadic([Type::any_map()], Type::any_map(), move |call, arguments| {
                merge(call, arguments, overwrite)
            }),
        );
    }
}

fn merge(call: &mut Call<'_>, arguments: &[Value], overwrite: bool) -> Outcome {
    let mut destination = map(&arguments[0]);
    for source in &arguments[1..] {
        let source = map(source);
        if destination.is_nil() && !source.is_nil() {
            destination = Map::new();
        }
        merge_maps(call, &destination, &source, overwrite, 0)?;
    }
    Ok(Value::Map(destination))
}

fn merge_maps(
    call: &mut Call<'_>,
    destination: &Map,
    source: &Map,
    overwrite: bool,
    depth: usize,
) -> Result<(), FunctionError> {
    if depth > DEPTH {
        return Err(LimitError::Nesting(DEPTH).into());
    }
    for (key, value) in source.entries() {
        super::arguments::charge_items(call, 1)?;
        check_assignable(source.key_type(), destination.key_type(), "reflect.Value.MapIndex")?;
        if value.is_absent() {
            if overwrite {
                put(destination, key, source.value_type(), Value::Nil)?;
            }
            continue;
        }
        merge_entry(call, destination, (key, value, source), overwrite, depth)?;
    }
    Ok(())
}

fn merge_entry(
    call: &mut Call<'_>,
    destination: &Map,
    (key, value, source): (MapKey, Value, &Map),
    overwrite: bool,
    depth: usize,
) -> Result<(), FunctionError> {
    let former = destination.get_key(&key);
    match (&value, &former) {
        (Value::Map(_), Some(Value::Map(inner))) if inner.is_nil() => {}
        (Value::Map(value), Some(Value::Map(inner))) => merge_maps(call, inner, value, overwrite, depth + 1)?,
        (Value::List(list), _) => {
            let kept = merged_list(list, &former, overwrite || destination.is_empty());
            put(destination, key.clone(), &Type::Any, kept)?;
        }
        _ => {}
    }
    let stays = former.as_ref().is_some_and(|former| {
        !is_empty(former) && matches!((&value, former), (Value::List(_), _) | (Value::Map(_), Value::Map(_)))
    });
    if !stays && (overwrite || former.as_ref().is_none_or(is_empty)) {
        put(destination, key, source.value_type(), value)?;
    }
    Ok(())
}

/// What stands in the destination where the source has a list.
fn merged_list(list: &List, former: &Option<Value>, replace: bool) -> Value {
    match former {
        _ if replace => Value::List(list.clone()),
        None | Some(Value::Nil | Value::NoValue) => Value::List(List::typed(list.element_type().clone(), Vec::new())),
        Some(former) => former.clone(),
    }
}

fn put(destination: &Map, key: MapKey, from: &Type, value: Value) -> Result<(), FunctionError> {
    check_assignable(from, destination.value_type(), "reflect.Value.SetMapIndex")?;
    destination.set_key(key, value)
}

/// Go's panic where a key or a value of one static type is used as another.
fn check_assignable(from: &Type, to: &Type, operation: &str) -> Result<(), FunctionError> {
    if from == to || *to == Type::Any {
        return Ok(());
    }
    fail(format!("{operation}: value of type {from} is not assignable to type {to}"))
}
