//! Tasks: started in a group, cancelled and awaited together.

use std::future::Future;

use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A group of tasks. Cheap to clone; all clones are one group.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    cancelled: CancellationToken,
}

impl Tasks {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task of the group. When the group is cancelled, the task is dropped at its next await.
    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<Option<T>> {
        let cancelled = self.cancelled.clone();
        self.tracker.spawn(async move { cancelled.run_until_cancelled(task).await })
    }

    /// Runs blocking work on tokio's blocking pool as part of the group. It is awaited, but cannot be cancelled.
    ///
    /// # Panics
    /// When the work itself panicked.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.tracker.spawn_blocking(work).await.expect("blocking work does not panic")
    }

    /// A token that is cancelled with the group.
    pub fn token(&self) -> CancellationToken {
        self.cancelled.clone()
    }

    /// Cancels the group and waits until its tasks have ended.
    pub async fn shut_down(&self) {
        self.cancelled.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Waits until all tasks have ended by themselves.
    pub async fn wait(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
