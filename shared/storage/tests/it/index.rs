//! What is kept of a repository between builds: it saves requests, and never changes an answer.

use std::{path::Path, sync::Arc};

use slipway_digest::{Millis, StageDigest, StageId};
use slipway_oci::Platform;
use slipway_process::{SystemClock, Tasks};
use slipway_stages::{StageRecord, labels, labels::StageLabels};
use slipway_storage::{
    IndexDir, ManagedImages, Records as _, RepoStorage, StageStorage as _,
    beside::copy,
    conformance::{self, Lab as _, at},
    kv::StagePlace as _,
};

use crate::{fake::Fake, registry::RegistryLab};

const NOW: u64 = 1_700_000_000_000;
const DAY: u64 = 24 * 3600 * 1000;

/// A registry, and hosts whose builds use it.
struct Hosts {
    fake: Fake,
    address: String,
    directory: tempfile::TempDir,
}

impl Hosts {
    async fn new(tasks: &Tasks) -> Self {
        let fake = Fake::default();
        let address = fake.serve(tasks).await;
        Self { fake, address, directory: tempfile::tempdir().unwrap() }
    }

    /// A process on any host that keeps nothing.
    fn plain(&self) -> RegistryLab {
        RegistryLab::new(&self.address, "shop")
    }

    /// A new process on a host, at a time.
    fn process_at(&self, host: u64, now: u64) -> RepoStorage {
        let lab = self.plain();
        let directory = self.directory.path().join(host.to_string());
        let place = IndexDir { directory, clock: Arc::new(SystemClock::new(Some(now))) };
        RepoStorage::kept(lab.client, lab.repo, &place, true)
    }

    fn process(&self, host: u64) -> RepoStorage {
        self.process_at(host, NOW)
    }

    fn listings(&self) -> usize {
        self.fake.count("GET", "/tags/list")
    }

    /// Stores a stage by a new process of a host.
    async fn store(&self, host: u64, labels: &StageLabels, salt: &str, millis: u64) -> StageRecord {
        let stage = at(&self.plain().upload(labels, salt).await, millis);
        self.process(host).tag(&stage).await.unwrap();
        stage
    }
}

async fn find(storage: &RepoStorage, labels: &StageLabels) -> Vec<StageRecord> {
    storage.find(labels.digest, &labels.platform, false).await.unwrap()
}

#[tokio::test]
async fn a_warm_index_costs_no_listing_and_one_look_for_each_stage() {
    let tasks = Tasks::new();
    let hosts = Hosts::new(&tasks).await;
    let labels = ["one", "two", "three"].map(conformance::labels);
    for (number, labels) in labels.iter().enumerate() {
        hosts.store(9, labels, "salt", NOW + number as u64).await;
    }
    assert_eq!(hosts.listings(), 0, "storing alone needs none");
    let cold = hosts.process(1);
    for labels in &labels {
        assert_eq!(find(&cold, labels).await.len(), 1);
    }
    assert_eq!(
        (hosts.listings(), hosts.fake.count("GET", "/manifests/")),
        (1, 9),
        "three to be tagged, three to see whose they are"
    );
    let looked = || hosts.fake.count("HEAD", "/manifests/");
    let (before, requests) = (looked(), hosts.fake.count("", "/shop/"));
    let warm = hosts.process(1);
    for labels in &labels {
        assert_eq!(find(&warm, labels).await.len(), 1);
        assert_eq!(find(&warm, &conformance::labels("unknown")).await, []);
    }
    assert_eq!(looked() - before, 1 + 3, "the marker, and each stage");
    assert_eq!(hosts.fake.count("", "/shop/") - requests, 1 + 3, "and nothing else");
    assert_eq!(hosts.listings(), 1);
    let images: Vec<_> = futures::future::join_all(labels.iter().map(|labels| find(&warm, labels))).await;
    let images: Vec<_> = images.into_iter().flatten().map(|stage| stage.at).collect();
    let before = hosts.fake.all();
    assert_eq!(warm.not_whole(&images).await.unwrap(), []);
    assert_eq!(hosts.fake.all() - before, 1, "the layer that they share; nothing is read");
    tasks.shut_down().await;
}

