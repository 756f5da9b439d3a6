//! Dictionaries. They are shared: `set` and `unset` change what everyone who holds the map sees.

use super::arguments::{Outcome, bytes, charge_items, fail, map, string, to_string};
use crate::function::{Call, Function, FunctionError, Functions};
use crate::limits::LimitError;
use crate::value::{GoString, List, Map, MapKey, Type, Value};

/// How deep values may be nested that are copied, merged or written out.
pub(super) const DEPTH: usize = 1000;

/// Adds the functions of this file.
pub(super) fn register(all: &mut Functions) {
    all.insert("dict", Function::variadic([], Type::Any, dict).returning(Type::any_map()));
    register_entries(all);
    register_choosing(all);
    all.insert("dig", Function::variadic([], Type::Any, |_, arguments| dig(arguments)));
    for name in ["deepCopy", "mustDeepCopy"] {
        all.insert(
            name,
            Function::new([Type::Any], |call, arguments| match &arguments[0] {
                Value::NoValue | Value::Nil => fail("reflect: call of reflect.Value.Type on zero Value"),
                value => deep_copy(call, value, 0),
            }),
        );
    }
}

fn register_entries(all: &mut Functions) {
    let map_and_key = || [Type::any_map(), Type::String];
    all.insert(
        "get",
        Function::new(map_and_key(), |_, arguments| {
            Ok(map(&arguments[0]).get(bytes(&arguments[1])).unwrap_or_else(|| Value::from("")))
        }),
    );
    all.insert(
        "set",
        Function::new([Type::any_map(), Type::String, Type::Any], |call, arguments| {
            charge_items(call, 1)?;
            map(&arguments[0]).set(bytes(&arguments[1]), arguments[2].clone())?;
            Ok(arguments[0].clone())
        })
        .returning(Type::any_map()),
    );
    all.insert(
        "unset",
        Function::new(map_and_key(), |_, arguments| {
            map(&arguments[0]).remove(bytes(&arguments[1]));
            Ok(arguments[0].clone())
        })
        .returning(Type::any_map()),
    );
    all.insert(
        "hasKey",
        Function::new(map_and_key(), |_, arguments| Ok(Value::Bool(map(&arguments[0]).contains(bytes(&arguments[1]))))),
    );
}

fn register_choosing(all: &mut Functions) {
    all.insert(
        "keys",
        Function::variadic([], Type::any_map(), |call, arguments| {
            let keys: Vec<Value> =
                arguments.iter().flat_map(|value| map(value).keys()).map(|key| key.to_value()).collect();
            charge_items(call, keys.len())?;
            Ok(Value::List(List::typed(Type::String, keys)))
        })
        .returning(Type::string_list()),
    );
    all.insert(
        "values",
        Function::new([Type::any_map()], |call, arguments| {
            let values = map(&arguments[0]).values();
            charge_items(call, values.len())?;
            Ok(Value::list(values))
        }),
    );
    all.insert(
        "pluck",
        Function::variadic([Type::String], Type::any_map(), |call, arguments| {
            charge_items(call, arguments.len())?;
            let key = bytes(&arguments[0]);
            Ok(Value::list(arguments[1..].iter().filter_map(|value| map(value).get(key)).collect()))
        }),
    );
    all.insert(
        "pick",
        Function::variadic([Type::any_map()], Type::String, |call, arguments| {
            charge_items(call, arguments.len())?;
            let source = map(&arguments[0]);
            let picked = arguments[1..].iter().filter_map(Value::as_string);
            Ok(Value::map(picked.filter_map(|key| Some((key.clone(), source.get(key.as_bytes())?)))))
        }),
    );
    all.insert(
        "omit",
        Function::variadic([Type::any_map()], Type::String, |call, arguments| {
            let kept = map(&arguments[0]).copy();
            charge_items(call, kept.len())?;
            for key in &arguments[1..] {
                kept.remove(bytes(key));
            }
            Ok(Value::Map(kept))
        }),
    );
}

fn dict(call: &mut Call<'_>, arguments: &[Value]) -> Outcome {
    charge_items(call, arguments.len())?;
    let map = Map::new();
    for pair in arguments.chunks(2) {
        let value = pair.get(1).cloned().unwrap_or_else(|| string(GoString::default()));
        map.set(to_string(&pair[0])?, value)?;
    }
    Ok(Value::Map(map))
}

fn dig(arguments: &[Value]) -> Outcome {
    let [keys @ .., default, source] = arguments else { return fail("dig needs at least three arguments") };
    if keys.is_empty() {
        return fail("dig needs at least three arguments");
    }
    let mut current = dug(source)?;
    let names: Result<Vec<&GoString>, FunctionError> =
        keys.iter().map(|key| key.as_string().ok_or_else(|| conversion(key, "string"))).collect();
    let names = names?;
    for (at, name) in names.iter().enumerate() {
        let Some(step) = current.get(name.as_bytes()) else { return Ok(default.clone()) };
        if at + 1 == names.len() {
            return Ok(step);
        }
        current = dug(&step)?;
    }
    Ok(default.clone())
}

/// The value as `map[string]interface {}`, as a Go type assertion gives it.
fn dug(value: &Value) -> Result<Map, FunctionError> {
    match value {
        Value::Map(map) if *map.key_type() == Type::String && *map.value_type() == Type::Any => Ok(map.clone()),
        other => Err(conversion(other, "map[string]interface {}")),
    }
}

fn conversion(value: &Value, wanted: &str) -> FunctionError {
    let found = if value.is_absent() { "nil".to_owned() } else { value.type_name() };
    FunctionError::new(format!("interface conversion: interface {{}} is {found}, not {wanted}"))
}

/// A copy that shares no list and no map with the original.
fn deep_copy(call: &mut Call<'_>, value: &Value, depth: usize) -> Outcome {
    if depth > DEPTH {
        return Err(LimitError::Nesting(DEPTH).into());
    }
    match value {
        Value::List(list) if !list.is_nil() => {
            charge_items(call, list.len())?;
            let items: Result<Vec<Value>, _> =
                list.items().iter().map(|item| deep_copy(call, item, depth + 1)).collect();
            Ok(Value::List(List::typed(list.element_type().clone(), items?)))
        }
        Value::Map(map) if !map.is_nil() => {
            charge_items(call, map.len())?;
            let copy = Map::typed(map.key_type().clone(), map.value_type().clone());
            for (key, item) in map.entries() {
                copy.set_key(key, deep_copy(call, &item, depth + 1)?)?;
            }
            Ok(Value::Map(copy))
        }
        other => Ok(other.clone()),
    }
}

/// The key as JSON and messages spell it, when it is of a kind that JSON allows.
pub(super) fn key_text(key: &MapKey) -> Option<GoString> {
    match key {
        MapKey::String(text) => Some(text.clone()),
        MapKey::Int(number, _) => Some(GoString::from(number.to_string())),
        MapKey::Uint(number, _) => Some(GoString::from(number.to_string())),
        MapKey::Nil | MapKey::Bool(_) | MapKey::Float(..) => None,
    }
}
