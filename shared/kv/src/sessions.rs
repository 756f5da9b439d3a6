//! One session for all who need one, and another one when it was lost.

use std::{sync::Arc, time::Duration};

use tokio::sync::Mutex;

use crate::{Kv, KvError, Session};

/// Sessions of a process, one at a time, opened when the first is needed. Clones share them.
#[derive(Clone)]
pub struct Sessions {
    kv: Arc<dyn Kv>,
    ttl: Duration,
    current: Arc<Mutex<Option<Arc<Session>>>>,
}

impl Sessions {
    /// Sessions of `kv` whose leases live for `ttl` without us.
    pub fn new(kv: Arc<dyn Kv>, ttl: Duration) -> Self {
        Self { kv, ttl, current: Arc::default() }
    }

    /// The session that lives; a new one when there is none, or it was lost.
    ///
    /// # Errors
    /// When the store grants no lease.
    pub async fn current(&self) -> Result<Arc<Session>, KvError> {
        let mut current = self.current.lock().await;
        if let Some(session) = current.as_ref().filter(|session| !session.is_lost()) {
            return Ok(session.clone());
        }
        let opened = Arc::new(Session::open(self.kv.clone(), self.ttl).await?);
        *current = Some(opened.clone());
        Ok(opened)
    }

    /// Ends the session that lives, with its keys.
    ///
    /// # Errors
    /// When the store does not answer: then it ends with its time.
    pub async fn close(&self) -> Result<(), KvError> {
        let Some(session) = self.current.lock().await.take() else { return Ok(()) };
        session.end().await
    }
}
