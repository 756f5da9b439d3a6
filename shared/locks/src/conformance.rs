//! What every lock manager must do. Each check takes two handles on the same locks, as two processes have.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use crate::{LockError, LockManager};

const LONG: Duration = Duration::from_secs(30);

/// All checks, under keys that start with `prefix`.
///
/// # Panics
/// When a check fails.
pub async fn check_all(one: &dyn LockManager, other: &dyn LockManager, prefix: &str) {
    a_held_lock_is_refused(one, other, &format!("{prefix}-refused")).await;
    a_held_lock_is_refused(one, one, &format!("{prefix}-refused")).await;
    keys_do_not_disturb_each_other(one, other, prefix).await;
    a_dropped_lock_goes_to_who_waits(one, other, &format!("{prefix}-waits")).await;
    never_two_at_once(one, other, &format!("{prefix}-many")).await;
}

async fn a_held_lock_is_refused(one: &dyn LockManager, other: &dyn LockManager, key: &str) {
    for wait in [Duration::ZERO, Duration::from_millis(20)] {
        let held = one.acquire(key, LONG).await.expect("a free lock is taken");
        let refused = other.acquire(key, wait).await.expect_err("a held lock is not taken");
        assert!(matches!(&refused, LockError::TimedOut { key: named, .. } if named == key), "{refused}");
        drop(held);
        other.acquire(key, LONG).await.expect("a lock that was let go is free");
    }
}

async fn keys_do_not_disturb_each_other(one: &dyn LockManager, other: &dyn LockManager, prefix: &str) {
    let long = format!("{prefix}/../{}", "x".repeat(5000));
    let keys = [format!("{prefix}/a"), format!("{prefix}/b"), format!("{prefix}\0"), long];
    let mut held = Vec::new();
    for key in &keys {
        held.push(one.acquire(key, LONG).await.expect("locks of other names do not matter"));
        assert!(other.acquire(key, Duration::ZERO).await.is_err(), "{key} is held");
    }
}

async fn a_dropped_lock_goes_to_who_waits(one: &dyn LockManager, other: &dyn LockManager, key: &str) {
    let held = one.acquire(key, LONG).await.expect("a free lock is taken");
    let waits = other.acquire(key, LONG);
    let lets_go = async {
        tokio::task::yield_now().await;
        drop(held);
    };
    let (taken, ()) = tokio::join!(waits, lets_go);
    taken.expect("who waits gets the lock");
}

async fn never_two_at_once(one: &dyn LockManager, other: &dyn LockManager, key: &str) {
    let inside = AtomicU32::new(0);
    tokio::join!(
        take_turns(one, key, &inside),
        take_turns(other, key, &inside),
        take_turns(one, key, &inside),
        take_turns(other, key, &inside),
    );
}

async fn take_turns(locks: &dyn LockManager, key: &str, inside: &AtomicU32) {
    for _ in 0..20 {
        let held = locks.acquire(key, LONG).await.expect("everybody has a turn");
        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold the lock at once");
        tokio::task::yield_now().await;
        inside.fetch_sub(1, Ordering::SeqCst);
        drop(held);
    }
}
