//! `fail`, and questions about types.

use super::arguments::{Outcome, bytes, fail, string, text};
use crate::function::{Function, Functions};
use crate::value::{Type, Value, deep_equal};

/// Adds the functions of this file.
pub(super) fn register(all: &mut Functions) {
    all.insert("fail", Function::new([Type::String], |_, arguments| fail(text(&arguments[0]))));
    all.insert("typeOf", Function::new([Type::Any], |_, arguments| Ok(string(arguments[0].type_name()))));
    all.insert("kindOf", Function::new([Type::Any], |_, arguments| Ok(string(arguments[0].kind().to_string()))));
    compares(all, "typeIs", |target, value| *target == *value.type_name().as_bytes());
    compares(all, "kindIs", |target, value| *target == *value.kind().to_string().as_bytes());
    compares(all, "typeIsLike", |target, value| {
        let name = value.type_name();
        *target == *name.as_bytes() || name.as_bytes().strip_prefix(b"*") == Some(target)
    });
    all.insert(
        "deepEqual",
        Function::new([Type::Any, Type::Any], |_, arguments| {
            Ok(Value::Bool(deep_equal(&arguments[0], &arguments[1])?))
        }),
    );
    all.insert("getHostByName", Function::new([Type::String], |_, _| refuse_network()));
}

fn compares(all: &mut Functions, name: &str, body: fn(&[u8], &Value) -> bool) {
    all.insert(
        name,
        Function::new([Type::String, Type::Any], move |_, arguments| {
            Ok(Value::Bool(body(bytes(&arguments[0]), &arguments[1])))
        }),
    );
}

fn refuse_network() -> Outcome {
    fail("getHostByName is not allowed: what the network answers is no part of the commit")
}
