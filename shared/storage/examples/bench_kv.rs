//! Figures of the shared ledger: `scripts/bench-kv` starts etcd and runs this.
//!
//! Argument: the address of etcd, as in `--synchronization`. Stages are in memory: what is measured is etcd.

#![expect(clippy::print_stdout, reason = "a benchmark ends where something unexpected happens, and prints")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt as _, future::join_all, stream};
use slipway_digest::{Millis, StageId};
use slipway_kv::{Batched, Counted, Do, EtcdKv, EtcdOptions, Kv, Range, Sessions, Txn, When, once};
use slipway_oci::{BlobDigest, Repo};
use slipway_process::{Clock as _, SystemClock, Tasks, random_id};
use slipway_stages::{StageRecord, labels};
use slipway_storage::{
    Candidate, Judge, MemoryStorage, StorageError,
    conformance::labels as labels_of,
    kv::{Attempts, Fences, KvLedger, SharedPublisher},
};

const CALLS: usize = 500;
const STAGES: usize = 1000;
const AT_ONCE: usize = 64;

struct Nobody;

#[async_trait]
impl Judge for Nobody {
    async fn choose(&self, _candidates: &[StageRecord]) -> Result<Option<StageRecord>, StorageError> {
        Ok(None)
    }
}

#[tokio::main]
async fn main() {
    let address = std::env::args().nth(1).expect("the address of etcd").parse().expect("an address of etcd");
    let kv = EtcdKv::open(&address, &EtcdOptions::default()).await.expect("etcd answers");
    let clock = SystemClock::new(None);
    let value = vec![b'x'; 400];
    let key = |number: usize| format!("bench/{number}");
    let mut puts = Vec::new();
    let mut reads = Vec::new();
    for number in 0..CALLS {
        let txn = Txn {
            when: vec![When::Absent(format!("never/{number}"))],
            then: vec![Do::put(key(number), value.clone())],
        };
        puts.push(timed(&clock, once(&*kv, txn)).await);
        reads.push(timed(&clock, kv.range(&Range::key(key(number)))).await);
    }
    say("one transaction", &mut puts);
    say("one read", &mut reads);
    let tasks = Tasks::new();
    let batched: Arc<dyn Kv> = Arc::new(Batched::new(kv.clone(), &tasks));
    for (name, kv) in [("alone", kv.clone()), ("batched", batched)] {
        let start = clock.monotonic();
        let calls = (0..CALLS * 4).map(|number| {
            let (kv, then) = (&kv, vec![Do::put(format!("bench/{name}/{number}"), value.clone())]);
            async move { once(&**kv, Txn { when: vec![], then }).await.expect("a put succeeds") }
        });
        stream::iter(calls).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
        let took = clock.monotonic().saturating_sub(start);
        println!("puts, {AT_ONCE} at once, {name}: {:.0}/s", (CALLS * 4) as f64 / took.as_secs_f64());
        publish(&clock, kv, name).await;
    }
    tasks.shut_down().await;
}

/// Publishes stages of digests of their own, many at once.
async fn publish(clock: &SystemClock, kv: Arc<dyn Kv>, name: &str) {
    let counted = Counted::new(kv);
    let kv: Arc<dyn Kv> = Arc::new(counted.clone());
    let repo: Repo = format!("bench.example.org/{name}-{}", &random_id()[..8]).parse().expect("a repository");
    let storage = MemoryStorage::new(&repo.to_string());
    let attempts = Attempts::OfProcess(Sessions::new(kv.clone(), Duration::from_secs(60)));
    let wall = Arc::new(SystemClock::new(None));
    let ledger = KvLedger::new(kv, repo.clone(), Arc::new(storage.clone()), wall, Fences::open(), attempts);
    let publisher = SharedPublisher::new(Arc::new(ledger), None);
    publisher.ledger().attach().await.expect("an empty repository is attached");
    let before = counted.counts();
    let start = clock.monotonic();
    let stages = (0..STAGES).map(|number| {
        let candidate = built(&storage, &repo, number);
        let publisher = &publisher;
        async move { timed(clock, publisher.publish(&candidate, &Nobody)).await }
    });
    let mut took: Vec<Duration> = stream::iter(stages).buffer_unordered(AT_ONCE).collect().await;
    let all = clock.monotonic().saturating_sub(start);
    let after = counted.counts();
    println!("stages, {AT_ONCE} at once, {name}: {:.0}/s", STAGES as f64 / all.as_secs_f64());
    println!("  transactions per stage: {:.2}", (after.parts - before.parts) as f64 / STAGES as f64);
    println!("  reads per stage: {:.2}", (after.ranges - before.ranges) as f64 / STAGES as f64);
    say("  publish one of them", &mut took);
    let found =
        join_all((0..STAGES).step_by(100).map(|number| publisher.ledger().read(labels_of(&number.to_string()).digest)))
            .await;
    assert!(
        found.iter().all(|found| found.as_ref().is_ok_and(|found| found.kept.len() == 1)),
        "every stage is recorded"
    );
}

fn built(storage: &MemoryStorage, repo: &Repo, number: usize) -> Candidate {
    let labels = labels_of(&number.to_string());
    let at = repo.at(BlobDigest::of(format!("image {number}").as_bytes()));
    let id = StageId { digest: labels.digest, stamp: Millis(0) };
    let record = labels::record(labels, id, at.clone(), at.digest, 1);
    let attempt = random_id();
    storage.upload_as(&record, &attempt);
    Candidate { record, not_before: Millis(0), attempt }
}

async fn timed<T, E: std::fmt::Debug>(clock: &SystemClock, work: impl Future<Output = Result<T, E>>) -> Duration {
    let start = clock.monotonic();
    work.await.expect("it succeeds");
    clock.monotonic().saturating_sub(start)
}

fn say(what: &str, took: &mut [Duration]) {
    took.sort();
    let at = |part: usize| took[(took.len() - 1) * part / 100].as_secs_f64() * 1000.0;
    println!("{what}: p50 {:.2} ms, p99 {:.2} ms", at(50), at(99));
}
