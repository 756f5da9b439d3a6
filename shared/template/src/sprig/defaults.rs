//! What is empty, and what to take instead.

use crate::function::{Function, Functions};
use crate::value::{Type, Value};

/// Adds the functions of this file.
pub(super) fn register(all: &mut Functions) {
    all.insert(
        "default",
        Function::variadic([Type::Any], Type::Any, |_, arguments| match arguments.get(1) {
            Some(given) if !is_empty(given) => Ok(given.clone()),
            _ => Ok(arguments[0].clone()),
        }),
    );
    all.insert("empty", Function::new([Type::Any], |_, arguments| Ok(Value::Bool(is_empty(&arguments[0])))));
    all.insert(
        "coalesce",
        Function::variadic([], Type::Any, |_, arguments| {
            Ok(arguments.iter().find(|value| !is_empty(value)).cloned().unwrap_or(Value::Nil))
        }),
    );
    all.insert(
        "all",
        Function::variadic([], Type::Any, |_, arguments| Ok(Value::Bool(!arguments.iter().any(is_empty))))
            .returning(Type::Bool),
    );
    all.insert(
        "any",
        Function::variadic([], Type::Any, |_, arguments| Ok(Value::Bool(!arguments.iter().all(is_empty))))
            .returning(Type::Bool),
    );
    all.insert(
        "ternary",
        Function::new([Type::Any, Type::Any, Type::Bool], |_, arguments| {
            Ok(arguments[usize::from(arguments[2].as_bool() != Some(true))].clone())
        }),
    );
}

/// sprig's notion of empty: nothing, the zero of its type, or without items. Structs never are.
pub(super) fn is_empty(value: &Value) -> bool {
    !value.truth()
}