#[tokio::test]
async fn who_asks_for_fresh_news_lists_only_when_something_was_announced() {
    let tasks = Tasks::new();
    let hosts = Hosts::new(&tasks).await;
    let labels = conformance::labels("stage");
    let one = hosts.process(1);
    for _ in 0..3 {
        assert_eq!(one.find(labels.digest, &labels.platform, true).await.unwrap(), []);
    }
    assert_eq!(hosts.listings(), 1);
    let stage = hosts.store(2, &labels, "salt", NOW).await;
    for _ in 0..3 {
        assert_eq!(one.find(labels.digest, &labels.platform, true).await.unwrap(), std::slice::from_ref(&stage));
    }
    assert_eq!(hosts.listings(), 2);
    tasks.shut_down().await;
}

#[tokio::test]
async fn what_announces_nothing_is_seen_after_a_day() {
    let tasks = Tasks::new();
    let hosts = Hosts::new(&tasks).await;
    let labels = conformance::labels("stage");
    assert_eq!(find(&hosts.process(1), &labels).await, []);
    let stage = at(&hosts.plain().upload(&labels, "salt").await, NOW);
    hosts.plain().tag(&stage.at.digest, &stage.id.to_string()).await;
    assert_eq!(find(&hosts.process_at(1, NOW + DAY - 1), &labels).await, []);
    assert_eq!(find(&hosts.process_at(1, NOW + DAY), &labels).await, [stage]);
    // The clock was set back.
    let listings = hosts.listings();
    find(&hosts.process_at(1, NOW), &labels).await;
    assert_eq!(hosts.listings(), listings + 1);
    tasks.shut_down().await;
}

#[tokio::test]
async fn a_stage_whose_publisher_was_killed_is_announced_by_who_finishes_it() {
    let tasks = Tasks::new();
    let hosts = Hosts::new(&tasks).await;
    let labels = conformance::labels("stage");
    assert_eq!(find(&hosts.process(1), &labels).await, []);
    let stage = at(&hosts.plain().upload(&labels, "salt").await, NOW);
    hosts.plain().tag(&stage.at.digest, &stage.id.to_string()).await;
    assert_eq!(find(&hosts.process(1), &labels).await, [], "nobody has said so");
    hosts.process(2).tag(&stage).await.unwrap();
    assert_eq!(find(&hosts.process(1), &labels).await, std::slice::from_ref(&stage));
    // To see that it stands is no news.
    let moved = hosts.fake.count("PUT", "/slipway-index");
    hosts.process(2).stands(&stage).await.unwrap();
    assert_eq!(hosts.fake.count("PUT", "/slipway-index"), moved);
    tasks.shut_down().await;
}

#[tokio::test]
async fn what_is_copied_with_its_tag_is_announced() {
    let tasks = Tasks::new();
    let hosts = Hosts::new(&tasks).await;
    let labels = conformance::labels("stage");
    let stage = at(&hosts.plain().upload(&labels, "salt").await, NOW);
    assert_eq!(find(&hosts.process(1), &labels).await, []);
    let lab = hosts.plain();
    let tag = stage.id.to_string();
    copy::as_it_is(&lab.client, (&stage.at, &lab.repo), &lab.repo, Some(&tag)).await.unwrap();
    assert_eq!(find(&hosts.process(1), &labels).await, [stage]);
    tasks.shut_down().await;
}

#[tokio::test]
async fn a_marker_that_cannot_be_moved_any_more_is_an_error() {
    let tasks = Tasks::new();
    let hosts = Hosts::new(&tasks).await;
    let labels = conformance::labels("stage");
    assert_eq!(find(&hosts.process(1), &labels).await, []);
    hosts.fake.make_immutable();
    let stage = at(&hosts.plain().upload(&labels, "salt").await, NOW);
    let error = hosts.process(2).tag(&stage).await.unwrap_err().to_string();
    assert!(error.contains("exclude `slipway-index`") && error.contains("or delete it"), "{error}");
    hosts.fake.delete_tag("slipway-index");
    hosts.process(2).tag(&stage).await.unwrap();
    assert_eq!(find(&hosts.process(1), &labels).await, [stage]);
    tasks.shut_down().await;
}

