//! The store in memory and on real etcd.

mod batched;
mod cluster;
mod faults;
mod memory;
mod part;
mod secured;
