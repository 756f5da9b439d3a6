//! Tasks: started in a group, cancelled and awaited together.

use std::{any::Any, future::Future, panic::AssertUnwindSafe};

use futures::FutureExt as _;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A part of the program broke off: it panicked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a part of the program broke off: {0}; this is a bug, please report it")]
pub struct Panicked(String);

/// Runs work to its end, whatever that is: a panic becomes an error, so that nobody waits forever for a result that
/// will not come.
///
/// # Errors
/// [`Panicked`] when the work panicked; the state that it shares with others must bear that.
pub async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| Panicked(said(panic.as_ref())))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it did not say why").to_owned()
}

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
    /// When the work itself panicked: with its panic, for whoever [`caught`] catches it.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self.tracker.spawn_blocking(work).await.map_err(JoinError::try_into_panic) {
            Ok(result) => result,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            Err(Err(_)) => panic!("the runtime ended before blocking work had begun"),
        }
    }

    /// Runs blocking work that nobody waits for but [`wait`](Self::wait) and [`shut_down`](Self::shut_down).
    pub fn later(&self, work: impl FnOnce() + Send + 'static) {
        drop(self.tracker.spawn_blocking(work));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_error_that_says_what_it_said() {
        let tasks = Tasks::new();
        let number = 7;
        let formatted = caught(tasks.blocking(move || assert_eq!(number, 8, "number {number}"))).await;
        assert!(formatted.is_err_and(|panicked| panicked.to_string().contains("number 7")));
        assert_eq!(caught(async { panic!("plain") }).await, Err::<(), _>(Panicked("plain".to_owned())));
        assert_eq!(caught(async { 1 }).await, Ok(1));
    }
}
