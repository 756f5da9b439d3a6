use slipway_kv::{EtcdAddress, EtcdKv, EtcdOptions, MemoryKv, Range};
use slipway_parts::Etcd;

use super::*;
use crate::conformance;

fn locks(kv: &Arc<dyn Kv>, ttl: u64, holder: &str) -> KvLocks {
    KvLocks::new(kv.clone(), Sessions::new(kv.clone(), Duration::from_secs(ttl)), holder)
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_in_memory_conform() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    conformance::check_all(&locks(&kv, 60, "one"), &locks(&kv, 60, "other"), "shop").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_in_etcd_conform() {
    for etcd in [Etcd::one(), Etcd::three()] {
        let Some(etcd) = etcd else { return };
        let address = EtcdAddress::of_members(etcd.endpoints().iter().map(String::as_str)).unwrap();
        let one = EtcdKv::open(&address, &EtcdOptions::default()).await.unwrap();
        let other = EtcdKv::open(&address, &EtcdOptions::default()).await.unwrap();
        conformance::check_all(&locks(&one, 60, "one"), &locks(&other, 60, "other"), "shop").await;
    }
}

#[tokio::test]
async fn who_waits_comes_in_order_with_a_growing_fence() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let holder = locks(&kv, 60, "host a, process 1");
    let held = holder.acquire("key", Duration::ZERO).await.unwrap();
    let refused = holder.acquire("key", Duration::from_millis(5)).await.unwrap_err();
    assert!(refused.to_string().ends_with("which host a, process 1 holds"), "{refused}");
    let mut fences = vec![held.fence().unwrap()];
    let (mut waiting, tasks) = (Vec::new(), Tasks::new());
    for number in 0..4 {
        let locks = locks(&kv, 60, "waiter");
        waiting.push(tasks.spawn(async move { locks.acquire("key", Duration::from_secs(60)).await.unwrap() }));
        while kv.range(&Range::under("lock/")).await.unwrap().entries.len() < number + 2 {
            tokio::task::yield_now().await;
        }
    }
    drop(held);
    for waits in waiting {
        let lease = waits.await.unwrap().unwrap();
        fences.push(lease.fence().unwrap());
        drop(lease);
    }
    assert!(fences.is_sorted_by(|one, two| one < two), "{fences:?}");
}

#[tokio::test]
async fn a_process_that_dies_lets_go_with_its_lease() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let dead = locks(&kv, 60, "dead");
    let held = dead.acquire("key", Duration::ZERO).await.unwrap();
    let lease = kv.range(&Range::under("lock/")).await.unwrap().entries[0].lease.unwrap();
    let other = locks(&kv, 60, "other");
    assert!(other.acquire("key", Duration::ZERO).await.is_err());
    kv.revoke(lease).await.unwrap();
    let next = other.acquire("key", Duration::ZERO).await.unwrap();
    assert!(next.fence() > held.fence());
    // The dead one comes back: it does not take what is not its own any more.
    drop(held);
    let again = dead.acquire("key", Duration::ZERO).await.unwrap_err();
    assert!(matches!(again, LockError::TimedOut { .. }), "{again}");
}

#[tokio::test]
async fn a_store_that_is_away_is_said() {
    let away = slipway_kv::Faulty::new(Arc::new(MemoryKv::new()), Box::new(|_| Some(slipway_kv::Fault::Away)));
    let kv: Arc<dyn Kv> = Arc::new(away);
    let error = locks(&kv, 60, "one").acquire("key", Duration::ZERO).await.unwrap_err();
    assert!(matches!(&error, LockError::Unavailable(why) if why.contains("away")), "{error}");
}
