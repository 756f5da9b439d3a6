//! Cleaning up real repositories: what is needed stays, the rest goes, and nothing goes with it.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use slipway_cleanup::{Hit, Reason};
use slipway_config::ReferenceKind;
use slipway_digest::{CommitId, Encoder, Millis, StageId};
use slipway_parts::{OtherRegistry, Registry};
use slipway_registry::Vendor;
use slipway_stages::labels::{StageLabels, Uses};
use slipway_storage::{
    CustomTags, ImportKey, Records as _, StageStorage as _, StorageError,
    cleanup::{Done, InUse, Kind, Place, Plan, Side, Wanted, judge, judge::everything, second_look, work},
    conformance::{self, Lab as _},
};

use crate::registry::RegistryLab;

const NOW: Millis = Millis(1_700_000_000_000);
const PROJECT: &str = "shop";

/// A repository with stages of one image.
struct World {
    lab: RegistryLab,
    last: RegistryLab,
}

impl World {
    fn new(host: &str) -> Self {
        Self { lab: RegistryLab::new(host, "shop"), last: RegistryLab::new(host, "shop-final") }
    }

    /// The same at a service of another kind.
    fn at(vendor: Vendor, host: &str) -> Self {
        let of = |path| RegistryLab::of(vec![(host.to_owned(), vendor)], host, path);
        Self { lab: of("shop"), last: of("shop-final") }
    }

    fn place(&self) -> Place {
        Place::new(self.lab.client.clone(), self.lab.repo.clone(), PROJECT, 4)
    }

    fn last_place(&self) -> Place {
        Place::new(self.last.client.clone(), self.last.repo.clone(), PROJECT, 4)
    }

    /// Stores a stage that was committed `hours` ago.
    async fn stage(&self, name: &str, hours: u64, parent: Option<StageId>, imports: &[StageId]) -> StageId {
        let imports: BTreeMap<String, StageId> =
            imports.iter().enumerate().map(|(at, source)| (at.to_string(), *source)).collect();
        let uses = Uses { imports, dependencies: BTreeSet::new() };
        let said = StageLabels { project: PROJECT.to_owned(), parent, uses, ..conformance::labels(name) };
        let mut record = self.lab.upload(&said, name).await;
        record.id.stamp = Millis(NOW.0 - hours * 3_600_000);
        self.lab.storage().tag(&record).await.unwrap();
        record.id
    }

    async fn record(&self, commit: u8, stage: StageId) {
        let records = self.lab.storage().records(PROJECT).unlisted();
        records.add_image("app").await.unwrap();
        records.add_image_commit("app", CommitId([commit; 20]), stage).await.unwrap();
    }

    async fn tags(&self) -> BTreeSet<String> {
        self.lab.client.tags(&self.lab.repo).await.unwrap().into_iter().collect()
    }

    /// A plan in which these records are reached.
    async fn plan(&self, reached: &[(u8, StageId)], wanted: Wanted) -> Result<Plan, StorageError> {
        let (place, last) = (self.place(), self.last_place());
        let (listed, last_listed) = (place.list().await?, last.list().await?);
        let images = listed.histories(&["app".to_owned()]);
        let hit = |(commit, stage): &(u8, StageId)| {
            let commit = CommitId([*commit; 20]);
            let reason =
                Reason::Reference { kind: ReferenceKind::Branch, name: "main".into(), image: "app".into(), commit };
            (Hit { image: 0, commit, stage: *stage }, reason)
        };
        let hits = reached.iter().map(hit).collect();
        let wanted = Wanted { images, hits, now: NOW, ..wanted };
        judge((&place, &listed), Some((&last, &last_listed)), &wanted, &|_| ()).await
    }

    async fn work(&self, plan: &Plan) -> Done {
        let done = work((&self.place(), Some(&self.last_place())), plan, NOW, &|_| ()).await.unwrap();
        assert!(done.failed.is_empty(), "{:?}", done.failed);
        done
    }

    async fn run(&self, reached: &[(u8, StageId)], wanted: Wanted) -> Done {
        let plan = self.plan(reached, wanted).await.unwrap();
        self.work(&plan).await
    }
}

