//! Finished images for tests.

use std::time::Duration;

use slipway_config::ImageName;
use slipway_digest::Encoder;
use slipway_oci::{BlobDigest, ImageAt, Platform, Repo};
use slipway_stages::{
    Commits, StageKind, StageRecord,
    build::{BuiltImage, BuiltStage, BuiltTarget, Source},
};

/// The tag of every sample stage, but for its last digit: the stage's number.
pub(crate) const TAG: &str = "9f3a82975136d66d04ebcb9ce90b14428077099417b6c170e2ef2fef-158978606377";

/// A stage in a registry, or in the local storage when `host` is empty.
pub(crate) fn stage(number: u64, host: &str, kind: StageKind, source: Source) -> BuiltStage {
    let bytes = [u8::try_from(number).expect("a small number")];
    let record = StageRecord {
        id: format!("{TAG}{number}").parse().expect("a stage id"),
        platform: Platform { os: "linux".into(), arch: "amd64".into(), variant: None },
        at: ImageAt { repo: Repo { host: host.into(), path: "project".into() }, digest: BlobDigest::of(&bytes) },
        image_id: BlobDigest::of(b"config"),
        commits: Commits::new(),
        content: Encoder::new("sample").finish(),
        parent: None,
        size: number << 20,
    };
    let took = if source == Source::Built { Duration::from_millis(1500) } else { Duration::ZERO };
    BuiltStage { kind, record: record.into(), source, took, base_pulled: source == Source::Built }
}

/// A platform.
pub(crate) fn platform(text: &str) -> Platform {
    text.parse().expect("a platform")
}

/// An image with two names and a stage built now, an artifact, and the nameless image.
pub(crate) fn images() -> Vec<BuiltImage> {
    let host = "127.0.0.1:5000";
    let from = || stage(1, host, StageKind::From, Source::Reused);
    let image = |names: &[&str], artifact: bool, stages: Vec<BuiltStage>| BuiltImage {
        inner: false,
        names: names.iter().map(|name| ImageName((*name).to_owned())).collect(),
        artifact,
        is_final: !artifact,
        platforms: vec![BuiltTarget { platform: platform("linux/amd64"), stages, key: None }],
        index: None,
        final_repo: None,
    };
    vec![
        image(&["app", "web"], false, vec![from(), stage(2, host, StageKind::Setup, Source::Built)]),
        image(&["tools"], true, vec![from()]),
        image(&[""], false, vec![from()]),
    ]
}
