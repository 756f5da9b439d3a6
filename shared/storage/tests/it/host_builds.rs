//! Builds and cleanups of one host that know of each other by files.

use std::{collections::HashSet, path::Path, sync::Arc};

use slipway_digest::StageId;
use slipway_oci::Repo;
use slipway_parts::Registry;
use slipway_storage::{
    HostBuilds, StageStorage as _,
    conformance::{self, Lab as _},
};
use tokio::sync::mpsc;

use crate::registry::RegistryLab;

fn builds(directory: &Path) -> HostBuilds {
    let repo: Repo = "registry.example.org/shop".parse().unwrap();
    HostBuilds::new(directory, &repo)
}

fn stages(numbers: std::ops::Range<u64>) -> HashSet<StageId> {
    let digest = conformance::labels("stage").digest;
    numbers.map(|number| StageId { digest, stamp: slipway_digest::Millis(1_700_000_000_000 + number) }).collect()
}

#[tokio::test]
async fn older_builds_are_waited_for_and_later_ones_are_told() {
    let home = tempfile::tempdir().unwrap();
    let (one, other) = (builds(home.path()), builds(home.path()));
    let old = one.begin("an old build").await.unwrap();
    assert_eq!(*old.hidden, HashSet::new());
    // One that was killed left its file.
    let directory = std::fs::read_dir(home.path().join("builds")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(directory.join("0.build"), "a dead build").unwrap();
    let mut hiding = other.hide(stages(0..3)).await.unwrap();
    let new = one.begin("a new build").await.unwrap();
    assert_eq!(*new.hidden, stages(0..3));
    let (tell, mut told) = mpsc::unbounded_channel();
    let waiting = |builds: &[String]| tell.send(builds.to_vec()).unwrap();
    let ending = async {
        assert_eq!(told.recv().await.unwrap(), ["an old build"]);
        drop(old);
    };
    tokio::join!(hiding.wait(&waiting), ending);
    assert!(told.try_recv().is_err(), "only older ones are waited for");
    drop(hiding);
    assert_eq!(*one.begin("a later build").await.unwrap().hidden, HashSet::new());
    drop(new);
    let left = std::fs::read_dir(&directory).unwrap().count();
    assert_eq!(left, 0, "nothing is left");
}

#[tokio::test]
async fn what_a_killed_cleanup_hid_is_seen_again() {
    let home = tempfile::tempdir().unwrap();
    let builds = builds(home.path());
    drop(builds.begin("the first").await.unwrap());
    let directory = std::fs::read_dir(home.path().join("builds")).unwrap().next().unwrap().unwrap().path();
    let left: String = stages(0..2).iter().map(|stage| format!("{stage}\n")).collect();
    std::fs::write(directory.join("hidden"), left).unwrap();
    assert_eq!(*builds.begin("the second").await.unwrap().hidden, HashSet::new());
    assert!(!directory.join("hidden").exists());
    // Of another repository, nothing is known.
    let _hiding = builds.hide(stages(0..2)).await.unwrap();
    let other = HostBuilds::new(home.path(), &"registry.example.org/blog".parse().unwrap());
    assert_eq!(*other.begin("of the blog").await.unwrap().hidden, HashSet::new());
}

#[tokio::test]
async fn a_hidden_stage_is_not_found_and_its_timestamp_is_not_used_again() {
    let Some(registry) = Registry::start() else { return };
    let lab = RegistryLab::new(registry.host(), "shop/hidden");
    let labels = conformance::labels("stage");
    let mut stored = lab.upload(&labels, "one").await;
    stored.id.stamp = slipway_digest::Millis(1_700_000_000_000);
    lab.storage().tag(&stored).await.unwrap();
    let hidden = Arc::new(HashSet::from([stored.id]));
    let without = lab.storage().without(hidden);
    for fresh in [false, true] {
        assert_eq!(lab.storage().find(labels.digest, &labels.platform, fresh).await.unwrap(), [stored.clone()]);
        assert_eq!(without.find(labels.digest, &labels.platform, fresh).await.unwrap(), []);
    }
    assert_eq!(without.latest(labels.digest).await.unwrap(), Some(stored.id.stamp));
}
