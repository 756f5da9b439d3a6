//! Stages and records in a repository.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use futures::future::join_all;
use slipway_digest::{CommitId, Encoder, Millis, StageId};
use slipway_oci::{
    Descriptor, ImageAt, ImageConfig, Manifest, Repo,
    config::RunConfig,
    manifest::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST},
};
use slipway_parts::Registry;
use slipway_process::Tasks;
use slipway_stages::{ImportInput, ImportedImage, labels};
use slipway_storage::{
    ImportKey, MemoryRecords, MemoryStorage, Records, StageStorage as _, StorageError,
    conformance::{self, Lab as _, at},
};

use crate::{
    fake::Fake,
    lab::{DirectoryLab, MemoryLab},
    registry::{RegistryLab, forget_blob, lab},
};

const NOW: u64 = 1_700_000_000_000;

#[tokio::test]
async fn storages_conform() {
    conformance::check_all(&MemoryLab(MemoryStorage::new("memory")), "memory").await;
    let directory = tempfile::tempdir().unwrap();
    conformance::check_all(&DirectoryLab(directory.path().to_owned()), "directory").await;
    let Some(registry) = Registry::start() else { return };
    conformance::check_all(&lab(&registry, "shop/conformance"), "repo").await;
    conformance::check_all(&lab(&registry, "shop/conformance"), "again").await;
}

#[tokio::test]
async fn a_repository_that_is_not_there_has_no_stages() {
    let Some(registry) = Registry::start() else { return };
    let labels = conformance::labels("stage");
    let storage = lab(&registry, "no/such/repo").storage();
    assert_eq!(storage.find(labels.digest, &labels.platform, false).await.unwrap(), []);
    let nowhere = ImageAt { repo: storage.repo().clone(), digest: slipway_oci::BlobDigest::of(b"") };
    assert!(matches!(storage.verify(&nowhere).await, Err(StorageError::Gone(_))));
}

#[tokio::test]
async fn what_is_no_stage_is_left_out() {
    let Some(registry) = Registry::start() else { return };
    let lab = lab(&registry, "shop/broken");
    let labels = conformance::labels("stage");
    let id = |millis| StageId { digest: labels.digest, stamp: Millis(millis) }.to_string();
    let (unlabelled, _) = lab.image(BTreeMap::new(), "unlabelled").await;
    lab.tag(&unlabelled, &id(NOW)).await;
    let other = lab.upload(&conformance::labels("another"), "another").await;
    lab.tag(&other.at.digest, &id(NOW + 1)).await;
    let (no_config, manifest) = lab.image(labels::write(&labels), "no config").await;
    lab.tag(&no_config, &id(NOW + 2)).await;
    forget_blob(&registry, "shop/broken", &manifest.config.digest);
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[]}}"#);
    lab.client.put_manifest(&lab.repo, &id(NOW + 3), OCI_INDEX, index.into()).await.unwrap();
    let mut newer = labels.clone();
    newer.content = Encoder::new("other content").finish();
    let good = at(&lab.upload(&newer, "good").await, NOW + 4);
    lab.tag(&good.at.digest, &good.id.to_string()).await;
    lab.tag(&good.at.digest, &format!("{}-suffix", id(NOW + 5))).await;
    lab.tag(&good.at.digest, &labels.digest.to_string()).await;
    for fresh in [false, true] {
        let storage = lab.storage();
        for _ in 0..2 {
            let found = storage.find(labels.digest, &labels.platform, fresh).await.unwrap();
            assert_eq!(found, std::slice::from_ref(&good));
        }
        assert_eq!(storage.latest(labels.digest).await.unwrap(), Some(Millis(NOW + 4)));
    }
}

#[tokio::test]
async fn a_rejected_stage_is_not_found_again() {
    let Some(registry) = Registry::start() else { return };
    let lab = lab(&registry, "shop/rejected");
    let (storage, other) = (lab.storage(), lab.storage());
    let labels = conformance::labels("stage");
    let (bad, good) = (at(&lab.upload(&labels, "bad").await, NOW), at(&lab.upload(&labels, "good").await, NOW + 1));
    for stage in [&bad, &good] {
        storage.tag(stage).await.unwrap();
    }
    let records = storage.records("shop");
    assert!(records.reject(bad.id, "a layer is missing").await.unwrap());
    assert!(!records.reject(bad.id, "a layer is missing").await.unwrap());
    assert_eq!(storage.find(labels.digest, &labels.platform, false).await.unwrap(), std::slice::from_ref(&good));
    assert_eq!(other.find(labels.digest, &labels.platform, true).await.unwrap(), [good]);
    let tags = lab.client.tags(&lab.repo).await.unwrap();
    assert!(tags.contains(&format!("{}-rejected", bad.id)), "{tags:?}");
}

