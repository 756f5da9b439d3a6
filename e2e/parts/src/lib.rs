//! Real parts for tests: servers that a test starts for itself, and what is said when the machine lacks one.
//!
//! Only tests use this crate, as a dev-dependency. A server is on a port of its own on loopback, keeps its files in a
//! temporary directory, and is killed when it is dropped. No test needs a server that it did not start, but for the
//! Docker engine of the machine.

pub mod etcd;
pub mod other;
pub mod part;
pub mod registry;
pub mod server;
pub mod user;

pub use etcd::Etcd;
pub use other::OtherRegistry;
pub use part::{Part, docker, require, skip};
pub use registry::Registry;
pub use server::Server;
