//! A set of templates that know one another by name.

use std::sync::Arc;

use crate::error::{Position, TemplateError};
use crate::exec::{Machine, Rendered, STACK, Templates, add};
use crate::function::Functions;
use crate::limits::{LimitError, Limits};
use crate::parse;
use crate::value::Value;

/// What a field gives that a map does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingKey {
    /// No value, which prints as `<no value>`.
    #[default]
    NoValue,
    /// The zero of the map's value type.
    Zero,
    /// An error.
    Error,
}

/// Templates, the functions they may call, and the limits of a run. A clone shares the templates until either is
/// parsed into.
#[derive(Clone)]
pub struct TemplateSet {
    templates: Arc<Templates>,
    functions: Arc<Functions>,
    limits: Limits,
    missing_key: MissingKey,
}

impl TemplateSet {
    /// A set without templates. The functions are those besides the built-in ones.
    pub fn new(functions: Functions, limits: Limits) -> TemplateSet {
        TemplateSet {
            templates: Arc::default(),
            functions: Arc::new(functions),
            limits,
            missing_key: MissingKey::default(),
        }
    }

    /// The same set with another answer for fields that a map does not have.
    #[must_use]
    pub fn with_missing_key(mut self, missing_key: MissingKey) -> TemplateSet {
        self.missing_key = missing_key;
        self
    }

    /// Parses `text` as the template `name` and adds it with all it defines. A template of the same name is replaced,
    /// unless the new one is empty. On an error the set stays as it was.
    pub fn parse(&mut self, name: &str, text: &str) -> Result<(), TemplateError> {
        self.parse_from((name, None), text)
    }

    /// As [`TemplateSet::parse`], for a template that is called otherwise than the file it was read from.
    pub fn parse_file(&mut self, name: &str, file: &str, text: &str) -> Result<(), TemplateError> {
        self.parse_from((name, Some(file)), text)
    }

    fn parse_from(&mut self, (name, file): (&str, Option<&str>), text: &str) -> Result<(), TemplateError> {
        if text.len() > self.limits.source_bytes {
            let file = file.map(str::to_owned);
            let start = Position { name: name.to_owned(), file, line: 1, column: None, text: String::new() };
            let position = Some(Box::new(start));
            return Err(TemplateError::Limit { position, limit: LimitError::Source(self.limits.source_bytes) });
        }
        let trees = parse::parse((name, file), text, &self.functions)?;
        add(Arc::make_mut(&mut self.templates), trees);
        Ok(())
    }

    /// Whether there is a template of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.templates.contains_key(name)
    }

    /// The names of all templates, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.templates.keys().map(|name| &**name).collect();
        names.sort_unstable();
        names
    }

    /// Executes a template with `data` as its dot. Templates that functions parse during the run are gone after it;
    /// what templates set in maps of `data` stays.
    pub fn execute(&self, name: &str, data: Value) -> Result<Rendered, TemplateError> {
        let machine =
            Machine::new(Arc::clone(&self.templates), Arc::clone(&self.functions), self.limits, self.missing_key, name);
        // Templates nest deeper than a thread's usual stack may hold.
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, move || machine.run(data));
            match thread.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(result)) => result,
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                Err(_) => Err(TemplateError::Limit { position: None, limit: LimitError::Stack(STACK) }),
            }
        })
    }
}
