//! The store in memory and on real etcd.

#![expect(clippy::unwrap_used, reason = "tests")]

mod batched;
mod cluster;
mod faults;
mod memory;
mod part;
mod secured;
