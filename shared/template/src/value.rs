//! What templates compute with: Go's values, with Go's kinds and Go's sharing.
//!
//! Strings are bytes, lists are slices (a window over shared items, with a capacity), maps are references: what one
//! template sets in a map another one reads. A value that is absent (`NoValue`, Go's zero `reflect.Value`) is not the
//! same as the nil interface (`Nil`), and neither is the same as a nil list or a nil map.

mod compare;
mod list;
mod map;
mod object;
mod text;
mod types;

use std::sync::Arc;

pub use compare::{deep_equal, equal};
pub use list::List;
pub use map::{Map, MapKey};
pub use object::Object;
pub use text::GoString;
pub use types::{FloatKind, IntKind, Kind, Type, UintKind};

use crate::function::Function;

/// One value of a template.
#[derive(Clone, Default)]
pub enum Value {
    /// No value at all: a missing map key, the result of a nil pipeline. Prints `<no value>`.
    #[default]
    NoValue,
    /// The nil interface: a nil held by a list, a map or an argument.
    Nil,
    /// `bool`.
    Bool(bool),
    /// A signed integer of the named type; it fits that type.
    Int(i64, IntKind),
    /// An unsigned integer of the named type; it fits that type.
    Uint(u64, UintKind),
    /// A floating-point number of the named type.
    Float(f64, FloatKind),
    /// `complex128`: real and imaginary part.
    Complex(f64, f64),
    /// `string`.
    String(GoString),
    /// A slice.
    List(List),
    /// A map, shared by everyone who holds it.
    Map(Map),
    /// A value with fields and methods of its own.
    Object(Arc<dyn Object>),
    /// A function that is itself a value; `call` calls it.
    Function(Arc<Function>),
}

impl Value {
    /// An `int`.
    pub fn int(number: i64) -> Value {
        Value::Int(number, IntKind::Int)
    }

    /// An `int64`.
    pub fn int64(number: i64) -> Value {
        Value::Int(number, IntKind::Int64)
    }

    /// A `float64`.
    pub fn float(number: f64) -> Value {
        Value::Float(number, FloatKind::Float64)
    }

    /// A `string`.
    pub fn string(text: impl Into<GoString>) -> Value {
        Value::String(text.into())
    }

    /// A `[]interface {}`; a `NoValue` among the items becomes `Nil`, as a slice cannot hold the absence of a value.
    pub fn list(items: Vec<Value>) -> Value {
        Value::List(List::of(items))
    }

    /// A `[]string`.
    pub fn strings<T: Into<GoString>>(items: impl IntoIterator<Item = T>) -> Value {
        Value::List(List::strings(items))
    }

    /// A `map[string]interface {}` of the given entries.
    pub fn map<K: Into<GoString>>(entries: impl IntoIterator<Item = (K, Value)>) -> Value {
        Value::Map(Map::from_entries(entries))
    }

    /// An object.
    pub fn object(object: impl Object + 'static) -> Value {
        Value::Object(Arc::new(object))
    }

    /// Go's kind of the value's own type; `Invalid` for no value and for the nil interface.
    pub fn kind(&self) -> Kind {
        match self {
            Value::NoValue | Value::Nil => Kind::Invalid,
            Value::Bool(_) => Kind::Bool,
            Value::Int(_, kind) => kind.kind(),
            Value::Uint(_, kind) => kind.kind(),
            Value::Float(_, kind) => kind.kind(),
            Value::Complex(..) => Kind::Complex128,
            Value::String(_) => Kind::String,
            Value::List(_) => Kind::Slice,
            Value::Map(_) => Kind::Map,
            Value::Object(object) => object.kind(),
            Value::Function(_) => Kind::Func,
        }
    }

