//! The harness of whole-program tests: real registries, a real engine, real repositories, the real program.
//!
//! Scenarios are in `tests/`, a file each; what they say is here: [`Registry`], [`engine`], [`Project`], [`Run`].
//! A part that is not on this machine skips the test aloud, or fails it when `SLIPWAY_TEST_REQUIRE` names it.

pub mod engine;
pub mod project;
pub mod proxy;
pub mod registry;
pub mod tree;

pub use project::{Built, Project, Run};
pub use proxy::{Action, Proxy};
pub use registry::Registry;
pub use slipway_parts::{Part, require};
