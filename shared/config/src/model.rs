//! A valid configuration: what the rest of the program works on. Every cross-reference in it exists.

use std::{collections::BTreeMap, fmt};

use slipway_oci::{ConfigChange, Platform, Respec};
use slipway_paths::TreePath;

use crate::Position;

mod cleanup;
mod instructions;
mod part;
mod remote;

pub use cleanup::{Cleanup, KeepLimit, KeepPolicy, KeepReferences, Operator, ReferenceKind};
pub use instructions::Instructions;
pub use part::DockerfilePart;

/// A whole project.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// `project`: names local stages and labels.
    pub project: String,
    /// `build.platform`: default target platforms; empty = the host's.
    pub platforms: Vec<Platform>,
    /// `gitWorktree`.
    pub worktree: GitWorktree,
    /// `cleanup`; `None` = the defaults of whoever cleans up.
    pub cleanup: Option<Cleanup>,
    /// Images and artifacts in the order of declaration.
    pub images: Vec<Image>,
    /// Directives that bring in what is in no commit of the project, in the order of the file, but for `fromLatest`,
    /// which stands in its image.
    pub outside: Vec<Outside>,
    /// Deprecated spellings that were met, each once.
    pub warnings: Vec<Warning>,
}

impl Config {
    /// Has every instruction of all Dockerfiles built as a stage, whatever their `staged` says.
    pub fn set_staged(&mut self) {
        for image in &mut self.images {
            if let ImageKind::Dockerfile(dockerfile) = &mut image.kind {
                dockerfile.staged = true;
            }
        }
    }

    /// Gives the commands of all images this network, whatever their `network` says.
    pub fn set_network(&mut self, network: &str) {
        for image in &mut self.images {
            match &mut image.kind {
                ImageKind::Dockerfile(dockerfile) => dockerfile.network = Some(network.to_owned()),
                ImageKind::Stapel(stapel) => stapel.network = Some(network.to_owned()),
            }
        }
    }
}

/// `gitWorktree`: what may be done about a repository whose history is cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GitWorktree {
    /// `forceShallowClone`: a cut-off history is what the user wants.
    pub force_shallow_clone: bool,
    /// `allowUnshallow`: the rest may be fetched.
    pub allow_unshallow: bool,
    /// `allowFetchOriginBranchesAndTags`: branches and tags of `origin` may be fetched.
    pub allow_fetch: bool,
}

impl Default for GitWorktree {
    fn default() -> Self {
        Self { force_shallow_clone: false, allow_unshallow: true, allow_fetch: true }
    }
}

/// Something that is taken but had better be written otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// What it is, and what to write.
    pub message: String,
    /// Where it first stands.
    pub position: Position,
}

/// A directive that brings in what is in no commit of the project. Giterminism must allow it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outside {
    /// What is brought in.
    pub kind: OutsideKind,
    /// Where it is named.
    pub position: Position,
}

/// What a directive brings in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OutsideKind {
    /// `git.branch`: whatever a branch of another repository is at.
    GitBranch,
    /// `mount` with `from: build_dir`.
    MountBuildDir,
    /// `mount` with `fromPath`: the path, as written.
    MountFromPath(String),
    /// `contextAddFiles`: the path, relative to the project directory.
    ContextFile(TreePath),
    /// `secrets` with `env`: the variable.
    SecretEnv(String),
    /// `secrets` with `src`: the path, as written.
    SecretFile(String),
    /// `secrets` with `value`: the id.
    SecretValue(String),
}

/// A name of an image. Empty = the nameless image, shown as `~`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct ImageName(pub String);

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "~" } else { &self.0 })
    }
}

/// One document of `werf.yaml`: one build, under one or several names.
#[derive(Clone, PartialEq, Debug)]
pub struct Image {
    /// Its names, in the order of declaration; never empty.
    pub names: Vec<ImageName>,
    /// Whether it was declared with `artifact`.
    pub artifact: bool,
    /// Whether it may be deployed (`final`); never for an artifact.
    pub is_final: bool,
    /// `platform`: target platforms; empty = the project's.
    pub platforms: Vec<Platform>,
    /// `cacheVersion` of the image or of `build`: enters the digest of the first stage.
    pub cache_version: Option<String>,
    /// `dependencies`, in order.
    pub dependencies: Vec<Dependency>,
    /// What `imageSpec` of the image and of `build` say together; `None` = neither is there.
    pub spec: Option<Box<Respec>>,
    /// `secrets`, in order.
    pub secrets: Vec<Secret>,
    /// How it is built.
    pub kind: ImageKind,
    /// Where its document starts.
    pub position: Position,
}

