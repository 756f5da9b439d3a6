//! The backend on this machine's buildah, with a storage of each test's own.

#[path = "buildah/limits.rs"]
mod limits;
#[path = "buildah/matrix.rs"]
mod matrix;
#[path = "buildah/parts.rs"]
mod parts;

use slipway_backend::{
    BackendError, ContainerBackend as _, ImageBuilder as _, ImageStore as _, Secrets,
    conformance::{self, Harness, archive, build_of, file},
};
use slipway_oci::{ConfigChange, Platform, Repo};
use slipway_parts::Registry;
use tokio::sync::mpsc;

use parts::Buildah;

/// The whole of it takes a minute by itself, most of it for configs, which are written in the same way in every mode: so it
/// is run where it is asked for, and else its shorter part.
#[tokio::test(flavor = "multi_thread")]
async fn the_suite() {
    let Some(buildah) = Buildah::start().await else { return };
    if matrix::is_asked_for() {
        conformance::all(&buildah.backend, &buildah.base).await;
    } else {
        slipway_parts::skip("buildah", "the suite's long part: scripts/test-buildah runs it");
        conformance::workspaces(&buildah.backend, &buildah.base).await;
        conformance::dockerfiles(&buildah.backend, &buildah.base).await;
    }
    buildah.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_the_host_are_mounted() {
    let Some(buildah) = Buildah::start().await else { return };
    let host = tempfile::tempdir().expect("a directory");
    conformance::mounts(&buildah.backend, &buildah.base, host.path()).await;
    buildah.end().await;
}

/// An image goes to a repository and comes from there, with the config that it was given.
#[tokio::test(flavor = "multi_thread")]
async fn images_go_to_a_repository_and_come_back() {
    let Some(buildah) = Buildah::start().await else { return };
    let Some(registry) = Registry::start() else { return };
    let backend = &buildah.backend;
    let harness = Harness::new(backend, &buildah.base);
    let mut workspace = harness.open(Some(&buildah.base)).await;
    workspace.extract(archive(&[file("f", "x")]), "/srv", None, None).await.expect("files go in");
    let healthcheck = Some(slipway_oci::config::Healthcheck { test: vec!["NONE".to_owned()], ..Default::default() });
    let change = ConfigChange { healthcheck, cmd: Some(vec!["a b".to_owned()]), ..ConfigChange::default() };
    let image = workspace.commit(change).await.expect("an image");
    let to = Repo { host: registry.host().to_owned(), path: "made".to_owned() };
    let pushed = backend.push(&image, &to, "attempt").await.expect("a push");
    backend.remove(&image).await.expect("it goes");
    let at = to.at(pushed.manifest);
    let again = backend.pull(&at).await.expect("a pull");
    assert_eq!(again, image, "the config is the same to the last byte");
    assert_eq!(harness.text(&again, "/srv/f").await, "x");
    let lost = to.at(slipway_oci::BlobDigest::of(b"nothing"));
    let gone = backend.pull(&lost).await.expect_err("there is no such image");
    assert!(matches!(gone, BackendError::Gone(_)), "{gone:?}");
    buildah.end().await;
}

/// When the program stumbles over itself, it is asked once more, and a command runs once all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_stumble_ends_nothing() {
    let Some((buildah, place)) = Buildah::stumbling().await else { return };
    let harness = Harness::new(&buildah.backend, &buildah.base);
    let image = harness.built(&buildah.base, &[(1, "echo ran >> /ran")]).await;
    assert_eq!(harness.text(&image, "/ran").await, "ran\n");
    for kind in ["from", "mount", "run", "commit", "pull", "tag"] {
        assert!(place.path().join(format!("stumbling-{kind}")).is_dir(), "it was not asked to {kind}");
    }
    buildah.end().await;
}

/// A process sends no layer to a repository that another one has sent there, wherever its gateway listens.
#[tokio::test(flavor = "multi_thread")]
async fn layers_are_sent_once() {
    let Some(buildah) = Buildah::start().await else { return };
    let Some(registry) = Registry::start() else { return };
    let to = Repo { host: registry.host().to_owned(), path: "made".to_owned() };
    let sent = || registry.server().log().matches("http.request.method=PUT").count();
    // Unlike any other's, for the program remembers layers of all storages.
    let own: String = (0..1000).map(|_| slipway_process::random_id()).collect();
    let harness = Harness::new(&buildah.backend, &buildah.base);
    let below = harness.filled(&[file("below", &own)]).await;
    buildah.backend.push(&below, &to, "attempt").await.expect("a push");
    for turn in ["first", "second"] {
        let (process, gateway) = buildah.again().await;
        let harness = Harness::new(&process, &buildah.base);
        let mut workspace = harness.open(Some(&below)).await;
        workspace.extract(archive(&[file(turn, turn)]), "/", None, None).await.expect("files go in");
        let image = workspace.commit(ConfigChange::default()).await.expect("an image");
        let before = sent();
        process.push(&image, &to, "attempt").await.expect("a push");
        assert_eq!(sent() - before, 3, "a layer, a config and a manifest: {}", registry.server().log());
        process.shut_down().await;
        gateway.shut_down().await;
    }
    buildah.end().await;
}

/// What a command of a Dockerfile may read is in no image and no output, and a build that is given up leaves no container.
#[tokio::test(flavor = "multi_thread")]
async fn dockerfiles_have_secrets_and_leave_nothing() {
    let Some(buildah) = Buildah::start().await else { return };
    let harness = Harness::new(&buildah.backend, &buildah.base);
    let mut secrets = Secrets::none();
    secrets.add("token", b"open-sesame".to_vec());
    let text = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\nRUN --mount=type=secret,id=token echo up; busybox cat /run/secrets/token; echo; while :; do :; done\n";
    let Ok(busybox) = std::fs::read("/bin/busybox") else {
        return slipway_parts::skip("buildah", "there is no busybox to put into an image");
    };
    let context = || parts::context("busybox", &busybox);
    let (logs, mut lines) = mpsc::channel::<Vec<u8>>(16);
    let mut build = build_of(harness.attempt(), text);
    build.secrets = secrets;
    build.platform = Platform::host();
    let said = async {
        let mut all = Vec::new();
        while let Some(line) = lines.recv().await {
            all.push(String::from_utf8_lossy(&line).into_owned());
            if all.iter().any(|line| line == "up") && all.last().is_some_and(|last| last.contains('*')) {
                return all;
            }
        }
        panic!("it ended: {all:?}");
    };
    let said = tokio::select! {
        built = buildah.backend.dockerfile(build, context(), logs) => panic!("{built:?}"),
        said = said => said,
    };
    assert!(said.iter().all(|line| !line.contains("sesame")), "{said:?}");
    buildah.backend.shut_down().await;
    assert_eq!(buildah.containers(), "", "containers are left");
    assert_eq!(buildah.backend.sweep().await.expect("a sweep"), 0);
    buildah.end().await;
}
