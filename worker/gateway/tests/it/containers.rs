//! Pushes and pulls by the library that buildah, podman and skopeo share.

use std::process::Stdio;

use slipway_backend::ImageLink as _;
use slipway_oci::{ImageAt, Manifest};
use slipway_parts::{Part, require};
use slipway_process::child;

use crate::{engine::Image, harness::Scene};

async fn copy(arguments: &[&str]) {
    let mut command = child::async_command("skopeo");
    command.args(["--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false"]);
    let output = command.args(arguments).stdin(Stdio::null()).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn skopeo_pushes_and_pulls() {
    let Some(scene) = Scene::new().await else { return };
    if !require(&[Part::Docker, Part::Skopeo]) {
        return;
    }
    let image = Image::base(9 << 20).await.child(1000).await;
    let door = scene.gateway.push_door(&scene.repo("app"), "attempt-1").await.unwrap();
    copy(&[&format!("docker-daemon:{}", image.name), &format!("docker://{}", door.reference())]).await;
    let pushed = door.pushed().await.unwrap();

    let repo = scene.direct("app");
    assert!(scene.registry.tags(&repo).await.unwrap().is_empty());
    let raw = scene.registry.manifest(&repo, pushed.manifest.as_str()).await.unwrap().unwrap();
    let document = Manifest::parse(&raw.bytes).unwrap();
    assert_eq!(document.config.digest, image.id);

    let door = scene.gateway.pull_door(&ImageAt { repo: scene.repo("app"), digest: pushed.manifest }).await.unwrap();
    let target = tempfile::tempdir().unwrap();
    copy(&[&format!("docker://{}", door.reference()), &format!("dir:{}", target.path().display())]).await;
    let hex = image.id.as_str().trim_start_matches("sha256:");
    assert!(target.path().join(hex).exists(), "the config came through");
}