impl Image {
    /// The name that logs use when the image has several.
    pub fn name(&self) -> &ImageName {
        &self.names[0]
    }

    /// The image of this file that it is built on.
    pub fn base(&self) -> Option<&ImageName> {
        match &self.kind {
            ImageKind::Dockerfile(dockerfile) => dockerfile.part.as_ref()?.base.as_ref(),
            ImageKind::Stapel(stapel) => match &stapel.base {
                Base::Image(name) => Some(name),
                Base::Reference(_) => None,
            },
        }
    }

    /// Names of the images and artifacts that must be built before this one, each once, in order of mention.
    pub fn needs(&self) -> Vec<&ImageName> {
        let imports = match &self.kind {
            ImageKind::Dockerfile(_) => [].as_slice(),
            ImageKind::Stapel(stapel) => stapel.imports.as_slice(),
        };
        let imports = imports.iter().filter_map(Import::image);
        let dependencies = self.dependencies.iter().map(|dependency| &dependency.image);
        let reads = self.part().map_or([].as_slice(), |part| part.reads.as_slice());
        let mut needs: Vec<&ImageName> = Vec::new();
        for name in self.base().into_iter().chain(imports).chain(reads).chain(dependencies) {
            if !needs.contains(&name) {
                needs.push(name);
            }
        }
        needs
    }
}

/// How an image is built.
#[derive(Clone, PartialEq, Debug)]
pub enum ImageKind {
    /// From a Dockerfile, in one stage.
    Dockerfile(DockerfileImage),
    /// By the Stapel conveyor.
    Stapel(Box<StapelImage>),
}

/// `dockerfile: …`
#[derive(Clone, PartialEq, Debug)]
pub struct DockerfileImage {
    /// `dockerfile`, joined with `context`: relative to the project directory.
    pub dockerfile: TreePath,
    /// `context`: relative to the project directory.
    pub context: TreePath,
    /// `contextAddFiles`, relative to `context`: files and directories of the project directory, committed or not, that
    /// win over those of the commit.
    pub context_add_files: Vec<TreePath>,
    /// `target`.
    pub target: Option<String>,
    /// `args`.
    pub args: BTreeMap<String, String>,
    /// `addHost`: `HOST:IP`.
    pub add_hosts: Vec<String>,
    /// `network`.
    pub network: Option<String>,
    /// `ssh`: the id by which `RUN --mount=type=ssh` names the ssh agent, beside `default`.
    pub ssh: Option<String>,
    /// `staged`, of the image or of `build`: whether every instruction is a stage.
    pub staged: bool,
    /// Which part of a staged Dockerfile it is; `None` = the whole, as the configuration has it.
    pub part: Option<Box<DockerfilePart>>,
}

/// A Stapel image or artifact.
#[derive(Clone, PartialEq, Debug)]
pub struct StapelImage {
    /// What it is built on.
    pub base: Base,
    /// Where `fromLatest: true` stands: what the registry has under the base's name counts, not the name alone.
    pub from_latest: Option<Position>,
    /// `fromCacheVersion`.
    pub from_cache_version: Option<String>,
    /// `git`, in order.
    pub git: Vec<GitMapping>,
    /// `shell`.
    pub shell: Shell,
    /// `ansible`.
    pub ansible: Option<Ansible>,
    /// `mount`, in order.
    pub mounts: Vec<Mount>,
    /// Mounts of the images of this file that it is built on, with other targets.
    pub inherited_mounts: Vec<Mount>,
    /// `network`.
    pub network: Option<String>,
    /// `docker.exactValues`. Values are always set as they are; it only counts in the digest.
    pub exact_values: bool,
    /// `docker`: what the `dockerInstructions` stage sets; `None` = no such stage.
    pub docker: Option<ConfigChange>,
    /// `import`, in order.
    pub imports: Vec<Import>,
    /// Whether `gitCache` and `gitLatestPatch` exist: not for artifacts, nor with `disableGitAfterPatch`.
    pub patches_after_setup: bool,
}

