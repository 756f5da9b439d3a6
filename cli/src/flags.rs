//! Flags and the variables that stand for them: one table, one way to find a value.
//!
//! Every flag is an entry of [`table::GROUPS`]. Its value is, in this order: what the command line says, the variable
//! `SLIPWAY_X`, the variable `WERF_X`, the default. Lists add up instead: `WERF_X`, `WERF_X_*` by name, `SLIPWAY_X`,
//! `SLIPWAY_X_*` by name, then the command line. An empty variable counts as unset.
//!
//! Reading order: [`command`] (who has them), [`flag`] (one entry), [`table`] (all of them, one file per group), [`arguments`] (how the command
//! line reads them), [`resolve`] (how a value is found), [`variables`] (what is said of variables that mean nothing),
//! then the groups, each with the struct that the commands see.

pub(crate) mod arguments;
pub(crate) mod backend;
pub(crate) mod bridge;
pub(crate) mod building;
pub(crate) mod capacity;
pub(crate) mod cleanup;
pub(crate) mod cluster;
pub(crate) mod command;
pub(crate) mod coordinator;
pub(crate) mod export;
pub(crate) mod flag;
pub(crate) mod host;
pub(crate) mod introspect;
pub(crate) mod later;
pub(crate) mod log;
pub(crate) mod project;
#[cfg(test)]
mod reference;
pub(crate) mod report;
pub(crate) mod resolve;
pub(crate) mod service;
pub(crate) mod stages;
pub(crate) mod storage;
pub(crate) mod table;
pub(crate) mod unneeded;
pub(crate) mod variables;

pub(crate) use flag::CommandName;
pub(crate) use resolve::{Values, resolve};
