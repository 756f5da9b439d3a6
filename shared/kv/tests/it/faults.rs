//! Members that die, stop, forget, and whose answers get lost.

use std::time::Duration;

use etcd_client::Client;
use slipway_kv::{
    Change, Do, EtcdKv, EtcdOptions, Kv, KvError, Outcome, Range, Revision, Session, Txn, Watched, When, get, once,
};

use slipway_parts::Etcd;

use crate::part::{Link, address, answers, first, handle, soon};

fn put(key: &str, value: &str) -> Txn {
    Txn { when: vec![], then: vec![Do::put(key, value)] }
}

/// Tries until the outcome is known.
async fn surely(kv: &dyn Kv, txn: &Txn) -> Outcome {
    loop {
        match once(kv, txn.clone()).await {
            Ok(outcome) => return outcome,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    }
}

/// Puts until it is known to be done.
async fn surely_put(kv: &dyn Kv, key: &str, value: &str) -> Revision {
    match surely(kv, &put(key, value)).await {
        Outcome::Done(revision) => revision,
        Outcome::Refused => panic!("there was no condition"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_die_and_come_back() {
    let Some(mut etcd) = Etcd::three() else { return };
    let kv = handle(&etcd).await;
    let mut watched = Watched::open(kv.clone(), "key").await.unwrap();
    let session = Session::open(kv.clone(), Duration::from_secs(20)).await.unwrap();
    let on = Txn { when: vec![], then: vec![Do::Put("session".to_owned(), vec![], Some(session.lease()))] };
    once(&*kv, on).await.unwrap();
    for number in 0..3 {
        etcd.kill(number);
        let value = format!("without {number}");
        let done = soon("two of three go on", surely_put(&*kv, "key", &value)).await;
        while watched.revision() < done {
            soon("a watch goes on", watched.next()).await.unwrap();
        }
        assert_eq!(watched.state()["key"].value, value.as_bytes());
        etcd.start(number);
        answers(&*kv).await;
    }
    assert!(!session.is_lost() && get(&*kv, "session").await.unwrap().is_some(), "the lease lived through it");
    etcd.kill(0);
    etcd.kill(1);
    let away = kv.range(&Range::key("key")).await.unwrap_err();
    assert!(matches!(away, KvError::Unavailable(_)), "{away}");
    let unknown = once(&*kv, put("key", "lonely")).await.unwrap_err();
    assert!(unknown.is_retryable(), "{unknown}");
    etcd.start(0);
    soon("two of three are enough", surely_put(&*kv, "key", "again")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_stands_still_is_left() {
    let Some(etcd) = Etcd::three() else { return };
    let kv = EtcdKv::new(
        &address(&etcd),
        &EtcdOptions { call_timeout: Duration::from_millis(500), ..EtcdOptions::default() },
    );
    let kv = kv.unwrap();
    answers(&kv).await;
    let before = soon("a store writes", surely_put(&kv, "key", "1")).await;
    etcd.halt(0);
    soon("others answer", async {
        while let Err(error) = kv.range(&Range::key("key")).await {
            assert!(matches!(error, KvError::Unavailable(_)), "{error}");
        }
    })
    .await;
    let after = soon("two of three go on", surely_put(&kv, "key", "2")).await;
    assert!(after > before);
    etcd.go_on(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_unknown_and_nothing_happens_twice() {
    let Some(etcd) = Etcd::one() else { return };
    let direct = handle(&etcd).await;
    let link = Link::to(&first(&etcd)).await;
    // Time enough to send a call, on a busy machine too.
    let options = EtcdOptions { call_timeout: Duration::from_secs(1), ..EtcdOptions::default() };
    let kv = EtcdKv::new(&format!("etcd://{}", link.member).parse().unwrap(), &options).unwrap();
    answers(&kv).await;
    let first = Txn { when: vec![When::Absent("key".to_owned())], then: vec![Do::put("key", "first")] };
    link.hold(true);
    let lost = once(&kv, first.clone()).await.unwrap_err();
    assert!(matches!(lost, KvError::Unknown(_)), "{lost}");
    let away = kv.range(&Range::key("key")).await.unwrap_err();
    assert!(matches!(away, KvError::Unavailable(_)), "{away}");
    let carried_out = async {
        loop {
            if let Ok(Some(entry)) = get(&*direct, "key").await {
                return entry.value;
            }
        }
    };
    assert_eq!(soon("it is carried out", carried_out).await, b"first");
    link.hold(false);
    answers(&kv).await;
    assert_eq!(soon("an outcome", surely(&kv, &first)).await, Outcome::Refused);
    let entry = get(&*direct, "key").await.unwrap().unwrap();
    assert_eq!(entry.created, entry.modified);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_lists_again_what_etcd_has_forgotten() {
    let Some(etcd) = Etcd::one() else { return };
    let kv = handle(&etcd).await;
    surely_put(&*kv, "a", "1").await;
    let first = surely_put(&*kv, "b", "1").await;
    let mut watched = Watched::open(kv.clone(), "").await.unwrap();
    once(&*kv, Txn { when: vec![], then: vec![Do::Delete("a".to_owned())] }).await.unwrap();
    let last = surely_put(&*kv, "b", "2").await;
    let mut raw = Client::connect(etcd.endpoints(), None).await.unwrap();
    raw.compact(last.0, None).await.unwrap();
    let forgotten = kv.range(&Range { at: Some(first), ..Range::under("") }).await;
    assert_eq!(forgotten, Err(KvError::Compacted));
    let changes = soon("changes come", watched.next()).await.unwrap();
    assert_eq!(changes[0], Change::Deleted("a".to_owned()));
    assert_eq!((watched.state()["b"].modified, watched.revision() >= last), (last, true));
}

#[tokio::test]
async fn an_absent_store_is_said_quickly_and_by_name() {
    // The port is taken, and nobody listens.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = taken.local_addr().unwrap().port();
    let address: slipway_kv::EtcdAddress = format!("etcd://127.0.0.1:{port}").parse().unwrap();
    let Err(error) = EtcdKv::open(&address, &EtcdOptions::default()).await else { panic!("nobody is there") };
    assert!(matches!(error, KvError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains(&port.to_string()), "{error}");
    // A write that was surely not sent is not unknown.
    let kv = EtcdKv::new(&address, &EtcdOptions::default()).unwrap();
    let error = once(&kv, put("key", "x")).await.unwrap_err();
    assert!(matches!(error, KvError::Unavailable(_)), "{error}");
}
