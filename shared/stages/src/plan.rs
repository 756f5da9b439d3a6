//! What a worker needs to build one stage: recipes and names, no bytes.

use std::collections::BTreeMap;

use slipway_digest::{Checksum, CommitId, Millis, StageDigest, StageId};
use slipway_oci::{BlobDigest, ConfigChange, ImageAt, Platform, Repo, Respec};
use slipway_paths::Scope;

use crate::kind::StageKind;

/// Which repository sources come from: the project's own.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
pub struct SourceId(pub String);

impl SourceId {
    /// The project's own repository.
    pub fn own() -> Self {
        Self("own".to_owned())
    }
}

/// Commits that a stage brought, by the key of their git mapping.
pub type Commits = BTreeMap<String, CommitId>;

/// A stored stage: what selection, labels and the next digest need; never bytes.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct StageRecord {
    /// Digest and timestamp: its tag.
    pub id: StageId,
    /// What it was built for.
    pub platform: Platform,
    /// Where it is.
    pub at: ImageAt,
    /// Digest of its config: the engine's image id.
    pub image_id: BlobDigest,
    /// Commits of its git mappings; empty when it holds no sources.
    pub commits: Commits,
    /// What users of the stage (`fromImage`, imports) take into their digests.
    pub content: Checksum,
    /// The stage below it.
    pub parent: Option<StageId>,
    /// Size of all its layers in bytes, as its place reports it.
    pub size: u64,
}

/// Where a stage may be found.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
pub enum Place {
    /// The storage that builds are published to: the primary repo, or the local storage when there is no repo.
    Primary,
    /// The local storage of this host, when there is a repo.
    Local,
    /// A repository near the builder that has what builds stored and used; may be emptied at any time.
    Cache(Repo),
    /// The primary repo of others, which is only read.
    Secondary(Repo),
}

/// A stage that lies elsewhere than in the primary storage.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Original {
    /// Where it was found.
    pub place: Place,
    /// What it is there.
    pub record: StageRecord,
}

/// "Build this stage on top of that one."
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct StagePlan {
    /// The project's name.
    pub project: String,
    /// Which step.
    pub kind: StageKind,
    /// What it will be called.
    pub digest: StageDigest,
    /// What it is built for.
    pub platform: Platform,
    /// The stage's timestamp must be greater than this: its parent's.
    pub not_before: Millis,
    /// The stage below.
    pub parent: Option<StageId>,
    /// What it stands on.
    pub base: PlanBase,
    /// What is done.
    pub body: StageBody,
    /// What is changed in the config; labels included.
    pub change: ConfigChange,
    /// Directories of the host that commands see; whatever is brought to or below their places stays out. `from` makes
    /// the places, and empties them.
    #[serde(default)]
    pub mounts: Vec<PlanMount>,
    /// Network of the commands; the engine's default when `None`.
    #[serde(default)]
    pub network: Option<String>,
    /// Commits that the stage will hold.
    pub commits: Commits,
    /// What users of the stage will take into their digests.
    pub content: Checksum,
    /// Secrets that its commands may read; they count in no digest.
    #[serde(default)]
    pub secrets: Vec<SecretUse>,
}

/// A secret that commands may read. Its content is no part of a plan.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
pub struct SecretUse {
    /// Name of its file.
    pub id: String,
    /// Names it within its build.
    pub key: String,
}

/// A directory of the host that commands see.
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct PlanMount {
    /// Which.
    pub from: MountedFrom,
    /// Absolute path in the container.
    pub to: String,
    /// The line of `werf.yaml` that it stands on.
    pub line: u32,
}

/// Which directory of the host.
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum MountedFrom {
    /// An empty one, the same for all stages of an image in one build.
    Temporary {
        /// The build.
        run: String,
        /// The image.
        image: String,
    },
    /// One that the builds of the project on this host share.
    Shared,
    /// This one, as written.
    Path(String),
}

/// What a stage stands on.
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum PlanBase {
    /// Nothing of ours: a Dockerfile names its own bases.
    None,
    /// Another stage.
    Stage {
        /// Its tag.
        id: StageId,
        /// Where it is.
        at: ImageAt,
        /// Digest of its config, by which an engine may have it already.
        image_id: BlobDigest,
    },
    /// An external image, resolved once per build.
    External(BaseImage),
}

/// An external image as it was found.
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct BaseImage {
    /// As the user wrote it.
    pub reference: String,
    /// In its registry; `None` when only the local engine has it.
    pub at: Option<ImageAt>,
}

/// What is done in a stage.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub enum StageBody {
    /// Only the config changes.
    Nothing,
    /// Sources go in.
    Git(Vec<GitInput>),
    /// Sources are brought up to date, then commands or tasks run.
    Shell {
        /// Changes of the sources, applied before the commands.
        patch: Vec<GitInput>,
        /// Commands, in order.
        commands: Vec<ShellCommand>,
        /// Tasks of Ansible, in order; there are no commands then.
        #[serde(default)]
        tasks: Vec<TaskInput>,
        /// Variables that exist while the commands run and in no image.
        variables: BTreeMap<String, String>,
    },
    /// Files of other images go in.
    Imports(Vec<ImportInput>),
    /// The config is rewritten; the layers stay.
    Respec(Box<Respec>),
    /// A Dockerfile is built.
    Dockerfile(Box<DockerfileInput>),
    /// One instruction of a Dockerfile is done.
    Instruction(Box<InstructionInput>),
    /// A suitable stage that lies elsewhere is copied.
    Copy(Box<Original>),
}

