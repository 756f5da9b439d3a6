//! Leases.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use tokio::time::timeout;

use super::{done, get, page};
use crate::{Change, Do, Kv, KvError, LeaseId, Outcome, Range, Session, Txn, When, once};

const LONG: Duration = Duration::from_secs(60);

pub(super) async fn check(one: &Arc<dyn Kv>, other: &dyn Kv, prefix: &str) {
    keys_end_with_their_lease(&**one, other, &format!("{prefix}ended/")).await;
    no_key_hangs_on_a_lease_that_ended(&**one, other, &format!("{prefix}late")).await;
    a_lease_that_is_not_renewed_ends(&**one, other, &format!("{prefix}expired")).await;
    a_session_lives_until_it_is_closed(one, other, &format!("{prefix}session")).await;
}

async fn keys_end_with_their_lease(one: &dyn Kv, other: &dyn Kv, prefix: &str) {
    let granted = one.grant(Duration::from_secs(60)).await.expect("a lease is granted");
    assert!(granted.ttl >= Duration::from_secs(60));
    let (bound, freed, kept) = (format!("{prefix}bound"), format!("{prefix}freed"), format!("{prefix}kept"));
    let on = |key: &str| Do::Put(key.to_owned(), b"x".to_vec(), Some(granted.lease));
    done(one, vec![], vec![on(&bound), on(&freed), Do::put(&*kept, "x")]).await;
    assert_eq!(get(other, &bound).await.expect("it is there").lease, Some(granted.lease));
    // Put again without a lease, a key does not hang on one any more.
    done(other, vec![], vec![Do::put(&*freed, "x")]).await;
    assert!(other.renew(granted.lease).await.expect("a lease lives") >= Duration::from_secs(60));
    other.revoke(granted.lease).await.expect("a lease is ended");
    let left = page(one, Range::under(prefix)).await;
    assert_eq!(super::keys(&left.entries), [freed, kept]);
    one.revoke(granted.lease).await.expect("one that ended is no error");
    assert_eq!(one.renew(granted.lease).await, Err(KvError::LeaseGone));
    assert_eq!(one.renew(LeaseId(4_815_162_342)).await, Err(KvError::LeaseGone));
}

async fn no_key_hangs_on_a_lease_that_ended(one: &dyn Kv, other: &dyn Kv, key: &str) {
    let lease = one.grant(Duration::from_secs(60)).await.expect("a lease is granted").lease;
    one.revoke(lease).await.expect("a lease is ended");
    let writes = || vec![Do::put(format!("{key}/other"), "x"), Do::Put(key.to_owned(), vec![], Some(lease))];
    let put = |when| Txn { when, then: writes() };
    assert_eq!(once(one, put(vec![])).await, Err(KvError::LeaseGone));
    assert_eq!(get(other, &format!("{key}/other")).await, None, "nothing of it was written");
    let never = vec![When::CreatedAt(format!("{key}/never"), crate::Revision(1))];
    let refused = once(one, put(never)).await;
    assert!(matches!(refused, Ok(Outcome::Refused) | Err(KvError::LeaseGone)), "{refused:?}");
}

async fn a_lease_that_is_not_renewed_ends(one: &dyn Kv, other: &dyn Kv, key: &str) {
    // Time enough to put a key on it, on a busy machine too.
    let granted = one.grant(Duration::from_secs(2)).await.expect("a lease is granted");
    let put = vec![Do::Put(key.to_owned(), b"x".to_vec(), Some(granted.lease))];
    let at = done(one, vec![], put).await;
    let mut changes = other.watch(key, at).await.expect("a watch begins");
    let next = timeout(LONG, changes.next()).await.expect("a lease ends").expect("a watch does not end");
    assert_eq!(next.expect("a watch does not break").changes, [Change::Deleted(key.to_owned())]);
    assert_eq!(get(one, key).await, None);
    assert_eq!(one.renew(granted.lease).await, Err(KvError::LeaseGone));
}

async fn a_session_lives_until_it_is_closed(one: &Arc<dyn Kv>, other: &dyn Kv, key: &str) {
    // Two thirds of it are left for a renewal on a busy machine.
    let session = Session::open(one.clone(), Duration::from_secs(3)).await.expect("a session is opened");
    let twin = Session::open(one.clone(), Duration::from_secs(1)).await.expect("a session is opened");
    let on = |lease| vec![Do::Put(key.to_owned(), vec![], Some(lease))];
    let at = done(other, vec![], on(session.lease())).await;
    // A longer lease that nobody renews ends first: this one was renewed meanwhile.
    let granted = one.grant(Duration::from_secs(4)).await.expect("a lease is granted");
    let witness = format!("{key}/witness");
    let put = vec![Do::Put(witness.clone(), vec![], Some(granted.lease))];
    let after = done(other, vec![], put).await;
    let mut changes = other.watch(&witness, after).await.expect("a watch begins");
    timeout(LONG, changes.next()).await.expect("a lease ends");
    assert_eq!(get(other, key).await.expect("it is there").created, at);
    assert!(!session.is_lost());
    session.close().await.expect("a session is closed");
    assert_eq!(get(other, key).await, None);
    // A lease that somebody else ended is noticed.
    other.revoke(twin.lease()).await.expect("a lease is ended");
    timeout(LONG, twin.lost().cancelled()).await.expect("the loss is noticed");
}
