//! What users are to know of a repository, each told once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use slipway_digest::StageId;
use slipway_oci::Repo;

/// What is to be told, and what was.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    untold: Vec<String>,
    told_deleted: bool,
    told_werfs: bool,
}

impl Notices {
    /// A stage was deleted that is still wanted. The first one speaks for all.
    pub(crate) fn deleted(&self, repo: &Repo, id: StageId) {
        tracing::debug!("the stage {repo}:{id} was deleted by another program");
        let mut state = self.state();
        if !std::mem::replace(&mut state.told_deleted, true) {
            state.untold.push(format!(
                "the stage {repo}:{id} was deleted by another program; what is missing is built or copied anew. Only `slipway \
                 cleanup` may delete stages: others do not know which are still needed"
            ));
        }
    }

    /// Another project keeps its stages here, too.
    pub(crate) fn shared(&self, repo: &Repo, other: &str, own: &str) {
        self.state().untold.push(format!(
            "{repo} is the repository of project `{other}`, and `{own}` is built into it, too: what cleans up after one of them does \
             not know what the other needs. Give each project a repository of its own"
        ));
    }

    /// So many stages were stored by werf.
    pub(crate) fn werfs(&self, repo: &Repo, number: usize) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.told_werfs, true) {
            state.untold.push(format!(
                "{repo} holds {number} stages of werf: they stay as they are and are not reused, for werf makes its digests by \
                 other rules. What is built now is stored beside them. This is said once"
            ));
        }
    }

    /// What is to be told; the next call does not give it again.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.state().untold)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
