//! The store in memory, and what is put around it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use slipway_kv::{
    Change, Counted, Do, Fault, Faulty, Kv, KvError, MemoryKv, Outcome, Prefixed, Range, Revision, Session, Txn,
    Watched, conformance, get, once,
};

fn put(key: &str) -> Txn {
    Txn { when: vec![], then: vec![Do::put(key, "x")] }
}

#[tokio::test]
async fn memory_conforms() {
    let kv = MemoryKv::new();
    conformance::check_all(Arc::new(kv.clone()), Arc::new(kv), "shop").await;
}

#[tokio::test]
async fn a_prefixed_store_conforms_and_keeps_to_its_prefix() {
    let kv = MemoryKv::new();
    let prefixed = |prefix| Arc::new(Prefixed::new(Arc::new(kv.clone()), prefix));
    once(&kv, put("one")).await.unwrap();
    conformance::check_all(prefixed("one/"), prefixed("one/"), "shop").await;
    assert_eq!(prefixed("two/").range(&Range::under("")).await.unwrap().entries, []);
    once(&*prefixed("two/"), put("key")).await.unwrap();
    assert!(get(&kv, "two/key").await.unwrap().is_some());
    let all = kv.range(&Range::under("")).await.unwrap().entries;
    let own = |entry: &&slipway_kv::Entry| entry.key != "one" && entry.key != "two/key";
    assert!(all.iter().filter(own).all(|entry| entry.key.starts_with("one/")));
}

#[tokio::test]
async fn a_counted_store_conforms_and_counts() {
    let counted = Counted::new(Arc::new(MemoryKv::new()));
    conformance::check_all(Arc::new(counted.clone()), Arc::new(counted.clone()), "shop").await;
    let before = counted.counts();
    counted.txn(&[put("a"), put("b")]).await.unwrap();
    let never = Txn { when: vec![slipway_kv::When::Absent("a".to_owned())], then: vec![] };
    assert_eq!(once(&counted, never).await, Ok(Outcome::Refused));
    counted.range(&Range::key("a")).await.unwrap();
    let after = counted.counts();
    assert_eq!((after.txns - before.txns, after.parts - before.parts, after.refused - before.refused), (2, 3, 1));
    assert_eq!(after.ranges - before.ranges, 1);
}

#[tokio::test]
async fn a_forgotten_past_is_listed_again() {
    let kv = MemoryKv::new();
    let shared: Arc<dyn Kv> = Arc::new(kv.clone());
    for key in ["a", "b"] {
        once(&kv, put(key)).await.unwrap();
    }
    let mut watched = Watched::open(shared.clone(), "").await.unwrap();
    once(&kv, Txn { when: vec![], then: vec![Do::Delete("a".to_owned())] }).await.unwrap();
    once(&kv, put("c")).await.unwrap();
    let Outcome::Done(now) = once(&kv, put("c")).await.unwrap() else { panic!("it is carried out") };
    kv.compact(now);
    let early = Range { at: Some(Revision(2)), ..Range::under("") };
    assert_eq!(kv.range(&early).await, Err(KvError::Compacted));
    let changes = watched.next().await.unwrap();
    let gone = Change::Deleted("a".to_owned());
    assert_eq!(changes, [gone, Change::Put(get(&kv, "c").await.unwrap().unwrap())]);
    assert_eq!((watched.state().len(), watched.revision()), (2, now));
    once(&kv, put("d")).await.unwrap();
    assert_eq!(watched.next().await.unwrap().len(), 1, "the watch goes on");
}

#[tokio::test]
async fn a_restored_store_is_what_it_was() {
    let kv = MemoryKv::new();
    once(&kv, put("kept")).await.unwrap();
    let snapshot = kv.snapshot();
    let mut watched = Watched::open(Arc::new(kv.clone()), "").await.unwrap();
    let Outcome::Done(lost) = once(&kv, put("lost")).await.unwrap() else { panic!("it is carried out") };
    watched.next().await.unwrap();
    let before = kv.range(&Range::key("x")).await.unwrap().store;
    kv.restore(&snapshot);
    assert!(get(&kv, "lost").await.unwrap().is_none() && get(&kv, "kept").await.unwrap().is_some());
    let Outcome::Done(again) = once(&kv, put("new")).await.unwrap() else { panic!("it is carried out") };
    assert_eq!(again, lost, "revisions are given twice");
    let store = async |kv: &MemoryKv| kv.range(&Range::key("x")).await.unwrap().store;
    assert_ne!(store(&kv).await, before, "it is another store");
}

#[tokio::test]
async fn a_session_that_cannot_be_renewed_is_lost() {
    let kv = MemoryKv::new();
    let (switch, away) = (Arc::new(AtomicBool::new(false)), Fault::Away);
    let plan = {
        let switch = switch.clone();
        Box::new(move |_: &[Txn]| switch.load(Ordering::SeqCst).then_some(away))
    };
    let faulty: Arc<dyn Kv> = Arc::new(Faulty::new(Arc::new(kv.clone()), plan));
    let session = Session::open(faulty, Duration::from_secs(1)).await.unwrap();
    let on = Txn { when: vec![], then: vec![Do::Put("key".to_owned(), vec![], Some(session.lease()))] };
    let Outcome::Done(at) = once(&kv, on).await.unwrap() else { panic!("it is carried out") };
    let mut changes = kv.watch("key", at).await.unwrap();
    switch.store(true, Ordering::SeqCst);
    session.lost().cancelled().await;
    let gone = changes.next().await.unwrap().unwrap();
    assert_eq!(gone.changes, [Change::Deleted("key".to_owned())]);
}
