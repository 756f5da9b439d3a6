//! Pushes by dockerd.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, StatusCode};
use slipway_backend::{BackendError, ImageLink as _, Pushed};
use slipway_gateway::ATTEMPT_ANNOTATION;
use slipway_oci::{ImageConfig, Manifest, manifest};
use slipway_parts::{Part, require};

use crate::{engine::Image, harness::Scene};

const MIB: usize = 1 << 20;

async fn push(scene: &Scene, image: &Image, path: &str, attempt: &str) -> Pushed {
    let door = scene.gateway.push_door(&scene.repo(path), attempt).await.unwrap();
    let output = image.push(&door.reference()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    door.pushed().await.unwrap()
}

fn is_upload_end(method: &Method, path: &str) -> bool {
    *method == Method::PUT && path.contains("/blobs/uploads/")
}

fn is_mount(method: &Method, path: &str) -> bool {
    *method == Method::POST && path.contains("mount=")
}

#[tokio::test]
async fn an_image_goes_up_whole_untagged_and_annotated() {
    let Some(scene) = Scene::new().await else { return };
    if !require(&[Part::Docker]) {
        return;
    }
    let base = Image::base(9 * MIB).await;
    let image = base.child(1000).await;
    let pushed = push(&scene, &image, "group/app", "attempt-1").await;

    let repo = scene.direct("group/app");
    assert_eq!(scene.registry.tags(&repo).await.unwrap(), [""; 0]);
    let raw = scene.registry.manifest(&repo, pushed.manifest.as_str()).await.unwrap().expect("stored by its digest");
    assert_eq!(raw.media_type, manifest::OCI_MANIFEST);
    let document = Manifest::parse(&raw.bytes).unwrap();
    assert_eq!(document.media_type.as_deref(), Some(manifest::OCI_MANIFEST));
    assert_eq!(document.annotations[ATTEMPT_ANNOTATION], "attempt-1");
    assert_eq!(document.config.digest, image.id);
    assert_eq!(document.config.media_type, manifest::OCI_CONFIG);
    assert_eq!(document.layers.len(), 2);
    let mut size = 0;
    for blob in std::iter::once(&document.config).chain(&document.layers) {
        assert_eq!(scene.registry.head_blob(&repo, &blob.digest).await.unwrap(), Some(blob.size));
        size += blob.size;
    }
    assert_eq!(pushed.size, size);
    assert!(document.layers.iter().all(|layer| layer.media_type == manifest::OCI_LAYER_GZIP));
    let config = scene.registry.blob(&repo, &document.config.digest).await.unwrap();
    let config: ImageConfig = serde_json::from_slice(&config).unwrap();
    assert_eq!(config.rootfs.diff_ids.len(), 2);

    let again = push(&scene, &image, "group/app", "attempt-2").await;
    assert_ne!(again.manifest, pushed.manifest, "no two attempts share a manifest");
}

#[tokio::test]
async fn what_the_registry_has_is_not_uploaded_again() {
    let Some(scene) = Scene::new().await else { return };
    if !require(&[Part::Docker]) {
        return;
    }
    let base = Image::base(5 * MIB).await;
    push(&scene, &base, "base", "a").await;
    assert_eq!(scene.proxy.count(is_upload_end), 2, "config and layer");

    scene.proxy.reset();
    let first = base.child(1000).await;
    push(&scene, &first, "group/app", "b").await;
    assert_eq!(scene.proxy.count(is_mount), 1, "the base's layer is mounted");
    assert_eq!(scene.proxy.count(is_upload_end), 2, "config and the layer on top");

    scene.proxy.reset();
    let second = first.child(1000).await;
    push(&scene, &second, "group/app", "c").await;
    assert_eq!(scene.proxy.count(is_mount), 0);
    assert_eq!(scene.proxy.count(is_upload_end), 2, "config and the layer on top");
    let heads = scene.proxy.count(|method, path| *method == Method::HEAD && path.contains("/blobs/"));
    assert_eq!(heads, 2 + 4, "one before each upload at most, one per blob to verify; none for what is known");
}

#[tokio::test]
async fn passing_troubles_of_the_registry_are_absorbed() {
    let Some(scene) = Scene::new().await else { return };
    if !require(&[Part::Docker]) {
        return;
    }
    let image = Image::base(9 * MIB).await;
    let (starts, parts, ends) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    scene.proxy.set_rule(move |method, path| {
        let counter = match *method {
            Method::POST => &starts,
            Method::PATCH => &parts,
            Method::PUT if path.contains("/manifests/") => &ends,
            _ => return None,
        };
        (counter.fetch_add(1, Ordering::SeqCst) < 2).then_some((StatusCode::SERVICE_UNAVAILABLE, ""))
    });
    let pushed = push(&scene, &image, "app", "a").await;
    let there = scene.registry.head_manifest(&scene.direct("app"), pushed.manifest.as_str()).await.unwrap();
    assert_eq!(there, Some(pushed.manifest));
}

#[tokio::test]
async fn a_final_refusal_ends_the_push_at_once_and_is_told() {
    let Some(scene) = Scene::new().await else { return };
    if !require(&[Part::Docker]) {
        return;
    }
    let image = Image::base(9 * MIB).await.child(1000).await;
    for refused in [Method::POST, Method::PATCH, Method::PUT] {
        scene.proxy.reset();
        let method = refused.clone();
        scene.proxy.set_rule(move |asked, path| {
            let body = r#"{"errors":[{"code":"DENIED","message":"the quota of this project is used up"}]}"#;
            (*asked == method && path.contains("/blobs/uploads/")).then_some((StatusCode::FORBIDDEN, body))
        });
        let door = scene.gateway.push_door(&scene.repo(&format!("r{refused}").to_lowercase()), "a").await.unwrap();
        let output = image.push(&door.reference()).await;
        assert!(!output.status.success());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("quota of this project"), "{refused}: {told}");
        match door.pushed().await {
            Err(BackendError::Refused(why)) => assert!(why.contains("quota of this project"), "{why}"),
            other => panic!("{refused}: {other:?}"),
        }
        let tries = scene.proxy.count(|method, path| *method == refused && path.contains("/blobs/uploads/"));
        assert!(tries <= 3, "{refused}: {tries} requests for three blobs: the engine tried again");
    }
}

#[tokio::test]
async fn blobs_that_vanish_before_the_end_are_uploaded_by_the_next_try() {
    let Some(scene) = Scene::new().await else { return };
    if !require(&[Part::Docker]) {
        return;
    }
    let image = Image::base(1000).await;
    let door = scene.gateway.push_door(&scene.repo("app"), "a").await.unwrap();
    assert!(image.push(&door.reference()).await.status.success());
    scene.proxy.set_rule(|method, path| {
        (*method == Method::HEAD && path.contains("/blobs/")).then_some((StatusCode::NOT_FOUND, ""))
    });
    match door.pushed().await {
        Err(error @ BackendError::Engine(_)) => {
            assert!(error.is_retryable() && error.to_string().contains("has no blob"))
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(scene.proxy.count(|method, path| *method == Method::PUT && path.contains("/manifests/")), 0);
    scene.proxy.set_rule(|_, _| None);
    push(&scene, &image, "app", "b").await;
}
