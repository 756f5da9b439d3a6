//! A build as this coordinator knows it.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use slipway_digest::CommitId;
use slipway_protocol::{BuildName, BuildState, BuildSummary, SecretValues};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{engine::BuildId, spool::Spool, store::Kept};

/// Most commits that a build is said to wait for.
const NAMED: usize = 1000;

/// A build.
pub(crate) struct Entry {
    name: BuildName,
    /// As it is stored, or is about to be. A lock for a look, never held over an await.
    kept: Mutex<Kept>,
    /// Its events; `None` = it was over before this term.
    spool: Option<Spool>,
    /// Its id in the engine, once it runs there.
    id: OnceLock<BuildId>,
    cancelled: CancellationToken,
    /// What its commands may read, as far as it was sent to this coordinator.
    secrets: watch::Sender<SecretValues>,
}

impl Entry {
    /// A build whose events are in `spool`.
    pub(super) fn new(kept: Kept, spool: Option<Spool>) -> Self {
        let cancelled = CancellationToken::new();
        if kept.cancelled {
            cancelled.cancel();
        }
        Self {
            name: kept.summary.build.clone(),
            kept: Mutex::new(kept.light()),
            spool,
            id: OnceLock::new(),
            cancelled,
            secrets: watch::Sender::default(),
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &BuildName {
        &self.name
    }

    /// What is told of it.
    pub(crate) fn summary(&self) -> BuildSummary {
        self.lock().summary.clone()
    }

    /// It waits for these commits; none = it does not.
    pub(super) fn waits_for(&self, commits: &[CommitId]) {
        self.lock().summary.waits_for = commits.iter().take(NAMED).copied().collect();
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().summary.state != BuildState::Running
    }

    /// Its events; `None` = it was over before this term.
    pub(crate) fn spool(&self) -> Option<&Spool> {
        self.spool.as_ref()
    }

    /// Its id in the engine, once it runs there.
    pub(crate) fn id(&self) -> Option<BuildId> {
        self.id.get().copied()
    }

    pub(super) fn runs_as(&self, id: BuildId) {
        // A build runs once in a term.
        let _ = self.id.set(id);
    }

    /// As it is stored.
    pub(super) fn kept(&self) -> Kept {
        self.lock().clone()
    }

    /// It has ended; how, stands in the summary.
    pub(super) fn ended(&self, summary: BuildSummary) {
        self.lock().summary = summary;
        self.secrets.send_replace(SecretValues::new());
    }

    /// It is stored like this now.
    pub(super) fn stored(&self, kept: Kept) {
        *self.lock() = kept.light();
    }

    /// Somebody gives it up.
    pub(super) fn cancel(&self) {
        self.lock().cancelled = true;
        self.cancelled.cancel();
    }

    /// Its secrets, once more or for the first time; none are no news.
    pub(super) fn give(&self, secrets: SecretValues) {
        if !secrets.is_empty() {
            self.secrets.send_replace(secrets);
        }
    }

    /// Its secrets as they come.
    pub(super) fn secrets(&self) -> watch::Receiver<SecretValues> {
        self.secrets.subscribe()
    }

    /// Waits until somebody gives it up.
    pub(super) async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
