//! `werf.yaml` as a template: what werf's configurations may call and read, over the template engine.
//!
//! Reading order: [`surroundings`] (all that templates ask of the outside, as one trait), then [`rendering`] (how a
//! configuration is rendered, and where each place of its text comes from). `functions` are werf's own functions,
//! `files` is `.Files`, `commit` is `.Commit`, `yaml` turns YAML into values of templates and back, `dump` shows values
//! for debugging.
//!
//! The crate reads nothing itself: what files, variables and times there are, and which of them may be used, is for the
//! one who implements [`Surroundings`].

mod commit;
mod dump;
mod files;
mod functions;
pub mod rendering;
pub mod surroundings;
mod yaml;

pub use commit::Commit;
pub use functions::functions;
pub use rendering::{Configuration, Rendering, TemplateFile, render};
pub use slipway_template::{Limits, sprig::World};
pub use surroundings::{Refusal, Surroundings};
