//! The ledger of many hosts.

mod asked;
mod attach;
mod condemn;
mod crash;
mod lab;
mod many;
mod publish;
mod walk;
