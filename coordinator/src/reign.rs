//! One term of leadership: the engine, the builds and the workers that this coordinator answers for.
//!
//! It begins with the builds that the store has, and ends, all at once, when leadership is lost or given up: nothing of
//! it goes on, and what it might still write is refused by the term's fence.

mod entry;
mod ledger;
mod peers;
mod run;
mod secrets;
mod submit;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use slipway_process::{Clock, Tasks, random_id};
use slipway_protocol::{BuildName, BuildState, BuildSummary, Code, Refusal};
use slipway_telemetry::Tracer;
use tokio::sync::{Notify, Semaphore};

pub(crate) use entry::Entry;
use peers::Peers;

use crate::{
    api::answer::refuse,
    engine::{Engine, EngineOptions, EngineSnapshot, JobView},
    learned::LearnedFile,
    limits::Limits,
    metrics::Metrics,
    mirrors::Mirrors,
    places::Places,
    scheduler,
    store::{Kept, Store, StoreError},
};

/// How often what is too old is forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// What a term is made of.
pub(crate) struct Parts {
    /// Its number.
    pub(crate) term: u64,
    /// The builds, as they are stored.
    pub(crate) store: Store,
    /// Repositories of stages.
    pub(crate) places: Places,
    /// Repositories of sources.
    pub(crate) mirrors: Mirrors,
    /// Where the events of builds are written: a directory of this term's own.
    pub(crate) spool: PathBuf,
    /// File of how long jobs take, learned so far.
    pub(crate) durations: PathBuf,
    /// Limits.
    pub(crate) limits: Limits,
    /// Time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Measurements.
    pub(crate) metrics: Arc<Metrics>,
    /// Where the spans of builds go.
    pub(crate) tracer: Tracer,
}

/// A term.
pub(crate) struct Reign {
    parts: Parts,
    engine: Engine,
    tasks: Tasks,
    /// Locks for look-ups, never held over an await.
    builds: Mutex<BTreeMap<BuildName, Arc<Entry>>>,
    submitting: Mutex<BTreeSet<BuildName>>,
    peers: Peers,
    /// Repositories that builds elsewhere use.
    lent: ledger::Lent,
    /// A push has been taken.
    pushed: Notify,
    followers: Arc<Semaphore>,
}

impl Reign {
    /// Begins a term: goes on with all builds that are not over.
    ///
    /// # Errors
    /// When the builds cannot be read, or events cannot be written.
    pub(crate) async fn begin(parts: Parts) -> Result<Arc<Self>, String> {
        let kept = parts.store.list().await.map_err(|error| format!("read the builds: {error}"))?;
        let made = tokio::fs::create_dir_all(&parts.spool).await;
        made.map_err(|error| format!("make the directory {}: {error}", parts.spool.display()))?;
        let tasks = Tasks::new();
        let open = kept.iter().filter(|kept| kept.summary.state == BuildState::Running).count();
        let options = EngineOptions {
            seed: random_id(),
            clock: Arc::clone(&parts.clock),
            scheduler: patience(&parts.limits, open > 0),
            estimates: LearnedFile::new(parts.durations.clone()).load(),
            tracer: parts.tracer.clone(),
        };
        let engine = Engine::start(&tasks, options);
        let reign = Arc::new(Self {
            peers: Peers::new(engine.clone(), parts.limits.workers, Arc::clone(&parts.clock)),
            followers: Arc::new(Semaphore::new(parts.limits.followers)),
            parts,
            engine,
            tasks,
            builds: Mutex::default(),
            submitting: Mutex::default(),
            lent: ledger::Lent::default(),
            pushed: Notify::new(),
        });
        tracing::info!(term = reign.term(), builds = kept.len(), open, "leading");
        for one in &kept {
            reign.take_up(one.clone());
        }
        let keeping = Arc::clone(&reign);
        reign.tasks.spawn(async move { keeping.keep_house(kept).await });
        Ok(reign)
    }

    /// Its number.
    pub(crate) fn term(&self) -> u64 {
        self.parts.term
    }

    /// Ends it. What was under way is dropped.
    pub(crate) async fn end(&self) {
        self.parts.places.close();
        self.tasks.shut_down().await;
        // Nobody follows any more: who did begins again with the next leader.
        let _ = tokio::fs::remove_dir_all(&self.parts.spool).await;
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.tasks.token().is_cancelled()
    }

    /// Waits until it ends.
    pub(crate) async fn over(&self) {
        self.tasks.token().cancelled().await;
    }

    /// The workers.
    pub(crate) fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Repositories of sources.
    pub(crate) fn mirrors(&self) -> &Mirrors {
        &self.parts.mirrors
    }

