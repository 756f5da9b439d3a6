//! A coordinator as others see it: over HTTP, with a real git and a real registry.
//!
//! Tests have several threads: git runs while the coordinator answers it.

mod access;
mod builds;
mod cluster;
mod sources;
mod worker;
mod world;
