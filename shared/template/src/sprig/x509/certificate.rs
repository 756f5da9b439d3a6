//! A certificate with its key, as templates see it.

use std::any::Any;
use std::borrow::Cow;

use crate::value::{GoString, Kind, Object, Type, Value};

/// A certificate and its private key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Certificate {
    pub(super) cert: GoString,
    pub(super) key: GoString,
}

const NAME: &str = "sprig.certificate";

impl Certificate {
    pub(super) fn go_type() -> Type {
        Type::Named(Cow::Borrowed(NAME), Kind::Struct)
    }

    /// The certificate that a value is.
    pub(super) fn of(value: &Value) -> Option<&Certificate> {
        match value {
            Value::Object(object) => object.as_any().downcast_ref(),
            _ => None,
        }
    }
}

impl Object for Certificate {
    fn type_name(&self) -> Cow<'static, str> {
        Cow::Borrowed(NAME)
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        vec![("Cert", Value::String(self.cert.clone())), ("Key", Value::String(self.key.clone()))]
    }

    fn equals(&self, other: &dyn Object) -> Option<bool> {
        Some(other.as_any().downcast_ref::<Certificate>() == Some(self))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
