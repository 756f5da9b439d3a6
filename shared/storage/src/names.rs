//! The names of records in a repository: werf's tags for managed images, commits and imports.

use slipway_digest::{Checksum, CommitId, StageId};

/// In front of the tag of a managed image.
const MANAGED_IMAGE: &str = "managed-image-";
/// In front of the tag that says which stage an image had at a commit.
pub(crate) const COMMIT: &str = "meta-";
/// In front of the tag of an import's checksum.
const IMPORT: &str = "import-metadata-";
/// In front of the tag that says what a custom tag leads to.
const CUSTOM_TAG: &str = "custom-tag-meta-";
/// In front of the tag of what is noted of an image's stages.
const IMAGE_STAGES: &str = "image-stages-";
/// Longest name of a custom tag in the tag of its record.
const MAX_CUSTOM_TAG: usize = 48;
/// Behind the tag of a rejected stage.
pub const REJECTED_SUFFIX: &str = "-rejected";
/// The longest tag that registries take, in bytes.
const MAX_TAG: usize = 128;
/// What an image without a name is called.
const NAMELESS: &str = "__nameless__";
/// What cannot stand in a tag, and what stands for it.
const ESCAPES: [(&str, &str); 3] = [(" ", "__space__"), ("/", "__slash__"), ("+", "__plus__")];

/// The tag that says which final repository is used with this one.
pub const FINAL_REPO: &str = "slipway-final-repo";
/// The tag that says whose stages these are.
pub const PROJECT: &str = "slipway-project";
/// The tag that is moved whenever stages have changed, so that builds know whether a listing is still true.
pub const INDEX: &str = "slipway-index";

/// The tag that says when the repository was cleaned up last.
pub const CLEANUP: &str = "cleanup";

/// Whether a tag is one of ours that is no stage.
pub fn is_record(tag: &str) -> bool {
    [FINAL_REPO, INDEX, PROJECT, CLEANUP].contains(&tag)
        || [MANAGED_IMAGE, COMMIT, IMPORT, CUSTOM_TAG, IMAGE_STAGES].iter().any(|prefix| tag.starts_with(prefix))
}

/// The tag that says "this project has or had an image of this name".
pub fn managed_image(image: &str) -> String {
    format!("{MANAGED_IMAGE}{}", managed_id(image))
}

/// The image of which a tag says that the project has or had it; `None` when it says something else. Of a name that fits
/// no tag, what stands for it.
pub fn managed_name(tag: &str) -> Option<String> {
    let id = tag.strip_prefix(MANAGED_IMAGE)?;
    if id == NAMELESS {
        return Some(String::new());
    }
    Some(ESCAPES.iter().fold(id.to_owned(), |name, (to, from)| name.replace(from, to)))
}

/// The tag that says "at this commit the image was this stage".
pub fn image_commit(image: &str, commit: CommitId, stage: StageId) -> String {
    format!("{COMMIT}{}_{commit}_{stage}", metadata_id(image))
}

/// The commit and the stage that a tag tells of an image; `None` when it tells something else.
pub fn commit_of(tag: &str, image: &str) -> Option<(CommitId, StageId)> {
    let rest = tag.strip_prefix(COMMIT)?.strip_prefix(&metadata_id(image))?.strip_prefix('_')?;
    let (commit, stage) = rest.split_once('_')?;
    Some((commit.parse().ok()?, stage.parse().ok()?))
}

/// What a tag tells of an image at a commit: what stands for the image's name, the commit and the stage; `None` when it
/// tells something else.
pub(crate) fn commit_record(tag: &str) -> Option<(u32, CommitId, StageId)> {
    let mut words = tag.strip_prefix(COMMIT)?.splitn(3, '_');
    let (image, commit, stage) = (words.next()?, words.next()?, words.next()?);
    let number = u32::from_str_radix(image, 16).ok().filter(|number| format!("{number:x}") == image)?;
    Some((number, commit.parse().ok()?, stage.parse().ok()?))
}

/// The tag that tells that.
pub(crate) fn commit_tag(image: u32, commit: CommitId, stage: StageId) -> String {
    format!("{COMMIT}{image:x}_{commit}_{stage}")
}

/// What stands for an image's name in the tags of its commits.
pub(crate) fn image_number(image: &str) -> u32 {
    u32::from_str_radix(&metadata_id(image), 16).unwrap_or_default()
}

