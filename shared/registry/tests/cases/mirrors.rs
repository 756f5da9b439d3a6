//! Mirrors in front of a real registry: what comes from them, and what is done when they fail.

use bytes::Bytes;
use http::{Method, StatusCode};
use slipway_oci::{BlobDigest, Platform, Reference, Repo};
use slipway_parts::Registry;
use slipway_registry::{Client, Mirror, Options};

use super::{
    CONFIG, OCI_MANIFEST, client, download,
    fake::{Act, Fake, broken_off, say},
    manifest, noise, repo, upload,
};

/// A client that pulls from mirrors of `of`.
fn mirrored(of: &Repo, mirrors: &[&str]) -> Client {
    let mirrors = mirrors.iter().map(|host| format!("http://{host}").parse::<Mirror>().unwrap().of(&of.host)).collect();
    Client::new(Options { mirrors, ..Options::default() }).unwrap().pulling()
}

/// An image under `v1` and a blob of some size.
async fn fill(app: &Repo, blob: &Bytes) -> (BlobDigest, BlobDigest) {
    let client = client();
    client.put_blob(app, Bytes::from_static(CONFIG)).await.unwrap();
    let image = client.put_manifest(app, "v1", OCI_MANIFEST, manifest("x")).await.unwrap();
    (image, upload(&client, app, blob).await.unwrap())
}

fn reference(app: &Repo) -> Reference {
    app.tagged("v1").unwrap()
}

fn amd64() -> Platform {
    "linux/amd64".parse().unwrap()
}

#[tokio::test]
async fn the_first_mirror_that_has_an_image_serves() {
    let (Some(origin), Some(filled), Some(empty)) = (Registry::start(), Registry::start(), Registry::start()) else {
        return;
    };
    let before = Fake::before(Some(origin.host()), |_| Act::Pass).await;
    let app = repo(&before.host, "team/app");
    let blob = noise(100_000);
    fill(&repo(origin.host(), "team/app"), &blob).await;
    let (image, digest) = fill(&repo(filled.host(), "team/app"), &blob).await;
    let client = mirrored(&app, &[empty.host(), filled.host()]);
    let found = client.resolve(&reference(&app), &amd64()).await.unwrap().unwrap();
    assert_eq!((found.repo, found.digest), (app.clone(), image));
    assert_eq!(client.blob(&app, &BlobDigest::of(CONFIG)).await.unwrap(), CONFIG);
    assert!(download(&client, &app, &digest).await.unwrap() == blob);
    assert!(before.seen().is_empty(), "{:?}", before.seen());
    // What no mirror has comes from the registry itself, and so does all that is not pulled.
    let (plain, behind) = (super::client(), repo(origin.host(), "team/app"));
    let other = plain.put_manifest(&behind, "v2", OCI_MANIFEST, manifest("y")).await.unwrap();
    assert_eq!(client.manifest(&app, "v2").await.unwrap().unwrap().digest, other);
    assert_eq!(client.head_manifest(&app, "v1").await.unwrap(), Some(BlobDigest::of(&manifest("x"))));
    assert_eq!(client.tags(&app).await.unwrap(), ["v1", "v2"]);
    assert_eq!(before.count(&Method::HEAD, "v1"), 1);
}

#[tokio::test]
async fn mirrors_that_fail_are_left_alone_and_the_registry_serves() {
    let Some(origin) = Registry::start() else { return };
    let app = repo(origin.host(), "team/app");
    let blob = noise(3 << 20);
    let (image, digest) = fill(&app, &blob).await;
    let broken = Fake::start(|_| Act::Answer(say(StatusCode::INTERNAL_SERVER_ERROR, ""))).await;
    let lying = Fake::start(|_| Act::Answer(say(StatusCode::OK, "{}"))).await;
    let closed = "127.0.0.1:1";
    let client = mirrored(&app, &[closed, &broken.host, &lying.host]);
    for _ in 0..3 {
        let found = client.manifest(&app, image.as_str()).await.unwrap().unwrap();
        assert_eq!(found.digest, image);
    }
    assert!(download(&client, &app, &digest).await.unwrap() == blob);
    assert_eq!((broken.seen().len(), lying.seen().len()), (2, 2), "each is tried twice, once and for all");
}

#[tokio::test]
async fn a_blob_that_breaks_off_at_a_mirror_goes_on_at_the_registry() {
    let Some(origin) = Registry::start() else { return };
    let before = Fake::before(Some(origin.host()), |_| Act::Pass).await;
    let app = repo(&before.host, "team/app");
    let blob = noise(1 << 20);
    let (_, digest) = fill(&repo(origin.host(), "team/app"), &blob).await;
    let (whole, given) = (blob.len(), blob.slice(..300_000));
    let cut = Fake::start(move |_| Act::Answer(broken_off(StatusCode::OK, whole, given.clone()))).await;
    let client = mirrored(&app, &[&cut.host]);
    assert!(download(&client, &app, &digest).await.unwrap() == blob);
    assert_eq!(cut.seen().len(), 1);
    let seen = before.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("range"), Some("bytes=300000-"));
}

#[tokio::test]
async fn bytes_that_are_others_make_a_mirror_distrusted() {
    let Some(origin) = Registry::start() else { return };
    let app = repo(origin.host(), "team/app");
    let blob = noise(1000);
    let (_, digest) = fill(&app, &blob).await;
    let spoilt = Fake::start(|_| Act::Answer(say(StatusCode::OK, vec![7_u8; 1000]))).await;
    let client = mirrored(&app, &[&spoilt.host]);
    assert!(download(&client, &app, &digest).await.unwrap() != blob, "streams are for the reader to verify");
    assert!(client.distrust_mirrors(&app, "another digest"));
    assert!(!client.distrust_mirrors(&app, "another digest"), "once is enough");
    assert!(download(&client, &app, &digest).await.unwrap() == blob);
    assert!(!super::client().distrust_mirrors(&app, "x"), "a client without mirrors has nobody to blame");
}

#[tokio::test]
async fn credentials_of_the_registry_are_not_shown_to_its_mirror() {
    let (folder, challenge) = (tempfile::tempdir().unwrap(), [("www-authenticate", "Basic realm=\"x\"")]);
    let nosy = Fake::start(move |_| Act::Answer(super::fake::say_with(StatusCode::UNAUTHORIZED, &challenge, ""))).await;
    let origin = Fake::start(|seen| {
        Act::Answer(match seen.header("authorization") {
            Some(_) => super::fake::say_with(StatusCode::OK, &[("content-type", OCI_MANIFEST)], manifest("x")),
            None => super::fake::say_with(StatusCode::UNAUTHORIZED, &[("www-authenticate", "Basic realm=\"x\"")], ""),
        })
    })
    .await;
    let path = folder.path().join("config.json");
    std::fs::write(&path, format!(r#"{{"auths":{{"{}":{{"auth":"bWU6c2VjcmV0"}}}}}}"#, origin.host)).unwrap();
    let mirrors = vec![format!("http://{}", nosy.host).parse::<Mirror>().unwrap().of(&origin.host)];
    let options = Options { docker_config: Some(path), mirrors, ..Options::default() };
    let client = Client::new(options).unwrap().pulling();
    let app = repo(&origin.host, "team/app");
    assert!(client.manifest(&app, "v1").await.unwrap().is_some());
    assert!(!nosy.seen().is_empty());
    assert!(nosy.seen().iter().all(|seen| seen.header("authorization").is_none()), "{:?}", nosy.seen());
    assert_eq!(origin.seen().last().unwrap().header("authorization"), Some("Basic bWU6c2VjcmV0"));
}
