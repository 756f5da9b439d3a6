//! Labels of stage images: how a stage record is written into an image and read back.
//!
//! The names are werf's, with three of our own in front of them. Labels come down from a base image to everything
//! built on it, so a stage says which optional labels are its own ([`OWN`]); the others are its base's and not read.
//! Nothing here differs between two builds of equal inputs and equal stages below: no times, no attempts, no random names.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use slipway_digest::{Checksum, CommitId, StageDigest, StageId};
use slipway_oci::{BlobDigest, ImageAt, Platform};

use crate::{
    plan::{Commits, StageRecord},
    settings::VirtualMerge,
};

/// The project's name.
pub const PROJECT: &str = "werf";
/// Version of the program that built the stage.
pub const VERSION: &str = "werf-version";
/// `false` on every stage: a stage is no image of the project by itself.
pub const IMAGE: &str = "werf-image";
/// The stage's digest.
pub const STAGE_DIGEST: &str = "werf-stage-digest";
/// What users of the stage take into their digests.
pub const CONTENT_DIGEST: &str = "werf-stage-content-digest";
/// The commit that was being built.
pub const REPO_COMMIT: &str = "werf-project-repo-commit";
/// `true` when uncommitted files were built.
pub const DEV: &str = "werf-dev";
/// The stage below.
pub const PARENT: &str = "werf.io/parent-stage-id";
/// Digest of the config of the stage below.
pub const BASE_IMAGE: &str = "werf.io/base-image-id";
/// werf's version of the form of stored stages, [`CACHE_VERSION_VALUE`].
pub const CACHE_VERSION: &str = "werf-cache-version";
/// The form that these labels follow.
pub const CACHE_VERSION_VALUE: &str = "1.2";
/// Before the ID of an import: the stage that its files were taken from.
pub const IMPORT_SOURCE_PREFIX: &str = "werf-import-source-stage-id-";
/// Before the name of a stage: the last stage of an image that `dependencies` name; name and value are the same.
pub const DEPENDENCY_PREFIX: &str = "werf-dependency-stage-id-";
/// The version of the rules that made the digests.
pub const SCHEME: &str = "slipway-digest-scheme";
/// What the stage was built for.
pub const PLATFORM: &str = "slipway-platform";
/// Names of the stage's own optional labels, sorted, with commas between.
pub const OWN: &str = "slipway-own-labels";

const GIT_PREFIX: &str = "werf-git-";
const COMMIT_SUFFIX: &str = "-commit";
const TYPE_SUFFIX: &str = "-type";
const MERGE_SUFFIX: &str = "-virtual-merge";
const MERGE_FROM_SUFFIX: &str = "-virtual-merge-from-commit";
const MERGE_INTO_SUFFIX: &str = "-virtual-merge-into-commit";
const FILE: &str = "file";
const DIRECTORY: &str = "directory";
/// More labels than any stage has of its own.
const MAX_OWN: usize = 10_000;
/// Longer than any label of ours but the list of own labels.
const MAX_VALUE: usize = 4096;

/// What the labels of a stage say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StageLabels {
    /// The project's name.
    pub project: String,
    /// The stage's digest.
    pub digest: StageDigest,
    /// What users of the stage take into their digests.
    pub content: Checksum,
    /// The stage below it.
    pub parent: Option<StageId>,
    /// Digest of the config of the stage below it.
    pub base_image: Option<BlobDigest>,
    /// Stages of other images that it is made of.
    pub uses: Uses,
    /// Commits of its git mappings, by mapping key: letters, digits, `.`, `_` and `-`.
    pub commits: Commits,
    /// What the commits of mappings merge, when those are virtual merges, by mapping key.
    pub virtual_merges: BTreeMap<String, VirtualMerge>,
    /// Whether a mapping is a single file, by mapping key; of those that the stage brings or changes.
    pub single_files: BTreeMap<String, bool>,
    /// The commit that was being built. It is for people and cleanup: equal stages of two commits are one stage, and
    /// the first one's stands here.
    pub repo_commit: Option<CommitId>,
    /// The version of the rules that made the digests, [`slipway_digest::SCHEME`].
    pub scheme: u8,
    /// Whether uncommitted files were built.
    pub dev: bool,
    /// What it was built for.
    pub platform: Platform,
}

