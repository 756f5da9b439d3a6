//! Executes trees.
//!
//! A machine is one run: its templates, its meter, its output. A frame is one template executing in it. Where an error
//! is said to be follows Go: the part that was looked at last, not the one that encloses it.

mod arguments;
mod evaluate;
mod fields;
mod invoke;
mod output;
mod place;
mod variables;
mod walk;

use std::collections::HashMap;
use std::sync::Arc;

pub(crate) use invoke::convert;
pub use output::Rendered;

use crate::error::{Innermost, TemplateError};
use crate::function::{FunctionError, Functions};
use crate::limits::{LimitError, Limits, Meter};
use crate::parse;
use crate::parse::tree::{DOLLAR, Tree, is_empty};
use crate::set::MissingKey;
use crate::value::{GoString, Value};
use output::{Made, Output};
use place::Place;
use variables::Variables;

/// Lists, pipelines and templates within one another, over the whole run. The stack is sized for it.
const NESTING: usize = 20_000;

/// Bytes of stack for a run: `NESTING` levels with room to spare.
pub(crate) const STACK: usize = 512 << 20;

/// The templates of a run by their names.
pub(crate) type Templates = HashMap<Arc<str>, Arc<Tree>>;

type Outcome<T> = Result<T, Box<TemplateError>>;

/// One run.
pub(crate) struct Machine {
    templates: Arc<Templates>,
    functions: Arc<Functions>,
    missing_key: MissingKey,
    meter: Meter,
    output: Output,
    made: Made,
    /// The template with which the run began.
    main: String,
    /// Templates executing within templates.
    depth: usize,
    /// Texts that were parsed during the run, by their names.
    parsed: HashMap<Box<str>, Parsed>,
    nesting: usize,
}

/// A text that was parsed, to be added again without parsing it anew.
struct Parsed {
    text: Box<str>,
    trees: Vec<Arc<Tree>>,
}

/// A value, and whether Go would hold it as an `interface {}`: then errors speak of that type.
#[derive(Clone)]
struct Slot {
    value: Value,
    boxed: bool,
}

impl Slot {
    fn plain(value: Value) -> Slot {
        Slot { value, boxed: false }
    }
}

/// One executing template.
struct Frame<'t> {
    tree: &'t Tree,
    variables: Variables,
    /// What was looked at last.
    at: Place,
}

impl<'t> Frame<'t> {
    fn new(tree: &'t Tree, dot: Slot) -> Frame<'t> {
        let mut variables = Variables::default();
        variables.push(DOLLAR, dot);
        Frame { tree, variables, at: Place::Nowhere }
    }

    /// An error at the current place.
    fn error(&self, message: impl Into<String>) -> Box<TemplateError> {
        Box::new(place::error(self.tree, self.at, message.into()))
    }

    /// What a function's error makes of the call of `name`.
    fn call_error(&self, name: &str, error: FunctionError) -> Box<TemplateError> {
        match error {
            FunctionError::Limit(limit) => self.limit(limit),
            FunctionError::Template(error) => match *error {
                // A template that could not even begin has no place of its own.
                TemplateError::Limit { position: None, limit } => self.limit(limit),
                TemplateError::Limit { .. } => error,
                other => {
                    let innermost = other
                        .position()
                        .map(|position| Innermost { position: position.clone(), message: other.reason() });
                    let message = format!("error calling {name}: {other}");
                    Box::new(place::error(self.tree, self.at, message).with_innermost(innermost))
                }
            },
            FunctionError::Message(message) => self.error(format!("error calling {name}: {message}")),
        }
    }

    fn limit(&self, limit: LimitError) -> Box<TemplateError> {
        Box::new(TemplateError::Limit { position: place::position(self.tree, self.at).map(Box::new), limit })
    }
}

impl Machine {
    pub(crate) fn new(
        templates: Arc<Templates>,
        functions: Arc<Functions>,
        limits: Limits,
        missing_key: MissingKey,
        main: &str,
    ) -> Machine {
        Machine {
            templates,
            functions,
            missing_key,
            meter: Meter::new(limits),
            output: Output::default(),
            made: Made::default(),
            main: main.to_owned(),
            depth: 0,
            parsed: HashMap::new(),
            nesting: 0,
        }
    }