impl StageBody {
    /// Whether commands of the user run.
    pub fn has_commands(&self) -> bool {
        match self {
            Self::Shell { .. } | Self::Dockerfile(_) => true,
            Self::Instruction(input) => input.has_commands,
            Self::Nothing | Self::Git(_) | Self::Imports(_) | Self::Respec(_) | Self::Copy(_) => false,
        }
    }

    /// Whether commands run that are programs of the stage's platform.
    pub fn runs_on_target(&self) -> bool {
        match self {
            Self::Shell { .. } => true,
            Self::Dockerfile(input) => slipway_dockerfile::runs_on_target(&input.text),
            // What an image from elsewhere has postponed seldom is a command, and nobody knows.
            Self::Instruction(input) => {
                let runs = input.has_commands && (input.number > 0 || !input.parts.is_empty());
                runs && slipway_dockerfile::runs_on_target(&input.file.text)
            }
            Self::Nothing | Self::Git(_) | Self::Imports(_) | Self::Respec(_) | Self::Copy(_) => false,
        }
    }
}

/// A command and the line of `werf.yaml` it stands on.
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct ShellCommand {
    /// The text, run by bash.
    pub text: String,
    /// Line, from 1.
    pub line: u32,
}

/// A task of Ansible.
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct TaskInput {
    /// The task in JSON.
    pub text: String,
    /// Its line, from 1, then those of the tasks in it, in the order of [`slipway_config::TASK_BLOCKS`].
    pub lines: Vec<u32>,
}

/// Files of a git mapping: all of them, or what changed since `from`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct GitInput {
    /// Which repository.
    pub source: SourceId,
    /// At which commit.
    pub commit: CommitId,
    /// Since which commit; `None` = everything.
    pub from: Option<CommitId>,
    /// Which files.
    pub scope: Scope,
    /// Whether the scope's base is a single file.
    pub file: bool,
    /// Absolute path in the image; of the file itself, when the scope's base is a file.
    pub to: String,
    /// Owner of what goes in: name or number; root when `None`.
    pub owner: Option<String>,
    /// Group of what goes in.
    pub group: Option<String>,
}

/// An image that files are imported from.
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum ImportedImage {
    /// A stage.
    Stage {
        /// Its tag.
        id: StageId,
        /// Where it is.
        at: ImageAt,
        /// Digest of its config, by which an engine may have it already.
        image_id: BlobDigest,
    },
    /// An external image, resolved once per build.
    External {
        /// What was found.
        image: BaseImage,
        /// The platform that it was looked up for.
        platform: Platform,
    },
}

impl ImportedImage {
    /// Where it is; `None` when only the local engine has it.
    pub fn at(&self) -> Option<&ImageAt> {
        match self {
            Self::Stage { at, .. } => Some(at),
            Self::External { image, .. } => image.at.as_ref(),
        }
    }
}

/// Files of another image.
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct ImportInput {
    /// The image.
    pub image: ImportedImage,
    /// Absolute path in it; a directory or a file.
    pub add: String,
    /// Globs relative to `add` of which one must match; empty = everything.
    pub include: Vec<String>,
    /// Globs relative to `add` of which none may match.
    pub exclude: Vec<String>,
    /// Absolute path in the stage.
    pub to: String,
    /// Owner of what goes in; as in the source when `None`.
    pub owner: Option<String>,
    /// Group of what goes in.
    pub group: Option<String>,
}

/// A Dockerfile and what it is built with.
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct DockerfileInput {
    /// Path of the Dockerfile in the project, for messages.
    pub path: String,
    /// Its text.
    pub text: String,
    /// The commit that the context comes from.
    pub commit: CommitId,
    /// The context: everything the ignore rules leave.
    pub context: Scope,
    /// Stage to build; the last when `None`.
    pub target: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// `HOST:IP` entries.
    pub add_hosts: Vec<String>,
    /// Network mode of `RUN`.
    pub network: Option<String>,
    /// External images that it stands on.
    pub bases: Vec<BaseImage>,
    /// Another id than `default` by which `RUN --mount=type=ssh` may name the ssh agent; it counts in no digest.
    #[serde(default)]
    pub ssh: Option<String>,
}

/// A stage that is read.
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct StoredStage {
    /// Its tag.
    pub id: StageId,
    /// Where it is.
    pub at: ImageAt,
    /// Digest of its config, by which an engine may have it already.
    pub image_id: BlobDigest,
}

impl StoredStage {
    /// The stage of a record.
    pub fn of(record: &StageRecord) -> Self {
        Self { id: record.id, at: record.at.clone(), image_id: record.image_id.clone() }
    }
}

/// One instruction of a Dockerfile. The stage below is what the instructions before it have made; for a `FROM`, what it names, if
/// that is another part.
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct InstructionInput {
    /// The whole Dockerfile and what it is built with; of the bases those alone that the instruction names.
    pub file: DockerfileInput,
    /// Position of its part in the Dockerfile, from 0.
    pub position: usize,
    /// Its number in its part; 0 = `FROM`, with what the base has postponed.
    pub number: u16,
    /// The line on which it begins.
    pub line: u32,
    /// The other parts that it reads files of or stands on, by position: all of their instructions are done.
    pub parts: Vec<(usize, StoredStage)>,
    /// The `FROM` of the lowest part below, whose image has the variables that arguments begin with; `None` when there are no
    /// arguments.
    pub beginning: Option<StoredStage>,
    /// Whether commands of the user may run.
    pub has_commands: bool,
}
