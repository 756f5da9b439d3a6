//! Go's `==` between interfaces and `reflect.DeepEqual`.

use super::{Kind, Value};
use crate::function::FunctionError;

/// How deep `deep_equal` looks; deeper values are those that hold themselves.
const DEPTH: usize = 1000;

/// How many pairs of items `deep_equal` compares; more are those of values that hold one another many times over.
const PAIRS: usize = 10_000_000;

/// `a == b` for two interface values: types must be the same. The error is Go's panic for what cannot be compared.
pub fn equal(one: &Value, two: &Value) -> Result<bool, FunctionError> {
    if one.is_absent() || two.is_absent() {
        return Ok(one.is_absent() && two.is_absent());
    }
    if one.type_of() != two.type_of() {
        return Ok(false);
    }
    let uncomparable =
        || Err(FunctionError::new(format!("runtime error: comparing uncomparable type {}", one.type_name())));
    match (one, two) {
        (Value::List(_) | Value::Map(_) | Value::Function(_), _) => uncomparable(),
        (Value::Object(one), Value::Object(two)) if one.kind() == Kind::Pointer => {
            Ok(one.equals(&**two).unwrap_or_else(|| std::sync::Arc::ptr_eq(one, two)))
        }
        (Value::Object(one), Value::Object(two)) => one.equals(&**two).map_or_else(uncomparable, Ok),
        _ => Ok(scalars_equal(one, two)),
    }
}

/// `reflect.DeepEqual`. The error names the depth at which it gave up.
pub fn deep_equal(one: &Value, two: &Value) -> Result<bool, FunctionError> {
    compare(one, two, 0, &mut 0)
}

fn compare(one: &Value, two: &Value, depth: usize, pairs: &mut usize) -> Result<bool, FunctionError> {
    *pairs += 1;
    if *pairs > PAIRS {
        return Err(FunctionError::new(format!("values of more than {PAIRS} items cannot be compared")));
    }
    if depth > DEPTH {
        return Err(FunctionError::new(format!("values nested deeper than {DEPTH} levels cannot be compared")));
    }
    match (one, two) {
        (Value::List(one), Value::List(two)) => {
            if one.element_type() != two.element_type() || one.is_nil() != two.is_nil() || one.len() != two.len() {
                return Ok(false);
            }
            if one.is_same(two) {
                return Ok(true);
            }
            all(one.items().iter().zip(two.items()), depth, pairs)
        }
        (Value::Map(one), Value::Map(two)) => {
            if one.key_type() != two.key_type() || one.value_type() != two.value_type() || one.is_nil() != two.is_nil()
            {
                return Ok(false);
            }
            if one.is_same(two) {
                return Ok(true);
            }
            let (one, two) = (one.entries(), two.entries());
            if one.len() != two.len() || one.iter().zip(&two).any(|(one, two)| one.0 != two.0) {
                return Ok(false);
            }
            all(one.iter().zip(&two).map(|(one, two)| (&one.1, &two.1)), depth, pairs)
        }
        (Value::Function(_), Value::Function(_)) => Ok(false),
        (Value::Object(one), Value::Object(two)) => {
            Ok(one.equals(&**two).unwrap_or_else(|| std::sync::Arc::ptr_eq(one, two)))
        }
        _ if one.is_absent() || two.is_absent() => Ok(one.is_absent() && two.is_absent()),
        _ => Ok(scalars_equal(one, two)),
    }
}

fn all<'a>(
    items: impl Iterator<Item = (&'a Value, &'a Value)>,
    depth: usize,
    pairs: &mut usize,
) -> Result<bool, FunctionError> {
    for (one, two) in items {
        if !compare(one, two, depth + 1, pairs)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn scalars_equal(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Bool(one), Value::Bool(two)) => one == two,
        (Value::Int(one, one_kind), Value::Int(two, two_kind)) => one == two && one_kind == two_kind,
        (Value::Uint(one, one_kind), Value::Uint(two, two_kind)) => one == two && one_kind == two_kind,
        (Value::Float(one, one_kind), Value::Float(two, two_kind)) => one == two && one_kind == two_kind,
        (Value::Complex(one, i), Value::Complex(two, j)) => one == two && i == j,
        (Value::String(one), Value::String(two)) => one == two,
        _ => false,
    }
}
