//! What every stage storage must do. Each backend's local storage runs these checks too.

use std::{slice::from_ref, sync::Arc};

use async_trait::async_trait;
use slipway_digest::{Encoder, Millis, StageDigest, StageId};
use slipway_oci::{ImageAt, Platform};
use slipway_stages::{
    StageRecord,
    labels::{StageLabels, Uses},
};

use crate::{StageStorage, StorageError};

/// A place under test.
#[async_trait]
pub trait Lab: Send + Sync {
    /// The storage as another process sees it: nothing is remembered.
    async fn open(&self) -> Arc<dyn StageStorage>;
    /// Puts an untagged image with these labels in the place; another `salt` makes another image. The answer is the
    /// record that the place would read back, with a timestamp of 0.
    async fn upload(&self, labels: &StageLabels, salt: &str) -> StageRecord;
    /// Takes an image away, as an accident would.
    async fn lose(&self, image: &ImageAt);
}

/// The labels of a stage called `name`.
pub fn labels(name: &str) -> StageLabels {
    StageLabels {
        project: "conformance".to_owned(),
        digest: StageDigest(Encoder::new("conformance").text(name).finish()),
        content: Encoder::new("content").text(name).finish(),
        parent: None,
        base_image: None,
        uses: Uses::default(),
        single_files: [("own".to_owned(), false)].into(),
        commits: [("own".to_owned(), slipway_digest::CommitId([7; 20]))].into(),
        repo_commit: None,
        scheme: slipway_digest::SCHEME,
        virtual_merges: Default::default(),
        dev: false,
        platform: platform("linux/amd64"),
    }
}

/// A platform.
///
/// # Panics
/// When `text` is none.
pub fn platform(text: &str) -> Platform {
    text.parse().expect("a platform")
}

/// `record` under a timestamp.
pub fn at(record: &StageRecord, millis: u64) -> StageRecord {
    StageRecord { id: StageId { stamp: Millis(millis), ..record.id }, ..record.clone() }
}

/// All checks; stages are named after `prefix`, so that a place may be used twice.
///
/// # Panics
/// When a check fails.
pub async fn check_all(lab: &dyn Lab, prefix: &str) {
    an_unknown_digest_has_no_stages(lab, &format!("{prefix} unknown")).await;
    a_tagged_stage_is_found_as_it_was(lab, &format!("{prefix} found")).await;
    stages_come_oldest_first(lab, &format!("{prefix} order")).await;
    other_platforms_are_left_out(lab, &format!("{prefix} platform")).await;
    a_tag_is_never_moved(lab, &format!("{prefix} moved")).await;
    what_is_lost_is_said(lab, &format!("{prefix} lost")).await;
    fresh_news_are_seen(lab, &format!("{prefix} fresh")).await;
}

async fn find(storage: &dyn StageStorage, labels: &StageLabels, fresh: bool) -> Vec<StageRecord> {
    storage.find(labels.digest, &labels.platform, fresh).await.expect("a look-up succeeds")
}

async fn an_unknown_digest_has_no_stages(lab: &dyn Lab, name: &str) {
    let storage = lab.open().await;
    assert!(!storage.name().is_empty());
    for fresh in [false, true] {
        assert_eq!(find(&*storage, &labels(name), fresh).await, []);
    }
}

async fn a_tagged_stage_is_found_as_it_was(lab: &dyn Lab, name: &str) {
    let labels = labels(name);
    let writer = lab.open().await;
    let stage = at(&lab.upload(&labels, "a").await, 1_700_000_000_000);
    assert_eq!(find(&*writer, &labels, true).await, [], "what has no tag is no stage yet");
    writer.verify(&stage.at).await.expect("the image is there");
    for _ in 0..2 {
        writer.tag(&stage).await.expect("a tag is written, and written again");
    }
    for fresh in [false, true] {
        assert_eq!(find(&*writer, &labels, fresh).await, from_ref(&stage));
        assert_eq!(find(&*lab.open().await, &labels, fresh).await, from_ref(&stage));
    }
}

