//! Go's `text/template`, with Go's values, Go's `fmt` and Go's words for what goes wrong.
//!
//! Reading order: [`value`] is what templates compute with, [`function`] what they call. `lex` and `parse` turn text into
//! trees, `exec` walks them, `builtins` are the functions that are always there, [`format`] is Go's `fmt`. [`set`] is
//! where a user begins:
//!
//! ```
//! use slipway_template::{Functions, Limits, TemplateSet, Value};
//!
//! let mut set = TemplateSet::new(Functions::new(), Limits::default());
//! set.parse("greeting", "{{ range .names }}Hello, {{ . }}!\n{{ end }}")?;
//! let data = Value::map([("names", Value::strings(["Ada", "Grace"]))]);
//! let rendered = set.execute("greeting", data)?;
//! assert_eq!(rendered.text, "Hello, Ada!\nHello, Grace!\n");
//! # Ok::<(), slipway_template::TemplateError>(())
//! ```
//!
//! The crate reads no files, no environment and no clock: what templates need of them comes as functions and objects.

mod builtins;
pub mod error;
mod exec;
pub mod format;
pub mod function;
mod lex;
pub mod limits;
mod parse;
pub mod set;
pub mod source_map;
pub mod sprig;
#[cfg(test)]
mod tests;
mod unicode;
pub mod value;

pub use error::{ExecutionError, Innermost, Position, TemplateError};
pub use exec::Rendered;
pub use function::{Call, Function, FunctionError, Functions};
pub use limits::{LimitError, Limits};
pub use set::{MissingKey, TemplateSet};
pub use source_map::{Origin, SourceMap};
pub use value::{GoString, List, Map, Object, Type, Value};
