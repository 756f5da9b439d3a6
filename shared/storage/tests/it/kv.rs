//! The ledger of many hosts.

mod attach;
mod crash;
mod lab;
mod many;
mod publish;
mod walk;
