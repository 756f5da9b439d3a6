//! Limits of what the commands of one stage may use.

pub use slipway_backend::limits::ProcessLimit;

/// What the commands of one stage may use.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Bytes of memory, all of them together.
    pub memory: Option<u64>,
    /// Processes and threads, all of them together.
    pub pids: Option<u64>,
    /// What one process may use; what is not named is as in this process.
    pub process: Vec<ProcessLimit>,
}
