//! Workers: what they can do, what they are doing, and what they have yet to hear.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use slipway_oci::BlobDigest;
use slipway_protocol::{AttemptId, Capabilities, Outcome, Report, Requirements};

use super::attempts::AttemptNo;

/// How many images are remembered per worker.
const HELD: usize = 4096;
/// How many ends of attempts a worker is told of at once. What it is not told of it stops all the same.
const TOLD: usize = 8192;
/// How many results of a worker may wait to be published for each of its slots. With more it gets no jobs: workers can be
/// faster than a registry and a store, and whatever waits takes memory on both sides.
const RESULTS_PER_SLOT: u64 = 4;

/// A worker's place among all.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct WorkerNo(pub(super) u32);

/// The beginning of an image's digest. Of tens of thousands two may begin alike: a job then waits a moment for a worker
/// that does not have its base after all.
type ImageNo = u64;

/// What attempts take up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Load {
    slots: u64,
    cpu: u64,
    memory: u64,
}

impl Load {
    fn of(requires: &Requirements) -> Self {
        Self { slots: 1, cpu: requires.cpu_millis, memory: requires.memory_mib }
    }

    fn add(&mut self, other: Self) {
        self.slots += other.slots;
        self.cpu += other.cpu;
        self.memory += other.memory;
    }
}

/// Something that a worker has yet to hear.
#[derive(Clone, Debug)]
struct Told {
    attempt: AttemptId,
    outcome: Outcome,
    /// Reports up to this one were made before it was told.
    seq: u64,
}

#[derive(Debug, Default)]
pub(super) struct Worker {
    pub(super) name: String,
    pub(super) boot: String,
    pub(super) seq: u64,
    pub(super) slots: u16,
    pub(super) capabilities: Capabilities,
    /// When it was last heard.
    pub(super) seen: Duration,
    /// Whether it was heard within the lease.
    pub(super) alive: bool,
    /// Whether it takes no more.
    pub(super) drain: bool,
    /// Attempts that may still lead to a result, with what those take up that it runs.
    pub(super) attempts: BTreeMap<AttemptNo, Option<Load>>,
    /// What it was told to stop and has not yet said to have stopped.
    stopping: BTreeMap<String, (AttemptId, Load)>,
    /// What an earlier coordinator gave it, and may be wanted again.
    strays: BTreeMap<String, Load>,
    settled: Vec<Told>,
    /// Images that it has, the oldest first.
    held: VecDeque<ImageNo>,
}

impl Worker {
    /// Whether it takes jobs at all.
    pub(super) fn is_available(&self) -> bool {
        self.alive && !self.drain && self.slots > 0
    }

    pub(super) fn load(&self) -> Load {
        let mut all = Load::default();
        let running = self.attempts.values().flatten();
        let stopping = self.stopping.values().map(|(_, load)| load);
        running.chain(stopping).chain(self.strays.values()).for_each(|load| all.add(*load));
        all
    }

    /// How many slots are free for jobs.
    pub(super) fn free(&self) -> u64 {
        if self.is_full() { 0 } else { u64::from(self.slots).saturating_sub(self.load().slots) }
    }

    /// Whether so many of its results wait to be published that it gets no more jobs.
    fn is_full(&self) -> bool {
        let results = self.attempts.values().filter(|load| load.is_none()).count() as u64;
        results >= RESULTS_PER_SLOT * u64::from(self.slots)
    }

    /// How many slots are taken.
    pub(super) fn taken(&self) -> u64 {
        self.load().slots
    }

    /// Whether it could run a job right now.
    pub(super) fn fits(&self, requires: &Requirements) -> bool {
        let load = self.load();
        let within = |limit: u64, taken: u64, more: u64| limit == 0 || taken + more <= limit;
        !self.is_full()
            && load.slots < u64::from(self.slots)
            && within(self.capabilities.cpu_millis, load.cpu, requires.cpu_millis)
            && within(self.capabilities.memory_mib, load.memory, requires.memory_mib)
            && requires.missing(&self.capabilities).is_empty()
    }

    /// Whether an attempt at the job, given up, is still being stopped here.
    pub(super) fn is_stopping(&self, job: &str) -> bool {
        self.stopping.values().any(|(attempt, _)| attempt.job == job)
    }

    /// It is to hear how an attempt ended.
    fn tell(&mut self, attempt: AttemptId, outcome: Outcome) {
        if self.settled.len() >= TOLD {
            self.settled.remove(0);
        }
        self.settled.push(Told { attempt, outcome, seq: self.seq });
    }