    /// A place among the followers of builds.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn follow(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Refusal> {
        let full = |_| refuse(Code::Busy, "too many streams of events are open here; try again later");
        Arc::clone(&self.followers).try_acquire_owned().map_err(full)
    }

    /// A push has been taken: builds that wait for commits look again.
    pub(crate) fn pushed(&self) {
        self.pushed.notify_waiters();
    }

    /// All builds, the newest first.
    pub(crate) fn list(&self) -> Vec<BuildSummary> {
        let mut all: Vec<BuildSummary> = self.builds().values().map(|entry| entry.summary()).collect();
        all.sort_by_key(|summary| std::cmp::Reverse(summary.submitted));
        all
    }

    /// How many builds are not over.
    pub(crate) fn open_builds(&self) -> usize {
        self.builds().values().filter(|entry| !entry.is_over()).count()
    }

    /// A build.
    ///
    /// # Errors
    /// When there is none of this name.
    pub(crate) fn find(&self, name: &BuildName) -> Result<Arc<Entry>, Refusal> {
        self.builds().get(name).cloned().ok_or_else(|| Self::unknown(name))
    }

    /// What is answered when there is no such build, or none that the caller may know of.
    pub(crate) fn unknown(name: &BuildName) -> Refusal {
        refuse(Code::NotFound, format!("there is no build {name} here, or not any more"))
    }

    /// Gives a build up; one that is over stays what it is.
    ///
    /// # Errors
    /// When there is none of this name, or when that cannot be stored.
    pub(crate) async fn cancel(&self, name: &BuildName) -> Result<BuildSummary, Refusal> {
        let entry = self.find(name)?;
        if !entry.is_over() {
            // Stored first: should this coordinator end now, the next one knows.
            self.parts.store.cancel(name).await.map_err(|error| self.refused(error))?;
            entry.cancel();
        }
        Ok(entry.summary())
    }

    /// Why each job of a build runs where it runs, or waits.
    pub(crate) async fn explain(&self, entry: &Entry) -> Vec<JobView> {
        match entry.id() {
            Some(id) => self.engine.explain(id).await,
            None => Vec::new(),
        }
    }

    /// Jobs and workers in numbers.
    pub(crate) async fn snapshot(&self) -> EngineSnapshot {
        self.engine.snapshot().await.unwrap_or_default()
    }

    /// How a build ended that was over before this term, as JSON of a result.
    ///
    /// # Errors
    /// When that cannot be read.
    pub(crate) async fn result(&self, entry: &Entry) -> Result<Option<String>, Refusal> {
        self.parts.store.result(entry.name()).await.map_err(|error| self.refused(error))
    }

    /// What a failure of the store means to a caller.
    fn refused(&self, error: StoreError) -> Refusal {
        match error {
            StoreError::Deposed => refuse(Code::NotLeader, "this coordinator does not lead any more"),
            StoreError::Unavailable(why) => {
                tracing::error!("the store of builds: {why}");
                refuse(Code::Unavailable, "the store of builds does not answer; try again")
            }
        }
    }

    fn builds(&self) -> MutexGuard<'_, BTreeMap<BuildName, Arc<Entry>>> {
        self.builds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is too old, from time to time.
    async fn keep_house(&self, kept: Vec<Kept>) {
        if let Err(error) = self.parts.store.sweep(&kept).await {
            tracing::warn!("delete what interrupted submits left in the store: {error}");
        }
        drop(kept);
        loop {
            for entry in self.outdated() {
                match self.parts.store.forget(&entry.kept()).await {
                    Ok(()) => {
                        self.builds().remove(entry.name());
                        // Who follows it right now still has it open.
                        let _ = tokio::fs::remove_file(self.spool_of(entry.name())).await;
                    }
                    Err(error) => tracing::warn!("forget the build {}: {error}", entry.name()),
                }
            }
            self.keep_learned().await;
            tokio::time::sleep(FORGET_EVERY).await;
        }
    }

    /// Remembers how long jobs took, for the terms to come.
    async fn keep_learned(&self) {
        let (learned, file) = (self.engine.learned().await, LearnedFile::new(self.parts.durations.clone()));
        if learned.is_empty() {
            return;
        }
        if let Err(error) = self.tasks.blocking(move || file.add(&learned)).await {
            tracing::warn!("keep how long jobs took: {error}");
        }
    }

    /// Builds that ended too long ago, or that are too many, or whose output is too much.
    fn outdated(&self) -> Vec<Arc<Entry>> {
        let retention = u64::try_from(self.parts.limits.retention.as_millis()).unwrap_or(u64::MAX);
        let oldest = self.parts.clock.unix_millis().saturating_sub(retention);
        let mut ended: Vec<(u64, Arc<Entry>)> = Vec::new();
        for entry in self.builds().values() {
            ended.extend(entry.summary().ended.map(|when| (when, Arc::clone(entry))));
        }
        ended.sort_by_key(|(when, _)| std::cmp::Reverse(*when));
        let limits = &self.parts.limits;
        let mut output = 0_u64;
        let old = ended.into_iter().enumerate().filter(|(place, (when, entry))| {
            output = output.saturating_add(entry.spool().map_or(0, |spool| spool.written().bytes));
            *place >= limits.ended_builds || *when < oldest || output > limits.all_output
        });
        old.map(|(_, (_, entry))| entry).collect()
    }

    fn spool_of(&self, name: &BuildName) -> PathBuf {
        self.parts.spool.join(name.as_str())
    }
}

/// How patient the scheduler of a term is, which begins with open builds of an earlier one or without.
fn patience(limits: &Limits, takes_over: bool) -> scheduler::Options {
    let options = if takes_over { scheduler::Options::taking_over() } else { scheduler::Options::cluster() };
    scheduler::Options { quiet: limits.quiet, deadline: limits.deadline, ..options }
}
