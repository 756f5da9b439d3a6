//! Clones whose history is cut off, made whole.

use std::{fs::File, time::Duration};

use crate::{GitError, Repository, program::Git};

/// How long a history may take to come.
const LONGEST: Duration = Duration::from_secs(60 * 60);

impl Repository {
    /// Whether its history is cut off.
    ///
    /// # Errors
    /// [`GitError::Broken`] when the repository cannot be read.
    pub fn is_shallow(&self) -> Result<bool, GitError> {
        self.main().is_shallow().map_err(|error| GitError::broken("look where the history ends", &error))
    }

    /// Fetches the rest of the history from `origin`, as `git fetch --unshallow` does. This writes into the user's
    /// repository: objects, and refs of `origin`. Does nothing when the history is whole. Blocks.
    ///
    /// # Errors
    /// [`GitError::Program`] when there is no `origin`, or it does not answer, or `git` is missing.
    pub fn unshallow(&self) -> Result<(), GitError> {
        if !self.is_shallow()? {
            return Ok(());
        }
        let options = ["fetch", "--quiet", "--unshallow", "--no-write-fetch-head", "--no-auto-maintenance"];
        let git = Git::speaking(self, "fetch the rest of the history").args(options);
        let git = git.args(["--no-recurse-submodules", "origin"]);
        let nothing = File::open("/dev/null").map_err(|error| GitError::Program(format!("open /dev/null: {error}")))?;
        match git.run_for(nothing, LONGEST) {
            Ok(_) => Ok(()),
            // Another process was quicker.
            Err(_) if !self.is_shallow()? => Ok(()),
            Err(error) => Err(error),
        }
    }
}
