//! A lease that is kept alive, by a task that says so when it could not be.

use std::{sync::Arc, time::Duration};

use slipway_process::Tasks;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::{Kv, KvError, LeaseId};

/// A lease and the task that renews it. Dropped, it is not renewed any more, and ends with its time.
pub struct Session {
    kv: Arc<dyn Kv>,
    lease: LeaseId,
    lost: CancellationToken,
    tasks: Tasks,
}

impl Session {
    /// Takes a lease of at least `ttl` and keeps it. It is renewed three times within its life.
    ///
    /// # Errors
    /// When the store grants none.
    pub async fn open(kv: Arc<dyn Kv>, ttl: Duration) -> Result<Self, KvError> {
        // The store counts from when it granted, which is not before this.
        let asked = Instant::now();
        let granted = kv.grant(ttl).await?;
        let (lost, tasks) = (CancellationToken::new(), Tasks::new());
        let keeper = Keeper { kv: kv.clone(), lease: granted.lease, ttl: granted.ttl, lost: lost.clone() };
        drop(tasks.spawn(keeper.run(asked + granted.ttl)));
        Ok(Self { kv, lease: granted.lease, lost, tasks })
    }

    /// The lease.
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    /// Cancelled once the lease has ended, or may have: keys on it are not ours any more. Never before.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Whether it may have ended.
    pub fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Ends the lease now, with its keys.
    ///
    /// # Errors
    /// When the store does not answer: then the lease ends with its time.
    pub async fn close(self) -> Result<(), KvError> {
        self.end().await
    }

    pub(crate) async fn end(&self) -> Result<(), KvError> {
        self.tasks.shut_down().await;
        self.lost.cancel();
        self.kv.revoke(self.lease).await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

/// The task.
struct Keeper {
    kv: Arc<dyn Kv>,
    lease: LeaseId,
    ttl: Duration,
    lost: CancellationToken,
}

impl Keeper {
    async fn run(self, mut deadline: Instant) {
        sleep(self.ttl / 3).await;
        loop {
            let asked = Instant::now();
            // A reply after the deadline comes too late: somebody may have acted on the end of the lease.
            match timeout_at(deadline, self.kv.renew(self.lease)).await {
                Ok(Ok(ttl)) => {
                    deadline = asked + ttl;
                    sleep_until(asked + ttl / 3).await;
                }
                Ok(Err(KvError::LeaseGone)) | Err(_) => break,
                Ok(Err(error)) => {
                    tracing::debug!("a lease was not renewed: {error}");
                    let again = Instant::now() + self.ttl / 12;
                    sleep_until(again.min(deadline)).await;
                    if again >= deadline {
                        break;
                    }
                }
            }
        }
        self.lost.cancel();
    }
}
