//! A language for what happens to a scheduler. One step a line:
//!
//! ```text
//! worker W [slots=N] [boot=B] [platform=P] [memory=N] [label=K:V] [holds=IMAGE] [drain]   comes, or changes
//! silent W | back W                                      is cut off, and heard again
//! want J [rank=SECONDS] [by=N] [platform=P] [memory=N] [label=K:V] [near=IMAGE] [bytes=N] [class=C]
//! drop J by=N
//! progress J W | upload J W | sum J W | fail J W | crash J W      what a worker says; `crash` is worth another try
//! publish J | lose J | spoil J | refuse J | vanish J     ends a commit: won, lost to another, failed, worth another try, not there
//! pass SECONDS                                           workers that are heard report every second
//! learn C MILLISECONDS [COUNT]
//! ```
//!
//! Semicolons end a step as lines do; in what comes of it they are commas.
//!
//! What comes of it: `w+j` a worker starts, `w^j` it uploads again, `w-j` it stops, `commit j`, `j: END → SUBSCRIBERS`, `notice: …`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use slipway_digest::Encoder;
use slipway_oci::{BlobDigest, ImageAt, Platform, Repo};
use slipway_protocol::{AttemptId, Capabilities, Failure, Outcome, Phase, Report, Requirements, Uploaded};
use slipway_stages::StageRecord;

use super::super::*;

/// A worker that does as it is told.
#[derive(Debug, Default)]
struct Hand {
    report: Report,
    heard: bool,
}

/// A scheduler and what surrounds it.
pub(super) struct Stage {
    pub(super) scheduler: Scheduler,
    pub(super) trace: Vec<String>,
    pub(super) clock: Duration,
    wake: Option<Duration>,
    hands: BTreeMap<String, Hand>,
    committing: HashMap<String, AttemptId>,
}

/// Options that scripts are easily written for.
pub(super) fn options() -> Options {
    Options {
        lease: Some(Duration::from_secs(10)),
        quiet: Some(Duration::from_secs(600)),
        deadline: Some(Duration::from_secs(3600)),
        no_worker: Some(Duration::from_secs(60)),
        back_off: Duration::from_secs(1),
        transfer_rate: 1000,
        ..Options::embedded()
    }
}

/// Plays a script and compares what comes of it.
#[track_caller]
pub(super) fn check(script: &str, expected: &str) {
    check_with(options(), script, expected);
}

/// The same with other options.
#[track_caller]
pub(super) fn check_with(options: Options, script: &str, expected: &str) {
    let mut stage = Stage::new(options);
    stage.play(script);
    let expected: Vec<&str> = expected.split(';').map(str::trim).filter(|part| !part.is_empty()).collect();
    let trace: Vec<&str> = stage.trace.iter().map(|part| part.trim()).collect();
    assert_eq!(trace, expected, "{script}");
}

impl Stage {
    pub(super) fn new(options: Options) -> Self {
        Self {
            scheduler: Scheduler::new("s".to_owned(), options, Estimates::default()),
            trace: Vec::new(),
            clock: Duration::ZERO,
            wake: None,
            hands: BTreeMap::new(),
            committing: HashMap::new(),
        }
    }

