//! Real etcd that loses members, goes away, and comes back from a snapshot.

use std::{sync::Arc, time::Duration};

use slipway_digest::Millis;
use slipway_kv::{EtcdAddress, EtcdKv, EtcdOptions, Sessions};
use slipway_parts::{Etcd, Registry};
use slipway_process::{SystemClock, Tasks};
use slipway_stages::StageRecord;
use slipway_storage::{
    Candidate, Verdict,
    conformance::{Lab as _, labels},
    kv::{Attempts, Fences, KvLedger, SharedPublisher, StagePlace as _},
};

use crate::{kv::lab::digest_of, lab::Oldest, registry::RegistryLab};

/// A process of a host of its own.
pub(crate) async fn host(address: &EtcdAddress, lab: &RegistryLab) -> SharedPublisher {
    let options = EtcdOptions { call_timeout: Duration::from_secs(1), ..EtcdOptions::default() };
    let kv = EtcdKv::open(address, &options).await.unwrap();
    let attempts = Attempts::OfProcess(Sessions::new(kv.clone(), Duration::from_secs(30)));
    let clock = Arc::new(SystemClock::new(None));
    let ledger = KvLedger::new(kv, lab.repo.clone(), Arc::new(lab.storage()), clock, Fences::open(), attempts);
    SharedPublisher::new(Arc::new(ledger), None).looking_every(Duration::ZERO)
}

/// An image as our workers upload it: annotated with its attempt.
pub(crate) async fn ours(lab: &RegistryLab, stage: &str, attempt: &str) -> Candidate {
    let record = lab.upload(&labels(stage), &format!("{stage} by {attempt}")).await;
    let at = lab.storage().copy(&record.at, attempt).await.unwrap();
    Candidate { record: StageRecord { at, ..record }, not_before: Millis(0), attempt: attempt.to_owned() }
}

fn address(etcd: &Etcd) -> EtcdAddress {
    EtcdAddress::of_members(etcd.endpoints().iter().map(String::as_str)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_more_or_less_does_not_matter() {
    let (Some(mut etcd), Some(registry)) = (Etcd::three(), Registry::start()) else { return };
    let lab = RegistryLab::new(registry.host(), "shop/members");
    let publisher = host(&address(&etcd), &lab).await;
    for number in 0..3 {
        let stage = format!("stage {number}");
        etcd.kill(number);
        let verdict = publisher.publish(&ours(&lab, &stage, &format!("one {number}")).await, &Oldest).await.unwrap();
        assert!(matches!(verdict, Verdict::Won(_)));
        etcd.start(number);
        let again = host(&address(&etcd), &lab).await;
        let again = again.publish(&ours(&lab, &stage, &format!("two {number}")).await, &Oldest).await.unwrap();
        assert_eq!(again, Verdict::Lost(verdict.stage().clone()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_stored_while_etcd_is_away_is_stored_when_it_is_back() {
    let (Some(mut etcd), Some(registry)) = (Etcd::one(), Registry::start()) else { return };
    let lab = RegistryLab::new(registry.host(), "shop/away");
    let publisher = host(&address(&etcd), &lab).await;
    publisher.ledger().attach().await.unwrap();
    let candidate = ours(&lab, "stage", "one").await;
    etcd.kill(0);
    let tasks = Tasks::new();
    let waiting = {
        let publisher = publisher.clone();
        tasks.spawn(async move { publisher.publish(&candidate, &Oldest).await.unwrap() })
    };
    // It notices, and waits: a call to a member that is gone ends at once.
    let short = host_that_gives_up(&address(&etcd), &lab);
    assert!(short.ledger().read(digest_of("stage")).await.is_err());
    assert!(!waiting.is_finished());
    etcd.start(0);
    let verdict = waiting.await.unwrap().unwrap();
    assert!(matches!(verdict, Verdict::Won(_)));
}

fn host_that_gives_up(address: &EtcdAddress, lab: &RegistryLab) -> SharedPublisher {
    let kv: Arc<dyn slipway_kv::Kv> = Arc::new(EtcdKv::new(address, &EtcdOptions::default()).unwrap());
    let clock = Arc::new(SystemClock::new(None));
    let (fences, attempts) = (Fences::open(), Attempts::OfCoordinator);
    let ledger = KvLedger::new(kv, lab.repo.clone(), Arc::new(lab.storage()), clock, fences, attempts);
    SharedPublisher::new(Arc::new(ledger.waiting_at_most(Duration::ZERO)), None)
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_restored_from_a_snapshot_is_noticed_and_flips_nothing() {
    let (Some(mut etcd), Some(registry)) = (Etcd::one(), Registry::start()) else { return };
    let lab = RegistryLab::new(registry.host(), "shop/restored");
    let directory = tempfile::tempdir().unwrap();
    let publisher = host(&address(&etcd), &lab).await;
    let early = publisher.publish(&ours(&lab, "early", "one").await, &Oldest).await.unwrap();
    etcd.save(&directory.path().join("snapshot"));
    let late = publisher.publish(&ours(&lab, "late", "two").await, &Oldest).await.unwrap();
    etcd.restore(&directory.path().join("snapshot"));
    let next = host(&address(&etcd), &lab).await;
    let attached = next.ledger().attach().await.unwrap();
    assert_eq!((attached.generation, attached.stages), (2, 2));
    for (stage, stands) in [("early", early), ("late", late)] {
        let again = next.publish(&ours(&lab, stage, &format!("again {stage}")).await, &Oldest).await.unwrap();
        assert_eq!(again, Verdict::Lost(stands.stage().clone()), "{stage}");
    }
    // A process that lived through it finds out by itself.
    let fresh = publisher.ledger().read(digest_of("late")).await;
    assert!(fresh.is_err_and(|error| error.to_string().contains("restored")));
    assert_eq!(publisher.ledger().read(digest_of("late")).await.unwrap().kept.len(), 1);
}
