//! The client against a real docker-registry, and against servers that misbehave on purpose.

#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod cases;
