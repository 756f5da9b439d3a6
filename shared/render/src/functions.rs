//! werf's own functions.

use std::sync::{Arc, Mutex, PoisonError};

use slipway_template::{Call, Function, FunctionError, Functions, GoString, Type, Value, format};

use crate::dump::dump;
use crate::files::{Files, quoted};
use crate::surroundings::{Refusal, Surroundings};
use crate::yaml::{from_yaml, text, to_yaml};

/// werf's functions, without `.Files` to tell which file a text is from; for a set of templates of one's own.
pub fn functions(surroundings: Arc<dyn Surroundings>) -> Functions {
    let reporter = Reporter::default();
    let files = Files::new(Arc::clone(&surroundings), reporter.clone());
    own(&surroundings, &files, &reporter)
}

/// Keeps the advice of the last refusal: a function can only hand on a message.
#[derive(Clone, Default)]
pub(crate) struct Reporter(Arc<Mutex<Option<String>>>);

impl Reporter {
    /// The error that a refusal is for a template, in the words that `phrase` makes of its message.
    pub(crate) fn refuse(&self, refusal: Refusal, phrase: impl FnOnce(String) -> String) -> FunctionError {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = refusal.hint;
        FunctionError::new(phrase(refusal.message))
    }

    /// The advice.
    pub(crate) fn hint(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(crate) fn own(surroundings: &Arc<dyn Surroundings>, files: &Files, reporter: &Reporter) -> Functions {
    let mut all = Functions::new();
    yaml(&mut all);
    templates(&mut all, surroundings, files);
    values(&mut all, surroundings, reporter);
    debugging(&mut all, surroundings);
    all
}

fn yaml(all: &mut Functions) {
    let read = Function::new([Type::String], |call, arguments| {
        let source = text(&arguments[0]);
        call.charge(source.len())?;
        call.step(source.len() as u64 / 64)?;
        from_yaml(&source)
    });
    all.insert("fromYaml", read.returning(Type::any_map()));
    let write = Function::new([Type::Any], |_, arguments| to_yaml(&arguments[0]).map(Value::from));
    all.insert("toYaml", write.returning(Type::String));
}

fn templates(all: &mut Functions, surroundings: &Arc<dyn Surroundings>, files: &Files) {
    let parameters = || [Type::String, Type::Any];
    let include =
        |call: &mut Call<'_>, arguments: &[Value]| call.execute_template(&text(&arguments[0]), arguments[1].clone());
    all.insert(
        "include",
        Function::new(parameters(), move |call, arguments| include(call, arguments).map(Value::String))
            .returning(Type::String),
    );
    let outside = Arc::clone(surroundings);
    let shown = move |call: &mut Call<'_>, arguments: &[Value]| {
        let result = include(call, arguments)?;
        if outside.is_debugging() {
            outside.say(&format!("-- include_debug template {} result:\n{result}\n", quoted(&text(&arguments[0]))));
        }
        Ok(Value::String(result))
    };
    all.insert("include_debug", Function::new(parameters(), shown).returning(Type::String));

    let known = files.clone();
    let tpl = Function::new(parameters(), move |call, arguments| {
        let (_, result) = execute_text(call, &known, arguments)?;
        Ok(Value::String(result))
    });
    all.insert("tpl", tpl.returning(Type::String));
    let (known, outside) = (files.clone(), Arc::clone(surroundings));
    let shown = Function::new(parameters(), move |call, arguments| {
        if outside.is_debugging() {
            let source = text(&arguments[0]);
            outside.say(&format!("-- tpl_debug {} content:\n{source}\n", quoted(&name_of(&source))));
        }
        let (name, result) = execute_text(call, &known, arguments)?;
        if outside.is_debugging() {
            outside.say(&format!("-- tpl_debug {} result:\n{result}\n", quoted(&name)));
        }
        Ok(Value::String(result))
    });
    all.insert("tpl_debug", shown.returning(Type::String));
}

/// Parses a text as a template and executes it; its name, and what it gives.
fn execute_text(call: &mut Call<'_>, files: &Files, arguments: &[Value]) -> Result<(String, GoString), FunctionError> {
    let source = text(&arguments[0]);
    let name = name_of(&source);
    let file = arguments[0].as_string().and_then(|text| files.file_of(text));
    call.parse_template(&name, file.as_deref(), &source)?;
    let result = call.execute_template(&name, arguments[1].clone())?;
    Ok((name, result))
}

/// The name of a template that is a text: by its content, so that another text is another template.
fn name_of(source: &str) -> String {
    const MODULUS: u32 = 65_521;
    let (mut low, mut high) = (1_u32, 0_u32);
    // So many bytes at once do not overflow the sums.
    for chunk in source.as_bytes().chunks(5552) {
        for byte in chunk {
            low += u32::from(*byte);
            high += low;
        }
        low %= MODULUS;
        high %= MODULUS;
    }
    format!("tpl-{}", (high << 16) | low)
}

fn values(all: &mut Functions, surroundings: &Arc<dyn Surroundings>, reporter: &Reporter) {
    let required = Function::new([Type::String, Type::Any], |_, arguments| {
        let value = &arguments[1];
        let is_missing = value.is_absent() || value.as_string().is_some_and(GoString::is_empty);
        if is_missing { Err(FunctionError::new(text(&arguments[0]))) } else { Ok(value.clone()) }
    });
    all.insert("required", required);
    let (outside, reporter) = (Arc::clone(surroundings), reporter.clone());
    let env = Function::variadic([Type::Any], Type::String, move |_, arguments| {
        if arguments.len() > 2 {
            return Err(FunctionError::new("more than 1 optional argument prohibited"));
        }
        let name = format::sprint(&arguments[..1])?;
        let name = name.to_text();
        let value = outside.variable(&name).map_err(|refusal| reporter.refuse(refusal, |message| message))?;
        match (value, arguments.get(1)) {
            (Some(value), Some(fallback)) if value.is_empty() => Ok(fallback.clone()),
            (Some(value), _) => Ok(Value::from(value)),
            (None, Some(fallback)) => Ok(fallback.clone()),
            (None, None) => {
                let message = "must be set or default must be provided";
                Err(FunctionError::new(format!("the environment variable {} {message}", quoted(&name))))
            }
        }
    });
    all.insert("env", env.returning(Type::String));
}

fn debugging(all: &mut Functions, surroundings: &Arc<dyn Surroundings>) {
    let outside = Arc::clone(surroundings);
    let printf = Function::variadic([Type::String], Type::Any, move |_, arguments| {
        if outside.is_debugging() {
            let layout = text(&arguments[0]);
            let result = format::sprintf(layout.as_bytes(), &arguments[1..])?;
            outside.say(&format!("-- printf_debug format {} result:\n{result}\n", quoted(&layout)));
        }
        Ok(Value::from(""))
    });
    all.insert("printf_debug", printf.returning(Type::String));
    let outside = Arc::clone(surroundings);
    let shown = Function::new([Type::Any], move |call, arguments| {
        if outside.is_debugging() {
            outside.say(&format!("-- dump_debug result:\n{}\n", dump(call, &arguments[0])?));
        }
        Ok(Value::from(""))
    });
    all.insert("dump_debug", shown.returning(Type::String));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_named_by_its_checksum() {
        // Adler-32 of these texts, as its specification has it.
        assert_eq!(name_of(""), "tpl-1");
        assert_eq!(name_of("Wikipedia"), "tpl-300286872");
        assert_eq!(name_of(&"\u{ff}".repeat(10_000)), format!("tpl-{}", adler(&"\u{ff}".repeat(10_000))));
    }

    fn adler(text: &str) -> u32 {
        let (mut low, mut high) = (1_u64, 0_u64);
        for byte in text.bytes() {
            low = (low + u64::from(byte)) % 65_521;
            high = (high + low) % 65_521;
        }
        u32::try_from((high << 16) | low).expect("32 bits")
    }
}
