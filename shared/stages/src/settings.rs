//! What one build is made of, beside its configuration.

use std::collections::BTreeMap;

use slipway_config::{Image, ImageName};
use slipway_digest::CommitId;
use slipway_oci::Platform;
use slipway_paths::TreePath;

use crate::plan::Place;

/// A merge that is not made yet: the commit that is built shows what it would bring, and is in no history.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct VirtualMerge {
    /// The commit that is to be merged.
    pub from: CommitId,
    /// The commit that it is merged into.
    pub into: CommitId,
}

/// What holds for every image of one build.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The project's name.
    pub project: String,
    /// The commit being built.
    pub commit: CommitId,
    /// The commits that the contexts of some Dockerfile images come from, because they hold files from disk; those of all
    /// others come from `commit`.
    pub context_commits: BTreeMap<ImageName, CommitId>,
    /// When its author made `commit`, seconds since the Unix epoch.
    pub commit_time: i64,
    /// The same for people: `2006-01-02 15:04:05 +0300 +0300`. In no digest.
    pub commit_time_human: String,
    /// The project directory in the repository.
    pub project_dir: TreePath,
    /// What names this build and no other: temporary directories of the host are kept under it.
    pub run: String,
    /// The target platform.
    pub platform: Platform,
    /// Whether the commit is a snapshot of uncommitted work (`--dev`).
    pub dev: bool,
    /// What `commit` merges, when it is made for a request to merge and for nothing else.
    pub virtual_merge: Option<VirtualMerge>,
    /// Where stages may be copied from that the primary storage lacks, in the order in which these places are looked
    /// through.
    pub sources: Vec<Place>,
    /// Whether it is known somewhere which stages an image is expected to have: it is asked for first.
    pub foresees: bool,
}

impl Settings {
    /// The commit that the Dockerfile and the context of `image` come from.
    pub fn context_commit(&self, image: &Image) -> CommitId {
        let owner = image.part().map_or(image.name(), |part| &part.of);
        self.context_commits.get(owner).copied().unwrap_or(self.commit)
    }
}