/// What is needed stays with what it is made of; records go with their stages; tags of users stay, and what they lead to.
async fn the_rest_goes(world: &World) {
    let low = world.stage("low", 90, None, &[]).await;
    let source = world.stage("source", 80, None, &[]).await;
    let top = world.stage("top", 50, Some(low), &[source]).await;
    let old = world.stage("old", 60, Some(low), &[]).await;
    let new = world.stage("new", 1, None, &[]).await;
    let bad = world.stage("bad", 70, None, &[]).await;
    world.record(1, old).await;
    world.record(2, top).await;
    world.record(3, top).await;
    let records = world.lab.storage().records(PROJECT).unlisted();
    records.reject(bad, "it is lost").await.unwrap();
    let key = |name: &str| ImportKey::new(Encoder::new("content").finish(), &crate::repo::input(name, &[]));
    records.add_import(key("/kept"), Some(source), Encoder::new("a").finish()).await.unwrap();
    records.add_import(key("/gone"), Some(old), Encoder::new("b").finish()).await.unwrap();
    // A user's tag and a custom one on what goes, and a custom one on what stays.
    let storage = world.lab.storage();
    let at = |found: Vec<slipway_stages::StageRecord>| found[0].at.clone();
    let platform = conformance::platform("linux/amd64");
    let (old_at, top_at) = (
        at(storage.find(old.digest, &platform, true).await.unwrap()),
        at(storage.find(top.digest, &platform, true).await.unwrap()),
    );
    world.lab.tag(&old_at.digest, "mine").await;
    let both = (world.lab.repo.clone(), world.lab.repo.clone());
    let custom = CustomTags::new(world.lab.client.clone(), PROJECT, both, Vec::new());
    custom.put("v1", (&old.to_string(), &old_at)).await.unwrap();
    custom.put("v2", (&top.to_string(), &top_at)).await.unwrap();

    let wanted = || Wanted { hours: 2, ..Wanted::default() };
    let plan = world.plan(&[(3, top)], wanted()).await.unwrap();
    let numbers = [Kind::Stage, Kind::Commit, Kind::Import, Kind::CustomTag, Kind::CustomRecord, Kind::Rejected];
    assert_eq!(numbers.map(|kind| plan.number(kind)), [2, 2, 1, 1, 1, 1], "{:?}", plan.going);
    assert_eq!(plan.keeping.reason(low), Some(&Reason::Parent(top)));
    world.work(&plan).await;

    let tags = world.tags().await;
    for stays in [low, source, top, new] {
        assert!(tags.contains(&stays.to_string()), "{stays} of {tags:?}");
    }
    for goes in [old.to_string(), bad.to_string(), format!("{bad}-rejected"), "v1".to_owned()] {
        assert!(!tags.contains(&goes), "{goes} of {tags:?}");
    }
    let left: Vec<&String> = tags.iter().filter(|tag| tag.starts_with("meta-")).collect();
    assert!(left.len() == 1 && left[0].contains(&"03".repeat(20)), "{left:?}");
    for stays in ["mine", "v2", "cleanup", "managed-image-app"] {
        assert!(tags.contains(stays), "{stays} of {tags:?}");
    }
    // What the user's tag leads to is whole.
    let mine = world.lab.client.head_manifest(&world.lab.repo, "mine").await.unwrap();
    assert_eq!(mine, Some(old_at.digest.clone()));
    world.lab.storage().verify(&old_at).await.unwrap();
    // Once more changes nothing.
    let again = world.plan(&[(3, top)], wanted()).await.unwrap();
    assert_eq!(again.going, []);
    world.work(&again).await;
    assert_eq!(world.tags().await, tags);
}

#[tokio::test]
async fn what_nothing_needs_goes_with_its_records() {
    let Some(registry) = Registry::start() else { return };
    the_rest_goes(&World::new(registry.host())).await;
}

#[tokio::test]
async fn what_nothing_needs_goes_on_a_registry_of_another_make() {
    let Some(registry) = OtherRegistry::start() else { return };
    the_rest_goes(&World::new(registry.host())).await;
}

#[tokio::test]
async fn fixture_69_an_empty_repository_is_clean() {
    let Some(registry) = Registry::start() else { return };
    an_empty_repository_is_clean(&World::new(registry.host())).await;
}

#[tokio::test]
async fn fixture_69_on_a_registry_of_another_make() {
    let Some(registry) = OtherRegistry::start() else { return };
    an_empty_repository_is_clean(&World::new(registry.host())).await;
}

