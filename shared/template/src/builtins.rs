//! The functions that every template has: comparison, logic, indexing, printing, escaping.

mod comparison;
mod escape;
mod indexing;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use crate::format;
use crate::function::{Function, FunctionError};
use crate::parse::tree::Callee;
use crate::value::{Type, Value};

type Answer = Result<Value, FunctionError>;

static FUNCTIONS: LazyLock<BTreeMap<&'static str, Arc<Function>>> = LazyLock::new(|| {
    let reflect = || vec![Type::Reflect];
    let two = || vec![Type::Reflect, Type::Reflect];
    let text = |function: fn(&[u8]) -> Vec<u8>| {
        Function::variadic([], Type::Any, move |_, arguments| escape::escaped(arguments, function))
            .returning(Type::String)
    };
    let functions = [
        ("eq", Function::variadic(reflect(), Type::Reflect, |_, it| comparison::eq(&it[0], &it[1..]).map(Value::Bool))),
        ("ne", Function::new(two(), |_, it| comparison::eq(&it[0], &it[1..]).map(|equal| Value::Bool(!equal)))),
        ("lt", Function::new(two(), |_, it| comparison::lt(&it[0], &it[1]).map(Value::Bool))),
        ("le", Function::new(two(), |_, it| comparison::le(&it[0], &it[1]).map(Value::Bool))),
        ("gt", Function::new(two(), |_, it| comparison::le(&it[0], &it[1]).map(|le| Value::Bool(!le)))),
        ("ge", Function::new(two(), |_, it| comparison::lt(&it[0], &it[1]).map(|lt| Value::Bool(!lt)))),
        ("not", Function::new(reflect(), |_, it| Ok(Value::Bool(!it[0].truth()))).returning(Type::Bool)),
        ("len", Function::new(reflect(), |_, it| indexing::len(&it[0])).returning(Type::INT)),
        ("index", Function::variadic(reflect(), Type::Reflect, |_, it| indexing::index(&it[0], &it[1..]))),
        ("slice", Function::variadic(reflect(), Type::Reflect, |_, it| indexing::slice(&it[0], &it[1..]))),
        ("print", Function::variadic([], Type::Any, |_, it| format::sprint(it).map(Value::String))),
        ("println", Function::variadic([], Type::Any, |_, it| format::sprintln(it).map(Value::String))),
        ("printf", Function::variadic([Type::String], Type::Any, |_, it| printf(it))),
        ("html", text(escape::html)),
        ("js", text(escape::js)),
        ("urlquery", text(escape::urlquery)),
    ];
    functions.into_iter().map(|(name, function)| (name, Arc::new(function))).collect()
});

/// What a built-in name stands for.
pub(crate) fn find(name: &str) -> Option<Callee> {
    match name {
        "and" => Some(Callee::And),
        "or" => Some(Callee::Or),
        "call" => Some(Callee::Call),
        _ => FUNCTIONS.get(name).map(|function| Callee::Function(Arc::clone(function))),
    }
}

fn printf(arguments: &[Value]) -> Answer {
    match arguments.split_first() {
        Some((Value::String(format), rest)) => format::sprintf(format, rest).map(Value::String),
        _ => Err(FunctionError::new("the format is not a string")),
    }
}
