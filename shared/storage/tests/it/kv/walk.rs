//! A seeded random walk: publishers of three commits, coordinators and processes, interleaved call by call, with lost
//! replies, late requests, zombies, crashes, foreign tags, lost images and restores; an observer checks the invariants
//! after every step.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures::poll;
use slipway_digest::{Millis, StageDigest, StageId};
use slipway_kv::{
    Changes, Fault, Faulty, Granted, Kv, KvError, LeaseId, Outcome, Page, Range, Revision, Sessions, Txn,
};
use slipway_oci::{ImageAt, Platform};
use slipway_stages::StageRecord;
use slipway_storage::{
    Candidate, MemoryStorage, StageStorage, StorageError, Verdict,
    conformance::platform,
    kv::{Attempts, Fences, KeptState, Listing, Reading, SharedPublisher, StagePlace},
};
use tokio::task::yield_now;

use super::lab::{A, B, For, Lab, MERGE, built, commit_of, digest_of, publisher, suits};

const STAGE: &str = "walked";
const WALKS: u64 = 150;
/// Steps of one walk before everybody is left to finish.
const STEPS: usize = 400;

/// Numbers that are the same for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_in(&mut self, number: usize) -> bool {
        self.below(number) == 0
    }
}

/// Lets others run before and after every call.
#[derive(Clone)]
struct Stepped<T>(T);

#[async_trait]
impl Kv for Stepped<Arc<dyn Kv>> {
    async fn range(&self, range: &Range) -> Result<Page, KvError> {
        yield_now().await;
        self.0.range(range).await
    }

