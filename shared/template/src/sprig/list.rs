//! Lists: none of these changes the list it is given.

use super::arguments::{NIL_POINTER, Outcome, charge_items, fail, list};
use super::defaults::is_empty;
use super::math::to_int;
use crate::function::{Call, Function, FunctionError, Functions};
use crate::value::{List, Type, Value, deep_equal};

/// Adds the functions of this file.
pub(super) fn register(all: &mut Functions) {
    for name in ["list", "tuple"] {
        all.insert(
            name,
            Function::variadic([], Type::Any, |call, arguments| {
                charge_items(call, arguments.len())?;
                Ok(Value::list(arguments.to_vec()))
            })
            .returning(Type::any_list()),
        );
    }
    register_ends(all);
    register_adding(all);
    register_choosing(all);
    register_cutting(all);
}

/// A function of one list under its plain and its `must` name; both fail alike.
fn of_list(all: &mut Functions, names: [&str; 2], wrong: &'static str, body: fn(&List) -> Value) {
    for name in names {
        all.insert(
            name,
            Function::new([Type::Any], move |call, arguments| {
                let list = list(&arguments[0], wrong)?;
                charge_items(call, list.len())?;
                Ok(body(list))
            }),
        );
    }
}

fn register_ends(all: &mut Functions) {
    of_list(all, ["first", "mustFirst"], "Cannot find first on type", |list| {
        list.items().first().cloned().unwrap_or(Value::Nil)
    });
    of_list(all, ["last", "mustLast"], "Cannot find last on type", |list| {
        list.items().last().cloned().unwrap_or(Value::Nil)
    });
    of_list(all, ["rest", "mustRest"], "Cannot find rest on type", |list| match list.items() {
        [] => Value::List(List::nil(Type::Any)),
        [_, rest @ ..] => Value::list(rest.to_vec()),
    });
    of_list(all, ["initial", "mustInitial"], "Cannot find initial on type", |list| match list.items() {
        [] => Value::List(List::nil(Type::Any)),
        [initial @ .., _] => Value::list(initial.to_vec()),
    });
    of_list(all, ["reverse", "mustReverse"], "Cannot find reverse on type", |list| {
        Value::list(list.items().iter().rev().cloned().collect())
    });
    of_list(all, ["compact", "mustCompact"], "Cannot compact on type", |list| {
        Value::list(list.items().iter().filter(|item| !is_empty(item)).cloned().collect())
    });
}

fn register_adding(all: &mut Functions) {
    for name in ["append", "push", "mustAppend", "mustPush"] {
        all.insert(
            name,
            Function::new([Type::Any, Type::Any], |call, arguments| {
                let list = list(&arguments[0], "Cannot push on type")?;
                charge_items(call, list.len() + 1)?;
                let mut items = list.items().to_vec();
                items.push(arguments[1].clone());
                Ok(Value::list(items))
            }),
        );
    }
    for name in ["prepend", "mustPrepend"] {
        all.insert(
            name,
            Function::new([Type::Any, Type::Any], |call, arguments| {
                let list = list(&arguments[0], "Cannot prepend on type")?;
                charge_items(call, list.len() + 1)?;
                let mut items = vec![arguments[1].clone()];
                items.extend_from_slice(list.items());
                Ok(Value::list(items))
            }),
        );
    }
    all.insert("concat", Function::variadic([], Type::Any, concat));
}

fn concat(call: &mut Call<'_>, lists: &[Value]) -> Outcome {
    let mut items = Vec::new();
    for value in lists {
        let list = match value {
            Value::List(list) => list,
            Value::NoValue | Value::Nil => return fail(NIL_POINTER),
            other => return fail(format!("Cannot concat type {} as list", other.kind())),
        };
        charge_items(call, list.len())?;
        items.extend_from_slice(list.items());
    }
    if items.is_empty() {
        return Ok(Value::List(List::nil(Type::Any)));
    }
    Ok(Value::list(items))
}

