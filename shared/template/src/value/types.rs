//! Go's types and kinds, named as `reflect` names them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::{GoString, List, Map, Value};

/// The signed integer types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IntKind {
    /// `int`, 64 bits wide.
    Int,
    /// `int8`.
    Int8,
    /// `int16`.
    Int16,
    /// `int32`, which is also `rune`.
    Int32,
    /// `int64`.
    Int64,
}

impl IntKind {
    /// The kind of a value of this type.
    pub fn kind(self) -> Kind {
        match self {
            IntKind::Int => Kind::Int,
            IntKind::Int8 => Kind::Int8,
            IntKind::Int16 => Kind::Int16,
            IntKind::Int32 => Kind::Int32,
            IntKind::Int64 => Kind::Int64,
        }
    }

    /// The number cut to the width of the type, as Go's conversion does.
    pub fn wrap(self, number: i64) -> i64 {
        match self {
            IntKind::Int | IntKind::Int64 => number,
            IntKind::Int8 => i64::from(number as i8),
            IntKind::Int16 => i64::from(number as i16),
            IntKind::Int32 => i64::from(number as i32),
        }
    }
}

/// The unsigned integer types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UintKind {
    /// `uint`, 64 bits wide.
    Uint,
    /// `uint8`, which is also `byte`.
    Uint8,
    /// `uint16`.
    Uint16,
    /// `uint32`.
    Uint32,
    /// `uint64`.
    Uint64,
}

impl UintKind {
    /// The kind of a value of this type.
    pub fn kind(self) -> Kind {
        match self {
            UintKind::Uint => Kind::Uint,
            UintKind::Uint8 => Kind::Uint8,
            UintKind::Uint16 => Kind::Uint16,
            UintKind::Uint32 => Kind::Uint32,
            UintKind::Uint64 => Kind::Uint64,
        }
    }

    /// The number cut to the width of the type, as Go's conversion does.
    pub fn wrap(self, number: u64) -> u64 {
        match self {
            UintKind::Uint | UintKind::Uint64 => number,
            UintKind::Uint8 => u64::from(number as u8),
            UintKind::Uint16 => u64::from(number as u16),
            UintKind::Uint32 => u64::from(number as u32),
        }
    }
}

/// The floating-point types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FloatKind {
    /// `float32`.
    Float32,
    /// `float64`.
    Float64,
}

impl FloatKind {
    /// The kind of a value of this type.
    pub fn kind(self) -> Kind {
        match self {
            FloatKind::Float32 => Kind::Float32,
            FloatKind::Float64 => Kind::Float64,
        }
    }
}

/// A kind as `reflect.Kind` has it; `Display` gives Go's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is the Go kind of the same name")]
pub enum Kind {
    Invalid,
    Bool,
    Int,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Float32,
    Float64,
    Complex128,
    String,
    Slice,
    Map,
    Func,
    Interface,
    Pointer,
    Struct,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Kind::Invalid => "invalid",
            Kind::Bool => "bool",
            Kind::Int => "int",
            Kind::Int8 => "int8",
            Kind::Int16 => "int16",
            Kind::Int32 => "int32",
            Kind::Int64 => "int64",
            Kind::Uint => "uint",
            Kind::Uint8 => "uint8",
            Kind::Uint16 => "uint16",
            Kind::Uint32 => "uint32",
            Kind::Uint64 => "uint64",
            Kind::Float32 => "float32",
            Kind::Float64 => "float64",
            Kind::Complex128 => "complex128",
            Kind::String => "string",
            Kind::Slice => "slice",
            Kind::Map => "map",
            Kind::Func => "func",
            Kind::Interface => "interface",
            Kind::Pointer => "ptr",
            Kind::Struct => "struct",
        })
    }
}

/// A type: of a value, of a function's parameter, of the elements of a list or a map. `Display` gives Go's spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Type {
    /// `interface {}`.
    Any,
    /// `reflect.Value`: a parameter that takes anything, also no value at all.
    Reflect,
    /// `bool`.
    Bool,
    /// A signed integer.
    Int(IntKind),
    /// An unsigned integer.
    Uint(UintKind),
    /// A floating-point number.
    Float(FloatKind),
    /// `complex128`.
    Complex,
    /// `string`.
    String,
    /// A slice of the inner type.
    List(Box<Type>),
    /// A map from the first type to the second.
    Map(Box<Type>, Box<Type>),
    /// A function, with its whole signature as Go spells it.
    Func(Arc<str>),
    /// A type of an object (`time.Time`), with its kind.
    Named(Cow<'static, str>, Kind),
}

