//! Places in a tree, by which errors say what they are about.

use crate::error::{ExecutionError, Innermost, Position, TemplateError};
use crate::parse::tree::{List, Node, Operand, Pipe, Term, Tree};

/// A part of a tree: what it is and where it begins. Two parts of one kind never begin at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Nowhere,
    Text(usize),
    Action(usize),
    Template(usize),
    Pipe(usize),
    Command(usize),
    Operand(usize),
}

impl Place {
    fn offset(self) -> Option<usize> {
        match self {
            Place::Nowhere => None,
            Place::Text(at) | Place::Action(at) | Place::Template(at) => Some(at),
            Place::Pipe(at) | Place::Command(at) | Place::Operand(at) => Some(at),
        }
    }
}

pub(super) fn position(tree: &Tree, place: Place) -> Option<Position> {
    let (line, column) = tree.source.line_and_column(place.offset()?);
    Some(tree.source.place(line, Some(column)))
}

/// The error that Go gives for a failure at the place.
pub(super) fn error(tree: &Tree, place: Place, message: String) -> TemplateError {
    TemplateError::Execution(Box::new(ExecutionError {
        position: position(tree, place),
        template: tree.name.to_string(),
        context: in_list(&tree.root, place).unwrap_or_default(),
        message,
        innermost: None,
    }))
}

impl TemplateError {
    /// The same error, about a failure in a template further in.
    pub(super) fn with_innermost(mut self, innermost: Option<Innermost>) -> TemplateError {
        if let TemplateError::Execution(error) = &mut self {
            error.innermost = innermost;
        }
        self
    }
}

fn in_list(list: &List, place: Place) -> Option<String> {
    list.iter().find_map(|node| in_node(node, place))
}

fn in_node(node: &Node, place: Place) -> Option<String> {
    match node {
        Node::Text { .. } | Node::Break | Node::Continue => None,
        Node::Action { position, pipe } if place == Place::Action(*position) => Some(format!("{{{{{pipe}}}}}")),
        Node::Action { pipe, .. } => in_pipe(pipe, place),
        Node::Branch(branch) => branch
            .arms
            .iter()
            .find_map(|(pipe, list)| in_pipe(pipe, place).or_else(|| in_list(list, place)))
            .or_else(|| in_list(branch.otherwise.as_ref()?, place)),
        Node::Range(range) => in_pipe(&range.pipe, place)
            .or_else(|| in_list(&range.body, place))
            .or_else(|| in_list(range.otherwise.as_ref()?, place)),
        Node::Template(call) if place == Place::Template(call.position) => Some(call.to_string()),
        Node::Template(call) => in_pipe(call.pipe.as_ref()?, place),
    }
}

fn in_pipe(pipe: &Pipe, place: Place) -> Option<String> {
    if place == Place::Pipe(pipe.position) {
        return Some(pipe.to_string());
    }
    pipe.commands.iter().find_map(|command| {
        if place == Place::Command(command.position) {
            return Some(command.to_string());
        }
        command.words.iter().find_map(|word| in_operand(word, place))
    })
}

fn in_operand(operand: &Operand, place: Place) -> Option<String> {
    match &operand.term {
        Term::Pipe(pipe) => in_pipe(pipe, place),
        _ if place == Place::Operand(operand.position) => Some(operand.to_string()),
        Term::Chain(inner, _) => in_operand(inner, place),
        _ => None,
    }
}
