//! Evaluates pipelines, commands and operands.

use super::place::Place;
use super::{Frame, Machine, Outcome, Slot};
use crate::parse::tree::{Callee, Command, Declared, Operand, Pipe, Term};
use crate::value::{Type, Value};

impl Machine {
    /// The value of a pipeline; its declarations stay in the frame. Never the nil interface: that becomes no value.
    pub(super) fn pipeline<'t>(&mut self, frame: &mut Frame<'t>, dot: &Slot, pipe: &'t Pipe) -> Outcome<Value> {
        self.nested(frame, |machine, frame| {
            frame.at = Place::Pipe(pipe.position);
            let mut last = None;
            for command in &pipe.commands {
                machine.step(frame)?;
                let value = machine.command(frame, dot, command, last)?.value;
                last = Some(if value.is_absent() { Value::NoValue } else { value });
            }
            let value = last.unwrap_or_default();
            if pipe.variables.is_empty() {
                return Ok(value);
            }
            for variable in &pipe.variables {
                if pipe.assigns {
                    machine.assign(frame, variable, Slot::plain(value.clone()))?;
                } else {
                    frame.variables.push(variable.id, Slot::plain(value.clone()));
                }
            }
            Ok(value)
        })
    }

    pub(super) fn assign(&mut self, frame: &mut Frame<'_>, variable: &Declared, slot: Slot) -> Outcome<()> {
        match frame.variables.get(variable.id) {
            Some(place) => {
                *place = slot;
                Ok(())
            }
            None => Err(frame.error(format!("undefined variable: {}", variable.name))),
        }
    }

    /// The value of a command; `last` is the value that the pipeline hands on to it.
    fn command<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        dot: &Slot,
        command: &'t Command,
        last: Option<Value>,
    ) -> Outcome<Slot> {
        let Some(first) = command.words.first() else { return Ok(Slot::plain(Value::NoValue)) };
        let words = &command.words[1..];
        match &first.term {
            Term::Field(_) | Term::Chain(..) | Term::Variable(..) => self.reach(frame, dot, first, words, last),
            Term::Function(name, callee) => {
                frame.at = Place::Operand(first.position);
                let here = Place::Command(command.position);
                self.invoke(frame, dot, (name, callee, here), words, last).map(Slot::plain)
            }
            Term::Pipe(pipe) => {
                refuse_arguments(frame, first, words, last.as_ref())?;
                self.pipeline(frame, dot, pipe).map(Slot::plain)
            }
            Term::Bool(_) | Term::Dot | Term::Nil | Term::Number(_) | Term::String(..) => {
                frame.at = Place::Operand(first.position);
                refuse_arguments(frame, first, words, last.as_ref())?;
                if let Term::Nil = first.term {
                    return Err(frame.error("nil is not a command"));
                }
                self.literal(frame, dot, first)
            }
        }
    }

    /// A literal or the dot, where nothing says which type is wanted.
    pub(super) fn literal(&mut self, frame: &mut Frame<'_>, dot: &Slot, operand: &Operand) -> Outcome<Slot> {
        frame.at = Place::Operand(operand.position);
        let value = match &operand.term {
            Term::Bool(flag) => Value::Bool(*flag),
            Term::Dot => return Ok(dot.clone()),
            Term::Number(number) => {
                if let Some((real, imaginary)) = number.complex {
                    Value::Complex(real, imaginary)
                } else if let Some(float) = number.float.filter(|_| number.is_written_as_float()) {
                    Value::float(float)
                } else if let Some(int) = number.int {
                    Value::int(int)
                } else {
                    return Err(frame.error(format!("{} overflows int", number.text)));
                }
            }
            Term::String(_, text) => Value::String(text.clone()),
            Term::Chain(..) | Term::Field(_) | Term::Function(..) | Term::Nil | Term::Pipe(_) | Term::Variable(..) => {
                return Err(frame.error(format!("can't handle assignment of {operand} to empty interface argument")));
            }
        };
        Ok(Slot::plain(value))
    }

    /// A variable, or fields of the dot, of a variable or of a value, with the arguments of a method.
    pub(super) fn reach<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        dot: &Slot,
        operand: &'t Operand,
        words: &'t [Operand],
        last: Option<Value>,
    ) -> Outcome<Slot> {
        frame.at = Place::Operand(operand.position);
        let (mut receiver, names) = match &operand.term {
            Term::Field(names) => (dot.clone(), names),
            Term::Variable(id, name, names) => {
                let Some(slot) = frame.variables.get(*id).cloned() else {
                    return Err(frame.error(format!("undefined variable: {name}")));
                };
                if names.is_empty() {
                    refuse_arguments(frame, operand, words, last.as_ref())?;
                    return Ok(slot);
                }
                (slot, names)
            }
            Term::Chain(inner, names) => (self.chain_start(frame, dot, operand, inner)?, names),
            _ => return self.literal(frame, dot, operand),
        };
        let Some((final_name, before)) = names.split_last() else { return Ok(receiver) };
        for name in before {
            receiver = self.field(frame, dot, (operand, name, receiver), &[], None)?;
        }
        self.field(frame, dot, (operand, final_name, receiver), words, last)
    }

    fn chain_start<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        dot: &Slot,
        operand: &'t Operand,
        inner: &'t Operand,
    ) -> Outcome<Slot> {
        match &inner.term {
            Term::Nil => Err(frame.error(format!("indirection through explicit nil in {operand}"))),
            Term::Pipe(pipe) => self.pipeline(frame, dot, pipe).map(Slot::plain),
            Term::Function(name, callee) => {
                frame.at = Place::Operand(inner.position);
                let here = Place::Operand(inner.position);
                let value = self.invoke(frame, dot, (name, callee, here), &[], None)?;
                let boxed = !matches!(callee, Callee::Function(function) if *function.result() != Type::Any);
                Ok(Slot { boxed, value })
            }
            _ => self.reach(frame, dot, inner, &[], None),
        }
    }
}

/// Refuses arguments of what cannot take them.
fn refuse_arguments(frame: &Frame<'_>, first: &Operand, words: &[Operand], last: Option<&Value>) -> Outcome<()> {
    if words.is_empty() && last.is_none() {
        return Ok(());
    }
    let shown = match &first.term {
        Term::Pipe(pipe) => pipe.to_string(),
        _ => first.to_string(),
    };
    Err(frame.error(format!("can't give argument to non-function {shown}")))
}
