//! Random walks: whatever happens, in whatever order, some things always hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use slipway_oci::BlobDigest;
use slipway_protocol::{AttemptId, Capabilities, Outcome, Phase, Report, Requirements};

use super::script::{class, failure, options, record, uploaded};
use crate::scheduler::{Effect, End, Event, Key, Near, Options, Scheduler, Want, estimates::Estimates};

/// Jobs of one walk.
const JOBS: u64 = 40;
/// Workers of one walk.
const WORKERS: usize = 4;
const STEPS: u32 = 800;

#[derive(Debug, Default)]
struct Hand {
    boot: u32,
    seq: u64,
    slots: u16,
    /// Whether its reports arrive.
    heard: bool,
    held: BTreeMap<AttemptId, Phase>,
}

/// A scheduler, its workers, and what is known of its jobs.
struct Walk {
    seed: u64,
    state: u64,
    clock: Duration,
    scheduler: Scheduler,
    hands: Vec<Hand>,
    committing: Vec<AttemptId>,
    /// How often each job was wanted and ended since it was last idle, by subscriber.
    waiting: BTreeMap<u64, Key>,
    committed: BTreeSet<String>,
    wanted: u64,
    dropped: u64,
    delivered: u64,
}

#[test]
fn whatever_happens_some_things_hold() {
    for seed in 1..=100 {
        let mut walk = Walk::new(seed, options());
        (0..STEPS).for_each(|_| walk.step());
        walk.finish();
    }
}

#[test]
fn so_they_do_when_workers_cannot_be_lost() {
    for seed in 1..=20 {
        let mut walk = Walk::new(seed, Options::embedded());
        (0..STEPS).for_each(|_| walk.step());
        walk.finish();
    }
}

impl Walk {
    fn new(seed: u64, options: Options) -> Self {
        let options = Options { tries: 5, ..options };
        let hand =
            |number: usize| Hand { slots: u16::try_from(number % 3 + 1).unwrap(), heard: true, ..Hand::default() };
        Self {
            seed,
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            clock: Duration::ZERO,
            scheduler: Scheduler::new(format!("s{seed}"), options, Estimates::default()),
            hands: (0..WORKERS).map(hand).collect(),
            committing: Vec::new(),
            waiting: BTreeMap::new(),
            committed: BTreeSet::new(),
            wanted: 0,
            dropped: 0,
            delivered: 0,
        }
    }

    fn dice(&mut self, sides: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % sides
    }

    fn step(&mut self) {
        match self.dice(24) {
            0..=4 => self.want(),
            5 => self.drop_one(),
            6..=14 => {
                let worker = self.pick();
                self.report(worker);
            }
            15..=17 => self.settle(),
            18 => self.advance(),
            19..=21 => {
                let millis = self.dice(1500);
                self.clock += Duration::from_millis(millis);
                self.apply(Event::Tick);
            }
            22 => {
                let (worker, heard) = (self.pick(), self.dice(4) > 0);
                self.hands[worker].heard = heard;
            }
            _ if self.dice(8) == 0 => {
                let worker = self.pick();
                let hand = &mut self.hands[worker];
                (hand.boot, hand.seq) = (hand.boot + 1, 0);
                hand.held.clear();
            }
            _ => {}
        }
        self.check();
    }

    fn pick(&mut self) -> usize {
        usize::try_from(self.dice(WORKERS as u64)).unwrap()
    }

    fn want(&mut self) {
        let number = self.dice(JOBS);
        let key: Key = format!("k{number}").into();
        self.wanted += 1;
        self.waiting.insert(self.wanted, key.clone());
        let requires = Requirements {
            platform: number.is_multiple_of(5).then(|| "linux/arm64".to_owned()),
            memory_mib: (number % 3) * 100,
            ..Requirements::default()
        };
        let base = Near { image: BlobDigest::of(format!("k{}-0", self.dice(JOBS)).as_bytes()), bytes: 90_000_000 };
        let rank = Duration::from_secs(self.dice(9));
        let want = Want { rank, class: class(&key), requires, near: vec![base] };
        self.apply(Event::Wanted { key, want, subscriber: self.wanted });
    }

    fn drop_one(&mut self) {
        let Some((subscriber, key)) = self.waiting.pop_first() else { return };
        self.dropped += 1;
        self.apply(Event::Dropped { key, subscriber });
    }

    /// An attempt goes on, or ends.
    fn advance(&mut self) {
        let worker = self.pick();
        let sides = self.hands[worker].held.len() as u64;
        if sides == 0 {
            return;
        }
        let index = usize::try_from(self.dice(sides)).unwrap();
        let phase = match self.dice(6) {
            0..=2 => Phase::Uploaded(uploaded("x")),
            3 => Phase::Failed(failure(true)),
            4 => Phase::Failed(failure(self.dice(3) > 0)),
            _ => Phase::Running { progress: self.dice(9) },
        };
        let held = self.hands[worker].held.values_mut().nth(index).expect("there are so many");
        if matches!(held, Phase::Running { .. }) {
            *held = phase;
        }
    }

    fn report(&mut self, number: usize) {
        if self.dice(3) == 0 {
            self.advance();
        }
        let hand = &mut self.hands[number];
        if !hand.heard {
            return;
        }
        hand.seq += 1;
        let arm = || vec!["linux/arm64".parse().expect("a platform")];
        let report = Report {
            worker: format!("w{number}"),
            boot: hand.boot.to_string(),
            seq: hand.seq,
            slots: hand.slots,
            capabilities: Capabilities {
                platforms: if number == 0 { arm() } else { Vec::new() },
                memory_mib: 400,
                ..Capabilities::default()
            },
            attempts: hand.held.iter().map(|(attempt, phase)| (attempt.clone(), phase.clone())).collect(),
            ..Report::default()
        };
        self.apply(Event::Synced(report));
        // The answer may be lost.
        if self.dice(10) > 0 {
            self.obey(number);
        }
    }

