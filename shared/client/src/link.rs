//! A worker's link to its coordinator.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use http::Method;
use slipway_process::Tasks;
use slipway_protocol::{AttemptId, Code, CoordinatorLink, Desired, LinkError, LogLines, Report};
use tokio::sync::Notify;

use crate::{
    Client, ClientError,
    backoff::Backoff,
    call::{Call, Trouble},
    spool::{Limits, Spool},
};

/// How long a sync may be held: longer than a coordinator holds one.
const SYNC: Duration = Duration::from_secs(40);
/// How long a batch of lines may take.
const LINES: Duration = Duration::from_secs(10);
/// Longest wait after lines could not be handed over.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long the end of an attempt waits for its last lines to arrive.
const LAST_LINES: Duration = Duration::from_secs(10);
/// Attempts whose lines are kept at once. Far more than a worker runs: lines of those that ended may still wait.
const ATTEMPTS: usize = 4096;

/// How a link is set up.
#[derive(Clone, Debug)]
pub struct LinkOptions {
    /// The worker's name, of characters that need no escape in an address.
    pub worker: String,
    /// Where lines wait that memory does not hold. What an earlier process left there is removed.
    pub spool: PathBuf,
}

/// The link of a worker in a process of its own.
pub struct HttpLink {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    options: LinkOptions,
    spools: Mutex<BTreeMap<AttemptId, Lines>>,
    /// Names the files of spools: what coordinators name names no files.
    files: AtomicU64,
    /// There are lines to hand over.
    waiting: Notify,
    /// Lines have been handed over.
    delivered: Notify,
    /// The last sync was given up before it was answered: its coordinator may be one that never answers.
    unanswered: AtomicBool,
}

/// The output of an attempt.
struct Lines {
    spool: Spool,
    /// No more will come.
    ended: bool,
}

impl HttpLink {
    /// A link that hands lines over in `tasks`.
    pub fn new(client: Client, options: LinkOptions, tasks: &Tasks) -> Self {
        // It holds nothing but lines of a process that is gone; failing to remove them costs room only.
        let _ = std::fs::remove_dir_all(&options.spool);
        let shared = Arc::new(Shared {
            client,
            options,
            spools: Mutex::default(),
            files: AtomicU64::new(0),
            waiting: Notify::new(),
            delivered: Notify::new(),
            unanswered: AtomicBool::new(false),
        });
        tasks.spawn(hand_over(Arc::clone(&shared)));
        Self { shared }
    }

    /// How many attempts have lines that no coordinator has yet.
    pub fn waiting(&self) -> usize {
        self.shared.lock().values().filter(|lines| !lines.spool.is_empty()).count()
    }
}

#[async_trait]
impl CoordinatorLink for HttpLink {
    async fn sync(&self, report: Report) -> Result<Desired, LinkError> {
        let Shared { client, options, unanswered, .. } = &*self.shared;
        let call = Call::get("report to the coordinator", format!("v1/workers/{}/sync", options.worker));
        let call = call.with(Method::POST, &report).patience(SYNC, Duration::ZERO);
        let at = client.addresses().current();
        let doubtful = unanswered.swap(true, Ordering::AcqRel);
        let answered = tokio::select! {
            answered = client.ask::<Desired>(&call) => answered,
            () = dead(client, &at), if doubtful => {
                let why = format!("{at} does not answer");
                client.note(&at, &Trouble::Away(why.clone()));
                Err(ClientError::Away { doing: call.doing, why })
            }
        };
        unanswered.store(false, Ordering::Release);
        answered.map_err(|error| LinkError(error.to_string()))
    }

    async fn log(&self, attempt: &AttemptId, line: Vec<u8>) -> Result<(), LinkError> {
        let mut spools = self.shared.lock();
        if spools.len() >= ATTEMPTS && !spools.contains_key(attempt) {
            return Err(LinkError("it does not take output lines".to_owned()));
        }
        let path = || self.shared.options.spool.join(self.shared.files.fetch_add(1, Ordering::Relaxed).to_string());
        let fresh = || Lines { spool: Spool::new(path(), Limits::default()), ended: false };
        spools.entry(attempt.clone()).or_insert_with(fresh).spool.add(&line);
        self.shared.waiting.notify_one();
        Ok(())
    }

    async fn logged(&self, attempt: &AttemptId) {
        let arrived = async {
            loop {
                let next = self.shared.delivered.notified();
                if self.shared.lock().get(attempt).is_none_or(|lines| lines.spool.is_empty()) {
                    return;
                }
                next.await;
            }
        };
        // What has not arrived by then comes after the attempt's end; it is not lost.
        let _ = tokio::time::timeout(LAST_LINES, arrived).await;
    }

    async fn ended(&self, attempt: &AttemptId) {
        let mut spools = self.shared.lock();
        if let Some(lines) = spools.get_mut(attempt) {
            lines.ended = true;
        }
        spools.retain(|_, lines| !lines.is_over());
    }
}

/// Ends when a coordinator shows no sign of life.
async fn dead(client: &Client, at: &url::Url) {
    if client.is_alive(at).await {
        std::future::pending().await
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<AttemptId, Lines>> {
        self.spools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch of each attempt that has lines.
    fn batches(&self) -> Vec<LogLines> {
        let mut spools = self.lock();
        let batches = spools.iter_mut().map(|(attempt, lines)| {
            let (offset, lines) = lines.spool.batch();
            LogLines { attempt: attempt.clone(), offset, lines }
        });
        batches.filter(|batch| !batch.lines.is_empty()).collect()
    }

    /// Hands a batch over; `false` when no coordinator takes it now.
    async fn deliver(&self, batch: LogLines) -> bool {
        let call = Call::get("hand over output lines", format!("v1/workers/{}/logs", self.options.worker));
        let call = call.with(Method::POST, &batch).patience(LINES, Duration::ZERO);
        let next = batch.offset + batch.lines.len() as u64;
        match self.client.call(&call).await {
            Ok(_) => {}
            // It knows no such attempt: nobody will read them.
            Err(error) if error.code() == Some(Code::NotFound) => {}
            Err(error) if matches!(error.code(), Some(Code::Invalid | Code::TooLarge | Code::Conflict)) => {
                tracing::warn!("output lines are lost: {error}");
            }
            Err(error) => {
                tracing::debug!("{error}");
                return false;
            }
        }
        let mut spools = self.lock();
        if let Some(lines) = spools.get_mut(&batch.attempt) {
            lines.spool.acknowledge(next);
        }
        spools.retain(|_, lines| !lines.is_over());
        drop(spools);
        self.delivered.notify_waiters();
        true
    }
}

impl Lines {
    fn is_over(&self) -> bool {
        self.ended && self.spool.is_empty()
    }
}

/// Hands lines over, batch by batch, as long as the worker lives.
async fn hand_over(shared: Arc<Shared>) {
    let mut backoff = Backoff::new(LONGEST_WAIT);
    loop {
        let batches = shared.batches();
        if batches.is_empty() {
            shared.waiting.notified().await;
            continue;
        }
        for batch in batches {
            if shared.deliver(batch).await {
                backoff.reset();
            } else {
                backoff.wait().await;
            }
        }
    }
}
