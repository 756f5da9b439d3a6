//! Output lines of a job on their way to the coordinator.

use std::sync::Arc;

use slipway_backend::Logs;
use slipway_process::Tasks;
use slipway_protocol::{AttemptId, CoordinatorLink};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::progress::Progress;

/// Lines that may wait; the command waits when there are more.
const WAITING: usize = 256;

/// A pipe for output lines.
pub(super) struct LogPipe {
    logs: Logs,
    forward: JoinHandle<Option<()>>,
}

impl LogPipe {
    /// Opens a pipe for the lines of an attempt.
    pub(super) fn open(tasks: &Tasks, link: Arc<dyn CoordinatorLink>, attempt: AttemptId, progress: Progress) -> Self {
        let (logs, mut lines) = mpsc::channel(WAITING);
        let forward = tasks.spawn(async move {
            while let Some(line) = lines.recv().await {
                progress.step();
                // Without a coordinator nobody reads; the command must still not block on its output.
                let _ = link.log(&attempt, line).await;
            }
            link.logged(&attempt).await;
        });
        Self { logs, forward }
    }

    /// Where the backend writes.
    pub(super) fn logs(&self) -> Logs {
        self.logs.clone()
    }

    /// Waits until every line has been handed over: an attempt's end is told after its last line.
    pub(super) async fn close(self) {
        drop(self.logs);
        let _ = self.forward.await;
    }
}
