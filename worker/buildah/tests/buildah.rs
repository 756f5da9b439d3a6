//! The backend on this machine's buildah, with a storage of each test's own.

#[path = "buildah/parts.rs"]
mod parts;

use slipway_backend::conformance;

use parts::Buildah;

#[tokio::test(flavor = "multi_thread")]
async fn the_suite() {
    let Some(buildah) = Buildah::start().await else { return };
    conformance::all(&buildah.backend, &buildah.base).await;
    buildah.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_the_host_are_mounted() {
    let Some(buildah) = Buildah::start().await else { return };
    let host = tempfile::tempdir().expect("a directory");
    conformance::mounts(&buildah.backend, &buildah.base, host.path()).await;
    buildah.end().await;
}