/// Stages of other images that a stage is made of, beside the one below it. Cleanup keeps them as long as the stage.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Uses {
    /// Stages that files were imported from, by the import's ID.
    pub imports: BTreeMap<String, StageId>,
    /// Last stages of the images that `dependencies` name.
    pub dependencies: BTreeSet<StageId>,
}

/// Labels that are no stage's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LabelError {
    /// A label that every stage has is not there.
    #[error("label `{0}` is missing")]
    Missing(&'static str),
    /// A label's value cannot be read.
    #[error("label `{name}`: {why}")]
    Malformed {
        /// The label.
        name: String,
        /// What is wrong with its value.
        why: String,
    },
    /// The image belongs to another stage.
    #[error("the labels are those of stage {found}, the name says {expected}")]
    OtherStage {
        /// Digest in the labels.
        found: StageDigest,
        /// Digest in the name.
        expected: StageDigest,
    },
}

/// The labels of a stage.
pub fn write(labels: &StageLabels) -> BTreeMap<String, String> {
    let mut optional = optional(labels);
    let own = optional.keys().map(String::as_str).collect::<Vec<_>>().join(",");
    let required = [
        (PROJECT, labels.project.clone()),
        (VERSION, env!("CARGO_PKG_VERSION").to_owned()),
        (CACHE_VERSION, CACHE_VERSION_VALUE.to_owned()),
        (IMAGE, "false".to_owned()),
        (STAGE_DIGEST, labels.digest.to_string()),
        (CONTENT_DIGEST, labels.content.to_string()),
        (SCHEME, labels.scheme.to_string()),
        (PLATFORM, labels.platform.to_string()),
        (OWN, own),
    ];
    optional.extend(required.map(|(name, value)| (name.to_owned(), value)));
    optional
}

/// The labels that only some stages have.
fn optional(labels: &StageLabels) -> BTreeMap<String, String> {
    let mut optional = BTreeMap::new();
    if let Some(parent) = &labels.parent {
        optional.insert(PARENT.to_owned(), parent.to_string());
    }
    if let Some(image) = &labels.base_image {
        optional.insert(BASE_IMAGE.to_owned(), image.to_string());
    }
    for (import, source) in &labels.uses.imports {
        optional.insert(format!("{IMPORT_SOURCE_PREFIX}{import}"), source.to_string());
    }
    for stage in &labels.uses.dependencies {
        optional.insert(format!("{DEPENDENCY_PREFIX}{stage}"), stage.to_string());
    }
    if let Some(commit) = &labels.repo_commit {
        optional.insert(REPO_COMMIT.to_owned(), commit.to_string());
    }
    if labels.dev {
        optional.insert(DEV.to_owned(), "true".to_owned());
    }
    for (key, commit) in &labels.commits {
        optional.insert(format!("{GIT_PREFIX}{key}{COMMIT_SUFFIX}"), commit.to_string());
    }
    for (key, merge) in &labels.virtual_merges {
        let name = |suffix: &str| format!("{GIT_PREFIX}{key}{suffix}");
        optional.insert(name(MERGE_SUFFIX), "true".to_owned());
        optional.insert(name(MERGE_FROM_SUFFIX), merge.from.to_string());
        optional.insert(name(MERGE_INTO_SUFFIX), merge.into.to_string());
    }
    for (key, file) in &labels.single_files {
        let value = if *file { FILE } else { DIRECTORY };
        optional.insert(format!("{GIT_PREFIX}{key}{TYPE_SUFFIX}"), value.to_owned());
    }
    optional
}