#[tokio::test]
async fn records_are_written_once_and_again_when_they_were_removed() {
    let tasks = Tasks::new();
    let hosts = Hosts::new(&tasks).await;
    for expected in [true, false, false] {
        assert_eq!(hosts.process(1).records("shop").add_image("app").await.unwrap(), expected);
    }
    assert_eq!(hosts.listings(), 1);
    let lab = hosts.plain();
    hosts.fake.delete_tag("managed-image-app");
    let images = ManagedImages::new(lab.client.clone(), lab.repo.clone());
    images.add("shop", "other").await.unwrap();
    images.remove("other").await.unwrap();
    assert!(hosts.process(1).records("shop").add_image("app").await.unwrap(), "the removal was announced");
    tasks.shut_down().await;
}

#[tokio::test]
async fn a_deleted_stage_is_said_once() {
    let tasks = Tasks::new();
    let hosts = Hosts::new(&tasks).await;
    let labels = ["one", "two"].map(conformance::labels);
    let stages = [hosts.store(1, &labels[0], "a", NOW).await, hosts.store(1, &labels[1], "b", NOW).await];
    for warm in [true, false] {
        let first = hosts.process(1);
        assert_eq!(find(&first, &labels[0]).await.len() + find(&first, &labels[1]).await.len(), 2);
        assert_eq!(first.untold(), [""; 0]);
        stages.iter().for_each(|stage| hosts.fake.delete_tag(&stage.id.to_string()));
        if !warm {
            // Somebody's news makes the next process list: it sees what is missing by what the last one saw.
            hosts.store(2, &conformance::labels("news"), "c", NOW).await;
        }
        let storage = hosts.process(1);
        assert_eq!(find(&storage, &labels[0]).await, []);
        assert_eq!(find(&storage, &labels[1]).await, []);
        let told = storage.untold();
        assert!(matches!(told.as_slice(), [one] if one.contains(&stages[0].id.to_string())), "{told:?}");
        assert!(told[0].contains("Only `slipway cleanup` may delete"), "{told:?}");
        assert_eq!(storage.untold(), [""; 0]);
        for stage in &stages {
            hosts.process(1).tag(stage).await.unwrap();
        }
    }
    tasks.shut_down().await;
}

#[tokio::test]
async fn tags_that_cannot_be_moved_are_listed_by_each_build() {
    let tasks = Tasks::new();
    let hosts = Hosts::new(&tasks).await;
    hosts.fake.make_immutable();
    let labels = conformance::labels("stage");
    for number in 1..3 {
        assert_eq!(find(&hosts.process(1), &labels).await, []);
        assert_eq!(hosts.listings(), number);
    }
    assert_eq!(hosts.fake.tags(), ["slipway-index"], "it is on trial for ever");
    let stage = hosts.store(2, &labels, "salt", NOW).await;
    assert_eq!(find(&hosts.process(1), &labels).await, [stage]);
    tasks.shut_down().await;
}

#[tokio::test]
async fn stages_of_werf_are_counted_once_and_left_alone() {
    let tasks = Tasks::new();
    let hosts = Hosts::new(&tasks).await;
    let labels = conformance::labels("stage");
    let theirs: std::collections::BTreeMap<String, String> =
        labels::write(&labels).into_iter().filter(|(name, _)| !name.starts_with("slipway-")).collect();
    let (lab, tag) =
        (hosts.plain(), |digest: StageDigest, stamp: u64| StageId { digest, stamp: Millis(stamp) }.to_string());
    for number in 0..3 {
        let (image, _) = lab.image(theirs.clone(), &format!("werf's {number}")).await;
        lab.tag(&image, &tag(labels.digest, NOW + number)).await;
    }
    let first = hosts.process(1);
    assert_eq!(find(&first, &labels).await, []);
    let told = first.untold();
    assert!(matches!(told.as_slice(), [one] if one.contains("holds 3 stages of werf")), "{told:?}");
    let own = hosts.store(1, &labels, "ours", NOW + 10).await;
    for host in [1, 2] {
        let later = hosts.process(host);
        assert_eq!(find(&later, &labels).await, std::slice::from_ref(&own));
        assert_eq!(later.untold(), [""; 0]);
    }
    // Where records are kept elsewhere it is said when the repository is attached.
    let attaching = hosts.plain().storage();
    assert_eq!(attaching.list().await.unwrap().stages.len(), 4);
    assert!(attaching.untold()[0].contains("of werf"));
    tasks.shut_down().await;
}

