//! The push side of the protocol, by hand: what engines other than dockerd do, and what none should.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use slipway_backend::{BackendError, Door, ImageLink as _};
use slipway_gateway::Options;
use slipway_oci::{BlobDigest, manifest};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{engine::noise, harness::Scene};

async fn start(scene: &Scene, door: &dyn Door) -> reqwest::Url {
    let url = format!("{}/blobs/uploads/", Scene::url(&door.reference()));
    let answer = scene.http.post(url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    Scene::location(&answer)
}

async fn end(scene: &Scene, upload: &reqwest::Url, digest: &BlobDigest, body: Vec<u8>) -> reqwest::Response {
    scene.http.put(upload.clone()).query(&[("digest", digest.as_str())]).body(body).send().await.unwrap()
}

async fn patch(scene: &Scene, upload: &reqwest::Url, range: Option<&str>, body: Vec<u8>) -> u16 {
    let mut request = scene.http.patch(upload.clone()).body(body);
    if let Some(range) = range {
        request = request.header("content-range", range);
    }
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn blobs_come_in_every_way_the_protocol_knows() {
    let Some(scene) = Scene::new().await else { return };
    let door = scene.gateway.push_door(&scene.repo("app"), "a").await.unwrap();
    let base = Scene::url(&door.reference());
    let repo = scene.direct("app");
    // One that fits a chunk, and one that does not.
    for size in [0, 100, 9 << 20] {
        let blobs = [noise(size), noise(size), noise(size)];
        let digests = blobs.each_ref().map(|blob| BlobDigest::of(blob));

        let upload = start(&scene, &*door).await;
        let answer = end(&scene, &upload, &digests[0], blobs[0].clone()).await;
        assert_eq!(answer.status(), StatusCode::CREATED, "one PUT");
        assert_eq!(answer.headers()["docker-content-digest"], digests[0].as_str());

        let url = format!("{base}/blobs/uploads/");
        let posted = scene.http.post(url).query(&[("digest", digests[1].as_str())]).body(blobs[1].clone());
        assert_eq!(posted.send().await.unwrap().status(), StatusCode::CREATED, "one POST");

        let upload = start(&scene, &*door).await;
        let (first, second) = blobs[2].split_at(size / 3);
        let told = |first: usize, length: usize| format!("{first}-{}", (first + length).saturating_sub(1));
        assert_eq!(patch(&scene, &upload, Some(&told(0, first.len())), first.to_vec()).await, 202);
        let status = scene.http.get(upload.clone()).send().await.unwrap();
        assert_eq!(status.headers()["range"], told(0, first.len()).as_str());
        assert_eq!(patch(&scene, &upload, Some("99999999-"), second.to_vec()).await, 416, "a gap");
        assert_eq!(patch(&scene, &upload, None, second.to_vec()).await, 202);
        assert_eq!(end(&scene, &upload, &digests[2], Vec::new()).await.status(), StatusCode::CREATED, "chunks");

        for (digest, blob) in digests.iter().zip(&blobs) {
            assert_eq!(scene.registry.head_blob(&repo, digest).await.unwrap(), Some(blob.len() as u64));
            let head = scene.http.head(format!("{base}/blobs/{digest}")).send().await.unwrap();
            assert_eq!(head.headers()["content-length"], blob.len().to_string().as_str());
        }
    }
}

#[tokio::test]
async fn a_blob_of_another_repository_is_mounted() {
    let Some(scene) = Scene::new().await else { return };
    let layer = noise(1000);
    let digest = BlobDigest::of(&layer);
    let (image, _) = scene.store("bases/one", std::slice::from_ref(&layer)).await;
    let target = scene.direct("app");
    let door = scene.gateway.push_door(&scene.repo("app"), "a").await.unwrap();
    let base = Scene::url(&door.reference());
    let head = || async { scene.http.head(format!("{base}/blobs/{digest}")).send().await.unwrap().status().as_u16() };
    assert_eq!(head().await, 404, "nobody has seen it");

    let pull = scene.gateway.pull_door(&image).await.unwrap();
    assert_eq!(head().await, 200, "seen through a pull door");
    assert_eq!(scene.registry.head_blob(&target, &digest).await.unwrap(), Some(1000));
    drop(pull);

    let other = scene.gateway.push_door(&scene.repo("other"), "a").await.unwrap();
    let query = [("mount", digest.as_str()), ("from", "0123/whatever")];
    let url = format!("{}/blobs/uploads/", Scene::url(&other.reference()));
    let mounted = scene.http.post(&url).query(&query).send().await.unwrap();
    assert_eq!(mounted.status(), StatusCode::CREATED);
    assert_eq!(scene.registry.head_blob(&scene.direct("other"), &digest).await.unwrap(), Some(1000));
    let unknown = BlobDigest::of(b"unknown");
    let query = [("mount", unknown.as_str()), ("from", "0123/whatever")];
    let refused = scene.http.post(&url).query(&query).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::ACCEPTED, "an upload begins instead");
    assert_eq!(end(&scene, &Scene::location(&refused), &unknown, b"unknown".to_vec()).await.status(), 201);
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let Some(scene) = Scene::new().await else { return };
    let door = scene.gateway.push_door(&scene.repo("app"), "a").await.unwrap();
    let upload = start(&scene, &*door).await;
    let blob = noise(20 << 20);
    let mut connection = TcpStream::connect(scene.gateway.address()).await.unwrap();
    let head = format!("PATCH {} HTTP/1.1\r\nhost: {}\r\n", upload.path(), scene.gateway.address());
    connection.write_all(format!("{head}content-length: {}\r\n\r\n", blob.len()).as_bytes()).await.unwrap();
    connection.write_all(&blob[..9 << 20]).await.unwrap();
    connection.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = connection.read_to_end(&mut rest).await;
    drop(connection);

    let digest = BlobDigest::of(&blob);
    assert_eq!(end(&scene, &upload, &digest, Vec::new()).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(scene.registry.head_blob(&scene.direct("app"), &digest).await.unwrap(), None);
    match door.pushed().await {
        Err(error @ BackendError::Engine(_)) => assert!(error.to_string().contains("sent no manifest"), "{error}"),
        other => panic!("{other:?}"),
    }
    let puts = scene.proxy.count(|method, _| *method == Method::PUT);
    assert_eq!(puts, 0, "neither a blob nor a manifest was ended");

    let cancelled = start(&scene, &*door).await;
    assert_eq!(scene.http.delete(cancelled.clone()).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(patch(&scene, &cancelled, None, vec![1]).await, 404);
}

#[tokio::test]
async fn what_is_wrong_is_refused() {
    let options = Options { blob_bytes: 1000, doors: 2, ..Options::default() };
    let Some(scene) = Scene::with(options).await else { return };
    let door = scene.gateway.push_door(&scene.repo("app"), "a").await.unwrap();
    let base = Scene::url(&door.reference());
    let upload = start(&scene, &*door).await;
    let wrong = end(&scene, &upload, &BlobDigest::of(b"other"), b"bytes".to_vec()).await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    assert!(wrong.text().await.unwrap().contains("DIGEST_INVALID"));
    let upload = start(&scene, &*door).await;
    assert_eq!(scene.http.put(upload).body("x").send().await.unwrap().status(), StatusCode::BAD_REQUEST, "no digest");

    let put = |reference: &str, kind: &'static str, body: Vec<u8>| {
        let request = scene.http.put(format!("{base}/manifests/{reference}"));
        async move { request.header("content-type", kind).body(body).send().await.unwrap().status().as_u16() }
    };
    let (_, document) = scene.store("app", &[noise(10)]).await;
    let good = document.to_bytes();
    let index = slipway_oci::manifest::Index::new(Vec::new()).to_bytes();
    assert_eq!(put("stage", manifest::OCI_INDEX, index).await, 400);
    assert_eq!(put("stage", manifest::OCI_MANIFEST, b"{}".to_vec()).await, 400);
    assert_eq!(put("stage", manifest::OCI_MANIFEST, vec![b' '; (4 << 20) + 1]).await, 400);
    let other = BlobDigest::of(b"other");
    assert_eq!(put(other.as_str(), manifest::OCI_MANIFEST, good.clone()).await, 400);
    assert_eq!(put("stage", manifest::OCI_MANIFEST, good.clone()).await, 201);
    assert_eq!(put("stage", manifest::OCI_MANIFEST, good.clone()).await, 201, "the same again");
    let (_, second) = scene.store("app", &[noise(10)]).await;
    assert_eq!(put("stage", manifest::OCI_MANIFEST, second.to_bytes()).await, 403, "a second image");
    let kept = scene.http.get(format!("{base}/manifests/stage")).send().await.unwrap();
    assert_eq!(kept.bytes().await.unwrap(), good);
    assert!(scene.registry.tags(&scene.direct("app")).await.unwrap().is_empty());
    door.pushed().await.unwrap();

    let upload = start(&scene, &*door).await;
    let large = noise(1001);
    let refused = end(&scene, &upload, &BlobDigest::of(&large), large).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(refused.text().await.unwrap().contains("more than 1000 bytes"));
    assert!(matches!(door.pushed().await, Err(BackendError::Refused(_))), "it cannot succeed any more");
    let posted = scene.http.post(format!("{base}/blobs/uploads/")).send().await.unwrap();
    assert_eq!(posted.status(), StatusCode::FORBIDDEN, "so nothing more is taken");
    for (digest, expected) in [(&document.config.digest, 200), (&BlobDigest::of(b"unknown"), 404)] {
        let head = scene.http.head(format!("{base}/blobs/{digest}")).send().await.unwrap();
        assert_eq!(head.status(), expected, "an engine is to read the reason elsewhere");
    }

    let second = scene.gateway.push_door(&scene.repo("app"), "a").await.unwrap();
    assert!(scene.gateway.push_door(&scene.repo("app"), "a").await.is_err(), "no third door");
    let place = start(&scene, &*second).await;
    drop(second);
    assert_eq!(patch(&scene, &place, None, vec![1]).await, 404, "closed");
    scene.gateway.push_door(&scene.repo("app"), "a").await.unwrap();
}

#[tokio::test]
async fn a_manifest_whose_sizes_are_wrong_is_not_stored() {
    let Some(scene) = Scene::new().await else { return };
    let (_, mut document) = scene.store("app", &[noise(10)]).await;
    document.layers[0].size += 1;
    let door = scene.gateway.push_door(&scene.repo("app"), "a").await.unwrap();
    let url = format!("{}/manifests/stage", Scene::url(&door.reference()));
    let put = scene.http.put(url).header("content-type", manifest::OCI_MANIFEST).body(document.to_bytes());
    assert_eq!(put.send().await.unwrap().status(), StatusCode::CREATED);
    match door.pushed().await {
        Err(BackendError::Refused(why)) => assert!(why.contains("has 11 bytes"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stopped_gateway_takes_no_connections_and_leaves_no_partial_files() {
    let Some(scene) = Scene::new().await else { return };
    let (image, document) = scene.store("app", &[noise(1000)]).await;
    let door = scene.gateway.pull_door(&image).await.unwrap();
    let url = format!("{}/blobs/{}", Scene::url(&door.reference()), document.layers[0].digest);
    let bytes: Bytes = scene.http.get(&url).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(bytes.len(), 1000);
    scene.gateway.shut_down().await;
    // A process that another test is starting may have the listener, too, until it runs its program.
    let closed = async { while TcpStream::connect(scene.gateway.address()).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(60), closed).await.expect("nobody listens any more");
    scene.tasks.shut_down().await;
    let files = std::fs::read_dir(scene.cache.path().join("blobs")).unwrap();
    assert!(files.into_iter().all(|file| !file.unwrap().file_name().to_string_lossy().starts_with("partial-")));
}