fn register_choosing(all: &mut Functions) {
    for name in ["uniq", "mustUniq"] {
        all.insert(
            name,
            Function::new([Type::Any], |call, arguments| {
                let list = list(&arguments[0], "Cannot find uniq on type")?;
                let mut kept: Vec<Value> = Vec::new();
                for item in list.items() {
                    charge_items(call, kept.len() + 1)?;
                    if !holds(&kept, item)? {
                        kept.push(item.clone());
                    }
                }
                Ok(Value::list(kept))
            }),
        );
    }
    for name in ["without", "mustWithout"] {
        all.insert(
            name,
            Function::variadic([Type::Any], Type::Any, |call, arguments| {
                let list = list(&arguments[0], "Cannot find without on type")?;
                let mut kept = Vec::new();
                for item in list.items() {
                    charge_items(call, arguments.len())?;
                    if !holds(&arguments[1..], item)? {
                        kept.push(item.clone());
                    }
                }
                Ok(Value::list(kept))
            }),
        );
    }
    for name in ["has", "mustHas"] {
        all.insert(
            name,
            Function::new([Type::Any, Type::Any], |call, arguments| {
                if arguments[1].is_absent() {
                    return Ok(Value::Bool(false));
                }
                let list = list(&arguments[1], "Cannot find has on type")?;
                call.step(list.len() as u64)?;
                Ok(Value::Bool(holds(list.items(), &arguments[0])?))
            }),
        );
    }
}

fn holds(items: &[Value], wanted: &Value) -> Result<bool, FunctionError> {
    for item in items {
        if deep_equal(wanted, item)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn register_cutting(all: &mut Functions) {
    for name in ["slice", "mustSlice"] {
        all.insert(name, Function::variadic([Type::Any], Type::Any, |_, arguments| slice(arguments)));
    }
    for name in ["chunk", "mustChunk"] {
        all.insert(
            name,
            Function::new([Type::INT, Type::Any], |call, arguments| {
                chunk(call, arguments[0].as_int().unwrap_or(0), &arguments[1])
            }),
        );
    }
}

fn slice(arguments: &[Value]) -> Outcome {
    let list = list(&arguments[0], "list should be type of slice or array but")?;
    if list.is_empty() {
        return Ok(Value::Nil);
    }
    let start = arguments.get(1).map_or(0, to_int);
    let end = arguments.get(2).map_or(list.len() as i64, to_int);
    let window = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    match window.and_then(|(start, end)| list.window(start, end, None)) {
        Some(window) => Ok(Value::List(window)),
        None => fail("reflect.Value.Slice: slice index out of bounds"),
    }
}

fn chunk(call: &mut Call<'_>, size: i64, value: &Value) -> Outcome {
    let list = list(value, "Cannot chunk type")?;
    charge_items(call, list.len().saturating_mul(2))?;
    let Some(size) = usize::try_from(size).ok().filter(|size| *size > 0) else {
        return odd_chunks(size, list);
    };
    let chunks = list.items().chunks(size).map(|chunk| Value::list(chunk.to_vec())).collect();
    Ok(Value::List(List::typed(Type::any_list(), chunks)))
}

/// Chunks of a size that is none. Go computes their number first, `floor((length - 1) / size) + 1`, and fails only when
/// that is negative, or when it comes to making a chunk.
fn odd_chunks(size: i64, list: &List) -> Outcome {
    let length = list.len() as i64;
    let chunks = if size == 0 { i64::MIN } else { ((length - 1) as f64 / size as f64).floor() as i64 + 1 };
    let chunks = match (chunks, length) {
        (0, _) => Vec::new(),
        (1, 1) if size < -1 => vec![Value::list(list.items().to_vec())],
        _ => return fail("runtime error: makeslice: len out of range"),
    };
    Ok(Value::List(List::typed(Type::any_list(), chunks)))
}