#[tokio::test]
async fn a_second_project_in_a_repository_is_told() {
    let tasks = Tasks::new();
    let hosts = Hosts::new(&tasks).await;
    for (project, told) in [("one", 0), ("one", 0), ("two", 1), ("two", 1), ("one", 0)] {
        let storage = hosts.process(1);
        for image in ["app", "web"] {
            storage.records(project).unlisted().add_image(image).await.unwrap();
        }
        let records = storage.records(project);
        records.add_image("app").await.unwrap();
        records.add_image("web").await.unwrap();
        let notices = storage.untold();
        // Once for each of the three that keep records.
        assert_eq!(notices.len(), 3 * told, "{project}: {notices:?}");
        assert!(notices.iter().all(|one| one.contains("project `one`, and `two`")), "{notices:?}");
    }
    tasks.shut_down().await;
}

/// A generator that gives the same numbers for a seed everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Hosts store, reject, delete and look in any order: whoever keeps an index sees what a listing shows.
#[tokio::test]
async fn an_index_never_answers_otherwise_than_a_listing() {
    let seed = slipway_process::Environment::from_process().get("SLIPWAY_TEST_SEED").and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or(8);
    eprintln!("SLIPWAY_TEST_SEED={seed}");
    let mut dice = Dice(seed);
    let tasks = Tasks::new();
    let hosts = Hosts::new(&tasks).await;
    let labels: Vec<StageLabels> = (0..4).map(|number| conformance::labels(&format!("stage {number}"))).collect();
    let mut stages: Vec<StageRecord> = Vec::new();
    let plain = hosts.plain();
    for step in 0..150 {
        let (host, picked) = (dice.below(3), &labels[dice.below(4) as usize]);
        let any = stages.get(dice.below(stages.len().max(1) as u64) as usize).cloned();
        match (dice.below(10), any) {
            (0..2, _) => stages.push(hosts.store(host, picked, &format!("salt {step}"), NOW + step).await),
            (2, Some(stage)) => drop(hosts.process(host).records("shop").reject(stage.id, "lost").await.unwrap()),
            (3, Some(stage)) => hosts.fake.delete_tag(&stage.id.to_string()),
            (4, _) if dice.below(4) == 0 => hosts.fake.delete_tag("slipway-index"),
            (5, _) if dice.below(4) == 0 => damage(&hosts.directory.path().join(host.to_string()), &mut dice),
            _ => {
                let storage = hosts.process(host);
                for labels in &labels {
                    let expected = find(&plain.storage(), labels).await;
                    assert_eq!(find(&storage, labels).await, expected, "step {step}, host {host}");
                    let latest = storage.latest(labels.digest).await.unwrap();
                    assert!(latest >= expected.last().map(|stage| stage.id.stamp), "step {step}, host {host}");
                }
            }
        }
    }
    assert!(stages.len() > 10 && hosts.listings() > 20, "{} stages", stages.len());
    tasks.shut_down().await;
}

/// Cuts off the end of a kept file, as a crash does.
fn damage(directory: &Path, dice: &mut Dice) {
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..dice.below(bytes.len() as u64 + 1) as usize]).unwrap();
    }
}

#[tokio::test]
async fn an_index_of_another_platform_or_repository_is_not_taken() {
    let tasks = Tasks::new();
    let hosts = Hosts::new(&tasks).await;
    let labels = conformance::labels("stage");
    let stage = hosts.store(1, &labels, "salt", NOW).await;
    assert_eq!(find(&hosts.process(1), &labels).await, std::slice::from_ref(&stage));
    let other: Platform = conformance::platform("linux/arm64");
    let found = hosts.process(1).find(labels.digest, &other, false).await.unwrap();
    assert_eq!(found, []);
    assert_eq!(stage.id, StageId { digest: labels.digest, stamp: Millis(NOW) });
    tasks.shut_down().await;
}