    fn obey(&mut self, number: usize) {
        let orders = self.scheduler.orders(&format!("w{number}"));
        let hand = &mut self.hands[number];
        hand.held.retain(|attempt, _| {
            orders.run.contains(attempt) && !orders.settled.iter().any(|(settled, _)| settled == attempt)
        });
        for attempt in orders.run {
            hand.held.entry(attempt).or_insert(Phase::Running { progress: 0 });
        }
        let running: Vec<&AttemptId> = hand
            .held
            .iter()
            .filter(|(_, phase)| matches!(phase, Phase::Running { .. }))
            .map(|(attempt, _)| attempt)
            // What only uploads again takes no slot.
            .filter(|attempt| self.scheduler.again(attempt).is_none())
            .collect();
        assert!(running.len() <= usize::from(hand.slots), "seed {}: more attempts than slots", self.seed);
        let jobs: BTreeSet<&String> = running.iter().map(|attempt| &attempt.job).collect();
        assert_eq!(jobs.len(), running.len(), "seed {}: two attempts at one job on one worker", self.seed);
    }

    fn settle(&mut self) {
        let sides = self.committing.len() as u64;
        if sides == 0 {
            return;
        }
        let index = usize::try_from(self.dice(sides)).unwrap();
        let attempt = self.committing.swap_remove(index);
        let event = match self.dice(7) {
            6 => Event::Vanished(attempt, failure(true)),
            0 => Event::Unpublished(attempt, failure(true)),
            1 => Event::Settled(attempt, Outcome::Superseded(Arc::new(record()))),
            _ => {
                assert!(self.committed.insert(attempt.id.clone()), "seed {}: committed twice", self.seed);
                Event::Settled(attempt, Outcome::Committed(Arc::new(record())))
            }
        };
        self.apply(event);
    }

    fn apply(&mut self, event: Event) {
        for effect in self.scheduler.apply(event, self.clock) {
            match effect {
                Effect::Commit(attempt, _) => {
                    let doubled = self.committing.iter().any(|other| other.job == attempt.job);
                    assert!(!doubled, "seed {}: two results of {} are published at once", self.seed, attempt.job);
                    self.committing.push(attempt);
                }
                Effect::Deliver(subscribers, key, end) => {
                    let ended = matches!(end, End::Settled(..) | End::Failed(_));
                    assert!(ended, "seed {}: {end:?}", self.seed);
                    assert!(!self.scheduler.knows(&key), "seed {}: {key} is over and is not", self.seed);
                    for subscriber in subscribers {
                        self.delivered += 1;
                        let waited = self.waiting.remove(&subscriber);
                        assert_eq!(waited.as_ref(), Some(&key), "seed {}: told twice, or wrongly", self.seed);
                    }
                }
                Effect::Notice(..) | Effect::Wake(_) | Effect::WakeAt(_) => {}
            }
        }
    }

    /// What holds between any two steps.
    fn check(&self) {
        let mut attempts = BTreeSet::new();
        for (number, hand) in self.hands.iter().enumerate() {
            let orders = self.scheduler.orders(&format!("w{number}"));
            let running = orders.run.iter().filter(|attempt| !self.committing.contains(attempt));
            let mut jobs = BTreeSet::new();
            for attempt in running {
                assert!(attempts.insert(attempt.id.clone()), "seed {}: {attempt} is in two places", self.seed);
                assert!(jobs.insert(&attempt.job), "seed {}: two attempts at one job on one worker", self.seed);
                assert!(self.scheduler.knows(&attempt.job), "seed {}: {attempt} is of no job", self.seed);
                assert!(!self.committed.contains(&attempt.id), "seed {}: {attempt} is stored and runs", self.seed);
            }
            let _ = hand;
        }
        let snapshot = self.scheduler.snapshot(self.clock);
        for worker in snapshot.workers.iter().filter(|worker| worker.alive) {
            assert!(worker.taken <= u64::from(worker.slots), "seed {}: {worker:?}", self.seed);
        }
        assert_eq!(snapshot.counters.new + snapshot.counters.joined, self.wanted, "seed {}", self.seed);
    }

    /// From now on all goes well: every job ends, and nothing is left.
    fn finish(&mut self) {
        self.hands.iter_mut().for_each(|hand| hand.heard = true);
        for _ in 0..4_000 {
            if self.waiting.is_empty() && self.scheduler.is_idle() {
                break;
            }
            self.clock += Duration::from_millis(500);
            self.apply(Event::Tick);
            for number in 0..WORKERS {
                for phase in self.hands[number].held.values_mut() {
                    if matches!(phase, Phase::Running { .. }) {
                        *phase = Phase::Uploaded(uploaded("x"));
                    }
                }
                self.report(number);
                self.obey(number);
            }
            (0..4).for_each(|_| self.settle());
            self.check();
        }
        assert!(self.waiting.is_empty(), "seed {}: never ended: {:?}", self.seed, self.waiting);
        assert_eq!(self.delivered + self.dropped, self.wanted, "seed {}", self.seed);
        assert!(self.scheduler.is_idle() && self.scheduler.is_empty(), "seed {}: {:?}", self.seed, self.scheduler);
    }
}