/// Whether a tag is that of a record about a custom tag.
pub(crate) fn is_custom_record(tag: &str) -> bool {
    tag.starts_with(CUSTOM_TAG)
}

/// Whether a tag is that of a note of an image's stages.
pub(crate) fn is_image_note(tag: &str) -> bool {
    tag.starts_with(IMAGE_STAGES)
}

/// Whether a tag is that of an import's checksum.
pub(crate) fn is_import(tag: &str) -> bool {
    tag.starts_with(IMPORT)
}

/// The tag of an import's checksum.
pub fn import(id: &str) -> String {
    format!("{IMPORT}{id}")
}

/// The tag of what is noted of an image's stages.
pub fn image_stages(key: &Checksum) -> String {
    format!("{IMAGE_STAGES}{key}")
}

/// The tag that marks a stage as rejected.
pub fn rejected(stage: StageId) -> String {
    format!("{stage}{REJECTED_SUFFIX}")
}

/// The tag that says what a custom tag leads to.
pub fn custom_tag(tag: &str) -> String {
    format!("{CUSTOM_TAG}{}", slug_within(tag, MAX_CUSTOM_TAG))
}

/// Whether users may give this tag: it is one, and neither a stage's nor a record's.
pub fn is_custom(tag: &str) -> bool {
    let of_stage = tag.strip_suffix(REJECTED_SUFFIX).unwrap_or(tag).parse::<StageId>().is_ok();
    is_tag(tag) && !is_record(tag) && !of_stage
}

/// An image's name as it can stand in a tag.
fn managed_id(image: &str) -> String {
    if image.is_empty() {
        return NAMELESS.to_owned();
    }
    let escaped = ESCAPES.iter().fold(image.to_owned(), |name, (from, to)| name.replace(from, to));
    let room = MAX_TAG - MANAGED_IMAGE.len();
    if is_tag(&escaped) && escaped.len() <= room { escaped } else { limited_slug(&escaped, room) }
}

/// An image's name in the tags of its commits. It is a hash of the name as it reads back from the managed image's tag.
fn metadata_id(image: &str) -> String {
    let managed = managed_id(image);
    if managed == NAMELESS {
        return format!("{:x}", murmur3(b""));
    }
    let name = ESCAPES.iter().fold(managed, |name, (to, from)| name.replace(from, to));
    format!("{:x}", murmur3(name.as_bytes()))
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut bytes = text.bytes();
    bytes.next().is_some_and(word) && bytes.all(|byte| word(byte) || b".-".contains(&byte)) && text.len() <= MAX_TAG
}

/// Longest slug of a name.
const MAX_SLUG: usize = 42;

/// A name in lower-case letters, digits and dashes: itself where it is that already, and short enough.
pub fn slug(name: &str) -> String {
    slug_within(name, MAX_SLUG)
}

/// The same with at most `room` bytes.
fn slug_within(name: &str, room: usize) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let clean = name.bytes().all(plain) && !name.starts_with('-') && !name.ends_with('-') && !name.contains("--");
    if clean && name.len() <= room { name.to_owned() } else { limited_slug(name, room) }
}

/// A name as it can be a tag: itself where it is one already.
pub fn docker_tag_slug(name: &str) -> String {
    if is_tag(name) { name.to_owned() } else { limited_slug(name, MAX_TAG) }
}

/// Longest name of a namespace of Kubernetes.
const MAX_NAMESPACE: usize = 63;
/// Longest name of a release of Helm.
const MAX_RELEASE: usize = 53;

/// A name as it can be a namespace of Kubernetes: itself where it is one already.
pub fn kubernetes_namespace(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = name.bytes().all(|byte| plain(byte) || byte == b'-');
    let ends = [name.bytes().next(), name.bytes().last()].iter().all(|end| end.is_some_and(plain));
    if inner && ends && name.len() <= MAX_NAMESPACE { name.to_owned() } else { limited_slug(name, MAX_NAMESPACE) }
}

/// A name as it can be a release of Helm: itself where it is one already.
pub fn helm_release(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = name.bytes().all(|byte| plain(byte) || b"-.".contains(&byte));
    let ends = [name.bytes().next(), name.bytes().last()].iter().all(|end| end.is_some_and(plain));
    if inner && ends && name.len() <= MAX_RELEASE { name.to_owned() } else { limited_slug(name, MAX_RELEASE) }
}

