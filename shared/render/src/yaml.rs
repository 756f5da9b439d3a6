//! YAML as values of templates: texts, numbers and lists as they are, mappings further in with keys of any type, as Go
//! has them.

use std::borrow::Cow;

use slipway_config::{
    YamlValue,
    value::{read_mapping, write_value},
};
use slipway_template::{
    FunctionError, GoString, List, Map, Value,
    value::{FloatKind, MapKey},
};

/// How deep a value may nest that is written.
const DEPTH: usize = 500;

/// `fromYaml`.
pub(crate) fn from_yaml(text: &str) -> Result<Value, FunctionError> {
    let entries = read_mapping(text).map_err(|error| FunctionError::new(error.to_string()))?;
    let map = Map::new();
    for (key, item) in entries {
        let YamlValue::Text(key) = key else { continue };
        map.set(GoString::from(key), value(item)?)?;
    }
    Ok(Value::Map(map))
}

/// `toYaml`, without the line break at the end.
pub(crate) fn to_yaml(value: &Value) -> Result<String, FunctionError> {
    let written = write_value(&yaml(value, 0)?).map_err(|error| FunctionError::new(error.to_string()))?;
    Ok(written.strip_suffix('\n').unwrap_or(&written).to_owned())
}

fn value(yaml: YamlValue) -> Result<Value, FunctionError> {
    Ok(match yaml {
        YamlValue::Null => Value::Nil,
        YamlValue::Bool(flag) => Value::Bool(flag),
        YamlValue::Int(number) => Value::int(number),
        YamlValue::Uint(number) => Value::Uint(number, slipway_template::value::UintKind::Uint64),
        YamlValue::Float(number) => Value::float(number),
        YamlValue::Text(bytes) => Value::string(bytes),
        YamlValue::List(items) => Value::list(items.into_iter().map(value).collect::<Result<_, _>>()?),
        YamlValue::Mapping(entries) => {
            let map = Map::any_keys();
            for (key, item) in entries {
                map.set_key(MapKey::of(&value(key)?)?, value(item)?)?;
            }
            Value::Map(map)
        }
    })
}

fn yaml(value: &Value, depth: usize) -> Result<YamlValue, FunctionError> {
    if depth > DEPTH {
        return Err(FunctionError::new(format!("values nested more than {DEPTH} deep cannot be written as YAML")));
    }
    Ok(match value {
        Value::NoValue | Value::Nil => YamlValue::Null,
        Value::Bool(flag) => YamlValue::Bool(*flag),
        Value::Int(number, _) => YamlValue::Int(*number),
        Value::Uint(number, _) => YamlValue::Uint(*number),
        // The digits that are written are those of the narrow type.
        Value::Float(number, FloatKind::Float32) => {
            YamlValue::Float((*number as f32).to_string().parse().unwrap_or(*number))
        }
        Value::Float(number, FloatKind::Float64) => YamlValue::Float(*number),
        Value::String(text) => YamlValue::Text(text.to_vec()),
        Value::List(list) => list_yaml(list, depth)?,
        Value::Map(map) => {
            let entries = map.entries().into_iter();
            let pair = |(key, item): (MapKey, Value)| Ok((yaml(&key.to_value(), depth)?, yaml(&item, depth + 1)?));
            YamlValue::Mapping(entries.map(pair).collect::<Result<_, FunctionError>>()?)
        }
        Value::Object(object) if object.is_nil() => YamlValue::Null,
        Value::Object(object) => match object.text() {
            Some(text) => YamlValue::Text(text.to_vec()),
            None => {
                let fields = object.fields().into_iter();
                let key = |name: &str| YamlValue::Text(name.to_lowercase().into_bytes());
                let pair = |(name, item): (&str, Value)| Ok((key(name), yaml(&item, depth + 1)?));
                YamlValue::Mapping(fields.map(pair).collect::<Result<_, FunctionError>>()?)
            }
        },
        Value::Complex(..) | Value::Function(_) => {
            return Err(FunctionError::new(format!("cannot marshal type: {}", value.type_name())));
        }
    })
}

fn list_yaml(list: &List, depth: usize) -> Result<YamlValue, FunctionError> {
    list.items().iter().map(|item| yaml(item, depth + 1)).collect::<Result<_, _>>().map(YamlValue::List)
}

/// The text of a string argument.
pub(crate) fn text(value: &Value) -> Cow<'_, str> {
    value.as_string().map(GoString::to_text).unwrap_or_default()
}