async fn an_empty_repository_is_clean(world: &World) {
    assert_eq!(world.run(&[], Wanted::default()).await.removed, []);
    let (one, two) = (world.stage("one", 0, None, &[]).await, world.stage("two", 2, None, &[]).await);
    assert_eq!(world.run(&[], Wanted { hours: 2, ..Wanted::default() }).await.removed, []);
    let tags = world.tags().await;
    assert!([one, two].iter().all(|stage| tags.contains(&stage.to_string())), "{tags:?}");
}

#[tokio::test]
async fn fixture_73_custom_tags_go_with_their_stages() {
    let Some(registry) = Registry::start() else { return };
    custom_tags_go_with_their_stages(&World::new(registry.host())).await;
}

#[tokio::test]
async fn fixture_73_on_a_registry_of_another_make() {
    let Some(registry) = OtherRegistry::start() else { return };
    custom_tags_go_with_their_stages(&World::new(registry.host())).await;
}

async fn custom_tags_go_with_their_stages(world: &World) {
    let (stays, goes) = (world.stage("stays", 50, None, &[]).await, world.stage("goes", 60, None, &[]).await);
    let both = (world.lab.repo.clone(), world.lab.repo.clone());
    let custom = CustomTags::new(world.lab.client.clone(), PROJECT, both, Vec::new());
    for (tag, stage) in [("v2", stays), ("v1", goes), ("v1-again", goes)] {
        let digest = world.lab.client.head_manifest(&world.lab.repo, &stage.to_string()).await.unwrap().unwrap();
        custom.put(tag, (&stage.to_string(), &world.lab.repo.at(digest))).await.unwrap();
    }
    world.record(1, stays).await;
    let records = async || world.tags().await.iter().filter(|tag| tag.starts_with("custom-tag-meta-")).count();
    assert_eq!(records().await, 3);
    world.run(&[(1, stays)], Wanted::default()).await;
    let tags = world.tags().await;
    assert!(tags.contains("v2") && tags.contains(&stays.to_string()), "{tags:?}");
    assert!(!tags.contains("v1") && !tags.contains("v1-again") && !tags.contains(&goes.to_string()), "{tags:?}");
    assert_eq!(records().await, 1);
}

/// Of a deleted stage, its manifest is looked up and deleted, and that is all.
#[tokio::test]
async fn a_stage_is_deleted_by_two_requests() {
    let Some(registry) = Registry::start() else { return };
    let world = World::new(registry.host());
    for number in 0..30 {
        let stage = world.stage(&format!("stage {number}"), 50, None, &[]).await;
        world.record(number, stage).await;
    }
    let requests = || registry.server().log().matches("response completed").count();
    let before = requests();
    let done = world.run(&[], Wanted::default()).await;
    assert_eq!(done.removed.len(), 60);
    let asked = requests() - before;
    // Two for a stage, one for a record; the rest is what the repository as a whole takes.
    assert!(asked <= 30 * 3 + 20, "{asked} requests");
}

/// A tag that comes back after it was deleted, because somebody was about to write it, is deleted again.
#[tokio::test]
async fn a_second_look_deletes_what_came_back() {
    let Some(registry) = Registry::start() else { return };
    let world = World::new(registry.host());
    let (back, gone) = (world.stage("back", 50, None, &[]).await, world.stage("gone", 50, None, &[]).await);
    let late = world.lab.client.manifest(&world.lab.repo, &back.to_string()).await.unwrap().unwrap();
    let plan = world.plan(&[], Wanted::default()).await.unwrap();
    world.work(&plan).await;
    world.lab.client.put_manifest(&world.lab.repo, &back.to_string(), &late.media_type, late.bytes).await.unwrap();
    assert!(world.tags().await.contains(&back.to_string()));
    let deleted = BTreeSet::from([back, gone]);
    assert_eq!(second_look(&world.place(), &plan.guarded, &deleted).await.unwrap(), deleted);
    assert!(!world.tags().await.contains(&back.to_string()));
}