/// Lower-case letters, digits and single dashes, with the hash of the whole text behind: at most `room` bytes.
fn limited_slug(text: &str, room: usize) -> String {
    let hash = format!("{:x}", murmur3(text.as_bytes()));
    let plain: String = text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let mut slug = plain.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
    slug.truncate(room.saturating_sub(hash.len() + 1));
    if slug.is_empty() { hash } else { format!("{slug}-{hash}") }
}

/// Murmur3 of 32 bits with seed 0.
fn murmur3(bytes: &[u8]) -> u32 {
    let scramble = |block: u32| block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let number = |block: &[u8]| block.iter().rev().fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
    let blocks = bytes.chunks_exact(4);
    let tail = blocks.remainder();
    let mut hash = blocks.fold(0_u32, |hash, block| {
        let mixed = hash ^ scramble(number(block));
        mixed.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
    });
    hash ^= scramble(number(tail));
    // The algorithm counts the length modulo 2^32.
    hash ^= bytes.len() as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_digest::{Encoder, Millis, StageDigest};

    #[test]
    fn image_ids_are_werfs() {
        let table = [("app", "798e6f97"), ("backend", "27dba8ed"), ("group/app", "b1cace51"), ("", "0")];
        for (image, id) in table {
            assert_eq!(metadata_id(image), id, "{image}");
        }
    }

    #[test]
    fn managed_images_are_named_as_by_werf() {
        let table = [
            ("app", "managed-image-app"),
            ("group/app", "managed-image-group__slash__app"),
            ("a b+c", "managed-image-a__space__b__plus__c"),
            ("", "managed-image-__nameless__"),
            ("App_1.2-x", "managed-image-App_1.2-x"),
        ];
        for (image, tag) in table {
            assert_eq!(managed_image(image), tag);
            assert_eq!(managed_name(tag).as_deref(), Some(image));
        }
    }

    #[test]
    fn slugs_keep_what_is_plain() {
        assert_eq!((slug("app"), slug("a-1")), ("app".to_owned(), "a-1".to_owned()));
        assert_eq!(slug("group/app"), "group-app-b1cace51");
        for name in ["App", "a--b", "-a", "a-", "a.b", &"x".repeat(43), "имя"] {
            let slug = slug(name);
            assert!(
                slug != name && slug.len() <= MAX_SLUG && slug.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
                "{slug}"
            );
        }
        assert_eq!(
            (docker_tag_slug("App_1.x"), docker_tag_slug("group/app")),
            ("App_1.x".to_owned(), "group-app-b1cace51".to_owned())
        );
        assert!(docker_tag_slug(&"x".repeat(200)).len() <= MAX_TAG);
    }

    #[test]
    fn namespaces_and_releases_stay_or_are_made_fit() {
        assert_eq!((kubernetes_namespace("shop-1"), helm_release("shop.v1")), ("shop-1".into(), "shop.v1".into()));
        assert_eq!(kubernetes_namespace("group/app"), "group-app-b1cace51");
        for name in ["Shop", "-a", "a-", "a_b", "a b", &"x".repeat(64), "имя"] {
            for (made, longest) in [(kubernetes_namespace(name), 63), (helm_release(name), 53)] {
                assert!(made != name && made.len() <= longest && !made.starts_with('-'), "{made}");
            }
        }
    }

    #[test]
    fn names_that_fit_no_tag_still_differ() {
        let long = "x".repeat(200);
        let images = [&long, &format!("{long}y"), "имя", "другое", "a:b", "a;b", ".a", "-"];
        let tags: std::collections::BTreeSet<String> = images.iter().map(|image| managed_image(image)).collect();
        assert_eq!(tags.len(), images.len());
        for tag in tags {
            assert!(is_tag(&tag) && is_record(&tag), "{tag}");
        }
    }

    #[test]
    fn every_tag_is_short_enough() {
        let digest = StageDigest(Encoder::new("stage").finish());
        let stage = StageId { digest, stamp: Millis(1_700_000_000_000) };
        let tag = image_commit("app", CommitId([0xab; 20]), stage);
        assert_eq!(tag, format!("meta-798e6f97_{}_{digest}-1700000000000", "ab".repeat(20)));
        assert_eq!(commit_of(&tag, "app"), Some((CommitId([0xab; 20]), stage)));
        assert_eq!((commit_of(&tag, "web"), commit_of("managed-image-app", "app")), (None, None));
        assert!(is_tag(&tag) && is_tag(&rejected(stage)) && is_tag(&import(&digest.to_string())));
    }
}
