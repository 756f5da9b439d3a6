//! `werf.yaml`: YAML with positions → raw documents → [`Config`], validated.
//!
//! Reading order: [`model`] (what a valid configuration is), then how it is read: `yaml` (a tree with positions),
//! `documents` (splitting), `raw/` (one file per directive), `check` (rules across documents), [`problem`] (errors).
//!
//! This crate reads no file and knows no git: it is given the rendered text and answers with a configuration or
//! with every problem it found, each at its line and column.

pub mod model;
pub mod problem;

pub use model::*;
pub use problem::{Position, Problem, Problems};

/// Reads the rendered text of a `werf.yaml`. `file` is the name that problems are reported under.
///
/// # Errors
/// All problems of the text at once.
pub fn parse(_file: &str, _text: &str) -> Result<Config, Problems> {
    unimplemented!("helper")
}