    /// Plays steps; what they lead to is added to the trace.
    #[track_caller]
    pub(super) fn play(&mut self, script: &str) {
        for line in script.lines().flat_map(|line| line.split(';')).map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            self.step(&words);
        }
    }

    #[track_caller]
    fn step(&mut self, words: &[&str]) {
        match words {
            ["worker", name, rest @ ..] => self.worker(name, rest),
            ["silent", name] => self.hand(name).heard = false,
            ["back", name] => {
                self.hand(name).heard = true;
                self.report(name);
            }
            ["want", job, rest @ ..] => {
                let event = wanted(job, &Words(rest));
                self.apply(event);
            }
            ["drop", job, by] => {
                let subscriber = by.trim_start_matches("by=").parse().expect("a number");
                self.apply(Event::Dropped { key: (*job).into(), subscriber });
            }
            ["progress", job, name] => self.say(job, name, |phase| match phase {
                Phase::Running { progress } => Phase::Running { progress: progress + 1 },
                other => other,
            }),
            ["upload", job, name] => self.say(job, name, |_| Phase::Uploaded(uploaded(&format!("{job}-{name}")))),
            ["sum", job, name] => self.say(job, name, |_| Phase::Summed(Encoder::new("x").finish())),
            ["fail", job, name] => self.say(job, name, |_| Phase::Failed(failure(false))),
            ["crash", job, name] => self.say(job, name, |_| Phase::Failed(failure(true))),
            ["publish", job] => self.settle(job, |record| Event::Settled(record.0, Outcome::Committed(record.1))),
            ["lose", job] => self.settle(job, |record| Event::Settled(record.0, Outcome::Superseded(record.1))),
            ["spoil", job] => self.settle(job, |record| Event::Unpublished(record.0, failure(false))),
            ["refuse", job] => self.settle(job, |record| Event::Unpublished(record.0, failure(true))),
            ["vanish", job] => self.settle(job, |record| Event::Vanished(record.0, failure(true))),
            ["pass", seconds] => self.pass(seconds.parse().expect("seconds")),
            ["stop", seconds] => self.clock += Duration::from_secs(seconds.parse().expect("seconds")),
            ["learn", class, millis, rest @ ..] => {
                let count = rest.first().map_or(1, |count| count.parse().expect("a count"));
                let took = Duration::from_millis(millis.parse().expect("milliseconds"));
                (0..count).for_each(|_| self.scheduler.estimates.learn(&self::class(class), took));
            }
            _ => panic!("no such step: {words:?}"),
        }
    }

    fn hand(&mut self, name: &str) -> &mut Hand {
        self.hands.get_mut(name).unwrap_or_else(|| panic!("no worker {name}"))
    }

    fn worker(&mut self, name: &str, rest: &[&str]) {
        let words = Words(rest);
        let hand = self.hands.entry(name.to_owned()).or_default();
        let boot = words.get("boot").unwrap_or("1").to_owned();
        if hand.report.boot != boot {
            hand.report = Report { worker: name.to_owned(), boot, slots: 1, ..Report::default() };
        }
        hand.heard = true;
        if let Some(slots) = words.get("slots") {
            hand.report.slots = slots.parse().expect("a number");
        }
        let platform = |text: &str| text.parse::<Platform>().expect("a platform");
        hand.report.capabilities = Capabilities {
            platforms: words.get("platform").map(platform).into_iter().collect(),
            memory_mib: words.number("memory"),
            labels: words.labels(),
            ..Capabilities::default()
        };
        hand.report.holds = words.get("holds").map(|image| BlobDigest::of(image.as_bytes())).into_iter().collect();
        hand.report.drain = rest.contains(&"drain");
        self.report(name);
    }

    /// Lets a worker say something about its attempt at a job.
    #[track_caller]
    fn say(&mut self, job: &str, name: &str, phase: impl Fn(Phase) -> Phase) {
        let hand = self.hand(name);
        let attempt = hand.report.attempts.iter_mut().find(|(attempt, _)| attempt.job == job);
        let (_, held) = attempt.unwrap_or_else(|| panic!("{name} has no {job}"));
        *held = phase(held.clone());
        if hand.heard {
            self.report(name);
        }
    }

    fn settle(&mut self, job: &str, event: impl Fn((AttemptId, Arc<StageRecord>)) -> Event) {
        let attempt = self.committing.remove(job).unwrap_or_else(|| panic!("{job} is not being published"));
        self.apply(event((attempt, Arc::new(record()))));
    }

    /// A worker reports until it has nothing new to say, and does as it is told.
    fn report(&mut self, name: &str) {
        loop {
            let hand = self.hand(name);
            hand.report.seq += 1;
            let report = hand.report.clone();
            self.apply(Event::Synced(report));
            if !self.obey(name) {
                return;
            }
        }
    }

    /// Whether the orders were news to the worker.
    fn obey(&mut self, name: &str) -> bool {
        let orders = self.scheduler.orders(name);
        let held = &mut self.hands.get_mut(name).expect("a worker").report.attempts;
        let mut news = false;
        held.retain(|(attempt, phase)| {
            let wanted = (orders.run.contains(attempt) || orders.keep.contains(attempt))
                && !orders.settled.iter().any(|(settled, _)| settled == attempt);
            if !wanted && matches!(phase, Phase::Running { .. }) {
                self.trace.push(format!("{name}-{}", attempt.job));
            }
            news |= !wanted;
            wanted
        });
        for attempt in orders.run {
            if !held.iter().any(|(known, _)| *known == attempt) {
                let sign = if self.scheduler.again(&attempt).is_some() { '^' } else { '+' };
                self.trace.push(format!("{name}{sign}{}", attempt.job));
                held.push((attempt, Phase::Running { progress: 0 }));
                news = true;
            }
        }
        news
    }

    fn apply(&mut self, event: Event) {
        let mut woken = Vec::new();
        self.wake = None;
        for effect in self.scheduler.apply(event, self.clock) {
            match effect {
                Effect::Commit(attempt, _) => {
                    self.trace.push(format!("commit {}", attempt.job));
                    assert!(self.committing.insert(attempt.job.clone(), attempt).is_none(), "two commits at once");
                }
                Effect::Deliver(subscribers, key, end) => {
                    self.trace.push(format!("{key}: {} → {}", ended(&end), listed(&subscribers)));
                }
                Effect::Notice(subscribers, text) => {
                    self.trace.push(format!("notice: {} → {}", text.replace(';', ","), listed(&subscribers)));
                }
                Effect::Wake(name) => woken.push(name),
                Effect::WakeAt(at) => self.wake = Some(at),
            }
        }
        for name in woken {
            if self.hands.get(&name).is_some_and(|hand| hand.heard) && self.obey(&name) {
                self.report(&name);
            }
        }
    }

    /// Time passes: the scheduler is woken when it wants to be, workers report every second.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            let until = self.clock + Duration::from_secs(1);
            while let Some(wake) = self.wake.filter(|wake| *wake <= until) {
                self.clock = self.clock.max(wake);
                self.apply(Event::Tick);
            }
            self.clock = until;
            let heard: Vec<String> =
                self.hands.iter().filter(|(_, hand)| hand.heard).map(|(name, _)| name.clone()).collect();
            heard.iter().for_each(|name| self.report(name));
        }
    }
}

