//! Labels of stage images: how a stage record is written into an image and read back.
//!
//! The names are werf's, with three of our own in front of them. Labels come down from a base image to everything
//! built on it, so a stage says which optional labels are its own ([`OWN`]); the others are its base's and not read.
//! Nothing here differs between two builds of equal inputs: no times, no attempts, no random names.

use std::{collections::BTreeMap, fmt::Write as _};

use slipway_digest::{Checksum, CommitId, StageDigest, StageId};
use slipway_oci::{BlobDigest, ImageAt, Platform};

use crate::plan::{Commits, StageRecord};

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
/// The version of the rules that made the digests.
pub const SCHEME: &str = "slipway-digest-scheme";
/// What the stage was built for.
pub const PLATFORM: &str = "slipway-platform";
/// Names of the stage's own optional labels, sorted, with commas between.
pub const OWN: &str = "slipway-own-labels";

const COMMIT_PREFIX: &str = "werf-git-";
const COMMIT_SUFFIX: &str = "-commit";
/// More git mappings than any image has.
const MAX_COMMITS: usize = 10_000;
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
    /// Commits of its git mappings, by mapping key: letters, digits, `.`, `_` and `-`.
    pub commits: Commits,
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
    let mut optional = BTreeMap::new();
    if let Some(parent) = &labels.parent {
        optional.insert(PARENT.to_owned(), parent.to_string());
    }
    if let Some(commit) = &labels.repo_commit {
        optional.insert(REPO_COMMIT.to_owned(), commit.to_string());
    }
    if labels.dev {
        optional.insert(DEV.to_owned(), "true".to_owned());
    }
    for (key, commit) in &labels.commits {
        optional.insert(format!("{COMMIT_PREFIX}{key}{COMMIT_SUFFIX}"), commit.to_string());
    }
    let own = optional.keys().map(String::as_str).collect::<Vec<_>>().join(",");
    let required = [
        (PROJECT, labels.project.clone()),
        (VERSION, env!("CARGO_PKG_VERSION").to_owned()),
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

/// What the labels of an image say, when they are a stage's.
///
/// # Errors
/// When a label that every stage has is missing, or one cannot be read.
pub fn read(labels: &BTreeMap<String, String>) -> Result<StageLabels, LabelError> {
    let own: Vec<&str> = required(labels, OWN)?.split(',').filter(|name| !name.is_empty()).collect();
    let optional = |name: &'static str| match own.contains(&name) {
        true => required(labels, name).map(Some),
        false => Ok(None),
    };
    Ok(StageLabels {
        project: short(PROJECT, required(labels, PROJECT)?)?.to_owned(),
        digest: parse(STAGE_DIGEST, required(labels, STAGE_DIGEST)?)?,
        content: parse(CONTENT_DIGEST, required(labels, CONTENT_DIGEST)?)?,
        parent: optional(PARENT)?.map(|text| parse(PARENT, text)).transpose()?,
        commits: read_commits(labels, &own)?,
        repo_commit: optional(REPO_COMMIT)?.map(|text| parse(REPO_COMMIT, text)).transpose()?,
        scheme: parse(SCHEME, required(labels, SCHEME)?)?,
        dev: optional(DEV)?.is_some_and(|text| text == "true"),
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

fn read_commits(labels: &BTreeMap<String, String>, own: &[&str]) -> Result<Commits, LabelError> {
    if own.len() > MAX_COMMITS {
        return Err(malformed(OWN, format!("names {} labels, at most {MAX_COMMITS} are allowed", own.len())));
    }
    let mut commits = Commits::new();
    for name in own {
        let key = name.strip_prefix(COMMIT_PREFIX).and_then(|rest| rest.strip_suffix(COMMIT_SUFFIX));
        let Some(key) = key else { continue };
        let value = labels.get(*name).ok_or_else(|| malformed(OWN, format!("names {name}, which is not there")))?;
        commits.insert(key.to_owned(), parse(name, value)?);
    }
    Ok(commits)
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
            commits: Commits::from([("aa".to_owned(), CommitId([1; 20])), ("b-commit".to_owned(), CommitId([2; 20]))]),
            repo_commit: Some(CommitId([3; 20])),
            scheme: slipway_digest::SCHEME,
            dev: true,
            platform: "linux/arm/v7".parse().unwrap(),
        }
    }

    #[test]
    fn labels_read_back_as_they_were_written() {
        let full = labels();
        assert_eq!(read(&write(&full)), Ok(full.clone()));
        let empty = StageLabels { parent: None, commits: Commits::new(), repo_commit: None, dev: false, ..full };
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
            ("werf.io/parent-stage-id", format!("{}-1700000000000", full.digest)),
            ("slipway-digest-scheme", "1".to_owned()),
            ("slipway-platform", "linux/arm/v7".to_owned()),
        ];
        for (name, value) in expected {
            assert_eq!(written.get(name), Some(&value), "{name}");
        }
        assert!(!written.contains_key("werf-docker-image-name"));
    }

    #[test]
    fn what_the_base_image_left_is_not_the_stages_own() {
        let base = labels();
        let stage =
            StageLabels { parent: None, commits: Commits::new(), repo_commit: None, dev: false, ..base.clone() };
        let mut inherited = write(&base);
        inherited.extend(write(&stage));
        assert!(inherited.contains_key("werf-git-aa-commit"), "the base's labels come down");
        assert_eq!(read(&inherited), Ok(stage));
    }

    #[test]
    fn what_is_missing_or_malformed_is_named() {
        for name in [PROJECT, STAGE_DIGEST, CONTENT_DIGEST, SCHEME, PLATFORM, OWN, PARENT] {
            let mut without = write(&labels());
            without.remove(name);
            assert_eq!(read(&without), Err(LabelError::Missing(name)));
        }
        for (name, value) in [(PLATFORM, "linux"), (SCHEME, "256"), (PARENT, "x"), ("werf-git-aa-commit", "AB")] {
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