#[tokio::test]
async fn what_runs_stays_whatever_it_is_called_by() {
    let Some(registry) = Registry::start() else { return };
    let world = World::new(registry.host());
    let (by_tag, by_digest, by_name) = (
        world.stage("by tag", 50, None, &[]).await,
        world.stage("by digest", 50, None, &[]).await,
        world.stage("by name", 50, None, &[]).await,
    );
    let free = world.stage("free", 50, None, &[]).await;
    let head = async |tag: &str| world.lab.client.head_manifest(&world.lab.repo, tag).await.unwrap().unwrap();
    let (digest, named) = (head(&by_digest.to_string()).await, head(&by_name.to_string()).await);
    world.lab.tag(&named, "production").await;
    let used = |selector: &str| InUse { side: Side::Primary, selector: selector.to_owned(), who: "a list".into() };
    let in_use = vec![used(&by_tag.to_string()), used(digest.as_str()), used("production"), used("nothing")];
    let done = world.run(&[], Wanted { in_use, ..Wanted::default() }).await;
    let gone: Vec<String> = done.removed.into_iter().map(|going| going.tag).collect();
    assert_eq!(gone, [free.to_string()]);
}

#[tokio::test]
async fn the_final_repository_is_cleaned_in_pair() {
    let Some(registry) = Registry::start() else { return };
    let world = World::new(registry.host());
    let (kept, gone, runs) = (
        world.stage("kept", 50, None, &[]).await,
        world.stage("gone", 50, None, &[]).await,
        world.stage("runs", 50, None, &[]).await,
    );
    for stage in [kept, gone, runs] {
        let raw = world.lab.client.manifest(&world.lab.repo, &stage.to_string()).await.unwrap().unwrap();
        let manifest = slipway_oci::Manifest::parse(&raw.bytes).unwrap();
        world.lab.client.copy_blobs(&world.lab.repo, &world.last.repo, &manifest).await.unwrap();
        let tag = stage.to_string();
        world.last.client.put_manifest(&world.last.repo, &tag, &raw.media_type, raw.bytes).await.unwrap();
    }
    world.record(1, kept).await;
    let in_use = vec![InUse { side: Side::Final, selector: runs.to_string(), who: "a list".into() }];
    world.run(&[(1, kept)], Wanted { in_use, ..Wanted::default() }).await;
    let left: BTreeSet<String> = world.last.client.tags(&world.last.repo).await.unwrap().into_iter().collect();
    assert_eq!(left, BTreeSet::from([kept.to_string(), runs.to_string()]));
    assert!(world.tags().await.contains(&runs.to_string()), "what runs stays in both");
}

#[tokio::test]
async fn a_repository_of_two_projects_is_left_alone() {
    let Some(registry) = Registry::start() else { return };
    let world = World::new(registry.host());
    let stage = world.stage("one", 50, None, &[]).await;
    world.record(1, stage).await;
    let listed = world.place().list().await.unwrap();
    assert_eq!(world.place().other_project(&listed).await.unwrap(), None);
    world.lab.storage().records("blog").unlisted().add_image("other").await.unwrap();
    let listed = world.place().list().await.unwrap();
    assert_eq!(world.place().other_project(&listed).await.unwrap(), Some("blog".to_owned()));
    // Where no record tells, the labels of a stage that would stay do.
    let other = Place::new(world.lab.client.clone(), world.lab.repo.clone(), "blog", 4);
    let wanted = Wanted { hours: 100, now: NOW, ..Wanted::default() };
    let error = judge((&other, &listed), None, &wanted, &|_| ()).await.unwrap_err().to_string();
    assert!(error.contains("is of project `shop`, not of `blog`"), "{error}");
}

#[tokio::test]
async fn a_purge_leaves_the_tags_of_users() {
    let Some(registry) = Registry::start() else { return };
    let world = World::new(registry.host());
    let stage = world.stage("one", 0, None, &[]).await;
    world.record(1, stage).await;
    let digest = world.lab.client.head_manifest(&world.lab.repo, &stage.to_string()).await.unwrap().unwrap();
    world.lab.tag(&digest, "mine").await;
    let place = world.place();
    let plan = everything((&place, &place.list().await.unwrap()), None, &|_| ()).await.unwrap();
    work((&place, None), &plan, NOW, &|_| ()).await.unwrap();
    assert_eq!(world.tags().await, BTreeSet::from(["mine".to_owned()]));
    assert_eq!(world.lab.client.head_manifest(&world.lab.repo, "mine").await.unwrap(), Some(digest));
}