impl Type {
    /// `int`.
    pub const INT: Type = Type::Int(IntKind::Int);
    /// `int64`.
    pub const INT64: Type = Type::Int(IntKind::Int64);
    /// `float64`.
    pub const FLOAT64: Type = Type::Float(FloatKind::Float64);

    /// `[]interface {}`.
    pub fn any_list() -> Type {
        Type::List(Box::new(Type::Any))
    }

    /// `[]string`.
    pub fn string_list() -> Type {
        Type::List(Box::new(Type::String))
    }

    /// `map[string]interface {}`.
    pub fn any_map() -> Type {
        Type::Map(Box::new(Type::String), Box::new(Type::Any))
    }

    /// The kind of this type.
    pub fn kind(&self) -> Kind {
        match self {
            Type::Any => Kind::Interface,
            Type::Reflect => Kind::Struct,
            Type::Bool => Kind::Bool,
            Type::Int(kind) => kind.kind(),
            Type::Uint(kind) => kind.kind(),
            Type::Float(kind) => kind.kind(),
            Type::Complex => Kind::Complex128,
            Type::String => Kind::String,
            Type::List(_) => Kind::Slice,
            Type::Map(..) => Kind::Map,
            Type::Func(_) => Kind::Func,
            Type::Named(_, kind) => *kind,
        }
    }

    /// Whether nil is a value of this type.
    pub fn can_be_nil(&self) -> bool {
        matches!(self, Type::Reflect)
            || matches!(self.kind(), Kind::Interface | Kind::Slice | Kind::Map | Kind::Func | Kind::Pointer)
    }

    /// The zero value; the nil interface for types without a value of ours (functions, objects).
    pub fn zero(&self) -> Value {
        match self {
            Type::Reflect => Value::NoValue,
            Type::Any | Type::Func(_) | Type::Named(..) => Value::Nil,
            Type::Bool => Value::Bool(false),
            Type::Int(kind) => Value::Int(0, *kind),
            Type::Uint(kind) => Value::Uint(0, *kind),
            Type::Float(kind) => Value::Float(0.0, *kind),
            Type::Complex => Value::Complex(0.0, 0.0),
            Type::String => Value::String(GoString::default()),
            Type::List(element) => Value::List(List::nil((**element).clone())),
            Type::Map(key, value) => Value::Map(Map::nil((**key).clone(), (**value).clone())),
        }
    }

    /// Whether `value` can be passed where this type is wanted, without any conversion.
    pub fn accepts(&self, value: &Value) -> bool {
        match (self, value) {
            (Type::Any | Type::Reflect, _) => true,
            (Type::Bool, Value::Bool(_)) | (Type::Complex, Value::Complex(..)) | (Type::String, Value::String(_)) => {
                true
            }
            (Type::Int(wanted), Value::Int(_, kind)) => wanted == kind,
            (Type::Uint(wanted), Value::Uint(_, kind)) => wanted == kind,
            (Type::Float(wanted), Value::Float(_, kind)) => wanted == kind,
            (Type::List(wanted), Value::List(list)) => **wanted == *list.element_type(),
            (Type::Map(key, element), Value::Map(map)) => **key == *map.key_type() && **element == *map.value_type(),
            (Type::Func(wanted), Value::Function(function)) => **wanted == *function.type_name(),
            (Type::Named(name, _), Value::Object(object)) => *name == object.type_name(),
            _ => false,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Any => formatter.write_str("interface {}"),
            Type::Reflect => formatter.write_str("reflect.Value"),
            Type::Bool | Type::Int(_) | Type::Uint(_) | Type::Float(_) | Type::Complex | Type::String => {
                self.kind().fmt(formatter)
            }
            Type::List(element) => write!(formatter, "[]{element}"),
            Type::Map(key, value) => write!(formatter, "map[{key}]{value}"),
            Type::Func(signature) => formatter.write_str(signature),
            Type::Named(name, _) => formatter.write_str(name),
        }
    }
}
