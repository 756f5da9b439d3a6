use slipway_digest::CommitId;
use slipway_oci::{BlobDigest, ImageAt, Repo};

use super::*;
use crate::conformance::labels;

const NOW: Millis = Millis(1_700_000_000_000);

fn candidate(name: &str, salt: &str) -> Candidate {
    let labels = labels(name);
    let record = StageRecord {
        id: StageId { digest: labels.digest, stamp: Millis(0) },
        platform: labels.platform,
        at: ImageAt {
            repo: Repo { host: "registry.example:5000".to_owned(), path: "shop/stages".to_owned() },
            digest: BlobDigest::of(salt.as_bytes()),
        },
        image_id: BlobDigest::of(format!("config {salt}").as_bytes()),
        commits: [("a".to_owned(), CommitId([1; 20])), ("b".to_owned(), CommitId([2; 20]))].into(),
        content: labels.content,
        parent: Some(StageId { digest: labels.digest, stamp: NOW }),
        size: 12_345,
    };
    Candidate { record, not_before: Millis(0), attempt: format!("attempt {salt}") }
}

/// Commits as a publisher who saw nothing in the storage.
async fn commit(ledger: &JournalLedger, candidate: &Candidate, now: Millis) -> StageRecord {
    let revision = ledger.winners(candidate.record.id.digest).await.unwrap().revision;
    match ledger.commit(candidate, None, Seen { revision, latest: None }, now).await.unwrap() {
        Committed::Won(stage) => *stage,
        Committed::LookAgain => panic!("nobody else commits"),
    }
}

/// Of an image whose manifest the repository has.
fn intent(stage: &StageRecord) -> Intent {
    Intent { stage: stage.clone(), held: None }
}

#[test]
fn lines_read_back_as_they_were_written() {
    let candidate = candidate("line", "a");
    let id = StageId { stamp: NOW, ..candidate.record.id };
    let manifest = RawManifest {
        digest: BlobDigest::of(b"{\n  \"a\": \"\xc3\xa4\"}"),
        media_type: "application/x".to_owned(),
        bytes: b"{\n  \"a\": \"\xc3\xa4\"}".as_slice().into(),
    };
    let at = ImageAt { digest: manifest.digest.clone(), ..candidate.record.at.clone() };
    let record = StageRecord { id, at, ..candidate.record };
    let bare = intent(&StageRecord { commits: BTreeMap::new(), parent: None, ..record.clone() });
    let whole = Intent { stage: record, held: Some(manifest) };
    let lines = [
        Line::Begin { id: "x".to_owned() },
        Line::Committed { intent: Box::new(whole), attempt: "x y\n\"z\"".to_owned(), at: NOW },
        Line::Committed { intent: Box::new(bare), attempt: String::new(), at: Millis(0) },
        Line::Stamp { id, at: NOW },
        Line::Tagged { id },
        Line::Rejected { id, why: "line one\nline two".to_owned() },
    ];
    for line in lines {
        let bytes = line.encode();
        let (end, body) = bytes.split_last().unwrap();
        assert!(*end == b'\n' && !body.contains(&b'\n'));
        assert_eq!(Line::decode(body), Ok(line));
        for index in 0..body.len() {
            assert!(Line::decode(&body[..index]).is_err(), "cut at {index}");
        }
    }
}

#[tokio::test]
async fn intents_are_known_to_every_process_until_they_are_cleared() {
    let directory = tempfile::tempdir().unwrap();
    let open = || JournalLedger::new(&directory.path().join("service/ledger"), "repo");
    let (one, other) = (open(), open());
    let first = commit(&one, &candidate("a", "1"), NOW).await;
    let second = commit(&other, &candidate("b", "2"), NOW).await;
    for ledger in [&one, &other, &open()] {
        let mut pending = ledger.pending().await.unwrap();
        pending.sort_by_key(|intent| intent.stage.size);
        let mut expected = vec![intent(&first), intent(&second)];
        expected.sort_by_key(|intent| (intent.stage.id.stamp, intent.stage.id.digest));
        assert_eq!(pending, expected);
        let winners = ledger.winners(first.id.digest).await.unwrap();
        assert_eq!(winners, Winners { revision: Some(first.id.stamp), pending: vec![intent(&first)] });
    }
    for _ in 0..2 {
        one.tagged(first.id).await.unwrap();
        other.reject(second.id, "lost").await.unwrap();
    }
    for ledger in [one, other, open()] {
        assert_eq!(ledger.pending().await.unwrap(), []);
        let winners = ledger.winners(first.id.digest).await.unwrap();
        assert_eq!(winners, Winners { revision: Some(first.id.stamp), pending: vec![] });
    }
    let elsewhere = JournalLedger::new(&directory.path().join("service/ledger"), "another repo");
    assert_eq!(elsewhere.pending().await.unwrap(), []);
}