#[tokio::test]
async fn an_image_with_a_lost_layer_is_not_verified() {
    let Some(registry) = Registry::start() else { return };
    let lab = lab(&registry, "shop/layers");
    let (digest, manifest) = lab.image(BTreeMap::new(), "one").await;
    let image = ImageAt { repo: lab.repo.clone(), digest };
    let requests = || registry.server().log().matches("http.request.method=").count();
    let before = requests();
    // Who has just stored it has seen the registry take all of it.
    lab.storage().verify(&image).await.unwrap();
    assert_eq!(requests(), before);
    // Others look.
    let storage = self::lab(&registry, "shop/layers").storage();
    storage.verify(&image).await.unwrap();
    let elsewhere = ImageAt { repo: Repo { path: "shop/other".to_owned(), ..lab.repo.clone() }, ..image.clone() };
    assert!(matches!(storage.verify(&elsewhere).await, Err(StorageError::Broken { .. })));
    forget_blob(&registry, "shop/layers", &manifest.layers[0].digest);
    let gone = storage.verify(&image).await.unwrap_err();
    assert!(matches!(&gone, StorageError::Gone(what) if what.contains(manifest.layers[0].digest.as_str())), "{gone}");
}

#[tokio::test]
async fn a_layer_of_several_images_is_looked_for_once() {
    let Some(registry) = Registry::start() else { return };
    let lab = lab(&registry, "shop/shared");
    let mut images = Vec::new();
    let mut layers = Vec::new();
    for (name, layer) in [("one", "same"), ("two", "same"), ("three", "other")] {
        let labels = BTreeMap::from([("name".to_owned(), name.to_owned())]);
        let (digest, manifest) = lab.image(labels, layer).await;
        images.push(ImageAt { repo: lab.repo.clone(), digest });
        layers.push(manifest.layers[0].digest.clone());
    }
    let storage = lab.storage();
    let heads = || registry.server().log().matches("http.request.method=HEAD").count();
    let before = heads();
    assert_eq!(storage.not_whole(&images).await.unwrap(), []);
    // A request may be logged a little later than it is answered.
    assert!(heads() - before <= 2, "two layers, three images");
    forget_blob(&registry, "shop/shared", &layers[2]);
    let nowhere = ImageAt { repo: lab.repo.clone(), digest: slipway_oci::BlobDigest::of(b"") };
    let lost = storage.not_whole(&[images.clone(), vec![nowhere.clone()]].concat()).await.unwrap();
    assert_eq!(lost.iter().map(|(at, _)| at).collect::<Vec<_>>(), [&nowhere, &images[2]]);
    assert!(lost[1].1.contains(layers[2].as_str()), "{lost:?}");
}

/// A fake registry with one stage, and a view of it.
async fn fake_with_a_stage(tasks: &Tasks) -> (Fake, RegistryLab) {
    let fake = Fake::default();
    let labels = conformance::labels("stage");
    let config = ImageConfig {
        config: RunConfig { labels: Some(labels::write(&labels)), ..RunConfig::default() },
        ..ImageConfig::default()
    };
    let config = serde_json::to_vec(&config).unwrap();
    let descriptor = Descriptor {
        media_type: OCI_CONFIG.to_owned(),
        size: config.len() as u64,
        digest: fake.put_blob(config),
        annotations: BTreeMap::new(),
        other: BTreeMap::new(),
    };
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(OCI_MANIFEST.to_owned()),
        config: descriptor,
        layers: vec![],
        annotations: BTreeMap::new(),
    };
    fake.put_tag(&format!("{}-{NOW}", labels.digest), serde_json::to_vec(&manifest).unwrap());
    let address = fake.serve(tasks).await;
    (fake, RegistryLab::new(&address, "shop"))
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_look_ups_are_one_request() {
    let tasks = Tasks::new();
    let (fake, lab) = fake_with_a_stage(&tasks).await;
    let storage = lab.storage();
    let labels = conformance::labels("stage");
    let look = || storage.find(labels.digest, &labels.platform, false);
    let found = join_all((0..50).map(|_| look())).await;
    assert!(found.iter().all(|found| found.as_ref().is_ok_and(|stages| stages.len() == 1)), "{found:?}");
    assert_eq!(
        (fake.count("GET", "/tags/"), fake.count("GET", "/manifests/"), fake.count("GET", "/blobs/")),
        (1, 1, 1)
    );
    let unknown = conformance::labels("unknown");
    let before = fake.all();
    for _ in 0..10 {
        look().await.unwrap();
        assert_eq!(storage.find(unknown.digest, &unknown.platform, false).await.unwrap(), []);
    }
    assert_eq!(fake.all(), before, "what is known costs nothing");
    assert_eq!(storage.find(labels.digest, &labels.platform, true).await.unwrap().len(), 1);
    assert_eq!(
        (fake.count("GET", "/tags/"), fake.count("HEAD", "/manifests/"), fake.count("GET", "/blobs/")),
        (2, 1, 1)
    );
    let fresh = join_all((0..50).map(|_| storage.find(unknown.digest, &unknown.platform, true))).await;
    assert!(fresh.iter().all(Result::is_ok));
    assert!(fake.count("GET", "/tags/") < 25, "{} listings for 50 at once", fake.count("GET", "/tags/"));
    tasks.shut_down().await;
}