/// What a Stapel image is built on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Base {
    /// `from`: an external reference, as written.
    Reference(String),
    /// `fromImage`, `fromArtifact`, or `from` naming an image of this file.
    Image(ImageName),
}

/// The four stages that a user fills with commands, in build order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum UserStage {
    /// `beforeInstall`: before any source is there.
    BeforeInstall,
    /// `install`.
    Install,
    /// `beforeSetup`.
    BeforeSetup,
    /// `setup`.
    Setup,
}

impl UserStage {
    /// The directive that fills it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeInstall => "beforeInstall",
            Self::Install => "install",
            Self::BeforeSetup => "beforeSetup",
            Self::Setup => "setup",
        }
    }
}

/// One entry of `git`: files of a repository that go into the image.
#[derive(Clone, PartialEq, Debug)]
pub struct GitMapping {
    /// The repository and its commit; `None` = the project's own at the commit that is built.
    pub remote: Option<RemoteGit>,
    /// `add`: path from the root of the repository; a directory or a file.
    pub add: TreePath,
    /// `to`: absolute, cleaned path in the image.
    pub to: String,
    /// `includePaths`, relative to `add`.
    pub include: Vec<String>,
    /// `excludePaths`, relative to `add`, and what overlapping mappings and imports take over.
    pub exclude: Vec<String>,
    /// `owner`: name or number.
    pub owner: Option<String>,
    /// `group`: name or number.
    pub group: Option<String>,
    /// `stageDependencies`: globs relative to `add`, per user stage.
    pub stage_dependencies: BTreeMap<UserStage, Vec<String>>,
    /// Where the mapping stands.
    pub position: Position,
}

/// Another repository than the project's, and which of its commits.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteGit {
    /// `url`, as written; it may hold a user and a password.
    pub url: String,
    /// A short name of it, without host and credentials: `company/name`.
    pub name: String,
    /// Which commit.
    pub revision: GitRevision,
    /// `basicAuth`.
    pub auth: Option<BasicAuth>,
    /// The commit that it is at, in hexadecimal digits; `None` until somebody has looked.
    pub commit: Option<String>,
    /// Where `url` stands.
    pub position: Position,
}

impl fmt::Debug for RemoteGit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteGit").field("name", &self.name).field("revision", &self.revision).finish_non_exhaustive()
    }
}

/// What names a commit of another repository.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GitRevision {
    /// The branch that the repository calls its own.
    Default,
    /// `branch`.
    Branch(String),
    /// `tag`.
    Tag(String),
    /// `commit`: all hexadecimal digits.
    Commit(String),
}

/// `basicAuth` of a repository.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BasicAuth {
    /// `username`.
    pub username: String,
    /// `password`.
    pub password: SecretSource,
}

/// Where a secret comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// `env`: this variable.
    Env(String),
    /// `src`: this file, as written.
    File(String),
    /// `value`: the secret itself.
    Value(String),
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => f.debug_tuple("Env").field(name).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Value(_) => f.write_str("Value(***)"),
        }
    }
}

/// One entry of `secrets`: what a build may read and no image holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Secret {
    /// The name of the file under `/run/secrets`.
    pub id: String,
    /// Where it comes from.
    pub source: SecretSource,
    /// Where the entry stands.
    pub position: Position,
}

impl Secret {
    /// Names it within its project: ids are unlike only within one image.
    pub fn key(&self, image: &Image) -> String {
        let owner = image.part().map_or(image.name(), |part| &part.of);
        format!("{}/{}", owner.0, self.id)
    }
}

/// One entry of `mount`: a directory of the host in build containers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// `to`: absolute, cleaned path in the container.
    pub to: String,
    /// Where the entry stands.
    pub position: Position,
}

/// What a mount mounts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MountSource {
    /// `from: tmp_dir`: an empty directory that lasts for one build.
    TmpDir,
    /// `from: build_dir`: a directory that lasts from build to build.
    BuildDir,
    /// `fromPath`: a path of the host, as written.
    Path(String),
}

/// `shell`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Shell {
    /// `cacheVersion`: enters every user stage.
    pub cache_version: Option<String>,
    /// What was given per stage.
    pub stages: BTreeMap<UserStage, ShellStage>,
}