async fn stages_come_oldest_first(lab: &dyn Lab, name: &str) {
    let labels = labels(name);
    let storage = lab.open().await;
    for (salt, millis) in [("b", 1_700_000_000_002), ("a", 1_700_000_000_003), ("c", 1_700_000_000_001)] {
        let stage = at(&lab.upload(&labels, salt).await, millis);
        storage.tag(&stage).await.expect("a tag is written");
    }
    let stamps: Vec<u64> = find(&*storage, &labels, true).await.iter().map(|stage| stage.id.stamp.0).collect();
    assert_eq!(stamps, [1_700_000_000_001, 1_700_000_000_002, 1_700_000_000_003]);
}

async fn other_platforms_are_left_out(lab: &dyn Lab, name: &str) {
    let labels = labels(name);
    let storage = lab.open().await;
    let stage = at(&lab.upload(&labels, "a").await, 1_700_000_000_000);
    storage.tag(&stage).await.expect("a tag is written");
    let other = storage.find(labels.digest, &platform("linux/arm64"), true).await.expect("a look-up succeeds");
    assert_eq!(other, []);
}

async fn a_tag_is_never_moved(lab: &dyn Lab, name: &str) {
    let labels = labels(name);
    let storage = lab.open().await;
    let first = at(&lab.upload(&labels, "first").await, 1_700_000_000_000);
    let second = at(&lab.upload(&labels, "second").await, 1_700_000_000_000);
    assert_ne!(first.at, second.at);
    storage.tag(&first).await.expect("a tag is written");
    for storage in [storage, lab.open().await] {
        let refused = storage.tag(&second).await.expect_err("the name is taken");
        assert!(matches!(refused, StorageError::Broken { .. }), "{refused}");
        assert!(!refused.is_retryable());
        assert_eq!(find(&*storage, &labels, true).await, from_ref(&first));
    }
}

async fn what_is_lost_is_said(lab: &dyn Lab, name: &str) {
    let labels = labels(name);
    let storage = lab.open().await;
    let stage = at(&lab.upload(&labels, "a").await, 1_700_000_000_000);
    let kept = at(&lab.upload(&labels, "kept").await, 1_700_000_000_001);
    let never = at(&lab.upload(&labels, "never tagged").await, 1_700_000_000_002);
    for stage in [&stage, &kept] {
        storage.tag(stage).await.expect("a tag is written");
    }
    assert_eq!(find(&*storage, &labels, true).await.len(), 2);
    for lost in [&stage, &never] {
        lab.lose(&lost.at).await;
        let gone = storage.verify(&lost.at).await.expect_err("the image is lost");
        assert!(matches!(gone, StorageError::Gone(_)), "{gone}");
    }
    let gone = storage.tag(&never).await.expect_err("the image is lost");
    assert!(matches!(gone, StorageError::Gone(_)), "{gone}");
    assert_eq!(find(&*storage, &labels, true).await, from_ref(&kept));
    assert_eq!(find(&*lab.open().await, &labels, false).await, [kept]);
}

async fn fresh_news_are_seen(lab: &dyn Lab, name: &str) {
    let labels = labels(name);
    let (one, other) = (lab.open().await, lab.open().await);
    assert_eq!(find(&*other, &labels, false).await, []);
    let stage = at(&lab.upload(&labels, "a").await, 1_700_000_000_000);
    one.tag(&stage).await.expect("a tag is written");
    assert_eq!(find(&*other, &labels, true).await, from_ref(&stage));
    assert_eq!(find(&*other, &labels, false).await, from_ref(&stage));
    let latest = one.latest(labels.digest).await.expect("a look-up succeeds");
    assert!(latest.is_none_or(|stamp| stamp == stage.id.stamp), "{latest:?}");
}
