//! What is said reads back as it was said.

use std::collections::BTreeMap;

use slipway_digest::{Checksum, CommitId, Millis, StageDigest, StageId};
use slipway_oci::{BlobDigest, ConfigChange, ImageAt, Platform, Repo};
use slipway_paths::{PathFilter, Scope, TreePath};
use slipway_stages::{
    GitInput, MountedFrom, PlanBase, PlanMount, SecretUse, SourceId, StageBody, StageKind, StagePlan, StageRecord,
};

use super::*;

fn checksum(byte: u8) -> Checksum {
    Checksum::from_bytes([byte; 28])
}

fn at() -> ImageAt {
    ImageAt { repo: Repo { host: "r.example".to_owned(), path: "p".to_owned() }, digest: BlobDigest::of(b"m") }
}

fn id() -> StageId {
    StageId { digest: StageDigest(checksum(2)), stamp: Millis(1_700_000_000_000) }
}

fn plan() -> StagePlan {
    let base = TreePath::new(b"app/caf\xe9").expect("a path");
    let scope = Scope::Filter(PathFilter { base, include: vec!["**/*.rs".to_owned()], ..PathFilter::default() });
    let input = GitInput {
        source: SourceId::own(),
        commit: CommitId([7; 20]),
        from: Some(CommitId([8; 20])),
        scope,
        file: false,
        to: "/app".to_owned(),
        owner: Some("app".to_owned()),
        group: None,
    };
    StagePlan {
        project: "shop".to_owned(),
        kind: StageKind::GitLatestPatch,
        digest: StageDigest(checksum(1)),
        platform: Platform::host(),
        not_before: Millis(5),
        parent: Some(id()),
        base: PlanBase::Stage { id: id(), at: at(), image_id: BlobDigest::of(b"c") },
        body: StageBody::Git(vec![input]),
        change: ConfigChange { cmd: Some(vec![String::new()]), ..ConfigChange::default() },
        mounts: vec![PlanMount { from: MountedFrom::Shared, to: "/cache".to_owned(), line: 7 }],
        network: Some("none".to_owned()),
        commits: BTreeMap::from([("own".to_owned(), CommitId([7; 20]))]),
        content: checksum(3),
        secrets: vec![SecretUse { id: "token".to_owned(), key: "app/token".to_owned() }],
    }
}

#[test]
fn an_assignment_reads_back() {
    let attempt = AttemptId { job: "k".to_owned(), number: 1, id: "s-1".to_owned() };
    let job = Job::Stage(Arc::new(plan()));
    let run = vec![Assignment {
        attempt: attempt.clone(),
        job,
        push_to: Some(at().repo),
        deadline: None,
        again: None,
        traceparent: None,
        secrets: vec![HandedSecret { id: "token".to_owned(), content: Hidden::new(*b"hush") }],
        ssh_keys: vec![Hidden::new(*b"psst")],
        caches: vec![at().repo],
    }];
    let record = StageRecord {
        id: plan().parent.expect("a parent"),
        platform: Platform::host(),
        at: at(),
        image_id: BlobDigest::of(b"c"),
        commits: BTreeMap::new(),
        content: checksum(3),
        parent: None,
        size: 9,
    };
    let settled = vec![(attempt, Outcome::Committed(Arc::new(record)))];
    let desired = Desired { run, settled, drain: true, ..Desired::default() };
    let text = serde_json::to_string(&desired).expect("text");
    assert_eq!(serde_json::from_str::<Desired>(&text).expect(&text), desired);
}

#[test]
fn what_is_no_value_is_refused() {
    for text in [r#"{"run":[],"settled":[]}"#, r#"{"run":{},"settled":[],"drain":false}"#, "null"] {
        assert!(serde_json::from_str::<Desired>(text).is_err(), "{text}");
    }
}

#[test]
fn names_and_places_read_back_and_wrong_ones_are_refused() {
    for text in ["1234abcd", "a-b-c-d-e", &"x".repeat(64)] {
        assert_eq!(text.parse::<BuildName>().expect(text).to_string(), text);
    }
    for text in ["", "short", "UPPERCASE", "a/b/c/d/e", "../../etc", &"x".repeat(65), "with space"] {
        assert!(text.parse::<BuildName>().is_err(), "{text}");
    }
    let id = EventId { term: 17, number: 4 };
    assert_eq!(id.to_string().parse::<EventId>(), Ok(id));
    for text in ["", "1", "1.", ".1", "1.2.3", "-1.2", "a.b"] {
        assert!(text.parse::<EventId>().is_err(), "{text}");
    }
}

#[test]
fn events_are_lines_of_json() {
    let line = "a \"line\"".to_owned();
    let image = slipway_config::ImageName("app".to_owned());
    let event = BuildEvent::Log { image, kind: StageKind::Install, attempt: "s-1".to_owned(), offset: 3, line };
    let timed = TimedEvent { id: EventId { term: 2, number: 9 }, event };
    let text = serde_json::to_string(&timed).expect("text");
    assert!(text.starts_with(r#"{"id":"2.9","event":{"log":"#), "{text}");
    assert_eq!(serde_json::from_str::<TimedEvent>(&text).expect(&text), timed);
}