    pub(super) fn is_settled(&self, attempt: &AttemptId) -> bool {
        self.settled.iter().any(|told| told.attempt == *attempt)
    }
}

/// All workers that have reported, and were not forgotten since.
#[derive(Debug, Default)]
pub(super) struct Workers {
    by_name: HashMap<String, WorkerNo>,
    all: BTreeMap<WorkerNo, Worker>,
    /// Available workers with free slots, the freest first.
    free: BTreeSet<(Reverse<u64>, WorkerNo)>,
    places: HashMap<WorkerNo, u64>,
    holders: BTreeSet<(ImageNo, WorkerNo)>,
    counter: u32,
}

impl Workers {
    pub(super) fn find(&self, name: &str) -> Option<WorkerNo> {
        self.by_name.get(name).copied()
    }

    pub(super) fn get(&self, no: WorkerNo) -> Option<&Worker> {
        self.all.get(&no)
    }

    pub(super) fn name(&self, no: WorkerNo) -> &str {
        self.all.get(&no).map_or("?", |worker| &worker.name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (WorkerNo, &Worker)> {
        self.all.iter().map(|(no, worker)| (*no, worker))
    }

    /// Workers that take jobs.
    pub(super) fn available(&self) -> impl Iterator<Item = &Worker> {
        self.all.values().filter(|worker| worker.is_available())
    }

    /// Available workers with free slots, the freest first.
    pub(super) fn free(&self) -> impl Iterator<Item = WorkerNo> {
        self.free.iter().map(|(_, no)| *no)
    }

    /// Workers that have an image.
    pub(super) fn holders(&self, image: &BlobDigest) -> impl Iterator<Item = WorkerNo> {
        let image = image_no(image);
        let (first, last) = ((image, WorkerNo(0)), (image, WorkerNo(u32::MAX)));
        self.holders.range(first..=last).map(|(_, worker)| *worker)
    }

    /// The worker that reports; whether it is known already in this life.
    pub(super) fn meet(&mut self, report: &Report) -> (WorkerNo, bool) {
        let no = self.find(&report.worker).unwrap_or_else(|| {
            self.counter += 1;
            let no = WorkerNo(self.counter);
            self.by_name.insert(report.worker.clone(), no);
            self.all.insert(no, Worker { name: report.worker.clone(), boot: report.boot.clone(), ..Worker::default() });
            no
        });
        (no, self.all.get(&no).is_some_and(|worker| worker.boot == report.boot))
    }

    /// Changes a worker, and keeps count of its free slots.
    pub(super) fn change<T>(&mut self, no: WorkerNo, change: impl FnOnce(&mut Worker) -> T) -> Option<T> {
        let worker = self.all.get_mut(&no)?;
        let result = change(worker);
        let free = if worker.is_available() { worker.free() } else { 0 };
        let before = if free > 0 { self.places.insert(no, free) } else { self.places.remove(&no) };
        if before != Some(free) {
            before.map(|before| self.free.remove(&(Reverse(before), no)));
            if free > 0 {
                self.free.insert((Reverse(free), no));
            }
        }
        Some(result)
    }

    /// Another life of a worker begins: it knows nothing of what it was told.
    pub(super) fn reborn(&mut self, no: WorkerNo, boot: &str) {
        let forgotten = self.change(no, |worker| {
            worker.boot = boot.to_owned();
            worker.seq = 0;
            worker.settled.clear();
            worker.stopping.clear();
            worker.strays.clear();
            std::mem::take(&mut worker.held)
        });
        for image in forgotten.into_iter().flatten() {
            self.holders.remove(&(image, no));
        }
    }

    /// A worker says what it has: what it no longer holds needs no telling.
    pub(super) fn reported(&mut self, no: WorkerNo, report: &Report, now: Duration) {
        let running = |phase: &slipway_protocol::Phase| matches!(phase, slipway_protocol::Phase::Running { .. });
        let held: HashMap<&str, bool> =
            report.attempts.iter().map(|(held, phase)| (held.id.as_str(), running(phase))).collect();
        let holds = |id: &str| held.contains_key(id);
        let runs = |id: &str| held.get(id) == Some(&true);
        self.change(no, |worker| {
            worker.settled.retain(|told| told.seq >= report.seq || holds(&told.attempt.id));
            let waits = |id: &str| worker.settled.iter().any(|told| told.attempt.id == id && told.seq >= report.seq);
            worker.stopping.retain(|id, _| waits(id) || runs(id));
            worker.strays.retain(|id, _| runs(id));
            worker.seq = report.seq;
            worker.slots = report.slots;
            worker.capabilities.clone_from(&report.capabilities);
            worker.seen = now;
            worker.alive = true;
            worker.drain = report.drain;
        });
        report.holds.iter().take(HELD).for_each(|image| self.hold(no, image));
    }

    /// A worker has an image.
    pub(super) fn hold(&mut self, no: WorkerNo, image: &BlobDigest) {
        let Some(worker) = self.all.get_mut(&no) else { return };
        let image = image_no(image);
        if !self.holders.insert((image, no)) {
            return;
        }
        worker.held.push_back(image);
        if worker.held.len() > HELD
            && let Some(oldest) = worker.held.pop_front()
        {
            self.holders.remove(&(oldest, no));
        }
    }

    /// A worker is to run an attempt.
    pub(super) fn give(&mut self, no: WorkerNo, attempt: AttemptNo, requires: &Requirements) {
        self.change(no, |worker| worker.attempts.insert(attempt, Some(Load::of(requires))));
    }

    /// An attempt of a worker needs its slot no longer; its result is still of interest.
    pub(super) fn free_slot(&mut self, no: WorkerNo, attempt: AttemptNo) {
        self.change(no, |worker| worker.attempts.insert(attempt, None));
    }

    /// An attempt of a worker is over: it is to be told. What it still runs takes its slot until it has stopped.
    pub(super) fn settle(&mut self, no: WorkerNo, attempt: AttemptNo, id: AttemptId, outcome: Outcome) {
        self.change(no, |worker| {
            if let Some(load) = worker.attempts.remove(&attempt).flatten() {
                worker.stopping.insert(id.id.clone(), (id.clone(), load));
            }
            worker.tell(id, outcome);
        });
    }

    /// A worker holds an attempt that nobody needs. `running` says whether it takes a slot.
    pub(super) fn refuse(&mut self, no: WorkerNo, id: &AttemptId, running: bool) {
        self.change(no, |worker| {
            if worker.is_settled(id) {
                return;
            }
            let load = worker.strays.remove(&id.id).unwrap_or(Load { slots: 1, ..Load::default() });
            if running && !worker.stopping.contains_key(&id.id) {
                worker.stopping.insert(id.id.clone(), (id.clone(), load));
            }
            worker.tell(id.clone(), Outcome::Dropped);
        });
    }

    /// A worker holds an attempt of an earlier coordinator that may be wanted again.
    pub(super) fn keep_stray(&mut self, no: WorkerNo, id: &AttemptId) {
        self.change(no, |worker| worker.strays.insert(id.id.clone(), Load { slots: 1, ..Load::default() }));
    }

    /// An attempt of an earlier coordinator is wanted again, or was refused.
    pub(super) fn release_stray(&mut self, no: WorkerNo, id: &AttemptId) {
        self.change(no, |worker| worker.strays.remove(&id.id));
    }

    /// An attempt of a worker has come to nothing, and the worker needs not be told.
    pub(super) fn forget(&mut self, no: WorkerNo, attempt: AttemptNo) {
        self.change(no, |worker| worker.attempts.remove(&attempt));
    }

    /// Forgets a lost worker without attempts.
    pub(super) fn remove(&mut self, no: WorkerNo) {
        self.change(no, |worker| worker.alive = false);
        if let Some(worker) = self.all.remove(&no) {
            self.by_name.remove(&worker.name);
            for image in worker.held {
                self.holders.remove(&(image, no));
            }
        }
    }

    /// What a worker has yet to hear.
    pub(super) fn settled(&self, no: WorkerNo) -> Vec<(AttemptId, Outcome)> {
        let told = |told: &Told| (told.attempt.clone(), told.outcome.clone());
        self.all.get(&no).map(|worker| worker.settled.iter().map(told).collect()).unwrap_or_default()
    }

    /// Whether every worker that can be reached has heard everything.
    pub(super) fn all_heard(&self) -> bool {
        self.all.values().all(|worker| !worker.alive || worker.settled.is_empty())
    }
}

fn image_no(image: &BlobDigest) -> ImageNo {
    let hex = image.as_str().trim_start_matches("sha256:");
    ImageNo::from_str_radix(&hex[..16.min(hex.len())], 16).unwrap_or_default()
}
