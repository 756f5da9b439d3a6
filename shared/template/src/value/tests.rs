//! Tests of values.

use super::*;

#[test]
fn maps_are_references_and_sorted() {
    let map = Map::any_keys();
    let other = map.clone();
    for key in [Value::from("b"), Value::int(10), Value::int(9), Value::Bool(true), Value::Nil, Value::from("a")] {
        let key = MapKey::of(&key).expect("a key");
        map.set_key(key, Value::int(1)).expect("a map that is not nil");
    }
    let keys: Vec<String> = other.keys().iter().map(|key| format!("{:?}", key.to_value())).collect();
    assert_eq!(keys, ["<nil>", "true", "9", "10", "\"a\"", "\"b\""]);
    assert!(map.contains("a") && !map.contains("c"));
    assert_eq!(map.remove("a").and_then(|value| value.as_int()), Some(1));
    assert_eq!(other.len(), 5);
    assert!(map.is_same(&other) && !map.is_same(&map.copy()));
    let nil = Map::nil(Type::String, Type::Any);
    assert_eq!(
        nil.set("a", Value::Nil).map_err(|error| error.to_string()),
        Err("assignment to entry in nil map".into())
    );
    let key = MapKey::of(&Value::list(vec![])).map_err(|error| error.to_string());
    assert_eq!(key.err().as_deref(), Some("runtime error: hash of unhashable type []interface {}"));
}

#[test]
fn types_are_named_as_go_names_them() {
    let rows = [
        (Value::NoValue, "<nil>", "invalid"),
        (Value::int(1), "int", "int"),
        (Value::Int(1, IntKind::Int32), "int32", "int32"),
        (Value::float(1.0), "float64", "float64"),
        (Value::strings(["a"]), "[]string", "slice"),
        (Value::list(vec![]), "[]interface {}", "slice"),
        (Value::List(List::bytes(b"a")), "[]uint8", "slice"),
        (Value::Map(Map::new()), "map[string]interface {}", "map"),
        (Value::Map(Map::any_keys()), "map[interface {}]interface {}", "map"),
        (Value::List(List::typed(Type::any_map(), vec![])), "[]map[string]interface {}", "slice"),
    ];
    for (value, name, kind) in rows {
        assert_eq!((value.type_name().as_str(), value.kind().to_string().as_str()), (name, kind));
    }
}

#[test]
fn nil_and_empty_are_false_but_not_the_same() {
    let nil = Value::List(List::nil(Type::Any));
    let empty = Value::list(vec![]);
    assert!(!nil.truth() && !empty.truth() && nil.is_nil() && !empty.is_nil());
    assert_eq!(deep_equal(&nil, &empty).ok(), Some(false));
    assert_eq!(deep_equal(&empty, &Value::list(vec![])).ok(), Some(true));
    assert!(Value::Float(f64::NAN, FloatKind::Float64).truth());
}

#[test]
fn deep_equality_looks_inside_and_at_types() {
    let one = || Value::map([("a", Value::list(vec![Value::int(1), Value::Nil]))]);
    assert_eq!(deep_equal(&one(), &one()).ok(), Some(true));
    assert_eq!(deep_equal(&Value::int(1), &Value::int64(1)).ok(), Some(false));
    assert_eq!(deep_equal(&Value::strings(["a"]), &Value::list(vec![Value::from("a")])).ok(), Some(false));
    let error = equal(&one(), &one()).map_err(|error| error.to_string());
    assert_eq!(error.err().as_deref(), Some("runtime error: comparing uncomparable type map[string]interface {}"));
    let doubled = || (0..60).fold(Value::int(1), |value, _| Value::list(vec![value.clone(), value]));
    assert!(deep_equal(&doubled(), &doubled()).is_err(), "too much to compare");
}
