//! How much a coordinator takes and keeps.

use std::time::Duration;

/// Limits of a coordinator. The defaults are for a fleet of some hundred workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections at once; more wait to be taken.
    pub connections: usize,
    /// Bytes of a submitted build.
    pub submit: usize,
    /// Bytes of a worker's report.
    pub report: usize,
    /// Bytes of one call with lines of output.
    pub logs: usize,
    /// Bytes of a push to a mirror.
    pub push: u64,
    /// Mirrors of projects.
    pub mirrors: usize,
    /// Mirrors that one token has made.
    pub mirrors_of_one: usize,
    /// How long a git program waits for its turn, and how long whoever speaks with it may pause.
    pub git_pause: Duration,
    /// How long a git program may take in all.
    pub git_total: Duration,
    /// Attempts in a worker's report.
    pub attempts: usize,
    /// Builds that are not over.
    pub open_builds: usize,
    /// Builds that are over and still listed.
    pub ended_builds: usize,
    /// How long a build that is over is listed.
    pub retention: Duration,
    /// Bytes of output of one build that are kept.
    pub output: u64,
    /// Bytes of output of all builds that are over; the oldest are forgotten first.
    pub all_output: u64,
    /// Streams of events at once.
    pub followers: usize,
    /// Workers.
    pub workers: usize,
    /// How often a stream without news says that it lives.
    pub heartbeat: Duration,
    /// How long a build waits for commits that this coordinator does not have.
    pub sources: Duration,
    /// The same for a detached build, whose client is gone and pushes nothing by itself.
    pub detached_sources: Duration,
    /// How long a job may show no sign of progress before it is stopped and tried elsewhere; `None` = for ever.
    pub quiet: Option<Duration>,
    /// How long an attempt at a job may run before the job fails; `None` = for ever.
    pub deadline: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            submit: 8 << 20,
            report: 16 << 20,
            logs: 8 << 20,
            push: 4 << 30,
            mirrors: 5000,
            mirrors_of_one: 1000,
            git_pause: Duration::from_secs(60),
            git_total: Duration::from_secs(3600),
            attempts: 4096,
            open_builds: 1000,
            ended_builds: 1000,
            retention: Duration::from_secs(24 * 3600),
            output: 256 << 20,
            all_output: 16 << 30,
            followers: 4000,
            workers: 2000,
            heartbeat: Duration::from_secs(10),
            sources: Duration::from_secs(1800),
            detached_sources: Duration::from_secs(180),
            quiet: Some(Duration::from_secs(600)),
            deadline: Some(Duration::from_secs(6 * 3600)),
        }
    }
}
