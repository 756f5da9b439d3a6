//! Pulls by dockerd, and by hand.

use futures::future::join_all;
use http::{Method, StatusCode};
use slipway_backend::{BackendError, Door, ImageLink as _};
use slipway_oci::{BlobDigest, Descriptor, ImageAt, manifest};
use slipway_parts::{Part, require};

use crate::{
    engine::{self, Image, docker, docker_ok, noise},
    harness::Scene,
};

fn is_blob_read(method: &Method, path: &str) -> bool {
    *method == Method::GET && path.contains("/blobs/sha256:")
}

async fn get(scene: &Scene, door: &dyn Door, digest: &BlobDigest) -> reqwest::Response {
    scene.http.get(format!("{}/blobs/{digest}", Scene::url(&door.reference()))).send().await.unwrap()
}

#[tokio::test]
async fn an_engine_that_lacks_the_image_pulls_it() {
    let Some(scene) = Scene::new().await else { return };
    if !require(&[Part::Docker]) {
        return;
    }
    let base = Image::base(6 << 20).await;
    let image = base.child(1000).await;
    let door = scene.gateway.push_door(&scene.repo("group/app"), "a").await.unwrap();
    assert!(image.push(&door.reference()).await.status.success());
    let at = ImageAt { repo: scene.repo("group/app"), digest: door.pushed().await.unwrap().manifest };
    let id = image.id.clone();
    drop((image, base));
    for turn in 0..2 {
        assert!(!engine::has(&id).await, "the engine lacks it");
        let door = scene.gateway.pull_door(&at).await.unwrap();
        docker_ok(&["pull", &door.reference()], b"").await;
        assert!(engine::has(&id).await, "turn {turn}");
        docker_ok(&["rmi", &door.reference()], b"").await;
    }
    assert_eq!(scene.proxy.count(is_blob_read), 3, "config and two layers, once");
}

#[tokio::test]
async fn five_pulls_at_once_are_one_fetch() {
    let Some(scene) = Scene::new().await else { return };
    let layer = noise(3 << 20);
    let (image, _) = scene.store("app", std::slice::from_ref(&layer)).await;
    let digest = BlobDigest::of(&layer);
    let pulls = join_all((0..5).map(|_| async {
        let door = scene.gateway.pull_door(&image).await.unwrap();
        get(&scene, &*door, &digest).await.bytes().await.unwrap()
    }));
    assert!(pulls.await.iter().all(|bytes| *bytes == layer));
    assert_eq!(scene.proxy.count(is_blob_read), 1);
}

#[tokio::test]
async fn a_pull_goes_on_where_it_broke_off() {
    let Some(scene) = Scene::new().await else { return };
    let layer = noise(1 << 20);
    let (image, _) = scene.store("app", std::slice::from_ref(&layer)).await;
    let door = scene.gateway.pull_door(&image).await.unwrap();
    let url = format!("{}/blobs/{}", Scene::url(&door.reference()), BlobDigest::of(&layer));
    for turn in ["while it is fetched", "from the cache"] {
        let answer = scene.http.get(&url).header("range", "bytes=1000000-").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT, "{turn}");
        assert_eq!(answer.headers()["content-range"], "bytes 1000000-1048575/1048576");
        assert_eq!(answer.bytes().await.unwrap(), &layer[1_000_000..], "{turn}");
    }
    let beyond = scene.http.get(&url).header("range", "bytes=1048576-").send().await.unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    let head = scene.http.head(&url).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], "1048576");
    assert_eq!(scene.proxy.count(is_blob_read), 1);
}