/// What the labels of an image say, when they are a stage's.
///
/// # Errors
/// When a label that every stage has is missing, or one cannot be read.
pub fn read(labels: &BTreeMap<String, String>) -> Result<StageLabels, LabelError> {
    let own = read_own(labels)?;
    let optional = |name: &str| own.get(name).copied();
    Ok(StageLabels {
        project: short(PROJECT, required(labels, PROJECT)?)?.to_owned(),
        digest: parse(STAGE_DIGEST, required(labels, STAGE_DIGEST)?)?,
        content: parse(CONTENT_DIGEST, required(labels, CONTENT_DIGEST)?)?,
        parent: optional(PARENT).map(|text| parse(PARENT, text)).transpose()?,
        base_image: optional(BASE_IMAGE).map(|text| parse(BASE_IMAGE, text)).transpose()?,
        uses: read_uses(&own)?,
        commits: read_commits(&own)?,
        virtual_merges: read_merges(&own)?,
        single_files: read_types(&own)?,
        repo_commit: optional(REPO_COMMIT).map(|text| parse(REPO_COMMIT, text)).transpose()?,
        scheme: parse(SCHEME, required(labels, SCHEME)?)?,
        dev: optional(DEV).is_some_and(|text| text == "true"),
        platform: parse(PLATFORM, required(labels, PLATFORM)?)?,
    })
}

/// What the labels of the image under a stage's name say; an image of another stage is refused.
///
/// # Errors
/// As [`read`], and when the labels are of another digest.
pub fn read_for(id: &StageId, labels: &BTreeMap<String, String>) -> Result<StageLabels, LabelError> {
    let read = read(labels)?;
    match read.digest == id.digest {
        true => Ok(read),
        false => Err(LabelError::OtherStage { found: read.digest, expected: id.digest }),
    }
}

/// The record of a stage, from its labels and what its place knows: the config's digest and the size in bytes.
pub fn record(labels: StageLabels, id: StageId, at: ImageAt, image_id: BlobDigest, size: u64) -> StageRecord {
    StageRecord {
        id,
        platform: labels.platform,
        at,
        image_id,
        commits: labels.commits,
        content: labels.content,
        parent: labels.parent,
        size,
    }
}

/// The stage's own optional labels.
type Own<'a> = BTreeMap<&'a str, &'a str>;

fn read_own(labels: &BTreeMap<String, String>) -> Result<Own<'_>, LabelError> {
    let names: Vec<&str> = required(labels, OWN)?.split(',').filter(|name| !name.is_empty()).collect();
    if names.len() > MAX_OWN {
        return Err(malformed(OWN, format!("names {} labels, at most {MAX_OWN} are allowed", names.len())));
    }
    let pair = |name: &'_ &str| match labels.get_key_value(*name) {
        Some((name, value)) => Ok((name.as_str(), value.as_str())),
        None => Err(malformed(OWN, format!("names {name}, which is not there"))),
    };
    names.iter().map(pair).collect()
}

fn read_uses(own: &Own<'_>) -> Result<Uses, LabelError> {
    let mut uses = Uses::default();
    for (name, value) in own {
        if let Some(import) = name.strip_prefix(IMPORT_SOURCE_PREFIX) {
            uses.imports.insert(import.to_owned(), parse(name, value)?);
        } else if name.starts_with(DEPENDENCY_PREFIX) {
            uses.dependencies.insert(parse(name, value)?);
        }
    }
    Ok(uses)
}

fn read_commits(own: &Own<'_>) -> Result<Commits, LabelError> {
    let is_merge = |name: &str| name.ends_with(MERGE_FROM_SUFFIX) || name.ends_with(MERGE_INTO_SUFFIX);
    let commits = of_mappings(own, COMMIT_SUFFIX).filter(|(_, name, _)| !is_merge(name));
    commits.map(|(key, name, value)| Ok((key.to_owned(), parse(name, value)?))).collect()
}

fn read_merges(own: &Own<'_>) -> Result<BTreeMap<String, VirtualMerge>, LabelError> {
    let merge = |(key, name, value): (&str, &str, &str)| {
        let other = format!("{GIT_PREFIX}{key}{MERGE_INTO_SUFFIX}");
        let into = own.get(other.as_str()).ok_or_else(|| malformed(name, format!("stands without `{other}`")))?;
        Ok((key.to_owned(), VirtualMerge { from: parse(name, value)?, into: parse(&other, into)? }))
    };
    of_mappings(own, MERGE_FROM_SUFFIX).map(merge).collect()
}

