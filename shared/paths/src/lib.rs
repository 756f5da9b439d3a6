//! Byte paths, werf's glob rule, and the scopes that select files of a tree.
//!
//! Paths are bytes: git allows names that are not UTF-8, and a build must carry them unchanged.
//!
//! Reading order: [`path`] (one path), [`glob`] (one pattern), [`filter`] (include and exclude), [`ignore`]
//! (Docker's ignore rules), [`scope`] (what of a tree is meant: any of these, as one comparable value), [`matcher`]
//! (a scope, ready for a walk).

pub mod filter;
pub mod glob;
pub mod ignore;
pub mod matcher;
pub mod path;
pub mod scope;

pub use filter::PathFilter;
pub use glob::{Glob, GlobError};
pub use ignore::ContextFilter;
pub use matcher::Matcher;
pub use path::{PathError, TreePath};
pub use scope::Scope;
