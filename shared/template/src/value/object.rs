//! Values with fields and methods of their own: what a Go program would pass as a struct or a pointer to one.

use std::any::Any;
use std::borrow::Cow;

use super::{GoString, Kind, Value};
use crate::function::Function;

/// A struct, or a pointer to one, with exported fields and methods.
pub trait Object: Any + Send + Sync {
    /// The type as Go spells it: `time.Time`, `*config.files`.
    fn type_name(&self) -> Cow<'static, str>;

    /// `Struct` or `Pointer`.
    fn kind(&self) -> Kind {
        Kind::Struct
    }

    /// Whether this is a nil pointer.
    fn is_nil(&self) -> bool {
        false
    }

    /// The exported field of that name.
    fn field(&self, name: &str) -> Option<Value> {
        self.fields().into_iter().find_map(|(field, value)| (field == name).then_some(value))
    }

    /// The exported fields in their order, for printing.
    fn fields(&self) -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    /// The method of that name, bound to this object: its parameters do not count the receiver.
    fn method(&self, name: &str) -> Option<Function> {
        let _ = name;
        None
    }

    /// What the object's `String` or `Error` method gives, when it has one.
    fn text(&self) -> Option<GoString> {
        None
    }

    /// Whether `==` holds; `None` when values of this type cannot be compared.
    fn equals(&self, other: &dyn Object) -> Option<bool> {
        let _ = other;
        None
    }

    /// The object itself, for those who know its type.
    fn as_any(&self) -> &dyn Any;
}
