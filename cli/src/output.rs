//! Everything that a user sees: the only place that prints.
//!
//! Log, warnings and errors go to standard error, data of `plan`, `config`, `version` and `completion` to standard
//! output.
//!
//! Reading order: [`printer`] (lines and their fate), [`escape`] and [`redact`] (what never gets through), [`events`]
//! (what a build tells), [`build_log`] (how it reads), [`progress`] (how it looks on a terminal), [`plan`],
//! [`summary`], [`failure`] (the ends of a build).

pub(crate) mod build_log;
pub(crate) mod display;
pub(crate) mod escape;
pub(crate) mod events;
pub(crate) mod failure;
pub(crate) mod plan;
pub(crate) mod printer;
pub(crate) mod progress;
pub(crate) mod redact;
pub(crate) mod summary;
pub(crate) mod timestamp;
pub(crate) mod trace;

pub(crate) use display::Display;
pub(crate) use printer::Printer;