#[tokio::test]
async fn a_refusal_says_what_to_do() {
    let tasks = Tasks::new();
    let (fake, lab) = fake_with_a_stage(&tasks).await;
    fake.refuse(StatusCode::FORBIDDEN);
    let labels = conformance::labels("stage");
    let refused = lab.storage().find(labels.digest, &labels.platform, false).await.unwrap_err();
    assert!(matches!(&refused, StorageError::Denied(why) if why.contains("docker login")), "{refused}");
    tasks.shut_down().await;
}

pub(crate) fn input(add: &str, include: &[&str]) -> ImportInput {
    let at = ImageAt {
        repo: Repo { host: String::new(), path: "shop".to_owned() },
        digest: slipway_oci::BlobDigest::of(b""),
    };
    ImportInput {
        image: ImportedImage::Stage {
            id: StageId { digest: conformance::labels("stage").digest, stamp: Millis(NOW) },
            image_id: at.digest.clone(),
            at,
        },
        add: add.to_owned(),
        include: include.iter().map(|glob| (*glob).to_owned()).collect(),
        exclude: vec![],
        to: "/to".to_owned(),
        owner: None,
        group: None,
    }
}

#[test]
fn an_import_is_its_files_and_nothing_else() {
    let content = Encoder::new("content").finish();
    let key = |input: &ImportInput| ImportKey::new(content, input);
    let one = input("/app", &["a", "b"]);
    let same = ImportInput { to: "/other".to_owned(), owner: Some("1".to_owned()), ..input("/app", &["b", "a", "a"]) };
    assert_eq!(key(&one), key(&same));
    let excluding = ImportInput { exclude: one.include.clone(), include: vec![], ..one.clone() };
    for other in [input("/app", &["a"]), input("/ap", &["a", "b"]), input("/app", &["ab"]), excluding] {
        assert_ne!(key(&one), key(&other));
    }
    assert_ne!(key(&one), ImportKey::new(Encoder::new("other").finish(), &one));
}

async fn check_records(records: &dyn Records) {
    let digest = conformance::labels("stage").digest;
    let stage = StageId { digest, stamp: Millis(NOW) };
    for image in ["", "app", "group/app", "a b+c", &"long".repeat(60), "имя"] {
        assert!(records.add_image(image).await.unwrap(), "{image}");
        assert!(!records.add_image(image).await.unwrap(), "{image}");
        assert!(records.add_image_commit(image, CommitId([1; 20]), stage).await.unwrap());
        assert!(records.add_image_commit(image, CommitId([2; 20]), stage).await.unwrap());
        assert!(!records.add_image_commit(image, CommitId([2; 20]), stage).await.unwrap());
    }
    let key = ImportKey::new(Encoder::new("content").finish(), &input("/app", &[]));
    let checksum = Encoder::new("files").finish();
    assert_eq!(records.import(key).await.unwrap(), None);
    assert!(records.add_import(key, Some(stage), checksum).await.unwrap());
    assert_eq!(records.import(key).await.unwrap(), Some(checksum));
    assert!(!records.add_import(key, Some(stage), checksum).await.unwrap());
}

#[tokio::test]
async fn records_are_kept() {
    check_records(&MemoryRecords::default()).await;
    let Some(registry) = Registry::start() else { return };
    let lab = lab(&registry, "shop/records");
    check_records(&lab.storage().records("shop")).await;
    let later = lab.storage().records("shop");
    assert!(!later.add_image("group/app").await.unwrap(), "another process sees what was written");
    let key = ImportKey::new(Encoder::new("content").finish(), &input("/app", &[]));
    assert_eq!(later.import(key).await.unwrap(), Some(Encoder::new("files").finish()));
    let tags = lab.client.tags(&lab.repo).await.unwrap();
    let mut digests = std::collections::BTreeSet::new();
    for tag in &tags {
        digests.insert(lab.client.head_manifest(&lab.repo, tag).await.unwrap().unwrap());
    }
    assert_eq!(digests.len(), tags.len(), "every record is an image of its own");
    assert!(tags.contains(&"managed-image-group__slash__app".to_owned()), "{tags:?}");
    let stage = conformance::labels("stage").digest;
    assert_eq!(lab.storage().find(stage, &conformance::platform("linux/amd64"), false).await.unwrap(), []);
}

#[tokio::test]
async fn a_broken_import_record_is_as_good_as_none() {
    let Some(registry) = Registry::start() else { return };
    let lab = lab(&registry, "shop/imports");
    let key = ImportKey::new(Encoder::new("content").finish(), &input("/app", &[]));
    let writer = lab.storage().records("shop");
    let stage = StageId { digest: conformance::labels("stage").digest, stamp: Millis(NOW) };
    writer.add_import(key, Some(stage), Encoder::new("files").finish()).await.unwrap();
    let tag = lab.client.tags(&lab.repo).await.unwrap().remove(0);
    let (other, _) = lab.image(BTreeMap::new(), "no record").await;
    lab.tag(&other, &tag).await;
    assert_eq!(lab.storage().records("shop").import(key).await.unwrap(), None);
}
