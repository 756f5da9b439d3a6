//! What one build is made of, beside its configuration.

use slipway_digest::CommitId;
use slipway_oci::Platform;
use slipway_paths::TreePath;

/// What holds for every image of one build.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The project's name.
    pub project: String,
    /// The commit being built.
    pub commit: CommitId,
    /// Its committer time, seconds since the Unix epoch.
    pub commit_time: i64,
    /// The project directory in the repository.
    pub project_dir: TreePath,
    /// The target platform.
    pub platform: Platform,
    /// Whether the commit is a snapshot of uncommitted work (`--dev`).
    pub dev: bool,
    /// Whether the local storage of this host is a source of stages beside the primary one.
    pub copy_from_local: bool,
}
