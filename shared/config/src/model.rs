//! A valid configuration: what the rest of the program works on. Every cross-reference in it exists.

use std::{collections::BTreeMap, fmt};

use slipway_oci::{ConfigChange, Platform};
use slipway_paths::TreePath;

use crate::Position;

/// A whole project.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// `project`: names local stages and labels.
    pub project: String,
    /// `build.platform`: default target platforms; empty = the host's.
    pub platforms: Vec<Platform>,
    /// Images and artifacts in the order of declaration.
    pub images: Vec<Image>,
    /// `dependencies`, in the order of the file.
    pub dependencies: Vec<Dependency>,
    /// Directives that are valid but that no command can build yet.
    pub unsupported: Vec<Unsupported>,
    /// Deprecated spellings that were met, each once.
    pub warnings: Vec<String>,
}

/// An entry of `dependencies`: `image` must be built after `target`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dependency {
    /// The image that depends, by its first name.
    pub image: ImageName,
    /// The image that it depends on.
    pub target: ImageName,
    /// Where the target is named.
    pub position: Position,
}

/// A directive that was read but is not built yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unsupported {
    /// The directive as the user wrote it (`mount`, `git.url`, …).
    pub directive: String,
    /// The image it stands in; `None` in the meta section.
    pub image: Option<ImageName>,
    /// Where.
    pub position: Position,
}

/// A name of an image. Empty = the nameless image, shown as `~`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
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

    /// Names of the images and artifacts that must be built before this one, each once, in order of mention.
    pub fn needs(&self) -> Vec<&ImageName> {
        let mut needs: Vec<&ImageName> = Vec::new();
        if let ImageKind::Stapel(stapel) = &self.kind {
            let base = match &stapel.base {
                Base::Image(name) => Some(name),
                Base::Reference(_) => None,
            };
            for name in base.into_iter().chain(stapel.imports.iter().map(|import| &import.source)) {
                if !needs.contains(&name) {
                    needs.push(name);
                }
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
    /// `target`.
    pub target: Option<String>,
    /// `args`.
    pub args: BTreeMap<String, String>,
    /// `addHost`: `HOST:IP`.
    pub add_hosts: Vec<String>,
    /// `network`.
    pub network: Option<String>,
}

/// A Stapel image or artifact.
#[derive(Clone, PartialEq, Debug)]
pub struct StapelImage {
    /// What it is built on.
    pub base: Base,
    /// `fromCacheVersion`.
    pub from_cache_version: Option<String>,
    /// `git`, in order.
    pub git: Vec<GitMapping>,
    /// `shell`.
    pub shell: Shell,
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

/// One entry of `git`: files of the project's repository that go into the image.
#[derive(Clone, PartialEq, Debug)]
pub struct GitMapping {
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
    /// The image or artifact of this file that files come from.
    pub source: ImageName,
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
