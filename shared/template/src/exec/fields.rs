//! Fields of maps and objects, and methods of objects.

use super::place::Place;
use super::{Frame, Machine, Outcome, Slot};
use crate::parse::tree::Operand;
use crate::set::MissingKey;
use crate::value::{Kind, Map, Type, Value};

impl Machine {
    /// `.name` of the receiver, with the arguments of a method.
    pub(super) fn field<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        dot: &Slot,
        (operand, name, receiver): (&'t Operand, &str, Slot),
        words: &'t [Operand],
        last: Option<Value>,
    ) -> Outcome<Slot> {
        let has_arguments = !words.is_empty() || last.is_some();
        let own_type = || match &receiver {
            Slot { boxed: true, .. } => Type::Any.to_string(),
            Slot { value, .. } => value.type_of().unwrap_or(Type::Any).to_string(),
        };
        match &receiver.value {
            Value::NoValue if self.missing_key == MissingKey::Error => {
                return Err(frame.error(format!("nil data; no entry for key {}", crate::error::quoted(name))));
            }
            Value::NoValue => return Ok(Slot::plain(Value::NoValue)),
            Value::Nil => return Err(frame.error(format!("nil pointer evaluating interface {{}}.{name}"))),
            Value::Object(object) => {
                if let Some(method) = object.method(name) {
                    let here = Place::Operand(operand.position);
                    return self.invoke_function(frame, dot, (name, &method, here), words, last).map(Slot::plain);
                }
                if object.kind() == Kind::Pointer && object.is_nil() {
                    return Err(frame.error(format!("nil pointer evaluating {}.{name}", own_type())));
                }
                if let Some(value) = object.field(name) {
                    if has_arguments {
                        let message = format!("{name} has arguments but cannot be invoked as function");
                        return Err(frame.error(message));
                    }
                    return Ok(Slot::plain(value));
                }
            }
            Value::Map(map) if matches!(map.key_type(), Type::String | Type::Any) => {
                if has_arguments {
                    return Err(frame.error(format!("{name} is not a method but has arguments")));
                }
                return self.entry(frame, map, name);
            }
            Value::Bool(_)
            | Value::Int(..)
            | Value::Uint(..)
            | Value::Float(..)
            | Value::Complex(..)
            | Value::String(_)
            | Value::List(_)
            | Value::Map(_)
            | Value::Function(_) => {}
        }
        Err(frame.error(format!("can't evaluate field {name} in type {}", own_type())))
    }

    fn entry(&self, frame: &Frame<'_>, map: &Map, name: &str) -> Outcome<Slot> {
        let boxed = *map.value_type() == Type::Any;
        match (map.get(name), self.missing_key) {
            (Some(value), _) => Ok(Slot { value, boxed }),
            (None, MissingKey::NoValue) => Ok(Slot::plain(Value::NoValue)),
            (None, MissingKey::Zero) => Ok(Slot { value: map.value_type().zero(), boxed }),
            (None, MissingKey::Error) => {
                Err(frame.error(format!("map has no entry for key {}", crate::error::quoted(name))))
            }
        }
    }
}
