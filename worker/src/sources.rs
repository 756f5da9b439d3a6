//! Which repository holds a source here.

use std::sync::Arc;

use slipway_digest::CommitId;
use slipway_git::{GitError, GitView};
use slipway_stages::SourceId;

/// Where a worker reads sources. Live: [`OneRepository`] in the embedded mode.
pub trait Sources: Send + Sync {
    /// The repository that holds a commit of a source.
    ///
    /// # Errors
    /// When the source is not here.
    fn at(&self, source: &SourceId, commit: CommitId) -> Result<Arc<dyn GitView>, GitError>;
}

/// The project's own repository, as it is on this machine.
pub struct OneRepository(pub Arc<dyn GitView>);

impl Sources for OneRepository {
    fn at(&self, source: &SourceId, commit: CommitId) -> Result<Arc<dyn GitView>, GitError> {
        if *source == SourceId::own() {
            Ok(Arc::clone(&self.0))
        } else {
            Err(GitError::Missing(format!("commit {commit} of source `{}`", source.0)))
        }
    }
}