#[tokio::test]
async fn a_door_leads_to_one_image_only_and_closes() {
    let Some(scene) = Scene::new().await else { return };
    let (image, document) = scene.store("app", &[noise(100)]).await;
    let (other, others) = scene.store("app", &[noise(100)]).await;
    let door = scene.gateway.pull_door(&image).await.unwrap();
    let url = Scene::url(&door.reference());
    assert!(door.reference().ends_with(&format!("/app@{}", image.digest)));
    let own = |path: String| format!("{url}/{path}");
    let status = |url: String| async { scene.http.get(url).send().await.unwrap().status().as_u16() };
    let layer = &document.layers[0].digest;

    let manifest = scene.http.get(own(format!("manifests/{}", image.digest))).send().await.unwrap();
    assert_eq!(manifest.headers()["content-type"], manifest::OCI_MANIFEST);
    assert_eq!(BlobDigest::of(&manifest.bytes().await.unwrap()), image.digest);
    let table = [
        (own(format!("blobs/{layer}")), 200),
        (own(format!("blobs/{}", document.config.digest)), 200),
        (own(format!("blobs/{}", others.layers[0].digest)), 404),
        (own(format!("manifests/{}", other.digest)), 404),
        (own("manifests/latest".to_owned()), 404),
        (own("tags/list".to_owned()), 404),
        (url.replace("/app", "/other") + &format!("/blobs/{layer}"), 404),
        (format!("http://{}/v2/{}/app/blobs/{layer}", scene.gateway.address(), "0".repeat(32)), 404),
        (format!("http://{}/v2/", scene.gateway.address()), 200),
        (format!("http://{}/v2/_catalog", scene.gateway.address()), 404),
    ];
    for (url, expected) in table {
        assert_eq!(status(url.clone()).await, expected, "{url}");
    }
    let posted = scene.http.post(own("blobs/uploads/".to_owned())).send().await.unwrap();
    assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED, "nothing is pushed through a pull door");
    let disguised = scene.http.get(own(format!("blobs/{layer}"))).header("host", "registry.example");
    assert_eq!(disguised.send().await.unwrap().status(), StatusCode::NOT_FOUND);

    drop(door);
    assert_eq!(status(own(format!("blobs/{layer}"))).await, 404, "closed");
    assert_eq!(status(own(format!("manifests/{}", image.digest))).await, 404, "closed");
}

#[tokio::test]
async fn what_cannot_be_pulled_is_told_before_an_engine_tries() {
    let Some(scene) = Scene::new().await else { return };
    let (image, _) = scene.store("app", &[noise(100)]).await;
    let missing = ImageAt { repo: scene.repo("app"), digest: BlobDigest::of(b"nothing") };
    assert!(matches!(scene.gateway.pull_door(&missing).await.err(), Some(BackendError::Gone(_))));

    let entry = Descriptor::new(manifest::OCI_MANIFEST, image.digest.clone(), 1);
    let bytes = slipway_oci::manifest::Index::new(vec![entry]).to_bytes();
    let index = ImageAt { repo: scene.repo("app"), digest: BlobDigest::of(&bytes) };
    let direct = scene.direct("app");
    scene.registry.put_manifest(&direct, index.digest.as_str(), manifest::OCI_INDEX, bytes.into()).await.unwrap();
    match scene.gateway.pull_door(&index).await.err() {
        Some(BackendError::Refused(why)) => assert!(why.contains("index"), "{why}"),
        other => panic!("{other:?}"),
    }

    scene.proxy.set_rule(|_, _| Some((StatusCode::FORBIDDEN, "")));
    assert!(matches!(scene.gateway.pull_door(&image).await.err(), Some(BackendError::Refused(_))));
}

#[tokio::test]
async fn a_final_refusal_ends_the_pull_at_once_and_is_told() {
    let Some(scene) = Scene::new().await else { return };
    if !require(&[Part::Docker]) {
        return;
    }
    let (image, _) = scene.store("app", &[noise(100)]).await;
    scene.proxy.set_rule(|method, path| {
        let body = r#"{"errors":[{"code":"DENIED","message":"this repository is locked"}]}"#;
        is_blob_read(method, path).then_some((StatusCode::FORBIDDEN, body))
    });
    let door = scene.gateway.pull_door(&image).await.unwrap();
    assert!(!docker(&["pull", &door.reference()], b"").await.status.success());
    match door.pushed().await {
        Err(BackendError::Refused(why)) => assert!(why.contains("this repository is locked"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(scene.proxy.count(is_blob_read) <= 2, "config and layer, not again and again");
}

#[tokio::test]
async fn wrong_bytes_never_come_through() {
    let Some(scene) = Scene::new().await else { return };
    let layer = b"right".to_vec();
    let (image, _) = scene.store("app", std::slice::from_ref(&layer)).await;
    let digest = BlobDigest::of(&layer);
    let path = format!("/blobs/{digest}");
    scene.proxy.set_rule(move |method, asked| {
        (*method == Method::GET && asked.ends_with(&path)).then_some((StatusCode::OK, "wrong"))
    });
    let door = scene.gateway.pull_door(&image).await.unwrap();
    let answer = get(&scene, &*door, &digest).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert!(answer.text().await.unwrap().contains("another digest"));
    scene.proxy.set_rule(|_, _| None);
    assert_eq!(get(&scene, &*door, &digest).await.bytes().await.unwrap(), layer, "the registry came to its senses");
}
