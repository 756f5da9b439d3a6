//! The storages and the publish protocol against real parts, with killed processes.

#![expect(clippy::unwrap_used, reason = "tests")]

mod beside;
mod cleanup;
mod crash;
mod fake;
mod host_builds;
mod index;
mod kv;
mod lab;
mod publish;
mod registry;
mod repo;
