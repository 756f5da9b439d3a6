//! The program as its users start it.

#[path = "program/building.rs"]
mod building;
#[path = "program/config.rs"]
mod config;
#[path = "program/coordinator.rs"]
mod coordinator;
#[path = "program/harness.rs"]
mod harness;
#[path = "program/host.rs"]
mod host;
#[path = "program/login.rs"]
mod login;
#[path = "program/planning.rs"]
mod planning;
#[path = "program/usage.rs"]
mod usage;
