//! Watches.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use tokio::time::timeout;

use super::{done, page};
use crate::{Change, Changes, Do, Kv, Range, Revision, Watched};

/// Far more than any store needs.
const LONG: Duration = Duration::from_secs(30);

pub(super) async fn check(one: &Arc<dyn Kv>, other: &dyn Kv, prefix: &str) {
    changes_come_in_order_without_gaps(&**one, other, &format!("{prefix}order/")).await;
    changes_since_a_revision_are_told(&**one, other, &format!("{prefix}since/")).await;
    a_state_follows(one, other, &format!("{prefix}state/")).await;
}

/// The next `number` changes, each with its revision.
async fn take(changes: &mut Changes, number: usize) -> Vec<(Revision, Change)> {
    let mut taken = Vec::new();
    while taken.len() < number {
        let next = timeout(LONG, changes.next()).await.expect("changes come");
        let changed = next.expect("a watch does not end").expect("a watch does not break");
        taken.extend(changed.changes.into_iter().map(|change| (changed.revision, change)));
    }
    assert_eq!(taken.len(), number, "{taken:?}");
    taken
}

fn said(taken: &[(Revision, Change)]) -> Vec<String> {
    let say = |change: &Change| match change {
        Change::Put(entry) => format!("{}={}", last(&entry.key), String::from_utf8_lossy(&entry.value)),
        Change::Deleted(key) => format!("{} gone", last(key)),
    };
    taken.iter().map(|(_, change)| say(change)).collect()
}

fn last(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

async fn changes_come_in_order_without_gaps(one: &dyn Kv, other: &dyn Kv, prefix: &str) {
    let now = page(one, Range::under(prefix)).await.revision;
    let mut changes = one.watch(prefix, now).await.expect("a watch begins");
    let mut again = other.watch(&format!("{prefix}b"), now).await.expect("a watch begins");
    let (a, b) = (format!("{prefix}a"), format!("{prefix}b"));
    for number in 0..3 {
        done(other, vec![], vec![Do::put(&*a, number.to_string())]).await;
        done(other, vec![], vec![Do::put(format!("{}-elsewhere", prefix.trim_end_matches('/')), "x")]).await;
    }
    let both = done(one, vec![], vec![Do::Delete(a.clone()), Do::put(&*b, "1")]).await;
    let taken = take(&mut changes, 5).await;
    assert_eq!(said(&taken[..4]), ["a=0", "a=1", "a=2", "a gone"]);
    assert_eq!(said(&taken[4..]), ["b=1"]);
    assert!(taken.is_sorted_by_key(|(revision, _)| *revision));
    assert_eq!(taken[4].0, both);
    assert_eq!(said(&take(&mut again, 1).await), ["b=1"]);
}

async fn changes_since_a_revision_are_told(one: &dyn Kv, other: &dyn Kv, prefix: &str) {
    let key = format!("{prefix}a");
    let first = done(one, vec![], vec![Do::put(&*key, "1")]).await;
    done(one, vec![], vec![Do::put(&*key, "2")]).await;
    done(one, vec![], vec![Do::put(&*key, "3")]).await;
    let mut changes = other.watch(prefix, first).await.expect("a watch begins");
    let taken = take(&mut changes, 2).await;
    assert_eq!(said(&taken), ["a=2", "a=3"]);
    let Change::Put(entry) = &taken[1].1 else { panic!("{taken:?}") };
    assert_eq!((entry.created, entry.modified), (first, taken[1].0));
}

async fn a_state_follows(one: &Arc<dyn Kv>, other: &dyn Kv, prefix: &str) {
    let (a, b) = (format!("{prefix}a"), format!("{prefix}b"));
    done(other, vec![], vec![Do::put(&*a, "1")]).await;
    let mut watched = Watched::open(one.clone(), prefix).await.expect("a state is read");
    assert_eq!(watched.state().keys().collect::<Vec<_>>(), [&a]);
    let last = done(other, vec![], vec![Do::put(&*b, "1"), Do::Delete(a.clone())]).await;
    while watched.revision() < last {
        timeout(LONG, watched.next()).await.expect("changes come").expect("the store does not refuse");
    }
    assert_eq!(watched.state().keys().collect::<Vec<_>>(), [&b]);
    assert_eq!(watched.state()[&b].created, last);
}