fn read_types(own: &Own<'_>) -> Result<BTreeMap<String, bool>, LabelError> {
    let is_file = |name: &str, value: &str| match value {
        FILE => Ok(true),
        DIRECTORY => Ok(false),
        _ => Err(malformed(name, format!("is neither `{FILE}` nor `{DIRECTORY}`"))),
    };
    of_mappings(own, TYPE_SUFFIX).map(|(key, name, value)| Ok((key.to_owned(), is_file(name, value)?))).collect()
}

/// Mapping key, name and value of the labels of git mappings that end so.
fn of_mappings<'a>(own: &Own<'a>, suffix: &str) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
    own.iter().filter_map(move |(name, value)| {
        let key = name.strip_prefix(GIT_PREFIX)?.strip_suffix(suffix)?;
        Some((key, *name, *value))
    })
}

fn required<'a>(labels: &'a BTreeMap<String, String>, name: &'static str) -> Result<&'a str, LabelError> {
    labels.get(name).map(String::as_str).ok_or(LabelError::Missing(name))
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str, text: &str) -> Result<T, LabelError> {
    short(name, text)?.parse().map_err(|error: T::Err| malformed(name, error.to_string()))
}

fn short<'a>(name: &str, text: &'a str) -> Result<&'a str, LabelError> {
    match text.len() <= MAX_VALUE {
        true => Ok(text),
        false => Err(malformed(name, format!("is {} bytes long, at most {MAX_VALUE} are allowed", text.len()))),
    }
}

