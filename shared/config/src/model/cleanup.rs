//! `cleanup`: what is kept when a repository is cleaned up.

use std::time::Duration;

/// `cleanup` of the meta section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cleanup {
    /// `disable`: nothing is ever deleted.
    pub disable: bool,
    /// `disableKubernetesBasedPolicy`: what runs in a cluster is not kept for that.
    pub disable_kubernetes_policy: bool,
    /// `disableGitHistoryBasedPolicy`: `keepPolicies` are not asked.
    pub disable_git_history_policy: bool,
    /// `disableBuiltWithinLastNHoursPolicy`: new stages are not kept for being new.
    pub disable_built_within_policy: bool,
    /// `keepImagesBuiltWithinLastNHours`: in hours.
    pub keep_built_within_hours: u64,
    /// `keepPolicies`, in order; a reference that several take follows the last of them. `None` = not given.
    pub keep_policies: Option<Vec<KeepPolicy>>,
}

/// One entry of `keepPolicies`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeepPolicy {
    /// `references`: the branches or tags that it is about.
    pub references: KeepReferences,
    /// `imagesPerReference`: what of each of them is kept.
    pub images: Option<KeepLimit>,
}

/// `references` of a policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeepReferences {
    /// Branches or tags.
    pub kind: ReferenceKind,
    /// A name, or a regular expression between slashes.
    pub pattern: String,
    /// `limit`: which of those that match.
    pub limit: Option<KeepLimit>,
}

/// What a policy selects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReferenceKind {
    /// `branch`
    Branch,
    /// `tag`
    Tag,
}

/// The newest of something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeepLimit {
    /// `last`: this many; -1 = all.
    pub last: Option<i64>,
    /// `in` (`publishedIn`): not older than this.
    pub within: Option<Duration>,
    /// `operator`: how the two go together.
    pub operator: Operator,
}

/// How two limits go together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Operator {
    /// What both take.
    #[default]
    And,
    /// What either takes.
    Or,
}
