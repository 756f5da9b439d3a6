//! Functions of templates: their signatures, what they may ask of the engine while they run, and how they fail.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::error::TemplateError;
use crate::exec::Machine;
use crate::limits::LimitError;
use crate::value::{GoString, Type, Value};

/// What runs when a template calls the function. The arguments fit the signature: their count and types were checked.
pub type Body = dyn Fn(&mut Call<'_>, &[Value]) -> Result<Value, FunctionError> + Send + Sync;

/// A function with Go's signature.
#[derive(Clone)]
pub struct Function {
    parameters: Vec<Type>,
    rest: Option<Type>,
    result: Type,
    body: Arc<Body>,
}

impl Function {
    /// A function of exactly these parameters.
    pub fn new(
        parameters: impl Into<Vec<Type>>,
        body: impl Fn(&mut Call<'_>, &[Value]) -> Result<Value, FunctionError> + Send + Sync + 'static,
    ) -> Function {
        Function { parameters: parameters.into(), rest: None, result: Type::Any, body: Arc::new(body) }
    }

    /// A variadic function: the fixed parameters, then any number of arguments of type `rest`.
    pub fn variadic(
        parameters: impl Into<Vec<Type>>,
        rest: Type,
        body: impl Fn(&mut Call<'_>, &[Value]) -> Result<Value, FunctionError> + Send + Sync + 'static,
    ) -> Function {
        Function { parameters: parameters.into(), rest: Some(rest), result: Type::Any, body: Arc::new(body) }
    }

    /// The same function with the named result type, which shows where Go prints the function's type.
    #[must_use]
    pub fn returning(mut self, result: Type) -> Function {
        self.result = result;
        self
    }

    /// The fixed parameters.
    pub fn parameters(&self) -> &[Type] {
        &self.parameters
    }

    /// The type of the variadic arguments, for a variadic function.
    pub fn rest(&self) -> Option<&Type> {
        self.rest.as_ref()
    }

    /// The result type: `interface {}` unless another one was named.
    pub fn result(&self) -> &Type {
        &self.result
    }

    /// The type of the argument at `index`; `None` past the last one.
    pub fn parameter(&self, index: usize) -> Option<&Type> {
        self.parameters.get(index).or(self.rest.as_ref())
    }

    /// The function's type as Go spells it: `func(string, ...interface {}) string`.
    pub fn type_name(&self) -> String {
        let mut parameters: Vec<String> = self.parameters.iter().map(Type::to_string).collect();
        parameters.extend(self.rest.iter().map(|rest| format!("...{rest}")));
        format!("func({}) {}", parameters.join(", "), self.result)
    }

    /// Runs the body. The arguments must fit the signature.
    pub fn run(&self, call: &mut Call<'_>, arguments: &[Value]) -> Result<Value, FunctionError> {
        (self.body)(call, arguments)
    }

    /// A number that stands for the function's place in memory, for `%p`.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.body).addr()
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.type_name())
    }
}

/// The functions of a template set, by name.
#[derive(Debug, Clone, Default)]
pub struct Functions(BTreeMap<String, Arc<Function>>);

impl Functions {
    /// No functions but those built into the engine.
    pub fn new() -> Functions {
        Functions::default()
    }

    /// Adds a function; one of the same name is replaced, also a built-in one.
    pub fn insert(&mut self, name: impl Into<String>, function: Function) {
        self.0.insert(name.into(), Arc::new(function));
    }

    /// Adds all of `other`; those of the same name are replaced.
    pub fn extend(&mut self, other: Functions) {
        self.0.extend(other.0);
    }

    /// Takes a function out.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The function of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Function>> {
        self.0.get(name)
    }

    /// Whether there is a function of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// What a running function may ask of the engine.
pub struct Call<'a> {
    machine: &'a mut Machine,
}

impl<'a> Call<'a> {
    pub(crate) fn new(machine: &'a mut Machine) -> Call<'a> {
        Call { machine }
    }

    /// Executes a named template of the set with `data` as dot and `$`; its output.
    pub fn execute_template(&mut self, name: &str, data: Value) -> Result<GoString, FunctionError> {
        self.machine.execute_to_string(name, data)
    }

    /// Parses `text` as the template `name` and adds it, with all it defines, to the set for the rest of the run. `file`
    /// is where the text was read from, when that is known.
    pub fn parse_template(&mut self, name: &str, file: Option<&str>, text: &str) -> Result<(), FunctionError> {
        self.machine.parse_template(name, file, text)
    }

    /// Whether the set has a template of that name.
    pub fn has_template(&self, name: &str) -> bool {
        self.machine.has_template(name)
    }

    /// Accounts for memory that the function is about to take; call it before taking much.
    pub fn charge(&mut self, bytes: usize) -> Result<(), FunctionError> {
        Ok(self.machine.meter().charge(bytes)?)
    }

    /// Accounts for work beyond that of an ordinary call, such as the items of a long list.
    pub fn step(&mut self, steps: u64) -> Result<(), FunctionError> {
        Ok(self.machine.meter().step(steps)?)
    }

    /// Calls a function value. Count and types of the arguments are checked as `call` does.
    pub fn call(&mut self, name: &str, function: &Function, arguments: Vec<Value>) -> Result<Value, FunctionError> {
        self.machine.call_value(name, function, arguments)
    }
}

/// Why a function failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FunctionError {
    /// What Go's function returns as its error, or panics with. The engine puts `error calling NAME: ` before it.
    #[error("{0}")]
    Message(String),
    /// A template that the function parsed or executed failed.
    #[error("{0}")]
    Template(Box<TemplateError>),
    /// A limit is reached; the whole run ends.
    #[error("{0}")]
    Limit(#[from] LimitError),
}

impl FunctionError {
    /// An error of the function's own.
    pub fn new(message: impl Into<String>) -> FunctionError {
        FunctionError::Message(message.into())
    }
}

impl From<TemplateError> for FunctionError {
    fn from(error: TemplateError) -> FunctionError {
        FunctionError::Template(Box::new(error))
    }
}