#[tokio::test]
async fn timestamps_grow_though_the_clock_stands_or_goes_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut last = Millis(0);
    for now in [NOW, NOW, NOW, Millis(NOW.0 - 5000), Millis(0), Millis(NOW.0 + 7)] {
        // Each time another process.
        let ledger = JournalLedger::new(directory.path(), "repo");
        let stage = commit(&ledger, &candidate("a", "1"), now).await;
        assert!(stage.id.stamp > last && stage.id.stamp >= now, "{:?} after {last:?}", stage.id.stamp);
        last = stage.id.stamp;
    }
    let ledger = JournalLedger::new(directory.path(), "repo");
    let child = Candidate { not_before: Millis(NOW.0 + 100), ..candidate("child", "1") };
    assert_eq!(commit(&ledger, &child, NOW).await.id.stamp, Millis(NOW.0 + 101));
    let seen = Seen { revision: None, latest: Some(Millis(NOW.0 + 50)) };
    let stored = ledger.commit(&candidate("stored", "1"), None, seen, NOW).await.unwrap();
    assert!(matches!(stored, Committed::Won(stage) if stage.id.stamp == Millis(NOW.0 + 51)));
    assert_eq!(commit(&ledger, &candidate("zero", "1"), Millis(0)).await.id.stamp, FIRST_STAMP);
    let late = Candidate { not_before: LAST_STAMP, ..candidate("late", "1") };
    let refused = ledger.commit(&late, None, Seen::default(), NOW).await.unwrap_err();
    assert!(refused.to_string().contains("set the clock"), "{refused}");
}

#[tokio::test]
async fn a_commit_over_what_was_not_seen_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (JournalLedger::new(directory.path(), "repo"), JournalLedger::new(directory.path(), "repo"));
    let seen = Seen::default();
    commit(&one, &candidate("a", "1"), NOW).await;
    let late = other.commit(&candidate("a", "2"), None, seen, NOW).await.unwrap();
    assert_eq!(late, Committed::LookAgain);
    assert_eq!(other.pending().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_line_that_was_cut_short_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let path = JournalLedger::path(directory.path(), "repo");
    let first = commit(&JournalLedger::new(directory.path(), "repo"), &candidate("a", "1"), NOW).await;
    let whole = std::fs::read(&path).unwrap();
    let second = commit(&JournalLedger::new(directory.path(), "repo"), &candidate("b", "2"), NOW).await;
    let both = std::fs::read(&path).unwrap();
    for cut in [whole.len() + 1, whole.len() + 80, both.len() - 1] {
        std::fs::write(&path, &both[..cut]).unwrap();
        let ledger = JournalLedger::new(directory.path(), "repo");
        assert_eq!(ledger.pending().await.unwrap(), [intent(&first)], "cut at {cut}");
        assert_eq!(commit(&ledger, &candidate("b", "2"), NOW).await, second);
        assert_eq!(std::fs::read(&path).unwrap(), both);
    }
}

#[tokio::test]
async fn a_broken_line_costs_that_line_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = JournalLedger::path(directory.path(), "repo");
    let ledger = JournalLedger::new(directory.path(), "repo");
    commit(&ledger, &candidate("a", "1"), NOW).await;
    let second = commit(&ledger, &candidate("b", "2"), NOW).await;
    let mut bytes = std::fs::read(&path).unwrap();
    let first_commit = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 70;
    bytes[first_commit] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(JournalLedger::new(directory.path(), "repo").pending().await.unwrap(), [intent(&second)]);
}

#[tokio::test]
async fn a_journal_that_somebody_removed_begins_anew() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = JournalLedger::new(directory.path(), "repo");
    commit(&ledger, &candidate("a", "1"), NOW).await;
    std::fs::remove_file(JournalLedger::path(directory.path(), "repo")).unwrap();
    assert_eq!(ledger.pending().await.unwrap(), []);
    let stage = commit(&ledger, &candidate("a", "1"), NOW).await;
    assert_eq!(JournalLedger::new(directory.path(), "repo").pending().await.unwrap(), [intent(&stage)]);
}

#[tokio::test]
async fn a_long_journal_is_rewritten_without_what_is_old_and_done() {
    let directory = tempfile::tempdir().unwrap();
    let open = || JournalLedger::rewritten_from(directory.path(), "repo", 20);
    let (ledger, watcher) = (open(), open());
    let left = intent(&commit(&ledger, &candidate("intent", "i"), NOW).await);
    for number in 0..30 {
        let stage = commit(&ledger, &candidate(&format!("old {number}"), "x"), NOW).await;
        ledger.tagged(stage.id).await.unwrap();
    }
    assert_eq!(watcher.pending().await.unwrap(), std::slice::from_ref(&left));
    let before = std::fs::metadata(JournalLedger::path(directory.path(), "repo")).unwrap().len();
    let later = Millis(NOW.0 + 2 * KEPT);
    let young = commit(&ledger, &candidate("young", "y"), later).await;
    ledger.tagged(young.id).await.unwrap();
    let after = std::fs::metadata(JournalLedger::path(directory.path(), "repo")).unwrap().len();
    assert!(after * 4 < before, "{before} bytes became {after}");
    for ledger in [&ledger, &watcher, &open()] {
        assert_eq!(ledger.pending().await.unwrap(), std::slice::from_ref(&left));
        assert_eq!(ledger.winners(young.id.digest).await.unwrap().revision, Some(young.id.stamp));
        let old = candidate("old 3", "x").record.id.digest;
        assert_eq!(ledger.winners(old).await.unwrap().revision, None);
    }
    let again = commit(&watcher, &candidate("young", "z"), NOW).await;
    assert_eq!(again.id.stamp, young.id.stamp.next());
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_said() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let refused = JournalLedger::new(&file.path().join("ledger"), "repo").pending().await.unwrap_err();
    assert!(matches!(&refused, StorageError::Unavailable(why) if why.contains("--home-dir")), "{refused}");
}
