//! The tree of a parsed template, and how it prints itself back in error messages.

use std::fmt;
use std::sync::Arc;

use super::number::Number;
use crate::error::Position;
use crate::function::Function;
use crate::value::GoString;

/// The text that trees point into.
#[derive(Debug)]
pub(crate) struct Source {
    /// The name under which the text was parsed.
    pub(crate) name: Arc<str>,
    /// The file it was read from, where that is known and called otherwise.
    pub(crate) file: Option<Arc<str>>,
    pub(crate) text: Box<str>,
    /// Where each line starts.
    lines: Vec<usize>,
}

impl Source {
    pub(crate) fn new((name, file): (&str, Option<&str>), text: &str) -> Source {
        let after_newline = |(at, byte): (usize, u8)| (byte == b'\n').then_some(at + 1);
        let lines = std::iter::once(0).chain(text.bytes().enumerate().filter_map(after_newline)).collect();
        Source { name: name.into(), file: file.map(Arc::from), text: text.into(), lines }
    }

    /// The line, from 1, and the bytes before the place on that line.
    pub(crate) fn line_and_column(&self, position: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= position);
        (line, position - self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0))
    }

    /// The text of a line, from 1, without its end.
    pub(crate) fn line(&self, line: usize) -> &str {
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        self.text[start..].split(['\n', '\r']).next().unwrap_or_default()
    }

    /// A place for a message.
    pub(crate) fn place(&self, line: usize, column: Option<usize>) -> Position {
        Position {
            name: self.name.to_string(),
            file: self.file.as_deref().map(str::to_owned),
            line,
            column,
            text: self.line(line).to_owned(),
        }
    }
}

/// One template: the text of a file outside its definitions, or one definition.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) name: Arc<str>,
    pub(crate) source: Arc<Source>,
    pub(crate) root: List,
}

/// Parts in their order.
pub(crate) type List = Vec<Node>;

/// Number of a variable within its tree; `$` is 0.
pub(crate) type VariableId = u32;

/// `$`.
pub(crate) const DOLLAR: VariableId = 0;

#[derive(Debug)]
pub(crate) enum Node {
    /// Plain text: a range of the source.
    Text {
        start: usize,
        end: usize,
    },
    /// `{{pipeline}}`.
    Action {
        position: usize,
        pipe: Pipe,
    },
    /// `{{if}}` or `{{with}}`, with all its `{{else if}}` or `{{else with}}`.
    Branch(Branch),
    Range(Range),
    Template(TemplateCall),
    Break,
    Continue,
}

#[derive(Debug)]
pub(crate) struct Branch {
    /// `with`: the value becomes the dot.
    pub(crate) sets_dot: bool,
    /// Tried in their order; at least one.
    pub(crate) arms: Vec<(Pipe, List)>,
    pub(crate) otherwise: Option<List>,
}

#[derive(Debug)]
pub(crate) struct Range {
    pub(crate) pipe: Pipe,
    pub(crate) body: List,
    pub(crate) otherwise: Option<List>,
}

#[derive(Debug)]
pub(crate) struct TemplateCall {
    pub(crate) position: usize,
    pub(crate) name: Arc<str>,
    pub(crate) pipe: Option<Pipe>,
}

#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) position: usize,
    /// `=`, not `:=`.
    pub(crate) assigns: bool,
    pub(crate) variables: Vec<Declared>,
    pub(crate) commands: Vec<Command>,
}

#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) id: VariableId,
    pub(crate) name: Arc<str>,
}

#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) position: usize,
    /// At least one.
    pub(crate) words: Vec<Operand>,
}

#[derive(Debug)]
pub(crate) struct Operand {
    pub(crate) position: usize,
    pub(crate) term: Term,
}

#[derive(Debug)]
pub(crate) enum Term {
    Bool(bool),
    /// A parenthesised pipeline or a function with fields after it.
    Chain(Box<Operand>, Vec<Arc<str>>),
    Dot,
    Field(Vec<Arc<str>>),
    Function(Arc<str>, Callee),
    Nil,
    Number(Number),
    Pipe(Box<Pipe>),
    /// As written, and its value.
    String(Box<str>, GoString),
    Variable(VariableId, Arc<str>, Vec<Arc<str>>),
}

/// What a name of a function stands for.
#[derive(Debug, Clone)]
pub(crate) enum Callee {
    /// The built-in `and`, which evaluates no more than it must.
    And,
    /// The built-in `or`, likewise.
    Or,
    /// The built-in `call`, which names its callee in errors.
    Call,
    Function(Arc<Function>),
}

/// Whether there is nothing but space in the list.
pub(crate) fn is_empty(list: &List, source: &Source) -> bool {
    list.iter().all(|node| match node {
        Node::Text { start, end } => source.text[*start..*end].trim().is_empty(),
        Node::Action { .. } | Node::Branch(_) | Node::Range(_) | Node::Template(_) => false,
        Node::Break | Node::Continue => false,
    })
}

impl fmt::Display for Pipe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, variable) in self.variables.iter().enumerate() {
            write!(formatter, "{}{}", if index > 0 { ", " } else { "" }, variable.name)?;
        }
        if !self.variables.is_empty() {
            formatter.write_str(if self.assigns { " = " } else { " := " })?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            write!(formatter, "{}{command}", if index > 0 { " | " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.words.iter().enumerate() {
            let space = if index > 0 { " " } else { "" };
            match &word.term {
                Term::Pipe(pipe) => write!(formatter, "{space}({pipe})")?,
                _ => write!(formatter, "{space}{word}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = |formatter: &mut fmt::Formatter<'_>, names: &[Arc<str>]| {
            names.iter().try_for_each(|name| write!(formatter, ".{name}"))
        };
        match &self.term {
            Term::Bool(flag) => write!(formatter, "{flag}"),
            Term::Chain(operand, names) => {
                match &operand.term {
                    Term::Pipe(pipe) => write!(formatter, "({pipe})")?,
                    _ => write!(formatter, "{operand}")?,
                }
                fields(formatter, names)
            }
            Term::Dot => formatter.write_str("."),
            Term::Field(names) => fields(formatter, names),
            Term::Function(name, _) => formatter.write_str(name),
            Term::Nil => formatter.write_str("nil"),
            Term::Number(number) => formatter.write_str(&number.text),
            Term::Pipe(pipe) => pipe.fmt(formatter),
            Term::String(written, _) => formatter.write_str(written),
            Term::Variable(_, name, names) => {
                formatter.write_str(name)?;
                fields(formatter, names)
            }
        }
    }
}

impl fmt::Display for TemplateCall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{{{{template {}", crate::error::quoted(&self.name))?;
        if let Some(pipe) = &self.pipe {
            write!(formatter, " {pipe}")?;
        }
        formatter.write_str("}}")
    }
}
