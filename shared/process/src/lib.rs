//! The outside world as arguments: clock, environment, randomness, tasks, child processes.
//!
//! Everything here is what `clippy.toml` bans elsewhere.

pub mod clock;
pub mod environment;
pub mod failpoint;
pub mod random;
pub mod tasks;

pub use clock::{Clock, SystemClock};
pub use environment::Environment;
pub use random::{fill_random, random_id};
pub use tasks::{Panicked, Tasks, caught};

/// Child processes.
pub mod child {
    use std::ffi::OsStr;

    /// A child process of `program`, to be awaited by blocking code.
    #[expect(clippy::disallowed_methods, reason = "this is where child processes are started")]
    pub fn command(program: impl AsRef<OsStr>) -> std::process::Command {
        std::process::Command::new(program)
    }

    /// A child process of `program` that is killed when it is dropped.
    #[expect(clippy::disallowed_methods, reason = "this is where child processes are started")]
    pub fn async_command(program: impl AsRef<OsStr>) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(program);
        command.kill_on_drop(true);
        command
    }
}