    async fn txn(&self, parts: &[Txn]) -> Result<Vec<Outcome>, KvError> {
        yield_now().await;
        let outcomes = self.0.txn(parts).await;
        yield_now().await;
        outcomes
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Changes, KvError> {
        self.0.watch(prefix, after).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Granted, KvError> {
        self.0.grant(ttl).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<Duration, KvError> {
        self.0.renew(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), KvError> {
        self.0.revoke(lease).await
    }
}

#[async_trait]
impl StageStorage for Stepped<MemoryStorage> {
    fn name(&self) -> String {
        self.0.name()
    }

    async fn find(&self, digest: StageDigest, of: &Platform, fresh: bool) -> Result<Vec<StageRecord>, StorageError> {
        self.0.find(digest, of, fresh).await
    }

    async fn tag(&self, stage: &StageRecord) -> Result<(), StorageError> {
        yield_now().await;
        let tagged = self.0.tag(stage).await;
        yield_now().await;
        tagged
    }

    async fn verify(&self, image: &ImageAt) -> Result<(), StorageError> {
        yield_now().await;
        self.0.verify(image).await
    }
}

#[async_trait]
impl StagePlace for Stepped<MemoryStorage> {
    async fn list(&self) -> Result<Listing, StorageError> {
        yield_now().await;
        self.0.list().await
    }

    async fn read(&self, id: StageId) -> Result<Reading, StorageError> {
        yield_now().await;
        self.0.read(id).await
    }

    async fn identify(&self, claimed: &StageRecord) -> Result<(StageRecord, Option<String>), StorageError> {
        yield_now().await;
        self.0.identify(claimed).await
    }

    async fn copy(&self, image: &ImageAt, attempt: &str) -> Result<ImageAt, StorageError> {
        yield_now().await;
        self.0.copy(image, attempt).await
    }

    async fn mark_rejected(&self, id: StageId, why: &str) -> Result<(), StorageError> {
        self.0.mark_rejected(id, why).await
    }
}

/// What is seen from above.
#[derive(Default)]
struct Observer {
    /// Every record that was ever live, and its image.
    ever: HashMap<StageId, ImageAt>,
    /// Tags that others wrote.
    foreign: HashSet<StageId>,
    /// What builds of a commit used.
    used: BTreeMap<u8, StageId>,
    ended: usize,
    steps: usize,
}

struct Walk {
    lab: Lab,
    faulty: Faulty,
    place: Arc<dyn StagePlace>,
    kv: Arc<dyn Kv>,
    random: Arc<Mutex<Random>>,
    observer: Arc<Mutex<Observer>>,
    attempts: usize,
    seed: u64,
}

type Running = Pin<Box<dyn Future<Output = ()>>>;

/// A build, from the upload to the stage that it uses.
struct Builder {
    storage: MemoryStorage,
    publisher: SharedPublisher,
    coordinated: bool,
    commit: u8,
    name: String,
    observer: Arc<Mutex<Observer>>,
}

impl Builder {
    async fn run(self) {
        for round in 0.. {
            let attempt = format!("{} {round}", self.name);
            let record = built(STAGE, self.commit, &attempt);
            self.storage.upload_as(&record, &attempt);
            let candidate = Candidate { record, not_before: Millis(0), attempt: attempt.clone() };
            if self.coordinated {
                self.publisher.ledger().grant(&attempt).await.unwrap();
            }
            match self.publisher.publish(&candidate, &For(self.commit)).await {
                Ok(verdict) => return self.uses(verdict),
                Err(StorageError::Gone(_) | StorageError::Fenced(_)) => {}
                Err(error @ StorageError::Unavailable(_)) if error.to_string().contains("restored") => {}
                Err(error) => panic!("{}: {error}", self.name),
            }
        }
    }

    fn uses(&self, verdict: Verdict) {
        let stage = verdict.stage();
        let mut observer = self.observer.lock().unwrap();
        observer.ended += 1;
        assert_eq!(self.storage.tagged(stage.id), Some(stage.at.clone()), "the tag of what is used stands");
        assert!(suits(commit_of(stage), self.commit));
        let used = *observer.used.entry(self.commit).or_insert(stage.id);
        assert_eq!(used, stage.id, "builds of commit {} use one stage", self.commit);
    }
}

impl Walk {
    fn new(seed: u64) -> Self {
        let lab = Lab::new();
        let random = Arc::new(Mutex::new(Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)));
        let dice = random.clone();
        let plan = move |parts: &[Txn]| {
            let mut dice = dice.lock().unwrap();
            if parts.is_empty() || !dice.one_in(12) {
                return None;
            }
            Some([Fault::ReplyLost, Fault::RequestLost, Fault::Late][dice.below(3)])
        };
        let faulty = Faulty::new(lab.kv.clone(), Box::new(plan));
        let kv: Arc<dyn Kv> = Arc::new(Stepped(Arc::new(faulty.clone()) as Arc<dyn Kv>));
        let place: Arc<dyn StagePlace> = Arc::new(Stepped(lab.storage.clone()));
        Self { lab, faulty, place, kv, random, observer: Arc::default(), attempts: 0, seed }
    }

    fn below(&self, limit: usize) -> usize {
        self.random.lock().unwrap().below(limit)
    }

    fn builder(&mut self) -> Running {
        self.attempts += 1;
        let coordinated = self.below(2) == 0;
        let attempts = match coordinated {
            true => Attempts::OfCoordinator,
            false => Attempts::OfProcess(Sessions::new(self.kv.clone(), Duration::from_secs(600))),
        };
        let builder = Builder {
            storage: self.lab.storage.clone(),
            publisher: publisher(&self.kv, &self.place, Fences::open(), attempts),
            coordinated,
            commit: [A, B, MERGE][self.below(3)],
            name: format!("builder {}", self.attempts),
            observer: self.observer.clone(),
        };
        Box::pin(builder.run())
    }

    /// Somebody's fence goes: an attempt is cancelled, or its lease ends.
    async fn fence_one(&self) {
        let keys = self.lab.kv.range(&Range::under("repo/registry.example.org+shop/attempt/")).await.unwrap().entries;
        let Some(entry) = keys.get(self.below(keys.len().max(1))) else { return };
        match entry.lease {
            Some(lease) => self.lab.kv.revoke(lease).await.unwrap(),
            None => {
                let gone = Txn { when: vec![], then: vec![slipway_kv::Do::Delete(entry.key.clone())] };
                self.lab.kv.txn(&[gone]).await.unwrap();
            }
        }
    }

    /// Another program tags a stage under a timestamp that is free.
    async fn foreign(&self, number: usize) {
        let stamp = Millis(super::lab::NOW - 3 + self.below(12) as u64);
        let id = StageId { digest: digest_of(STAGE), stamp };
        if self.lab.storage.tagged(id).is_none() {
            let commit = [A, B, MERGE][self.below(3)];
            self.lab.foreign(STAGE, commit, &format!("foreign {number}"), stamp.0).await;
            self.observer.lock().unwrap().foreign.insert(id);
        }
    }

    /// The registry collects an image that has no tag and that nobody has committed.
    async fn collect(&self) {
        let number = self.below(self.attempts.max(1)) + 1;
        let record = built(STAGE, [A, B, MERGE][self.below(3)], &format!("builder {number} 0"));
        let committed = self.observer.lock().unwrap().ever.values().any(|at| *at == record.at);
        let tagged = self.lab.storage.tags().iter().any(|id| self.lab.storage.tagged(*id).as_ref() == Some(&record.at));
        if !committed && !tagged {
            self.lab.lose(&record.at);
        }
    }

    async fn check(&self) {
        let ledger = self.lab.process();
        let all = ledger.ledger().all().await.unwrap();
        let mut observer = self.observer.lock().unwrap();
        observer.steps += 1;
        let live: Vec<(&str, &StageRecord)> = all
            .iter()
            .filter(|kept| kept.state == KeptState::Live)
            .filter_map(|kept| Some((kept.attempt.as_str(), kept.stage.as_deref()?)))
            .collect();
        for (number, (attempt, later)) in live.iter().enumerate() {
            // An import knows no history: what it adopts may stand beside an older suitable stage, which is chosen.
            let built = attempt.starts_with("builder");
            let doubled = live[..number].iter().find(|(_, earlier)| suits(commit_of(earlier), commit_of(later)));
            assert!(!built || doubled.is_none(), "seed {}: {} is stored beside {doubled:?}", self.seed, later.id);
            observer.ever.insert(later.id, later.at.clone());
        }
        for id in self.lab.storage.tags() {
            let at = self.lab.storage.tagged(id).unwrap();
            let known = observer.foreign.contains(&id) || observer.ever.get(&id) == Some(&at);
            assert!(known, "seed {}: the tag {id} was never committed", self.seed);
        }
        let lost = observer.used.values().find(|id| !live.iter().any(|(_, stage)| stage.id == **id));
        let listed = all.iter().any(|kept| kept.state == KeptState::Listed);
        assert!(lost.is_none() || listed, "seed {}: the used stage {lost:?} is lost: {all:?}", self.seed);
    }

    async fn step(&mut self, running: &mut Vec<Running>) {
        if running.len() < 4 && self.below(10) == 0 {
            let builder = self.builder();
            running.push(builder);
        }
        match self.below(150) {
            0 => self.fence_one().await,
            1 => self.foreign(self.attempts * 1000 + running.len()).await,
            2 => self.collect().await,
            3 => drop(self.faulty.deliver().await),
            // A crash.
            4 if !running.is_empty() => drop(running.swap_remove(self.below(running.len()))),
            5 if self.below(4) == 0 => drop(self.lab.process().recover().await.unwrap()),
            6 if self.below(4) == 0 => drop(self.lab.process().ledger().import().await.unwrap()),
            _ => {}
        }
        self.poll_one(running).await;
        self.check().await;
    }

    async fn poll_one(&mut self, running: &mut Vec<Running>) {
        if running.is_empty() {
            return;
        }
        let chosen = self.below(running.len());
        if poll!(running[chosen].as_mut()).is_ready() {
            drop(running.swap_remove(chosen));
        }
        // Tasks beside them have a turn.
        yield_now().await;
    }

    async fn run(&mut self) -> (usize, usize) {
        self.lab.process().ledger().attach().await.unwrap();
        let mut running: Vec<Running> = Vec::new();
        let restores = self.seed.is_multiple_of(3);
        for phase in 0..2 {
            let snapshot = self.lab.memory.snapshot();
            for _ in 0..STEPS / 2 {
                self.step(&mut running).await;
            }
            if restores && phase == 0 {
                // With everybody stopped, though requests are still on the wire.
                running.clear();
                self.lab.memory.restore(&snapshot);
                self.lab.process().ledger().attach().await.unwrap();
                drop(self.faulty.deliver().await);
                self.check().await;
            }
        }
        for _ in 0..20_000 {
            self.poll_one(&mut running).await;
            if running.is_empty() {
                break;
            }
        }
        assert!(running.is_empty(), "seed {}: everybody ends", self.seed);
        drop(self.faulty.deliver().await);
        self.lab.process().recover().await.unwrap();
        self.check().await;
        let ledger = self.lab.process();
        let seen = ledger.ledger().read(digest_of(STAGE)).await.unwrap();
        for stage in seen.live(&platform("linux/amd64"), Millis(0)) {
            assert_eq!(self.lab.storage.tagged(stage.id), Some(stage.at), "seed {}: {}", self.seed, stage.id);
        }
        assert_eq!(ledger.recover().await.unwrap(), Default::default(), "seed {}: no intent is left", self.seed);
        let observer = self.observer.lock().unwrap();
        (observer.ended, observer.steps)
    }
}

#[tokio::test]
async fn whatever_happens_there_is_one_winner_and_it_never_changes() {
    let (mut ended, mut steps) = (0, 0);
    for seed in 1..=WALKS {
        let (builds, taken) = Walk::new(seed).run().await;
        (ended, steps) = (ended + builds, steps + taken);
    }
    println!("{steps} steps, {ended} builds");
    assert!(steps > 50_000 && ended > 1_000, "{steps} steps, {ended} builds: the walks went somewhere");
}
