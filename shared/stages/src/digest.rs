//! Which fields make a stage's digest. Specified in `docs/reference/digest.md`; every change is a new scheme.

use slipway_config::{GitMapping, GitRevision};
use slipway_digest::{Checksum, Encoder, StageDigest};
use slipway_oci::Platform;

use crate::{kind::StageKind, plan::Commits};

/// The stage below, as far as a digest takes it in.
pub(crate) struct Below<'a> {
    /// Its digest.
    pub digest: &'a StageDigest,
    /// Its commits, for a stage that holds sources; else empty.
    pub commits: &'a Commits,
}

/// The digest of a stage: what it is, what it depends on, and what it stands on.
pub(crate) fn stage(
    platform: &Platform,
    kind: StageKind,
    dependencies: &Checksum,
    below: Option<&Below<'_>>,
) -> StageDigest {
    let checksum = Encoder::new("stage")
        .text(&platform.to_string())
        .text(kind.name())
        .checksum(dependencies)
        .optional(below, |encoder, below| commits(encoder.checksum(&below.digest.0), below.commits))
        .finish();
    StageDigest(checksum)
}

/// What users of a stage take into their digests instead of the stage's own: its digest and its commits.
pub(crate) fn content(platform: &Platform, kind: StageKind, digest: &StageDigest, held: &Commits) -> Checksum {
    let encoder = Encoder::new("content").text(&platform.to_string()).text(kind.name()).checksum(&digest.0);
    commits(encoder, held).finish()
}

/// The key of a git mapping: its parameters. A stage's commits are kept under these keys. Of another repository its short
/// name counts, and what names the commit there.
pub(crate) fn mapping_key(mapping: &GitMapping) -> String {
    let encoder = match &mapping.remote {
        None => Encoder::new("mapping").text("own"),
        Some(remote) => {
            let (kind, name) = match &remote.revision {
                GitRevision::Default => ("default", ""),
                GitRevision::Branch(name) => ("branch", name.as_str()),
                GitRevision::Tag(name) => ("tag", name.as_str()),
                GitRevision::Commit(id) => ("commit", id.as_str()),
            };
            Encoder::new("mapping").text("remote").text(&remote.name).text(kind).text(name)
        }
    };
    let checksum = encoder
        .text(&mapping.to)
        .bytes(mapping.add.as_bytes())
        .texts(&mapping.include)
        .texts(&mapping.exclude)
        .optional(mapping.owner.as_deref(), Encoder::text)
        .optional(mapping.group.as_deref(), Encoder::text)
        .finish();
    checksum.to_string()
}

fn commits(encoder: Encoder, commits: &Commits) -> Encoder {
    encoder.list(commits.iter(), |encoder, (key, commit)| encoder.text(key).commit(commit))
}
