//! Transactions.

use futures::future::join_all;

use super::{done, get, is_invalid, refused};
use crate::{Do, Kv, MAX_BYTES, MAX_OPERATIONS, Outcome, Revision, Txn, When, once};

pub(super) async fn check(one: &dyn Kv, other: &dyn Kv, prefix: &str) {
    revisions_tell_who_made_a_key(one, other, &format!("{prefix}revisions")).await;
    conditions_decide(one, other, &format!("{prefix}conditions")).await;
    all_or_nothing(one, other, &format!("{prefix}all")).await;
    parts_are_judged_alone(one, &format!("{prefix}parts/")).await;
    contradictions_are_refused(one, &format!("{prefix}contradictions/")).await;
    limits_hold(one, &format!("{prefix}limits/")).await;
    no_increment_is_lost(one, other, &format!("{prefix}counter")).await;
}

async fn revisions_tell_who_made_a_key(one: &dyn Kv, other: &dyn Kv, key: &str) {
    assert_eq!(get(one, key).await, None);
    let first = done(one, vec![], vec![Do::put(key, "1")]).await;
    let entry = get(other, key).await.expect("it is there");
    assert_eq!((entry.value.as_slice(), entry.created, entry.modified), ("1".as_bytes(), first, first));
    let second = done(other, vec![], vec![Do::put(key, "")]).await;
    assert!(second > first);
    let entry = get(one, key).await.expect("it is there");
    assert_eq!((entry.value.as_slice(), entry.created, entry.modified), ("".as_bytes(), first, second));
    assert_eq!(entry.lease, None);
    done(one, vec![], vec![Do::Delete(key.to_owned())]).await;
    assert_eq!(get(other, key).await, None);
    done(one, vec![], vec![Do::Delete(key.to_owned())]).await;
    let third = done(one, vec![], vec![Do::put(key, "3")]).await;
    assert!(third > second);
    assert_eq!(get(other, key).await.expect("it is there").created, third);
}

async fn conditions_decide(one: &dyn Kv, other: &dyn Kv, key: &str) {
    let put = || vec![Do::put(key, "x")];
    let (absent, none) = (|| When::Absent(key.to_owned()), Revision(0));
    let created = |at| When::CreatedAt(key.to_owned(), at);
    let modified = |at| When::ModifiedAt(key.to_owned(), at);
    refused(one, vec![modified(Revision(1))], put()).await;
    refused(one, vec![created(Revision(1))], put()).await;
    let first = done(one, vec![absent(), modified(none)], put()).await;
    refused(other, vec![absent()], put()).await;
    refused(other, vec![modified(none)], put()).await;
    let second = done(other, vec![created(first), modified(first)], put()).await;
    refused(one, vec![modified(first)], put()).await;
    refused(one, vec![created(second)], put()).await;
    refused(one, vec![created(first), modified(second), absent()], put()).await;
    let third = done(one, vec![created(first), modified(second)], vec![Do::Delete(key.to_owned())]).await;
    refused(other, vec![created(first)], put()).await;
    refused(other, vec![modified(third)], put()).await;
    done(other, vec![absent()], put()).await;
    refused(one, vec![created(first)], put()).await;
}

async fn all_or_nothing(one: &dyn Kv, other: &dyn Kv, key: &str) {
    let (a, b) = (format!("{key}/a"), format!("{key}/b"));
    let both = || vec![Do::put(&*a, "1"), Do::put(&*b, "1")];
    let at = done(one, vec![When::Absent(a.clone()), When::Absent(b.clone())], both()).await;
    for key in [&a, &b] {
        assert_eq!(get(other, key).await.expect("it is there").created, at);
    }
    refused(one, vec![When::Absent(a.clone())], vec![Do::put(&*b, "2"), Do::Delete(a.clone())]).await;
    assert_eq!(get(other, &b).await.expect("it is there").modified, at);
    assert!(get(other, &a).await.is_some());
    let next = done(one, vec![], vec![Do::put(&*b, "3"), Do::Delete(a.clone())]).await;
    assert_eq!(get(other, &a).await, None);
    assert_eq!(get(other, &b).await.expect("it is there").modified, next);
}

