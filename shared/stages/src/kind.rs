//! The kinds of stages, in build order, and the names they go by.

use std::{fmt, str::FromStr};

pub use slipway_dockerfile::Keyword;

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
    /// One instruction of a staged Dockerfile: its number in its part, and what it is. `FROM` is number 0; `ARG` counts, though
    /// it makes no stage.
    Instruction(u16, Keyword),
    /// `imageSpec`.
    ImageSpec,
}

/// Every kind with its name, but for instructions.
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
    /// The name in digests and reports: of an instruction without its number.
    pub fn name(self) -> &'static str {
        match self {
            Self::Instruction(_, keyword) => keyword.name(),
            other => NAMES.iter().find(|(kind, _)| *kind == other).map_or("", |(_, name)| name),
        }
    }

    /// Whether its lines are those of a Dockerfile.
    pub fn is_of_dockerfile(self) -> bool {
        matches!(self, Self::Dockerfile | Self::Instruction(..))
    }

    /// Whether the stage holds sources: its commits must be ancestors of the commit being built.
    pub fn is_git(self) -> bool {
        matches!(
            self,
            Self::GitArchive | Self::Install | Self::BeforeSetup | Self::Setup | Self::GitCache | Self::GitLatestPatch
        )
    }
}

/// As logs name it: instructions of one part are told apart by their numbers.
impl fmt::Display for StageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Instruction(number, _) if *number > 0 => number.fmt(f),
            _ => Ok(()),
        }
    }
}

/// A text that names no stage.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` names no stage")]
pub struct UnknownStage(String);

impl FromStr for StageKind {
    type Err = UnknownStage;

    fn from_str(text: &str) -> Result<Self, UnknownStage> {
        let found = NAMES.iter().find(|(_, name)| *name == text).map(|(kind, _)| *kind);
        found.or_else(|| instruction(text)).ok_or_else(|| UnknownStage(text.to_owned()))
    }
}

/// `RUN3`, or `FROM`.
fn instruction(text: &str) -> Option<StageKind> {
    let name = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let keyword = Keyword::of(name)?;
    let number = &text[name.len()..];
    match keyword {
        // It makes no stage.
        Keyword::Arg => None,
        Keyword::From => number.is_empty().then_some(StageKind::Instruction(0, keyword)),
        _ => {
            let number = number.parse().ok().filter(|parsed: &u16| *parsed > 0 && parsed.to_string() == number)?;
            Some(StageKind::Instruction(number, keyword))
        }
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
        for keyword in Keyword::ALL {
            assert_eq!(Keyword::of(keyword.name()), Some(keyword));
        }
    }

    #[test]
    fn instructions_are_told_apart_by_their_numbers() {
        let run = StageKind::Instruction(3, Keyword::Run);
        assert_eq!((run.name(), run.to_string().as_str()), ("RUN", "RUN3"));
        assert_eq!("RUN3".parse(), Ok(run));
        let from = StageKind::Instruction(0, Keyword::From);
        assert_eq!((from.to_string().as_str(), "FROM".parse()), ("FROM", Ok(from)));
        for wrong in ["RUN", "RUN0", "RUN03", "RUN70000", "FROM1", "ARG2", "run3", ""] {
            assert!(wrong.parse::<StageKind>().is_err(), "{wrong}");
        }
        // In the order in which they are done, whatever they are.
        assert!(from < run && run < StageKind::Instruction(12, Keyword::Add) && run < StageKind::ImageSpec);
    }
}
