//! Decides: what a build needs to know, which stage is built next and where, and who publishes it.
//!
//! Two pure machines and one owner task: `Build` (in `slipway-stages`) runs the conveyors of one build,
//! [`scheduler::Scheduler`] knows jobs and workers. [`engine`] owns both, routes what happens from one to the other,
//! and never waits: questions ([`answer`]) and commits ([`effect`]) are bounded tasks whose results come back as
//! messages.
//!
//! Reading order: [`engine`] (the owner), [`scheduler`], [`answer`], [`effect`], [`link`] (how a worker talks to the
//! engine). That is all of the embedded mode. A coordinator as a process adds: [`service`] (listening and leading),
//! `leader` (who leads), `reign` (one term: builds and workers), `store` (builds, for the next leader), `spool` (their
//! events, for who follows), `mirrors` (their sources), `places` (their stages), [`api`] (calls over HTTP).

pub mod answer;
pub mod api;
pub mod bases;
pub mod effect;
pub mod engine;
mod leader;
pub mod learned;
pub mod limits;
pub mod link;
mod metrics;
mod mirrors;
pub mod outside;
mod places;
mod ready;
mod reign;
pub mod scheduler;
pub mod service;
mod spool;
mod store;

pub use api::{
    auth::{Guard, TokensError},
    serve::{Tls, TlsError},
};
pub use engine::{BuildId, Engine, EngineOptions, EngineSnapshot, Event, JobView, Submission};
pub use learned::LearnedFile;
pub use limits::Limits;
pub use link::LocalLink;
pub use outside::{Bases, Outside};
pub use service::{Config, Service, StartError};
