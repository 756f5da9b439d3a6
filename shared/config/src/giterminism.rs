//! `werf-giterminism.yaml`: what may enter a build without being in a commit.
//!
//! [`parse`] reads the file, `rules` are its lists of paths and names, `check` holds a configuration against it.

mod check;
mod read;
mod rules;

use slipway_paths::TreePath;

use rules::{HostPaths, Names, Paths};

pub use read::parse;

/// What giterminism allows. The default allows nothing, as does an absent file. Paths are relative to the project
/// directory unless said otherwise; a glob that takes a directory takes everything in it.
#[derive(Clone, Debug, Default)]
pub struct Giterminism {
    /// Whether everything is allowed, whatever the rest says.
    everything: bool,
    custom_tags: bool,
    config: bool,
    templates: Paths,
    template_files: Paths,
    template_variables: Names,
    secret_variables: Names,
    secret_files: HostPaths,
    secret_values: Names,
    from_latest: bool,
    git_branch: bool,
    mount_build_dir: bool,
    mount_paths: HostPaths,
    dockerfiles: Paths,
    dockerignores: Paths,
    context_files: Paths,
    helm_files: Paths,
    includes_update: bool,
}

impl Giterminism {
    /// Allows everything: the loose mode.
    pub fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    /// `cli.allowCustomTags`: whether `--use-custom-tag` may be given.
    pub fn allows_custom_tags(&self) -> bool {
        self.everything || self.custom_tags
    }

    /// `config.allowUncommitted`: whether the configuration is read from disk.
    pub fn allows_uncommitted_config(&self) -> bool {
        self.everything || self.config
    }

    /// `config.allowUncommittedTemplates`: whether this template (`.werf/…`) is read from disk.
    pub fn allows_uncommitted_template(&self, path: &TreePath) -> bool {
        self.everything || self.templates.take(path)
    }

    /// `config.goTemplateRendering.allowUncommittedFiles`: whether `.Files` reads this file from disk.
    pub fn allows_template_file(&self, path: &TreePath) -> bool {
        self.everything || self.template_files.take(path)
    }

    /// `config.goTemplateRendering.allowEnvVariables`: whether `env` may read this variable.
    pub fn allows_env(&self, name: &str) -> bool {
        self.everything || self.template_variables.take(name)
    }

    /// `config.secrets.allowEnvVariables`: whether a secret may be this variable.
    pub fn allows_secret_env(&self, name: &str) -> bool {
        self.everything || self.secret_variables.take(name)
    }

    /// `config.secrets.allowFiles`: whether a secret may be this file, given as the configuration writes it: relative,
    /// absolute, or in the home directory (`~/…`).
    pub fn allows_secret_file(&self, path: &str) -> bool {
        self.everything || self.secret_files.take(path)
    }

    /// `config.secrets.allowValueIds`: whether the secret with this id may be written out in the configuration.
    pub fn allows_secret_value(&self, id: &str) -> bool {
        self.everything || self.secret_values.take(id)
    }

    /// `config.stapel.allowFromLatest`: whether `fromLatest` may be given.
    pub fn allows_from_latest(&self) -> bool {
        self.everything || self.from_latest
    }

    /// `config.stapel.git.allowBranch`: whether another repository may be used at a branch.
    pub fn allows_branch(&self) -> bool {
        self.everything || self.git_branch
    }

    /// `config.stapel.mount.allowBuildDir`: whether a mount may have `from: build_dir`.
    pub fn allows_build_dir_mount(&self) -> bool {
        self.everything || self.mount_build_dir
    }

    /// `config.stapel.mount.allowFromPaths`: whether a mount may have this `fromPath`, given as the configuration writes
    /// it: relative, absolute, or in the home directory (`~/…`).
    pub fn allows_from_path_mount(&self, path: &str) -> bool {
        self.everything || self.mount_paths.take(path)
    }

    /// `config.dockerfile.allowUncommitted`: whether this Dockerfile is read from disk.
    pub fn allows_uncommitted_dockerfile(&self, path: &TreePath) -> bool {
        self.everything || self.dockerfiles.take(path)
    }

    /// `config.dockerfile.allowUncommittedDockerignoreFiles`: whether this `.dockerignore` is read from disk.
    pub fn allows_uncommitted_dockerignore(&self, path: &TreePath) -> bool {
        self.everything || self.dockerignores.take(path)
    }

    /// `config.dockerfile.allowContextAddFiles`: whether `contextAddFiles` may name this file or directory (joined with
    /// `context`).
    pub fn allows_context_add_file(&self, path: &TreePath) -> bool {
        self.everything || self.context_files.take(path)
    }

    /// `helm.allowUncommittedFiles`: whether this file of a chart is read from disk.
    pub fn allows_helm_file(&self, path: &TreePath) -> bool {
        self.everything || self.helm_files.take(path)
    }

    /// `includes.allowIncludesUpdate`: whether includes may be taken without their lock file.
    pub fn allows_includes_update(&self) -> bool {
        self.everything || self.includes_update
    }
}
