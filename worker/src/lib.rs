//! Does: runs stage jobs on a container backend.
//!
//! A worker reports what it holds and is told what it should be doing; it never decides what is built. A job is a
//! recipe without bytes: sources come from the worker's own view of the repository, images from where they are stored.
//!
//! Reading order: [`worker`] (the sync loop), `contact` (whether the coordinator is there), `attempts` (what it holds), `caches` (repositories near it), `job/` (how a job is done), [`sources`],
//! [`mounts`] (directories of the host), [`introspect`] (shells for users), [`health`] (what it tells of itself).

mod agents;
mod archive;
mod attempts;
mod caches;
mod contact;
pub mod health;
mod holds;
pub mod introspect;
mod job;
pub mod mounts;
mod progress;
pub mod sources;
mod traces;
mod tree;
pub mod worker;

pub use agents::{AGENT_SOCKET, Agents, LentAgent, StartAgent};
pub use introspect::{Introspect, Moment};
pub use mounts::{HostPaths, Mounts};
pub use slipway_protocol::Capabilities;
pub use sources::{Mirrors, OneRepository, SourceError, Sources};
pub use worker::{Setup, Stop, Worker};
