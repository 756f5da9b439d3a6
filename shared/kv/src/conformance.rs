//! What every store must do. Each check takes two handles on one store, as two processes have.

mod leases;
mod reading;
mod watching;
mod writing;

use std::sync::Arc;

use crate::{Do, Entry, Kv, KvError, Outcome, Page, Range, Revision, Txn, When, once};

/// All checks, under keys that begin with `prefix`.
///
/// # Panics
/// When a check fails.
pub async fn check_all(one: Arc<dyn Kv>, other: Arc<dyn Kv>, prefix: &str) {
    writing::check(&*one, &*other, &format!("{prefix}/writing/")).await;
    reading::check(&*one, &*other, &format!("{prefix}/reading/")).await;
    watching::check(&one, &*other, &format!("{prefix}/watching/")).await;
    leases::check(&one, &*other, &format!("{prefix}/leases/")).await;
}

async fn done(kv: &dyn Kv, when: Vec<When>, then: Vec<Do>) -> Revision {
    match once(kv, Txn { when, then }).await.expect("a transaction is judged") {
        Outcome::Done(revision) => revision,
        Outcome::Refused => panic!("the conditions hold"),
    }
}

async fn refused(kv: &dyn Kv, when: Vec<When>, then: Vec<Do>) {
    let outcome = once(kv, Txn { when: when.clone(), then }).await.expect("a transaction is judged");
    assert_eq!(outcome, Outcome::Refused, "{when:?} does not hold");
}

async fn get(kv: &dyn Kv, key: &str) -> Option<Entry> {
    crate::get(kv, key).await.expect("a key is read")
}

async fn page(kv: &dyn Kv, range: Range) -> Page {
    kv.range(&range).await.expect("keys are read")
}

fn keys(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.key.as_str()).collect()
}

fn is_invalid(result: Result<Vec<Outcome>, KvError>) -> bool {
    matches!(result, Err(KvError::Invalid(_)))
}