/// Docker-registry that is not told to delete refuses; it is said what to do.
#[tokio::test]
async fn a_registry_that_does_not_delete_is_named() {
    let fake = crate::fake::Fake::default();
    let tasks = slipway_process::Tasks::new();
    let host = fake.serve(&tasks).await;
    let world = World::new(&host);
    let stage = world.stage("one", 50, None, &[]).await;
    let listed = world.place().list().await.unwrap();
    let wanted = Wanted { now: NOW, ..Wanted::default() };
    let plan = judge((&world.place(), &listed), None, &wanted, &|_| ()).await.unwrap();
    fake.keep_all();
    let error = work((&world.place(), None), &plan, NOW, &|_| ()).await.unwrap_err().to_string();
    assert!(error.contains("deletes neither by digest nor by tag"), "{error}");
    assert!(fake.tags().contains(&stage.to_string()));
}

/// Google deletes no manifest that has tags: first its tag goes, then the manifest, unless another tag leads to it. As a fake, not
/// verified against the service.
#[tokio::test]
async fn a_manifest_goes_after_its_last_tag_where_a_service_wants_that() {
    let fake = crate::fake::Fake::default();
    let tasks = slipway_process::Tasks::new();
    let host = fake.serve(&tasks).await;
    fake.keep_tagged();
    let world = World::at(Vendor::Google, &host);
    let (goes, shared) = (world.stage("goes", 50, None, &[]).await, world.stage("shared", 50, None, &[]).await);
    let head = async |tag: &str| world.lab.client.head_manifest(&world.lab.repo, tag).await.unwrap();
    let (gone, stays) = (head(&goes.to_string()).await.unwrap(), head(&shared.to_string()).await.unwrap());
    world.lab.tag(&stays, "mine").await;
    let place = world.place();
    let listed = place.list().await.unwrap();
    let wanted = Wanted { now: NOW, ..Wanted::default() };
    let plan = judge((&place, &listed), None, &wanted, &|_| ()).await.unwrap();
    let done = work((&place, None), &plan, NOW, &|_| ()).await.unwrap();
    assert_eq!((done.removed.len(), done.failed.len()), (2, 0), "{done:?}");
    let tags = fake.tags();
    assert!(tags.contains(&"mine".to_owned()) && !tags.iter().any(|tag| tag.parse::<StageId>().is_ok()), "{tags:?}");
    let manifests = fake.manifests();
    assert!(manifests.contains(&stays.to_string()) && !manifests.contains(&gone.to_string()), "{manifests:?}");
}

/// What a registry does not delete for the moment is left for the next time, and the others are not tried for ever.
#[tokio::test]
async fn what_is_not_deleted_now_is_deleted_the_next_time() {
    tokio::join!(deleted_later(StatusCode::TOO_MANY_REQUESTS), deleted_later(StatusCode::SERVICE_UNAVAILABLE));
}

async fn deleted_later(answer: StatusCode) {
    let fake = crate::fake::Fake::default();
    let tasks = slipway_process::Tasks::new();
    let host = fake.serve(&tasks).await;
    let world = World::new(&host);
    for number in 0..20 {
        world.stage(&format!("stage {number}"), 50, None, &[]).await;
    }
    let place = Place::new(world.lab.client.clone(), world.lab.repo.clone(), PROJECT, 1);
    let listed = place.list().await.unwrap();
    let wanted = Wanted { now: NOW, ..Wanted::default() };
    let plan = judge((&place, &listed), None, &wanted, &|_| ()).await.unwrap();
    fake.be_busy(Some(answer));
    let done = work((&place, None), &plan, NOW, &|_| ()).await.unwrap();
    assert_eq!((done.removed.len(), done.failed.len()), (0, 20), "{done:?}");
    assert!(
        done.failed[19].1.contains("not tried, as the registry did not take the 8 before"),
        "{:?}",
        done.failed[19]
    );
    assert_eq!(fake.count("DELETE", "/manifests/"), 8 * 6, "each of eight was tried so often");
    fake.be_busy(None);
    let done = work((&place, None), &plan, NOW, &|_| ()).await.unwrap();
    assert_eq!((done.removed.len(), done.failed.len()), (20, 0), "{done:?}");
    assert!(!fake.tags().iter().any(|tag| tag.parse::<StageId>().is_ok()));
}
