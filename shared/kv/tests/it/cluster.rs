//! etcd conforms, as one member and as three.

use slipway_kv::{Batched, EtcdKv, EtcdOptions, conformance, get, once};
use slipway_parts::Etcd;
use slipway_process::Tasks;
use std::sync::Arc;

use crate::part::{address, first, handle, open};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_conforms() {
    let Some(etcd) = Etcd::one() else { return };
    conformance::check_all(handle(&etcd).await, handle(&etcd).await, "shop").await;
    let tasks = Tasks::new();
    let batched = Batched::new(handle(&etcd).await, &tasks);
    conformance::check_all(Arc::new(batched), handle(&etcd).await, "batched").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_conform() {
    let Some(etcd) = Etcd::three() else { return };
    let members = address(&etcd).members().to_vec();
    let other = format!("etcd://{},{},{}", members[2], members[0], members[1]).parse().unwrap();
    let other = open(&other, &EtcdOptions::default()).await;
    conformance::check_all(handle(&etcd).await, other, "shop").await;
}

#[tokio::test]
async fn a_prefix_of_the_address_is_in_front_of_all_keys() {
    let Some(etcd) = Etcd::one() else { return };
    let all = handle(&etcd).await;
    let address = format!("etcd://{}/teams/shop", first(&etcd)).parse().unwrap();
    let kv = EtcdKv::open(&address, &EtcdOptions::default()).await.unwrap();
    conformance::check_all(kv.clone(), kv.clone(), "x").await;
    let put = slipway_kv::Txn { when: vec![], then: vec![slipway_kv::Do::put("key", "x")] };
    once(&*kv, put).await.unwrap();
    assert!(get(&*all, "teams/shop/key").await.unwrap().is_some());
    let (entries, _) = slipway_kv::list(&*all, "").await.unwrap();
    assert!(entries.iter().all(|entry| entry.key.starts_with("teams/shop/")), "every key is under the prefix");
}