/// `NAME=VALUE` words of a step.
struct Words<'a>(&'a [&'a str]);

impl<'a> Words<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    fn number(&self, name: &str) -> u64 {
        self.get(name).map_or(0, |number| number.parse().expect("a number"))
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let pair = |label: &str| label.split_once(':').map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.get("label").and_then(pair).into_iter().collect()
    }
}

fn wanted(job: &str, words: &Words<'_>) -> Event {
    let near = |image: &str| Near { image: BlobDigest::of(image.as_bytes()), bytes: words.number("bytes") };
    let want = Want {
        rank: Duration::from_secs(words.number("rank")),
        class: class(words.get("class").unwrap_or("none")),
        requires: Requirements {
            platform: words.get("platform").map(str::to_owned),
            memory_mib: words.number("memory"),
            labels: words.labels(),
            ..Requirements::default()
        },
        near: words.get("near").map(near).into_iter().collect(),
    };
    Event::Wanted { key: job.into(), want, subscriber: words.number("by") }
}

pub(super) fn class(name: &str) -> Class {
    Class { project: "p".to_owned(), image: name.to_owned(), kind: "setup".to_owned() }
}

pub(super) fn uploaded(image: &str) -> Uploaded {
    let digest = BlobDigest::of(image.as_bytes());
    let at = ImageAt { repo: Repo { host: String::new(), path: "p".to_owned() }, digest: digest.clone() };
    Uploaded {
        at,
        image_id: digest,
        size: 1,
        took: Duration::from_secs(2),
        base_pulled: false,
        caches_failed: Vec::new(),
    }
}

pub(super) fn record() -> StageRecord {
    let checksum = Encoder::new("stage").finish();
    StageRecord {
        id: slipway_digest::StageId { digest: slipway_digest::StageDigest(checksum), stamp: slipway_digest::Millis(1) },
        platform: Platform::host(),
        at: uploaded("stored").at,
        image_id: BlobDigest::of(b"stored"),
        commits: BTreeMap::new(),
        content: checksum,
        parent: None,
        size: 1,
    }
}

pub(super) fn failure(retryable: bool) -> Failure {
    Failure { retryable, why: "broken".to_owned(), exit: None, line: None, tail: Vec::new(), lost: None }
}

fn ended(end: &End) -> String {
    match end {
        End::Settled(Outcome::Committed(_), _) => "committed".to_owned(),
        End::Settled(Outcome::Superseded(_), _) => "superseded".to_owned(),
        End::Settled(Outcome::Dropped, _) => "dropped".to_owned(),
        End::Summed(_) => "summed".to_owned(),
        End::Delivered => "delivered".to_owned(),
        End::Failed(failure) => format!("failed: {}", failure.why.replace(';', ",")),
    }
}

fn listed(subscribers: &[Subscriber]) -> String {
    subscribers.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}