/// Commands and cache version of one user stage.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ShellStage {
    /// Commands, each with the place it was written at.
    pub commands: Vec<Command>,
    /// `<stage>CacheVersion`.
    pub cache_version: Option<String>,
    /// Where the stage's key stands.
    pub position: Position,
}

/// `ansible`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Ansible {
    /// `cacheVersion`: enters every user stage.
    pub cache_version: Option<String>,
    /// What was given per stage.
    pub stages: BTreeMap<UserStage, AnsibleStage>,
}

/// Tasks and cache version of one user stage.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct AnsibleStage {
    /// The tasks, in order.
    pub tasks: Vec<AnsibleTask>,
    /// `<stage>CacheVersion`.
    pub cache_version: Option<String>,
    /// Where the stage's key stands.
    pub position: Position,
}

/// The keys under which a task of Ansible holds tasks.
pub const TASK_BLOCKS: [&str; 3] = ["block", "rescue", "always"];

/// A task of Ansible.
#[derive(Clone, PartialEq, Debug)]
pub struct AnsibleTask {
    /// As it was written.
    pub task: serde_json::Value,
    /// Its line, then those of the tasks in it: depth first, [`TASK_BLOCKS`] in their order.
    pub lines: Vec<u32>,
}

/// One shell command.
#[derive(Clone, PartialEq, Debug)]
pub struct Command {
    /// The text, run by bash.
    pub text: String,
    /// Where it stands.
    pub position: Position,
}

/// One entry of `import`.
#[derive(Clone, PartialEq, Debug)]
pub struct Import {
    /// The image that files come from.
    pub source: ImportSource,
    /// `stage`: the user stage of the source that they are taken after; `None` = the last stage.
    pub stage: Option<UserStage>,
    /// `add`: absolute path in the source.
    pub add: String,
    /// `to`: absolute path in this image.
    pub to: String,
    /// `includePaths`, relative to `add`.
    pub include: Vec<String>,
    /// `excludePaths`, relative to `add`.
    pub exclude: Vec<String>,
    /// `owner`: name or number.
    pub owner: Option<String>,
    /// `group`: name or number.
    pub group: Option<String>,
    /// When the files are put in.
    pub moment: ImportMoment,
    /// Where the import stands.
    pub position: Position,
}

/// Where an import comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ImportSource {
    /// An image or artifact of this file.
    Image(ImageName),
    /// An image of a registry: its reference, as written.
    External(String),
}

impl Import {
    /// The image or artifact of this file that files come from.
    pub fn image(&self) -> Option<&ImageName> {
        match &self.source {
            ImportSource::Image(name) => Some(name),
            ImportSource::External(_) => None,
        }
    }
}

/// `before`/`after` of an import.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum ImportMoment {
    /// `before: install`
    BeforeInstall,
    /// `after: install`
    AfterInstall,
    /// `before: setup`
    BeforeSetup,
    /// `after: setup`
    AfterSetup,
}

/// One entry of `dependencies`: an image that is built first, and what of it is handed over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dependency {
    /// The image of this file that is built first.
    pub image: ImageName,
    /// `imports`, in order.
    pub imports: Vec<DependencyImport>,
    /// When a Stapel image gets the variables; `None` for a Dockerfile image.
    pub moment: Option<ImportMoment>,
    /// Where the dependency stands.
    pub position: Position,
}

/// One entry of `imports` of a dependency.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DependencyImport {
    /// What is handed over.
    pub kind: DependencyKind,
    /// `targetEnv` or `targetBuildArg`: the name that it gets.
    pub target: String,
    /// Where the target is named.
    pub position: Position,
}

/// `type` of an import of a dependency.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum DependencyKind {
    /// `REPO:TAG`.
    ImageName,
    /// The tag.
    ImageTag,
    /// The repository.
    ImageRepo,
    /// Digest of the config.
    ImageId,
    /// Digest of the manifest.
    ImageDigest,
}

impl DependencyKind {
    /// The name that `type` has.
    pub fn name(self) -> &'static str {
        match self {
            Self::ImageName => "ImageName",
            Self::ImageTag => "ImageTag",
            Self::ImageRepo => "ImageRepo",
            Self::ImageId => "ImageID",
            Self::ImageDigest => "ImageDigest",
        }
    }
}
