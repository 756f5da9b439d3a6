//! Many transactions in one proposal: while one is on its way, those that come are collected for the next.

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use slipway_process::Tasks;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{
    Changes, Granted, Kv, KvError, LeaseId, MAX_BYTES, MAX_OPERATIONS, Outcome, Page, Range, Revision, Txn, check, size,
};

/// Proposals on their way at once.
const ON_THE_WAY: usize = 2;
/// Calls that wait; who comes later waits to wait.
const WAITING: usize = 1024;

type Reply = oneshot::Sender<Result<Vec<Outcome>, KvError>>;

/// A store that sends the transactions of many callers together. Clones share one queue, which ends with the last.
#[derive(Clone)]
pub struct Batched {
    kv: Arc<dyn Kv>,
    queue: mpsc::Sender<Job>,
}

/// A caller's transactions.
struct Job {
    parts: Vec<Txn>,
    reply: Reply,
}

impl Batched {
    /// Collects for `kv`, in a task of `tasks`.
    pub fn new(kv: Arc<dyn Kv>, tasks: &Tasks) -> Self {
        let (queue, jobs) = mpsc::channel(WAITING);
        let sender = Sender { kv: kv.clone(), tasks: tasks.clone(), slots: Arc::new(Semaphore::new(ON_THE_WAY)) };
        drop(tasks.spawn(sender.run(jobs)));
        Self { kv, queue }
    }
}

/// The task that collects.
struct Sender {
    kv: Arc<dyn Kv>,
    tasks: Tasks,
    slots: Arc<Semaphore>,
}

impl Sender {
    async fn run(self, mut jobs: mpsc::Receiver<Job>) {
        let mut left = None;
        loop {
            let first = match left.take() {
                Some(job) => job,
                None => match jobs.recv().await {
                    Some(job) => job,
                    None => return,
                },
            };
            let Ok(slot) = self.slots.clone().acquire_owned().await else { return };
            let (batch, over) = collect(first, &mut jobs);
            left = over;
            let kv = self.kv.clone();
            drop(self.tasks.spawn(async move {
                send(&*kv, batch).await;
                drop(slot);
            }));
        }
    }
}

/// As many of the waiting jobs as fit into one call, and the first that did not.
fn collect(first: Job, jobs: &mut mpsc::Receiver<Job>) -> (Vec<Job>, Option<Job>) {
    let mut load = Load::default();
    load.add(&first.parts);
    let mut batch = vec![first];
    while let Ok(job) = jobs.try_recv() {
        if !load.takes(&job.parts) {
            return (batch, Some(job));
        }
        load.add(&job.parts);
        batch.push(job);
    }
    (batch, None)
}

/// What is in a batch.
#[derive(Default)]
struct Load {
    parts: usize,
    widest: usize,
    bytes: usize,
    written: HashSet<String>,
    judged: HashSet<String>,
}

impl Load {
    fn takes(&self, parts: &[Txn]) -> bool {
        let widest = parts.iter().map(width).max().unwrap_or(0).max(self.widest);
        let fits = widest + self.parts + parts.len() <= MAX_OPERATIONS;
        let bytes: usize = parts.iter().map(size).sum();
        let mut writes = parts.iter().flat_map(|part| &part.then).map(crate::Do::key);
        let mut reads = parts.iter().flat_map(|part| &part.when).map(crate::When::key);
        fits && self.bytes + bytes <= MAX_BYTES
            && !writes.any(|key| self.written.contains(key) || self.judged.contains(key))
            && !reads.any(|key| self.written.contains(key))
    }

    fn add(&mut self, parts: &[Txn]) {
        self.parts += parts.len();
        for part in parts {
            self.widest = self.widest.max(width(part));
            self.bytes += size(part);
            self.written.extend(part.then.iter().map(|done| done.key().to_owned()));
            self.judged.extend(part.when.iter().map(|when| when.key().to_owned()));
        }
    }
}

fn width(part: &Txn) -> usize {
    part.when.len().max(part.then.len())
}

async fn send(kv: &dyn Kv, batch: Vec<Job>) {
    let parts: Vec<Txn> = batch.iter().flat_map(|job| job.parts.iter().cloned()).collect();
    match kv.txn(&parts).await {
        Ok(outcomes) => {
            let mut outcomes = outcomes.into_iter();
            for job in batch {
                let own = outcomes.by_ref().take(job.parts.len()).collect();
                drop(job.reply.send(Ok(own)));
            }
        }
        // Nothing was written because of one of them, and it is not known which: each is asked for on its own.
        Err(KvError::LeaseGone | KvError::Invalid(_) | KvError::Denied(_)) if batch.len() > 1 => {
            for job in batch {
                drop(job.reply.send(kv.txn(&job.parts).await));
            }
        }
        Err(error) => batch.into_iter().for_each(|job| drop(job.reply.send(Err(error.clone())))),
    }
}

#[async_trait]
impl Kv for Batched {
    async fn range(&self, range: &Range) -> Result<Page, KvError> {
        self.kv.range(range).await
    }

    async fn txn(&self, parts: &[Txn]) -> Result<Vec<Outcome>, KvError> {
        check(parts)?;
        let (reply, answer) = oneshot::channel();
        let ended = KvError::Unavailable("the queue of transactions has ended".to_owned());
        self.queue.send(Job { parts: parts.to_vec(), reply }).await.map_err(|_| ended)?;
        answer.await.unwrap_or_else(|_| Err(KvError::Unknown("the queue of transactions was ended".to_owned())))
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Changes, KvError> {
        self.kv.watch(prefix, after).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Granted, KvError> {
        self.kv.grant(ttl).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<Duration, KvError> {
        self.kv.renew(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), KvError> {
        self.kv.revoke(lease).await
    }
}
