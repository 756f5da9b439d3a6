use slipway_digest::CommitId;
use slipway_kv::{Fault, Faulty, MemoryKv};
use slipway_protocol::BuildState;

use super::*;

const LARGE: usize = 3 * PIECE + 17;

async fn store(kv: Arc<dyn Kv>) -> Store {
    let lease = kv.grant(Duration::from_secs(60)).await.expect("a lease").lease;
    let put = Txn { when: Vec::new(), then: vec![Do::put("leader", "me")] };
    let Ok(Outcome::Done(term)) = slipway_kv::once(&*kv, put).await else { panic!("memory takes it") };
    Store::new(kv, vec![When::CreatedAt("leader".to_owned(), term)], lease)
}

fn summary(name: &str) -> BuildSummary {
    BuildSummary {
        build: name.parse().expect("a name"),
        project: "shop".to_owned(),
        repo: "registry.example.org/shop".parse().expect("a repository"),
        commit: CommitId([1; 20]),
        state: BuildState::Running,
        submitted: 7,
        ended: None,
        failure: None,
        waits_for: Vec::new(),
    }
}

async fn create(store: &Store, name: &str, text: &str) -> Created {
    store.create(summary(name), "f".to_owned(), text.to_owned()).await.expect("it is stored")
}

async fn keys(kv: &dyn Kv) -> Vec<String> {
    let (entries, _) = slipway_kv::list(kv, "").await.expect("the store answers");
    entries.into_iter().map(|entry| entry.key).filter(|key| key != "leader").collect()
}

#[tokio::test]
async fn long_and_short_requests_read_back_and_are_forgotten() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let store = store(Arc::clone(&kv)).await;
    for text in ["short".to_owned(), "ä".repeat(LARGE / 2)] {
        let Created::New(kept) = create(&store, "build-one", &text).await else { panic!("it is new") };
        let Created::There(again) = create(&store, "build-one", "other").await else { panic!("it is there") };
        let name = &kept.summary.build;
        assert_eq!((&again, store.request(name).await.expect("it is there")), (&kept, text.clone()));
        let ended = BuildSummary { state: BuildState::Failed, ended: Some(9), ..kept.summary.clone() };
        let ended = store.finish(&kept.clone().light(), ended, &text).await.expect("it is stored");
        assert_eq!(store.result(name).await.expect("it is there"), Some(text));
        assert_eq!(store.list().await.expect("a list"), std::slice::from_ref(&ended));
        store.forget(&ended).await.expect("it is forgotten");
        assert!(keys(&*kv).await.is_empty(), "{:?}", keys(&*kv).await);
    }
}

#[tokio::test]
async fn a_cancelled_build_is_known_as_such_until_it_ends() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let store = store(Arc::clone(&kv)).await;
    let Created::New(kept) = create(&store, "build-one", "x").await else { panic!("it is new") };
    store.cancel(&kept.summary.build).await.expect("it is stored");
    assert!(store.list().await.expect("a list")[0].cancelled);
    let ended = BuildSummary { state: BuildState::Cancelled, ended: Some(9), ..kept.summary.clone() };
    store.finish(&kept, ended, "end").await.expect("it is stored");
    assert_eq!(keys(&*kv).await, ["build/build-one"]);
}

#[tokio::test]
async fn a_leader_that_was_deposed_writes_nothing() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let count = Arc::new(AtomicU64::new(0));
    let store = store(Arc::clone(&kv)).await.counting(Arc::clone(&count));
    create(&store, "build-old", "x").await;
    create(&store, "build-old", "x").await;
    assert_eq!(count.load(Ordering::Relaxed), 0, "a name that is taken is no fence");
    let before = keys(&*kv).await;
    let gone = Txn { when: Vec::new(), then: vec![Do::Delete("leader".to_owned())] };
    slipway_kv::once(&*kv, gone).await.expect("it is deleted");
    let refused = store.create(summary("build-one"), "f".to_owned(), "x".repeat(LARGE)).await;
    assert!(matches!(refused, Err(StoreError::Deposed)), "{refused:?}");
    assert!(count.load(Ordering::Relaxed) > 0, "refusals are counted");
    assert_eq!(keys(&*kv).await, before);
}

#[tokio::test]
async fn pieces_that_no_build_needs_are_swept_up() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let store = store(Arc::clone(&kv)).await;
    let Created::New(kept) = create(&store, "build-one", &"x".repeat(LARGE)).await else { panic!("it is new") };
    let before = keys(&*kv).await;
    store.put_text(&kept.summary.build, &"y".repeat(LARGE)).await.expect("it is stored");
    assert_ne!(keys(&*kv).await, before);
    store.sweep(&store.list().await.expect("a list")).await.expect("swept");
    assert_eq!(keys(&*kv).await, before);
}

/// A submit must not be two builds because an answer was lost on its way.
#[tokio::test]
async fn a_lost_reply_does_not_make_a_new_build_look_like_an_old_one() {
    let mut first = true;
    let plan = move |parts: &[Txn]| {
        let creates = parts.iter().flat_map(|part| &part.then).any(|done| done.key().starts_with(BUILDS));
        (creates && std::mem::take(&mut first)).then_some(Fault::ReplyLost)
    };
    let kv: Arc<dyn Kv> = Arc::new(Faulty::new(Arc::new(MemoryKv::new()), Box::new(plan)));
    let store = store(Arc::clone(&kv)).await;
    assert!(matches!(create(&store, "build-one", "x").await, Created::New(_)));
    assert!(matches!(create(&store, "build-one", "x").await, Created::There(_)));
}
