//! Decides: what a build needs to know, which stage is built next and where, and who publishes it.
//!
//! Two pure machines and one owner task: `Build` (in `slipway-stages`) runs the conveyors of one build,
//! [`scheduler::Scheduler`] knows jobs and workers. [`engine`] owns both, routes what happens from one to the other,
//! and never waits: questions ([`answer`]) and commits ([`effect`]) are bounded tasks whose results come back as
//! messages.
//!
//! Reading order: [`engine`] (the owner), [`scheduler`], [`answer`], [`effect`], [`link`] (how a worker in the same
//! process talks to the engine).

pub mod answer;
pub mod effect;
pub mod engine;
pub mod link;
pub mod outside;
pub mod scheduler;

pub use engine::{BuildId, Engine, EngineOptions, EngineSnapshot, Event, JobView, Submission};
pub use link::LocalLink;
pub use outside::{Bases, Outside};
