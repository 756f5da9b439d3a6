//! Calls functions and methods.

use super::place::Place;
use super::{Frame, Machine, Outcome, Slot};
use crate::function::{Call, Function, FunctionError};
use crate::parse::tree::{Callee, Operand};
use crate::value::{IntKind, Type, UintKind, Value};

impl Machine {
    /// Calls what a function's name stands for. `here` is where an error of the function itself is.
    pub(super) fn invoke<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        dot: &Slot,
        (name, callee, here): (&str, &'t Callee, Place),
        words: &'t [Operand],
        last: Option<Value>,
    ) -> Outcome<Value> {
        match callee {
            Callee::Function(function) => self.invoke_function(frame, dot, (name, function, here), words, last),
            Callee::And => self.logic(frame, dot, (name, false), words, last),
            Callee::Or => self.logic(frame, dot, (name, true), words, last),
            Callee::Call => self.invoke_value(frame, dot, here, words, last),
        }
    }

    /// `and` and `or`: the first argument whose truth is `until`, or the last one; the rest is not evaluated.
    fn logic<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        dot: &Slot,
        (name, until): (&str, bool),
        words: &'t [Operand],
        last: Option<Value>,
    ) -> Outcome<Value> {
        if words.is_empty() && last.is_none() {
            return Err(frame.error(format!("wrong number of args for {name}: want at least 1 got 0")));
        }
        let mut value = Value::NoValue;
        for word in words {
            value = self.argument(frame, dot, &Type::Reflect, word)?;
            if value.truth() == until {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    /// The built-in `call`, whose errors name what was to be called.
    fn invoke_value<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        dot: &Slot,
        here: Place,
        words: &'t [Operand],
        last: Option<Value>,
    ) -> Outcome<Value> {
        let mut arguments = Vec::with_capacity(words.len() + 1);
        for word in words {
            arguments.push(self.argument(frame, dot, &Type::Reflect, word)?);
        }
        arguments.extend(last);
        if arguments.is_empty() {
            return Err(frame.error("wrong number of args for call: want at least 1 got 0"));
        }
        let name = match words.first().map(|word| (&word.term, word)) {
            Some((crate::parse::tree::Term::Pipe(pipe), _)) => pipe.to_string(),
            Some((_, word)) => word.to_string(),
            None => format!("<{} Value>", arguments[0].type_name()),
        };
        let callee = arguments.remove(0);
        let result = match &callee {
            Value::NoValue | Value::Nil => Err(FunctionError::new("call of nil")),
            Value::Function(function) => self.call_value(&name, function, arguments),
            other => Err(FunctionError::new(format!("non-function {name} of type {}", other.type_name()))),
        };
        result.map_err(|error| {
            frame.at = here;
            frame.call_error("call", error)
        })
    }

    /// Calls a function with operands as its arguments.
    pub(super) fn invoke_function<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        dot: &Slot,
        (name, function, here): (&str, &Function, Place),
        words: &'t [Operand],
        last: Option<Value>,
    ) -> Outcome<Value> {
        let given = words.len() + usize::from(last.is_some());
        let wanted = function.parameters().len();
        if function.rest().is_some() {
            if given < wanted {
                let told = words.len();
                return Err(frame.error(format!("wrong number of args for {name}: want at least {wanted} got {told}")));
            }
        } else if given != wanted {
            return Err(frame.error(format!("wrong number of args for {name}: want {wanted} got {given}")));
        }
        let mut arguments = Vec::with_capacity(given);
        for (index, word) in words.iter().enumerate() {
            let wanted = function.parameter(index).unwrap_or(&Type::Any);
            arguments.push(self.argument(frame, dot, wanted, word)?);
        }
        if let Some(last) = last {
            let wanted = function.parameter(words.len()).unwrap_or(&Type::Any);
            arguments.push(super::arguments::fit(frame, Slot::plain(last), wanted)?);
        }
        let result = self.run_function(function, &arguments);
        result.map_err(|error| {
            frame.at = here;
            frame.call_error(name, error)
        })
    }

    /// Runs a function and accounts for what it made.
    fn run_function(&mut self, function: &Function, arguments: &[Value]) -> Result<Value, FunctionError> {
        self.made.note(arguments);
        let value = function.run(&mut Call::new(self), arguments)?;
        let bytes = match &value {
            Value::String(text) => {
                let is_argument = |argument: &Value| match argument {
                    Value::String(own) => std::ptr::eq(own.as_ptr(), text.as_ptr()),
                    _ => false,
                };
                if arguments.iter().any(is_argument) { 0 } else { text.len() }
            }
            Value::List(list) => {
                let is_argument = |argument: &Value| matches!(argument, Value::List(own) if own.is_same(list));
                if arguments.iter().any(is_argument) { 0 } else { list.len() * size_of::<Value>() }
            }
            _ => 0,
        };
        self.meter.charge(bytes)?;
        Ok(value)
    }

    /// Calls a function value with arguments that are values already.
    pub(crate) fn call_value(
        &mut self,
        name: &str,
        function: &Function,
        arguments: Vec<Value>,
    ) -> Result<Value, FunctionError> {
        let (wanted, given) = (function.parameters().len(), arguments.len());
        let fits = if function.rest().is_some() { given >= wanted } else { given == wanted };
        if !fits {
            let least = if function.rest().is_some() { "at least " } else { "" };
            let message = format!("wrong number of args for {name}: got {given} want {least}{wanted}");
            return Err(FunctionError::new(message));
        }
        let mut prepared = Vec::with_capacity(given);
        for (index, argument) in arguments.into_iter().enumerate() {
            let wanted = function.parameter(index).unwrap_or(&Type::Any);
            let value =
                convert(argument, wanted).map_err(|message| FunctionError::new(format!("arg {index}: {message}")))?;
            prepared.push(value);
        }
        self.run_function(function, &prepared)
    }
}

/// The value as the wanted type: as it is, nil as that type's zero, integers converted among one another.
pub(crate) fn convert(value: Value, wanted: &Type) -> Result<Value, String> {
    if value.is_absent() {
        return if wanted.can_be_nil() {
            Ok(wanted.zero())
        } else {
            Err(format!("value is nil; should be of type {wanted}"))
        };
    }
    if wanted.accepts(&value) {
        return Ok(value);
    }
    let bits = match &value {
        Value::Int(number, _) => Some(*number as u64),
        Value::Uint(number, _) => Some(*number),
        _ => None,
    };
    match (wanted, bits) {
        (Type::Int(kind), Some(bits)) => Ok(int(bits, *kind)),
        (Type::Uint(kind), Some(bits)) => Ok(uint(bits, *kind)),
        _ => Err(format!("value has type {}; should be {wanted}", value.type_name())),
    }
}

fn int(bits: u64, kind: IntKind) -> Value {
    Value::Int(kind.wrap(bits as i64), kind)
}

fn uint(bits: u64, kind: UintKind) -> Value {
    Value::Uint(kind.wrap(bits), kind)
}
