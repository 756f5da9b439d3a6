//! The harness of whole-program tests: real registries, a real engine, real repositories, the real program.
//!
//! Scenarios are in `tests/`, a file each; what they say is here: [`Registry`], [`engine`], [`Project`], [`Run`], [`Cluster`], [`net`],
//! [`processes`], [`Listener`], [`Collector`], [`GitHost`], [`Setup`].
//! A part that is not on this machine skips the test aloud, or fails it when `SLIPWAY_TEST_REQUIRE` names it.

pub mod ansible;
pub mod canary;
pub mod cluster;
pub mod collector;
pub mod contents;
pub mod debian;
pub mod engine;
pub mod git_host;
pub mod listener;
pub mod net;
pub mod processes;
pub mod project;
pub mod proxy;
pub mod registry;
pub mod setup;
pub mod ssh;
pub mod tree;

pub use cluster::Cluster;
pub use collector::Collector;
pub use git_host::GitHost;
pub use listener::Listener;
pub use project::{Built, Project, Run, backend, takes_engine_images};
pub use proxy::{Action, Proxy};
pub use registry::Registry;
pub use setup::Setup;
pub use slipway_parts::{Part, require};