/// The names of labels come from outside too: they are cut to a length that a message can bear.
fn malformed(name: &str, why: String) -> LabelError {
    let mut shown = String::new();
    for character in name.chars().take(100).flat_map(char::escape_default) {
        shown.write_char(character).expect("writing to a string succeeds");
    }
    LabelError::Malformed { name: shown, why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_digest::{Encoder, Millis};

    fn labels() -> StageLabels {
        let digest = StageDigest(Encoder::new("stage").text("one").finish());
        StageLabels {
            project: "shop".to_owned(),
            digest,
            content: Encoder::new("content").finish(),
            parent: Some(StageId { digest, stamp: Millis(1_700_000_000_000) }),
            base_image: Some(BlobDigest::of(b"config")),
            uses: Uses {
                imports: [("ab".to_owned(), StageId { digest, stamp: Millis(1_600_000_000_000) })].into(),
                dependencies: [1, 2].map(|millis| StageId { digest, stamp: Millis(1_500_000_000_000 + millis) }).into(),
            },
            virtual_merges: [("aa".to_owned(), VirtualMerge { from: CommitId([4; 20]), into: CommitId([5; 20]) })]
                .into(),
            single_files: [("aa".to_owned(), true), ("b-commit".to_owned(), false)].into(),
            commits: Commits::from([("aa".to_owned(), CommitId([1; 20])), ("b-commit".to_owned(), CommitId([2; 20]))]),
            repo_commit: Some(CommitId([3; 20])),
            scheme: slipway_digest::SCHEME,
            dev: true,
            platform: "linux/arm/v7".parse().unwrap(),
        }
    }

    /// Without anything optional.
    fn bare(labels: StageLabels) -> StageLabels {
        StageLabels {
            parent: None,
            base_image: None,
            uses: Uses::default(),
            commits: Commits::new(),
            virtual_merges: BTreeMap::new(),
            single_files: BTreeMap::new(),
            repo_commit: None,
            dev: false,
            ..labels
        }
    }

    #[test]
    fn labels_read_back_as_they_were_written() {
        let full = labels();
        assert_eq!(read(&write(&full)), Ok(full.clone()));
        let empty = bare(full);
        assert_eq!(read(&write(&empty)), Ok(empty));
    }

    #[test]
    fn labels_have_werfs_names() {
        let full = labels();
        let written = write(&full);
        let expected = [
            ("werf", "shop".to_owned()),
            ("werf-dev", "true".to_owned()),
            ("werf-image", "false".to_owned()),
            ("werf-stage-digest", full.digest.to_string()),
            ("werf-stage-content-digest", full.content.to_string()),
            ("werf-project-repo-commit", "03".repeat(20)),
            ("werf-git-aa-commit", "01".repeat(20)),
            ("werf-git-aa-type", "file".to_owned()),
            ("werf-git-aa-virtual-merge", "true".to_owned()),
            ("werf-git-aa-virtual-merge-from-commit", "04".repeat(20)),
            ("werf-git-aa-virtual-merge-into-commit", "05".repeat(20)),
            ("werf-git-b-commit-type", "directory".to_owned()),
            ("werf-cache-version", "1.2".to_owned()),
            ("werf.io/parent-stage-id", format!("{}-1700000000000", full.digest)),
            ("werf.io/base-image-id", BlobDigest::of(b"config").to_string()),
            ("werf-import-source-stage-id-ab", format!("{}-1600000000000", full.digest)),
            ("slipway-digest-scheme", "1".to_owned()),
            ("slipway-platform", "linux/arm/v7".to_owned()),
        ];
        for (name, value) in expected {
            assert_eq!(written.get(name), Some(&value), "{name}");
        }
        for millis in [1, 2] {
            let id = format!("{}-150000000000{millis}", full.digest);
            assert_eq!(written.get(&format!("werf-dependency-stage-id-{id}")), Some(&id));
        }
        assert!(!written.contains_key("werf-docker-image-name"));
    }

    #[test]
    fn what_the_base_image_left_is_not_the_stages_own() {
        let base = labels();
        let stage = bare(base.clone());
        let mut inherited = write(&base);
        inherited.extend(write(&stage));
        for name in ["werf-git-aa-commit", "werf-git-aa-type", "werf-import-source-stage-id-ab", BASE_IMAGE] {
            assert!(inherited.contains_key(name), "the base's labels come down: {name}");
        }
        assert_eq!(read(&inherited), Ok(stage));
    }

    #[test]
    fn what_is_missing_or_malformed_is_named() {
        for name in [PROJECT, STAGE_DIGEST, CONTENT_DIGEST, SCHEME, PLATFORM, OWN] {
            let mut without = write(&labels());
            without.remove(name);
            assert_eq!(read(&without), Err(LabelError::Missing(name)));
        }
        for name in [PARENT, BASE_IMAGE, "werf-git-aa-type", "werf-import-source-stage-id-ab"] {
            let mut without = write(&labels());
            without.remove(name);
            let error = read(&without).unwrap_err().to_string();
            assert_eq!(error, format!("label `{OWN}`: names {name}, which is not there"));
        }
        let mut neither = write(&labels());
        neither.insert("werf-git-aa-type".to_owned(), "link".to_owned());
        assert!(read(&neither).unwrap_err().to_string().contains("`file` nor `directory`"));
        for (name, value) in [
            (PLATFORM, "linux"),
            (SCHEME, "256"),
            (PARENT, "x"),
            ("werf-import-source-stage-id-ab", "x"),
            ("werf-git-aa-commit", "AB"),
        ] {
            let mut wrong = write(&labels());
            wrong.insert(name.to_owned(), value.to_owned());
            let error = read(&wrong).unwrap_err().to_string();
            assert!(error.starts_with(&format!("label `{name}`: `{value}` is no ")) || name == SCHEME, "{error}");
        }
        let mut long = write(&labels());
        long.insert(PROJECT.to_owned(), "x".repeat(5000));
        assert!(read(&long).unwrap_err().to_string().contains("at most 4096"));
    }

    #[test]
    fn the_labels_of_another_stage_are_refused() {
        let id = StageId { digest: labels().digest, stamp: Millis(1_700_000_000_001) };
        assert!(read_for(&id, &write(&labels())).is_ok());
        let other = StageId { digest: StageDigest(Encoder::new("other").finish()), ..id };
        assert!(matches!(read_for(&other, &write(&labels())), Err(LabelError::OtherStage { .. })));
    }
}
