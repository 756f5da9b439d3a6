//! From what a user wrote to one image: tags to digests, indexes to the manifest for a platform.

use serde::Deserialize;
use slipway_oci::{
    BlobDigest, ImageAt, Platform, Reference,
    manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST},
};

use crate::{Client, RawManifest, RegistryError};

/// Most platforms that a message names.
const NAMED: usize = 20;
/// Indexes within indexes.
const MAX_DEPTH: usize = 4;

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    digest: BlobDigest,
    platform: Option<EntryPlatform>,
    #[serde(rename = "mediaType", default)]
    media_type: String,
}

#[derive(Deserialize)]
struct EntryPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

/// The image that a reference names for a platform; `None` when there is none.
pub(crate) async fn resolve(
    client: &Client,
    reference: &Reference,
    platform: &Platform,
) -> Result<Option<ImageAt>, RegistryError> {
    let repo = &reference.repo;
    let refuse = |why: String| RegistryError::Refused(format!("resolve {repo} for {platform}: {why}"));
    let mut selector = match (&reference.digest, &reference.tag) {
        (Some(digest), _) => digest.to_string(),
        (None, Some(tag)) => tag.clone(),
        (None, None) => "latest".to_owned(),
    };
    for _ in 0..MAX_DEPTH {
        let Some(found) = client.manifest(repo, &selector).await? else { return Ok(None) };
        match kind(&found) {
            Kind::Image => return Ok(Some(ImageAt { repo: repo.clone(), digest: found.digest })),
            Kind::Index => {}
            Kind::Other => {
                return Err(refuse(format!(
                    "`{selector}` is a `{}`, which is no image that we know",
                    found.media_type
                )));
            }
        }
        let index: Index = serde_json::from_slice(&found.bytes)
            .map_err(|error| refuse(format!("the index `{selector}` is malformed ({error})")))?;
        let Some(entry) = choose(&index.manifests, platform) else {
            let has = platforms(&index.manifests);
            let why = format!("the index `{selector}` has no image for this platform; it has images for: {has}");
            return Err(RegistryError::NotFound(format!("resolve {repo} for {platform}: {why}")));
        };
        selector = entry.digest.to_string();
    }
    Err(refuse(format!("more than {MAX_DEPTH} indexes within each other")))
}

enum Kind {
    Image,
    Index,
    Other,
}

fn kind(manifest: &RawManifest) -> Kind {
    #[derive(Deserialize)]
    struct Shape {
        manifests: Option<serde::de::IgnoredAny>,
        config: Option<serde::de::IgnoredAny>,
    }
    match manifest.media_type.as_str() {
        OCI_MANIFEST | DOCKER_MANIFEST => Kind::Image,
        OCI_INDEX | DOCKER_LIST => Kind::Index,
        other if other.starts_with("application/vnd.") => Kind::Other,
        // No type was given; the fields tell.
        _ => match serde_json::from_slice(&manifest.bytes) {
            Ok(Shape { manifests: Some(_), .. }) => Kind::Index,
            Ok(Shape { config: Some(_), .. }) => Kind::Image,
            Ok(Shape { manifests: None, config: None }) | Err(_) => Kind::Other,
        },
    }
}

/// The entry for a platform: the closest variant, and of equals the first. An index within an index, which says no
/// platform, is looked into if nothing else fits.
fn choose<'a>(entries: &'a [Entry], platform: &Platform) -> Option<&'a Entry> {
    let fitting = entries.iter().filter_map(|entry| Some((distance(entry.platform.as_ref()?, platform)?, entry)));
    let best = fitting.min_by_key(|(distance, _)| *distance).map(|(_, entry)| entry);
    let nested =
        |entry: &&Entry| entry.platform.is_none() && matches!(entry.media_type.as_str(), OCI_INDEX | DOCKER_LIST);
    best.or_else(|| entries.iter().find(nested))
}

