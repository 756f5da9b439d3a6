//! `werf.yaml`: YAML with positions → raw documents → [`Config`], validated.
//!
//! Reading order: [`model`] (what a valid configuration is), then how it is read: `yaml` (a tree with positions),
//! [`documents`] (splitting), `raw/` (one file per directive), `check` (rules across documents), [`problem`]
//! (errors); then what is done with a configuration: [`names`] (images that a user asks for), [`graph`] (what
//! depends on what); beside it, [`giterminism`] (what may be used without being committed), [`includes`] (files of the
//! configuration that come from other repositories), [`hide`] (its text without secrets), and [`value`] (YAML of any shape, for templates).
//!
//! This crate reads no file and knows no git: it is given the rendered text and answers with a configuration or
//! with every problem it found, each at its line and column.

mod check;
pub mod documents;
pub mod giterminism;
pub mod graph;
pub mod hide;
pub mod includes;
pub mod model;
pub mod names;
pub mod problem;
mod raw;
#[cfg(test)]
mod tests;
pub mod value;
mod yaml;

pub use documents::select_documents;
pub use giterminism::Giterminism;
pub use graph::{graph_dot, graph_json, graph_yaml, image_names};
pub use hide::{NotHidden, hide_values};
pub use model::*;
pub use names::{SelectError, closure, select};
pub use problem::{Origin, Position, Problem, Problems};
pub use value::{YamlError, YamlValue};

/// The largest text that is read, in bytes.
pub const LARGEST_TEXT: usize = 10 << 20;

/// Reads the rendered text of a `werf.yaml`. `file` is the name that problems are reported under.
///
/// # Errors
/// All problems of the text at once.
pub fn parse(file: &str, text: &str) -> Result<Config, Problems> {
    let mut reader = raw::Reader::new(file);
    if text.len() > LARGEST_TEXT {
        let message = format!("the configuration has {} bytes; up to {LARGEST_TEXT} are read", text.len());
        reader.refuse_file(message, "split the project, or check what the templates repeat");
        return Err(reader.problems(""));
    }
    let text = documents::normalise(text);
    let documents = reader.documents(&text);
    // References are checked even when single directives are wrong: all problems are shown at once.
    let config = check::check(&mut reader, documents);
    if reader.problems.is_empty() { Ok(config) } else { Err(reader.problems(&text)) }
}

/// A text that cannot be the name of a project.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}; names are up to 50 lower-case letters, digits and dashes, with a letter or digit at both ends")]
pub struct ProjectNameError(String);

/// Checks a name of a project that comes from somewhere else than `project`, such as a variable or a flag.
///
/// # Errors
/// [`ProjectNameError`] when `name` cannot be one.
pub fn check_project_name(name: &str) -> Result<(), ProjectNameError> {
    raw::project_name_fault(name).map_or(Ok(()), |fault| Err(ProjectNameError(fault)))
}