    /// The value's own type; `None` for no value and for the nil interface.
    pub fn type_of(&self) -> Option<Type> {
        match self {
            Value::NoValue | Value::Nil => None,
            Value::Bool(_) => Some(Type::Bool),
            Value::Int(_, kind) => Some(Type::Int(*kind)),
            Value::Uint(_, kind) => Some(Type::Uint(*kind)),
            Value::Float(_, kind) => Some(Type::Float(*kind)),
            Value::Complex(..) => Some(Type::Complex),
            Value::String(_) => Some(Type::String),
            Value::List(list) => Some(Type::List(Box::new(list.element_type().clone()))),
            Value::Map(map) => Some(Type::Map(Box::new(map.key_type().clone()), Box::new(map.value_type().clone()))),
            Value::Object(object) => Some(Type::Named(object.type_name(), object.kind())),
            Value::Function(function) => Some(Type::Func(function.type_name().into())),
        }
    }

    /// The type as Go prints it with `%T`: `<nil>` for no value and the nil interface.
    pub fn type_name(&self) -> String {
        self.type_of().map_or_else(|| "<nil>".to_owned(), |own| own.to_string())
    }

    /// Whether there is nothing here: no value or the nil interface.
    pub fn is_absent(&self) -> bool {
        matches!(self, Value::NoValue | Value::Nil)
    }

    /// Whether the value is nil in Go's sense: absent, a nil list, a nil map or a nil pointer.
    pub fn is_nil(&self) -> bool {
        match self {
            Value::NoValue | Value::Nil => true,
            Value::List(list) => list.is_nil(),
            Value::Map(map) => map.is_nil(),
            Value::Object(object) => object.is_nil(),
            Value::Bool(_)
            | Value::Int(..)
            | Value::Uint(..)
            | Value::Float(..)
            | Value::Complex(..)
            | Value::String(_)
            | Value::Function(_) => false,
        }
    }

    /// Whether `if` takes the value for true: not the zero of its type, not empty. Structs are always true.
    pub fn truth(&self) -> bool {
        match self {
            Value::NoValue | Value::Nil => false,
            Value::Bool(flag) => *flag,
            Value::Int(number, _) => *number != 0,
            Value::Uint(number, _) => *number != 0,
            Value::Float(number, _) => *number != 0.0,
            Value::Complex(real, imaginary) => *real != 0.0 || *imaginary != 0.0,
            Value::String(text) => !text.is_empty(),
            Value::List(list) => !list.is_empty(),
            Value::Map(map) => !map.is_empty(),
            Value::Object(object) => !object.is_nil(),
            Value::Function(_) => true,
        }
    }

    /// The value as an element of a list, a map or an argument of type `interface {}`: no value becomes the nil
    /// interface.
    pub fn or_nil(self) -> Value {
        match self {
            Value::NoValue => Value::Nil,
            other => other,
        }
    }

    /// The string, when it is one.
    pub fn as_string(&self) -> Option<&GoString> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The integer of any signed type, or of an unsigned one that fits.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(number, _) => Some(*number),
            Value::Uint(number, _) => i64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The bool, when it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The list, when it is one.
    pub fn as_list(&self) -> Option<&List> {
        match self {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// The map, when it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Whether dropping the value may free other containers, in their turn.
    pub(crate) fn is_container(&self) -> bool {
        matches!(self, Value::List(_) | Value::Map(_))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::string(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::string(text)
    }
}

impl From<GoString> for Value {
    fn from(text: GoString) -> Value {
        Value::String(text)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Value {
        Value::Bool(flag)
    }
}

impl From<i64> for Value {
    /// Go's `int`, not `int64`.
    fn from(number: i64) -> Value {
        Value::int(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::float(number)
    }
}

impl From<List> for Value {
    fn from(list: List) -> Value {
        Value::List(list)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Value {
        Value::Map(map)
    }
}

impl std::fmt::Debug for Value {
    /// Go's `%#v`, cut at a depth that a reader can follow.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match crate::format::sprintf(b"%#v", std::slice::from_ref(self)) {
            Ok(text) => formatter.write_str(&text.to_text()),
            Err(error) => write!(formatter, "<{error}>"),
        }
    }
}

/// Frees containers within containers without recursion, so that a value nested very deep does not exhaust the stack.
pub(crate) fn release(mut waiting: Vec<Value>) {
    while let Some(value) = waiting.pop() {
        match value {
            Value::List(list) => list.release_into(&mut waiting),
            Value::Map(map) => map.release_into(&mut waiting),
            other => drop(other),
        }
    }
}

#[cfg(test)]
mod tests;
