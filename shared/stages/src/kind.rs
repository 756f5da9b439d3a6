//! The kinds of stages, in build order, and the names they go by.

use std::{fmt, str::FromStr};

/// One step of a conveyor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum StageKind {
    /// The base image with the project's labels.
    From,
    /// `shell.beforeInstall`.
    BeforeInstall,
    /// Imports and dependencies with `before: install`.
    DependenciesBeforeInstall,
    /// Sources at the commit where the chain began.
    GitArchive,
    /// `shell.install`.
    Install,
    /// Imports and dependencies with `after: install`.
    DependenciesAfterInstall,
    /// `shell.beforeSetup`.
    BeforeSetup,
    /// Imports and dependencies with `before: setup`.
    DependenciesBeforeSetup,
    /// `shell.setup`.
    Setup,
    /// Imports and dependencies with `after: setup`.
    DependenciesAfterSetup,
    /// Changes of the sources once they reach 1 MiB.
    GitCache,
    /// The rest of the changes, up to the current commit.
    GitLatestPatch,
    /// `docker`.
    DockerInstructions,
    /// A whole Dockerfile.
    Dockerfile,
    /// `imageSpec`.
    ImageSpec,
}

/// Every kind with its name.
const NAMES: [(StageKind, &str); 15] = [
    (StageKind::From, "from"),
    (StageKind::BeforeInstall, "beforeInstall"),
    (StageKind::DependenciesBeforeInstall, "dependenciesBeforeInstall"),
    (StageKind::GitArchive, "gitArchive"),
    (StageKind::Install, "install"),
    (StageKind::DependenciesAfterInstall, "dependenciesAfterInstall"),
    (StageKind::BeforeSetup, "beforeSetup"),
    (StageKind::DependenciesBeforeSetup, "dependenciesBeforeSetup"),
    (StageKind::Setup, "setup"),
    (StageKind::DependenciesAfterSetup, "dependenciesAfterSetup"),
    (StageKind::GitCache, "gitCache"),
    (StageKind::GitLatestPatch, "gitLatestPatch"),
    (StageKind::DockerInstructions, "dockerInstructions"),
    (StageKind::Dockerfile, "dockerfile"),
    (StageKind::ImageSpec, "imageSpec"),
];

impl StageKind {
    /// The name in logs, reports and digests.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// Whether the stage holds sources: its commits must be ancestors of the commit being built.
    pub fn is_git(self) -> bool {
        matches!(
            self,
            Self::GitArchive | Self::Install | Self::BeforeSetup | Self::Setup | Self::GitCache | Self::GitLatestPatch
        )
    }
}

impl fmt::Display for StageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no stage.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` names no stage")]
pub struct UnknownStage(String);

impl FromStr for StageKind {
    type Err = UnknownStage;

    fn from_str(text: &str) -> Result<Self, UnknownStage> {
        let found = NAMES.iter().find(|(_, name)| *name == text);
        found.map(|(kind, _)| *kind).ok_or_else(|| UnknownStage(text.to_owned()))
    }
}

slipway_digest::travels_as_text!(StageKind);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_from_its_name() {
        for (kind, name) in NAMES {
            assert_eq!(kind.name(), name);
            assert_eq!(name.parse(), Ok(kind));
        }
    }
}
