//! A disk that fills while something is made: it is said, and what was there stays sound.

use std::path::PathBuf;

use slipway_backend::{
    BackendError, ContainerBackend as _, ImageStore as _,
    conformance::{Harness, archive, file},
};
use slipway_layers::{
    codec::{Compression, Press},
    entry::Entry,
    tar::TarWriter,
};
use slipway_oci::{
    BlobDigest, ImageAt, ImageConfig, Platform, Repo,
    config::RootFs,
    manifest::{Descriptor, Manifest, OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST},
};
use slipway_parts::Registry;
use slipway_process::{Environment, child::command};

use crate::parts::{Native, client};

/// Says to the test that its temporary files are on a small disk.
const SMALL: &str = "SLIPWAY_TEST_SMALL_DISK";
/// Runs a program with a disk of 64 MiB at `$0`.
const WITH_DISK: &str = "set -e; mount -t tmpfs -o size=64m none \"$0\"; exec \"$@\"";
/// Bytes that it has no room for.
const LARGE: usize = 100 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_and_spoils_nothing() {
    if Environment::from_process().get(SMALL).is_some() {
        return on_a_small_disk().await;
    }
    if slipway_native::rootless::is_needed() || slipway_native::rootless::is_inside() {
        return slipway_parts::skip("disk", "only root can mount a small one");
    }
    let home = tempfile::tempdir().expect("a directory");
    let own: PathBuf = std::env::current_exe().expect("a program");
    let mut again = command("unshare");
    again.args(["--mount", "--propagation", "private", "sh", "-c", WITH_DISK]).arg(home.path()).arg(own);
    again.args(["--exact", "full::a_full_disk_is_said_and_spoils_nothing"]);
    let ended = again.env(SMALL, "yes").env("TMPDIR", home.path()).status().expect("a run");
    assert!(ended.success(), "{ended}");
}

async fn on_a_small_disk() {
    // The size that the store may have is not what ends it here.
    let Some(native) = Native::with(Some(1 << 40)).await else { return };
    let Some(registry) = Registry::start() else { return };
    let harness = Harness::new(&native.backend, &native.base);
    let below = harness.filled(&[file("below", "sound")]).await;

    let mut workspace = harness.open(Some(&below)).await;
    let large = "x".repeat(LARGE);
    let refused = workspace.extract(archive(&[file("large", &large)]), "/", None, None).await;
    let refused = refused.expect_err("a full disk");
    assert!(matches!(&refused, BackendError::NoSpace(why) if why.contains("put files to /")), "{refused:?}");
    drop(workspace);
    native.emptied().await;

    let mut workspace = harness.open(Some(&below)).await;
    let fill = format!("/.werf/stapel/embedded/bin/busybox dd if=/dev/zero of=/large bs=65536 count={}", LARGE >> 16);
    let (ended, said) = harness.run(workspace.as_mut(), &[(1, &fill)], &[]).await;
    assert!(matches!(ended, Err(BackendError::Command { .. })), "{ended:?}");
    assert!(said.iter().any(|line| line.contains("No space left on device")), "{said:?}");
    drop(workspace);
    native.emptied().await;

    let at = pushed(&registry).await;
    let refused = native.backend.pull(&at).await.expect_err("a full disk");
    assert!(matches!(&refused, BackendError::NoSpace(why) if why.contains("No space left on device")), "{refused:?}");
    native.emptied().await;

    // What was there is there, and more can be made.
    assert_eq!(native.backend.sweep().await.expect("a sweep"), 0);
    let above = Harness::new(&native.backend, &below).filled(&[file("above", "new")]).await;
    assert_eq!(harness.text(&above, "/below").await, "sound");
    assert_eq!(harness.text(&above, "/above").await, "new");
    native.end().await;
}

/// An image whose layer is small on its way and large where it lies.
pub(crate) async fn pushed(registry: &Registry) -> ImageAt {
    let entry = Entry::file(b"large".to_vec(), LARGE as u64);
    let mut writer = TarWriter::new(Vec::new());
    writer.append(&entry, std::io::Read::take(std::io::repeat(0), LARGE as u64)).expect("memory takes it");
    let plain = writer.finish().expect("an archive");
    let mut press = Press::new(Compression::Gzip);
    let pieces = plain.chunks(1 << 20).map(|piece| press.press(piece, Vec::new()).expect("memory takes it"));
    let layer = pieces.collect::<Vec<_>>().concat();
    let platform = Platform::host();
    let config = ImageConfig {
        architecture: platform.arch,
        os: platform.os,
        rootfs: RootFs { kind: "layers".to_owned(), diff_ids: vec![BlobDigest::of(&plain).to_string()] },
        ..ImageConfig::default()
    };
    let config = config.to_bytes();
    let of = |kind: &str, bytes: &[u8]| Descriptor::new(kind, BlobDigest::of(bytes), bytes.len() as u64);
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(OCI_MANIFEST.to_owned()),
        config: of(OCI_CONFIG, &config),
        layers: vec![of(OCI_LAYER_GZIP, &layer)],
        annotations: Default::default(),
    };
    let (client, repo) = (client(), Repo { host: registry.host().to_owned(), path: "large".to_owned() });
    for blob in [config, layer] {
        client.put_blob(&repo, blob.into()).await.expect("a blob");
    }
    let bytes = manifest.to_bytes();
    let digest = BlobDigest::of(&bytes);
    client.put_manifest(&repo, digest.as_str(), OCI_MANIFEST, bytes.into()).await.expect("a manifest");
    ImageAt { repo, digest }
}
