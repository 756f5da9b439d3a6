//! A walk over made-up git histories: what is built of a commit, step by step on top of what was built before, holds what
//! git says the commit holds, byte for byte.
//!
//! [`history`] makes commits out of a seed; [`lab`] is an engine, a worker and a backend in this process, which builds them
//! one after the other and compares.

pub mod history;
pub mod lab;