async fn parts_are_judged_alone(kv: &dyn Kv, prefix: &str) {
    let part = |name: &str, when: Vec<When>| Txn { when, then: vec![Do::put(format!("{prefix}{name}"), "x")] };
    let shared = done(kv, vec![], vec![Do::put(format!("{prefix}shared"), "x")]).await;
    let holds = || When::CreatedAt(format!("{prefix}shared"), shared);
    let parts = [
        part("a", vec![holds()]),
        part("b", vec![holds(), When::Absent(format!("{prefix}shared"))]),
        part("c", vec![holds(), When::Absent(format!("{prefix}c"))]),
    ];
    let outcomes = kv.txn(&parts).await.expect("a call of three parts is carried out");
    let [Outcome::Done(a), Outcome::Refused, Outcome::Done(c)] = outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(a, c, "one call is one revision");
    let there = [get(kv, &format!("{prefix}a")).await, get(kv, &format!("{prefix}b")).await];
    assert_eq!(there.map(|entry| entry.map(|entry| entry.created)), [Some(a), None]);
    let many: Vec<Txn> = (0..100).map(|number| part(&format!("many/{number}"), vec![holds()])).collect();
    let outcomes = kv.txn(&many).await.expect("a call of a hundred parts is carried out");
    assert!(outcomes.len() == 100 && outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done(_))));
}

async fn contradictions_are_refused(kv: &dyn Kv, prefix: &str) {
    let key = format!("{prefix}key");
    let put = || Txn { when: vec![], then: vec![Do::put(&*key, "x")] };
    let judges = Txn { when: vec![When::Absent(key.clone())], then: vec![Do::put(format!("{prefix}other"), "x")] };
    let twice = Txn { when: vec![], then: vec![Do::put(&*key, "x"), Do::Delete(key.clone())] };
    assert!(is_invalid(kv.txn(&[twice]).await), "one key twice");
    assert!(is_invalid(kv.txn(&[put(), put()]).await), "one key in two parts");
    assert!(is_invalid(kv.txn(&[judges.clone(), put()]).await), "a condition on what another part writes");
    assert!(is_invalid(kv.txn(&[put(), judges]).await), "a condition on what another part writes");
    assert_eq!(get(kv, &key).await, None);
}

async fn limits_hold(kv: &dyn Kv, prefix: &str) {
    let puts = |number: usize| (0..number).map(|at| Do::put(format!("{prefix}{at}"), "x")).collect();
    done(kv, vec![], puts(MAX_OPERATIONS)).await;
    let many = Txn { when: vec![], then: puts(MAX_OPERATIONS + 1) };
    assert!(is_invalid(kv.txn(&[many]).await), "too many writes");
    let part = |at: usize| Txn { when: vec![], then: vec![Do::put(format!("{prefix}{at}"), "x")] };
    let parts: Vec<Txn> = (0..MAX_OPERATIONS).map(part).collect();
    kv.txn(&parts).await.expect("as many parts as are allowed");
    let parts: Vec<Txn> = (0..=MAX_OPERATIONS).map(part).collect();
    assert!(is_invalid(kv.txn(&parts).await), "too many parts");
    // A prefix may be in front of the key.
    let (key, large) = (format!("{prefix}large"), MAX_BYTES - 1024);
    done(kv, vec![], vec![Do::put(&*key, vec![7; large])]).await;
    assert_eq!(get(kv, &key).await.expect("it is there").value.len(), large);
    let large = Txn { when: vec![], then: vec![Do::put(&*key, vec![7; MAX_BYTES])] };
    assert!(is_invalid(kv.txn(&[large]).await), "too many bytes");
    done(kv, vec![], vec![Do::Delete(key)]).await;
}

/// Eight who count up at once, each by compare-and-set.
async fn no_increment_is_lost(one: &dyn Kv, other: &dyn Kv, key: &str) {
    let counters = (0..8).map(|number| count_up(if number % 2 == 0 { one } else { other }, key));
    join_all(counters).await;
    assert_eq!(get(one, key).await.expect("it is there").value, "40".as_bytes());
}

async fn count_up(kv: &dyn Kv, key: &str) {
    for _ in 0..5 {
        loop {
            let entry = get(kv, key).await;
            let (number, modified) = entry.map_or((0, Revision(0)), |entry| {
                (String::from_utf8(entry.value).expect("text").parse().expect("a number"), entry.modified)
            });
            let next: u32 = number + 1;
            let when = vec![When::ModifiedAt(key.to_owned(), modified)];
            let then = vec![Do::put(key, next.to_string())];
            if let Outcome::Done(_) = once(kv, Txn { when, then }).await.expect("a transaction is judged") {
                break;
            }
        }
    }
}