    /// Executes the main template.
    pub(crate) fn run(mut self, data: Value) -> Result<Rendered, TemplateError> {
        let main = self.main.clone();
        self.execute_named(&main, data)?;
        Ok(self.output.finish())
    }

    pub(crate) fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }

    pub(crate) fn has_template(&self, name: &str) -> bool {
        self.templates.contains_key(name)
    }

    /// Executes a template into a string of its own.
    pub(crate) fn execute_to_string(&mut self, name: &str, data: Value) -> Result<GoString, FunctionError> {
        let outer = std::mem::take(&mut self.output);
        let aside = self.made.set_aside();
        let result = self.execute_named(name, data);
        let inner = std::mem::replace(&mut self.output, outer);
        self.made.take_back(aside);
        result?;
        self.meter.charge(inner.len())?;
        let (bytes, spans) = inner.into_parts();
        let text = GoString::from(bytes);
        self.made.add(&text, spans);
        Ok(text)
    }

    /// Adds the templates of `text` for the rest of the run.
    pub(crate) fn parse_template(&mut self, name: &str, file: Option<&str>, text: &str) -> Result<(), FunctionError> {
        self.meter.charge(text.len())?;
        let limit = self.meter.limits().source_bytes;
        if text.len() > limit {
            return Err(LimitError::Source(limit).into());
        }
        let trees = match self.parsed.get(name) {
            Some(parsed) if *parsed.text == *text => parsed.trees.clone(),
            _ => {
                let trees = parse::parse((name, file), text, &self.functions)?;
                self.parsed.insert(name.into(), Parsed { text: text.into(), trees: trees.clone() });
                trees
            }
        };
        add(Arc::make_mut(&mut self.templates), trees);
        Ok(())
    }

    fn execute_named(&mut self, name: &str, data: Value) -> Result<(), TemplateError> {
        let Some(tree) = self.templates.get(name).cloned() else {
            return Err(TemplateError::Missing { wanted: name.to_owned(), asked: self.main.clone() });
        };
        let data = if data.is_absent() { Value::NoValue } else { data };
        self.execute_tree(&tree, data).map_err(|error| *error)
    }

    fn execute_tree(&mut self, tree: &Tree, data: Value) -> Outcome<()> {
        let dot = Slot::plain(data);
        let mut frame = Frame::new(tree, dot.clone());
        if self.depth >= self.meter.limits().depth {
            return Err(frame.limit(LimitError::Depth(self.meter.limits().depth)));
        }
        self.depth += 1;
        let result = self.walk(&mut frame, &dot, &tree.root);
        self.depth -= 1;
        result.map(|_| ())
    }

    /// Runs `body` one level deeper.
    fn nested<'t, T>(
        &mut self,
        frame: &mut Frame<'t>,
        body: impl FnOnce(&mut Self, &mut Frame<'t>) -> Outcome<T>,
    ) -> Outcome<T> {
        if self.nesting >= NESTING {
            return Err(frame.limit(LimitError::Nesting(NESTING)));
        }
        self.nesting += 1;
        let result = body(self, frame);
        self.nesting -= 1;
        result
    }

    fn step(&mut self, frame: &Frame<'_>) -> Outcome<()> {
        self.meter.step(1).map_err(|limit| frame.limit(limit))
    }
}

/// Adds trees by their names: each replaces its namesake, unless it is empty.
pub(crate) fn add(templates: &mut Templates, trees: Vec<Arc<Tree>>) {
    for tree in trees {
        if is_empty(&tree.root, &tree.source) && templates.contains_key(&tree.name) {
            continue;
        }
        templates.insert(Arc::clone(&tree.name), tree);
    }
}

#[cfg(test)]
mod tests;
