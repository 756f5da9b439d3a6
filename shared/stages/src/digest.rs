//! Which fields make a stage's digest. Specified in `docs/reference/digest.md`; every change is a new scheme.

use std::collections::BTreeMap;

use slipway_config::{GitMapping, GitRevision};
use slipway_digest::{Checksum, Encoder, StageDigest, StageId};
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

/// The tag of what leads to an image for several platforms, over the tags of its images, whatever their order.
pub fn index<'a>(images: impl IntoIterator<Item = (&'a Platform, &'a StageId)>) -> Checksum {
    let images: BTreeMap<String, String> =
        images.into_iter().map(|(platform, id)| (platform.to_string(), id.to_string())).collect();
    let pair = |encoder: Encoder, (platform, id): (&String, &String)| encoder.text(platform).text(id);
    Encoder::new("index").list(images.iter(), pair).finish()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_called_after_its_images_whatever_their_order() {
        let id =
            |last: u8| format!("{}-158978606377{last}", "9f3a82975136d66d04ebcb9ce90b14428077099417b6c170e2ef2fef");
        let image = |platform: &str, last: u8| -> (Platform, StageId) {
            (platform.parse().expect("a platform"), id(last).parse().expect("a stage"))
        };
        let tag =
            |images: &[(Platform, StageId)]| index(images.iter().map(|(platform, id)| (platform, id))).to_string();
        let (one, two) = (image("linux/amd64", 1), image("linux/arm64", 2));
        let both = tag(&[two.clone(), one.clone()]);
        assert_eq!(both, "bbeac507f7846fb69ad499485bba4e93354f56acabab9bc4210697b7");
        assert_eq!(both, tag(&[one.clone(), two.clone()]));
        assert_ne!(both, tag(&[(one.0, two.1), (two.0, one.1)]), "which is which counts");
    }
}
