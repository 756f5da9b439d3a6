//! Reads.

use super::{done, keys, page};
use crate::{Do, Kv, KvError, Range, Revision, list};

pub(super) async fn check(one: &dyn Kv, other: &dyn Kv, prefix: &str) {
    prefixes_and_pages(one, other, &format!("{prefix}pages/")).await;
    the_past_is_read(one, other, &format!("{prefix}past/")).await;
    lists_are_whole(one, other, &format!("{prefix}list/")).await;
}

async fn prefixes_and_pages(one: &dyn Kv, other: &dyn Kv, prefix: &str) {
    let name = |rest: &str| format!("{prefix}{rest}");
    let names = ["a", "a/", "a/1", "a/2", "a0", "b", "ä", "\u{10ffff}"].map(name);
    done(one, vec![], names.iter().map(|key| Do::put(&**key, "x")).collect()).await;
    let all = page(other, Range::under(prefix)).await;
    assert_eq!((keys(&all.entries), all.more), (names.iter().map(String::as_str).collect(), false));
    let below = page(other, Range::under(name("a/"))).await;
    assert_eq!(keys(&below.entries), [name("a/"), name("a/1"), name("a/2")]);
    let exact = page(other, Range::key(name("a"))).await;
    assert_eq!(keys(&exact.entries), [name("a")]);
    assert_eq!(page(other, Range::key(name("absent"))).await.entries, []);
    assert_eq!(page(other, Range::under(name("absent"))).await.entries, []);
    assert!(all.revision >= all.entries[0].modified);
    let mut found = Vec::new();
    let mut range = Range { limit: 3, ..Range::under(prefix) };
    loop {
        let page = page(one, range.clone()).await;
        assert!(page.entries.len() <= 3);
        range.after = page.entries.last().map(|entry| entry.key.clone());
        found.extend(page.entries);
        if !page.more {
            break;
        }
    }
    assert_eq!(found, all.entries);
    let after = Range { after: Some(name("a/1")), ..Range::under(name("a")) };
    assert_eq!(keys(&page(one, after).await.entries), [name("a/2"), name("a0")]);
    let before = Range { after: Some(name("A")), ..Range::under(name("b")) };
    assert_eq!(keys(&page(one, before).await.entries), [name("b")]);
}

async fn the_past_is_read(one: &dyn Kv, other: &dyn Kv, prefix: &str) {
    let (a, b) = (format!("{prefix}a"), format!("{prefix}b"));
    let first = done(one, vec![], vec![Do::put(&*a, "1"), Do::put(&*b, "1")]).await;
    done(one, vec![], vec![Do::put(&*a, "2"), Do::Delete(b.clone())]).await;
    let then = page(other, Range { at: Some(first), ..Range::under(prefix) }).await;
    assert_eq!(keys(&then.entries), [a.as_str(), b.as_str()]);
    assert_eq!(then.entries[0].value, "1".as_bytes());
    let now = page(other, Range::under(prefix)).await;
    assert_eq!((keys(&now.entries), now.entries[0].value.as_slice()), (vec![a.as_str()], "2".as_bytes()));
    let future = Revision(now.revision.0 + 1_000_000);
    let refused = other.range(&Range { at: Some(future), ..Range::under(prefix) }).await;
    assert!(matches!(refused, Err(KvError::Invalid(_))), "{refused:?}");
}

async fn lists_are_whole(one: &dyn Kv, other: &dyn Kv, prefix: &str) {
    for batch in 0..23 {
        let puts = (0..100).map(|at| Do::put(format!("{prefix}{batch:02}{at:02}"), "x"));
        done(one, vec![], puts.collect()).await;
    }
    let (entries, revision) = list(other, prefix).await.expect("a list is read");
    assert_eq!(entries.len(), 2300);
    assert!(entries.is_sorted_by(|left, right| left.key < right.key));
    assert!(entries.iter().all(|entry| entry.modified <= revision));
}
