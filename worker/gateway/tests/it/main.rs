//! The gateway between real engines and a real registry.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which may panic and say so")]

mod containers;
mod engine;
mod harness;
mod protocol;
mod proxy;
mod pull;
mod push;
