//! Evaluates an operand as an argument of a wanted type.

use super::place::Place;
use super::{Frame, Machine, Outcome, Slot};
use crate::parse::tree::{Operand, Term};
use crate::value::{Kind, Type, Value};

impl Machine {
    /// The operand's value as the wanted type. Literals take that type on; other values must have it.
    pub(super) fn argument<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        dot: &Slot,
        wanted: &Type,
        operand: &'t Operand,
    ) -> Outcome<Value> {
        frame.at = place_of(operand);
        let slot = match &operand.term {
            Term::Dot => dot.clone(),
            Term::Nil if wanted.can_be_nil() => return Ok(wanted.zero()),
            Term::Nil => return Err(frame.error(format!("cannot assign nil to {wanted}"))),
            Term::Field(_) | Term::Variable(..) | Term::Chain(..) => self.reach(frame, dot, operand, &[], None)?,
            Term::Pipe(pipe) => Slot::plain(self.pipeline(frame, dot, pipe)?),
            Term::Function(name, callee) => {
                let here = Place::Operand(operand.position);
                Slot::plain(self.invoke(frame, dot, (name, callee, here), &[], None)?)
            }
            Term::Bool(_) | Term::Number(_) | Term::String(..) => return literal_as(self, frame, dot, wanted, operand),
        };
        fit(frame, slot, wanted)
    }
}

fn place_of(operand: &Operand) -> Place {
    match &operand.term {
        Term::Pipe(pipe) => Place::Pipe(pipe.position),
        _ => Place::Operand(operand.position),
    }
}

/// A literal as the wanted type.
fn literal_as(
    machine: &mut Machine,
    frame: &mut Frame<'_>,
    dot: &Slot,
    wanted: &Type,
    operand: &Operand,
) -> Outcome<Value> {
    let number = match &operand.term {
        Term::Number(number) => Some(number),
        _ => None,
    };
    let (value, expected) = match (wanted, &operand.term) {
        (Type::Any | Type::Reflect, _) => return machine.literal(frame, dot, operand).map(|slot| slot.value),
        (Type::Bool, Term::Bool(flag)) => (Some(Value::Bool(*flag)), "bool"),
        (Type::Bool, _) => (None, "bool"),
        (Type::String, Term::String(_, text)) => (Some(Value::String(text.clone())), "string"),
        (Type::String, _) => (None, "string"),
        (Type::Int(kind), _) => {
            (number.and_then(|number| number.int).map(|int| Value::Int(kind.wrap(int), *kind)), "integer")
        }
        (Type::Uint(kind), _) => {
            (number.and_then(|number| number.uint).map(|uint| Value::Uint(kind.wrap(uint), *kind)), "unsigned integer")
        }
        (Type::Float(kind), _) => {
            (number.and_then(|number| number.float).map(|float| Value::Float(float, *kind)), "float")
        }
        (Type::Complex, _) => (
            number.and_then(|number| number.complex).map(|(real, imaginary)| Value::Complex(real, imaginary)),
            "complex",
        ),
        (Type::List(_) | Type::Map(..) | Type::Func(_) | Type::Named(..), _) => {
            return Err(frame.error(format!("can't handle {operand} for arg of type {wanted}")));
        }
    };
    value.ok_or_else(|| frame.error(format!("expected {expected}; found {operand}")))
}

/// The value, when it can be passed where `wanted` is wanted; nil as that type's nil.
pub(super) fn fit(frame: &Frame<'_>, slot: Slot, wanted: &Type) -> Outcome<Value> {
    let value = slot.value;
    match &value {
        Value::NoValue if wanted.can_be_nil() => Ok(wanted.zero()),
        Value::NoValue => Err(frame.error(format!("invalid value; expected {wanted}"))),
        Value::Nil if matches!(wanted, Type::Any | Type::Reflect) => Ok(value),
        Value::Nil => Err(frame.error(format!("wrong type for value; expected {wanted}; got {}", Type::Any))),
        _ if wanted.accepts(&value) || wanted.kind() == Kind::Interface => Ok(value),
        other => {
            let given = other.type_name();
            Err(frame.error(format!("wrong type for value; expected {wanted}; got {given}")))
        }
    }
}
