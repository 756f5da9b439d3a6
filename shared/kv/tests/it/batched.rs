//! Transactions that travel together.

use std::sync::Arc;

use futures::future::join_all;
use slipway_kv::{Batched, Counted, Do, Kv, KvError, LeaseId, MemoryKv, Outcome, Range, Txn, When, conformance, once};
use slipway_process::Tasks;

#[tokio::test]
async fn a_batched_store_conforms() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let tasks = Tasks::new();
    let batched = Batched::new(kv.clone(), &tasks);
    conformance::check_all(Arc::new(batched.clone()), Arc::new(batched.clone()), "shop").await;
    conformance::check_all(Arc::new(batched), kv, "shop/half").await;
    tasks.wait().await;
}

#[tokio::test]
async fn who_waits_travels_together() {
    let counted = Counted::new(Arc::new(MemoryKv::new()));
    let batched = Batched::new(Arc::new(counted.clone()), &Tasks::new());
    let put = |number: usize| Txn {
        when: vec![When::Absent(format!("key {number}")), When::Absent("never".to_owned())],
        then: vec![Do::put(format!("key {number}"), "x")],
    };
    let calls = (0..300).map(|number| once(&batched, put(number)));
    let outcomes = join_all(calls).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Outcome::Done(_)))));
    let counts = counted.counts();
    assert!(counts.parts == 300 && counts.txns < 30, "{counts:?}");
    assert_eq!(counted.range(&Range::under("key ")).await.unwrap().entries.len(), 300);
}

#[tokio::test]
async fn those_who_disturb_each_other_travel_one_after_the_other() {
    let counted = Counted::new(Arc::new(MemoryKv::new()));
    let batched = Batched::new(Arc::new(counted.clone()), &Tasks::new());
    let take = || Txn { when: vec![When::Absent("key".to_owned())], then: vec![Do::put("key", "x")] };
    let outcomes = join_all((0..20).map(|_| once(&batched, take()))).await;
    let won = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Outcome::Done(_)))).count();
    assert_eq!((won, counted.counts().refused), (1, 19));
    // Each is refused after the other, so both must not pass.
    let skewed =
        |read: &str, write: &str| Txn { when: vec![When::Absent(read.to_owned())], then: vec![Do::put(write, "x")] };
    let outcomes = join_all([once(&batched, skewed("a", "b")), once(&batched, skewed("b", "a"))]).await;
    let won = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Outcome::Done(_)))).count();
    assert_eq!(won, 1, "{outcomes:?}");
}

#[tokio::test]
async fn one_bad_transaction_spoils_no_other() {
    let batched = Batched::new(Arc::new(MemoryKv::new()), &Tasks::new());
    let put = |key: &str, lease| Txn { when: vec![], then: vec![Do::Put(key.to_owned(), vec![], lease)] };
    let calls = [put("a", None), put("b", None), put("c", Some(LeaseId(77))), put("d", None)];
    let outcomes = join_all(calls.into_iter().map(|call| once(&batched, call))).await;
    assert_eq!(outcomes[2], Err(KvError::LeaseGone));
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3, "{outcomes:?}");
}