/// The platforms of an index, for a message.
fn platforms(entries: &[Entry]) -> String {
    let named = |entry: &Entry| {
        let EntryPlatform { os, architecture, variant } = entry.platform.as_ref()?;
        Some(Platform::from_parts(os, architecture, variant.as_deref())?.to_string().escape_debug().to_string())
    };
    let mut all: Vec<String> = entries.iter().filter_map(named).collect();
    let more = all.len().saturating_sub(NAMED);
    all.truncate(NAMED);
    match (all.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => all.join(", "),
        (false, more) => format!("{} and {more} more", all.join(", ")),
    }
}

/// How far an offered platform is from the wanted one; `None` when it would not run there.
fn distance(offered: &EntryPlatform, wanted: &Platform) -> Option<u32> {
    if offered.os != wanted.os || offered.architecture != wanted.arch {
        return None;
    }
    let offered = offered.variant.as_deref().filter(|variant| !variant.is_empty());
    let usual = usual_variant(&wanted.arch);
    match (offered, wanted.variant.as_deref()) {
        (None, None) => Some(0),
        (Some(offered), None) if Some(offered) == usual => Some(1),
        (Some(offered), None) => number(offered).map(|_| 100).or(Some(200)),
        (Some(offered), Some(wanted)) if offered == wanted => Some(0),
        (None, Some(wanted)) if Some(wanted) == usual => Some(1),
        // A processor runs what was built for its predecessors.
        (Some(offered), Some(wanted)) => number(wanted)?.checked_sub(number(offered)?).map(|older| older + 1),
        (None, Some(_)) => Some(50),
    }
}

/// The variant that is meant when none is written.
fn usual_variant(arch: &str) -> Option<&'static str> {
    match arch {
        "arm64" => Some("v8"),
        "arm" => Some("v7"),
        "amd64" => Some("v1"),
        _ => None,
    }
}

fn number(variant: &str) -> Option<u32> {
    variant.strip_prefix('v')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(offered: &[&str], wanted: &str) -> Option<usize> {
        let entries: Vec<Entry> = offered
            .iter()
            .map(|text| {
                let platform: Option<Platform> = text.parse().ok();
                let platform = platform.map(|platform| EntryPlatform {
                    os: platform.os,
                    architecture: platform.arch,
                    variant: platform.variant,
                });
                Entry { digest: BlobDigest::of(text.as_bytes()), platform, media_type: (*text).to_owned() }
            })
            .collect();
        let entry = choose(&entries, &wanted.parse().unwrap())?;
        entries.iter().position(|other| std::ptr::eq(other, entry))
    }

    #[test]
    fn the_closest_platform_is_chosen() {
        let cases: [(&[&str], &str, Option<usize>); 14] = [
            (&["linux/amd64", "linux/arm64"], "linux/arm64", Some(1)),
            (&["linux/amd64"], "linux/arm64", None),
            (&["windows/amd64", "unknown/unknown"], "linux/amd64", None),
            (&["linux/arm64/v8"], "linux/arm64", Some(0)),
            (&["linux/arm64"], "linux/arm64/v8", Some(0)),
            (&["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"], "linux/arm", Some(2)),
            (&["linux/arm/v5", "linux/arm/v6"], "linux/arm/v7", Some(1)),
            (&["linux/arm/v7"], "linux/arm/v6", None),
            (&["linux/arm/v7", "linux/arm/v6"], "linux/arm/v6", Some(1)),
            (&["linux/amd64/v2", "linux/amd64"], "linux/amd64", Some(1)),
            (&["linux/amd64", "linux/amd64"], "linux/amd64", Some(0)),
            (&[OCI_INDEX, "linux/amd64"], "linux/amd64", Some(1)),
            (&["linux/arm64", OCI_INDEX], "linux/amd64", Some(1)),
            (&[], "linux/amd64", None),
        ];
        for (offered, wanted, expected) in cases {
            assert_eq!(chosen(offered, wanted), expected, "{wanted} of {offered:?}");
        }
    }
}
