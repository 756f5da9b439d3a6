//! A store whose replies get lost, for tests.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use crate::{Changes, Granted, Kv, KvError, LeaseId, Outcome, Page, Range, Revision, Txn};

/// What happens to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It is carried out; the reply is lost.
    ReplyLost,
    /// It never arrives; the caller cannot know.
    RequestLost,
    /// It arrives when [`Faulty::deliver`] is called; the caller cannot know.
    Late,
    /// The store is away: nothing is carried out, and the caller is told so.
    Away,
}

/// Decides what happens to a transaction; reads ask with no parts, and can only find the store away.
pub type Plan = Box<dyn FnMut(&[Txn]) -> Option<Fault> + Send>;

/// A store with faults. Clones are one.
#[derive(Clone)]
pub struct Faulty {
    kv: Arc<dyn Kv>,
    plan: Arc<Mutex<Plan>>,
    late: Arc<Mutex<Vec<Vec<Txn>>>>,
}

impl Faulty {
    /// `kv` with the faults that `plan` decides on.
    pub fn new(kv: Arc<dyn Kv>, plan: Plan) -> Self {
        Self { kv, plan: Arc::new(Mutex::new(plan)), late: Arc::default() }
    }

    /// Lets the calls that were under way for long arrive. Their outcomes are nobody's.
    ///
    /// # Errors
    /// As the store has them.
    pub async fn deliver(&self) -> Result<usize, KvError> {
        let late = std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner));
        for parts in &late {
            self.kv.txn(parts).await?;
        }
        Ok(late.len())
    }

    fn fault(&self, parts: &[Txn]) -> Option<Fault> {
        (self.plan.lock().unwrap_or_else(PoisonError::into_inner))(parts)
    }
}

fn lost() -> KvError {
    KvError::Unknown("the reply was lost".to_owned())
}

fn away() -> KvError {
    KvError::Unavailable("the store is away".to_owned())
}

#[async_trait]
impl Kv for Faulty {
    async fn range(&self, range: &Range) -> Result<Page, KvError> {
        match self.fault(&[]) {
            Some(Fault::Away) => Err(away()),
            _ => self.kv.range(range).await,
        }
    }

    async fn txn(&self, parts: &[Txn]) -> Result<Vec<Outcome>, KvError> {
        match self.fault(parts) {
            None => self.kv.txn(parts).await,
            Some(Fault::Away) => Err(away()),
            Some(Fault::ReplyLost) => self.kv.txn(parts).await.and_then(|_| Err(lost())),
            Some(Fault::RequestLost) => Err(lost()),
            Some(Fault::Late) => {
                self.late.lock().unwrap_or_else(PoisonError::into_inner).push(parts.to_vec());
                Err(lost())
            }
        }
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Changes, KvError> {
        self.kv.watch(prefix, after).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Granted, KvError> {
        self.kv.grant(ttl).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<Duration, KvError> {
        match self.fault(&[]) {
            Some(Fault::Away) => Err(away()),
            _ => self.kv.renew(lease).await,
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), KvError> {
        self.kv.revoke(lease).await
    }
}
