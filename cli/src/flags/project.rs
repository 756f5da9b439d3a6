//! Which project, which of its files, and how much of its work tree counts.

use super::{
    flag::{CommandName, Flag, HOMES, PROJECT, Support, Werf, joined},
    resolve::{FlagError, Values},
};
use crate::{includes::Including, project::Reading};

/// Commands that write temporary files.
const HOST: &[CommandName] = &joined::<{ PROJECT.len() + 1 }>(PROJECT, &[CommandName::Worker]);

/// Commands that read a project, or delete what was built for one.
const NAMED: &[CommandName] =
    &joined::<{ PROJECT.len() + 2 }>(PROJECT, &[CommandName::HostCleanup, CommandName::HostPurge]);

pub(crate) const DIR: Flag = Flag::text("dir", "DIR", "Project directory; the current one by default").on(PROJECT);
pub(crate) const GIT_WORK_TREE: Flag = Flag::text(
    "git-work-tree",
    "DIR",
    "Git work tree of the project; found by walking up from the project directory by default",
)
.on(PROJECT);
pub(crate) const CONFIG: Flag = Flag::text(
    "config",
    "FILE",
    "Configuration file, relative to the project directory; werf.yaml or werf.yml by default",
)
.on(PROJECT);
pub(crate) const PROJECT_NAME: Flag = Flag::text(
    "project-name",
    "NAME",
    "Name of the project, instead of what the configuration says by project; host: only what was built for it goes",
)
.short('N')
.on(NAMED);
pub(crate) const CONFIG_TEMPLATES_DIR: Flag = Flag::text(
    "config-templates-dir",
    "DIR",
    "Directory of configuration templates, relative to the project directory; .werf by default",
)
.on(PROJECT);
pub(crate) const GITERMINISM_CONFIG: Flag = Flag::text(
    "giterminism-config",
    "FILE",
    "Giterminism configuration, relative to the project directory; werf-giterminism.yaml by default",
)
.on(PROJECT);
pub(crate) const ENV: Flag =
    Flag::text("env", "NAME", "Environment name that the configuration may ask for").on(PROJECT);
pub(crate) const DEBUG_TEMPLATES: Flag =
    Flag::switch("debug-templates", "Show what the functions for debugging templates are given").on(PROJECT);
pub(crate) const CONFIG_RENDER_PATH: Flag =
    Flag::text("config-render-path", "FILE", "Where the rendered configuration is written as well").on(PROJECT);
pub(crate) const DEV: Flag =
    Flag::switch("dev", "Build the work tree as it is, uncommitted files included; the repository is not written to")
        .on(PROJECT);
pub(crate) const DEV_IGNORE: Flag = Flag::list(
    "dev-ignore",
    "GLOB",
    "Files that --dev leaves out, beside those that .gitignore names; may be given several times",
)
.on(PROJECT);
pub(crate) const DEV_BRANCH: Flag =
    Flag::text("dev-branch", "NAME", "Branch for the snapshots of --dev; none is needed, nothing is written")
        .on(PROJECT)
        .support(Support::Unneeded);
pub(crate) const LOOSE_GITERMINISM: Flag = Flag::switch(
    "loose-giterminism",
    "Do not check that used files are committed, and read the configuration from disk; sources still come from the commit",
)
.on(PROJECT);
pub(crate) const HOME_DIR: Flag = Flag::text(
    "home-dir",
    "DIR",
    "Directory for everything kept between runs; $XDG_DATA_HOME/slipway or ~/.local/share/slipway by default",
)
.werf(Werf::Named("WERF_HOME"))
.on(HOMES);
pub(crate) const TMP_DIR: Flag =
    Flag::text("tmp-dir", "DIR", "Directory for temporary files; the system's by default").on(HOST);

pub(crate) const INCLUDES_CONFIG: Flag = Flag::text(
    "includes-config",
    "FILE",
    "List of files from other repositories, relative to the project directory; werf-includes.yaml by default",
)
.on(PROJECT);
pub(crate) const ALLOW_INCLUDES_UPDATE: Flag = Flag::switch(
    "allow-includes-update",
    "Take includes as they are now instead of as the lock file holds them; giterminism must allow it",
)
.on(PROJECT);

pub(crate) const SSH_KEY: Flag = Flag::list(
    "ssh-key",
    "FILE",
    "Private key for git and build containers, in a temporary ssh agent; may be given several times",
);

pub(super) const FLAGS: &[Flag] = &[
    DIR,
    GIT_WORK_TREE,
    CONFIG,
    PROJECT_NAME,
    CONFIG_TEMPLATES_DIR,
    GITERMINISM_CONFIG,
    ENV,
    DEBUG_TEMPLATES,
    CONFIG_RENDER_PATH,
    DEV,
    DEV_IGNORE,
    DEV_BRANCH,
    LOOSE_GITERMINISM,
    HOME_DIR,
    TMP_DIR,
    SSH_KEY,
    INCLUDES_CONFIG,
    ALLOW_INCLUDES_UPDATE,
];

/// How uncommitted work is treated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Giterminism {
    /// What is used must be committed.
    Strict,
    /// Nothing is checked; the configuration is read from disk, sources from the commit.
    Loose,
    /// The work tree is built as it is, but for files that these globs name.
    Dev(Vec<String>),
}

/// Which project, and how it is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ProjectFlags {
    /// `--dir`
    pub(crate) dir: Option<String>,
    /// `--git-work-tree`
    pub(crate) git_work_tree: Option<String>,
    /// `--config`
    pub(crate) config: Option<String>,
    /// `--project-name`: a good one.
    pub(crate) project_name: Option<String>,
    /// `--config-templates-dir`
    pub(crate) config_templates_dir: Option<String>,
    /// `--config-render-path`
    pub(crate) config_render_path: Option<String>,
    /// `--env`; empty when it is not given.
    pub(crate) env: String,
    /// `--debug-templates`
    pub(crate) debug_templates: bool,
    /// `--giterminism-config`
    pub(crate) giterminism_config: Option<String>,
    /// `--dev`, `--loose-giterminism`. Both at once: `--dev`, as there is nothing left to check.
    pub(crate) giterminism: Giterminism,
    /// `--includes-config`
    pub(crate) includes_config: Option<String>,
    /// `--allow-includes-update`
    pub(crate) allow_includes_update: bool,
    /// `--home-dir`
    pub(crate) home_dir: Option<String>,
    /// `--tmp-dir`
    pub(crate) tmp_dir: Option<String>,
}

impl ProjectFlags {
    /// What includes are read with.
    pub(crate) fn including<'a>(&'a self, reading: &'a Reading) -> Including<'a> {
        Including {
            config: self.includes_config.as_deref(),
            update: self.allow_includes_update,
            home: &reading.home,
            environment: &reading.environment,
        }
    }

    /// What the flags and variables say.
    ///
    /// # Errors
    /// When the name of the project cannot be one.
    pub(crate) fn from_values(values: &Values) -> Result<Self, FlagError> {
        let project_name = values.text(&PROJECT_NAME);
        if let Some(Err(fault)) = project_name.as_deref().map(slipway_config::check_project_name) {
            return Err(FlagError(format!("{}: {fault}", values.spelling(&PROJECT_NAME))));
        }
        let giterminism = match (values.switch(&DEV), values.switch(&LOOSE_GITERMINISM)) {
            (true, _) => Giterminism::Dev(values.list(&DEV_IGNORE)),
            (false, true) => Giterminism::Loose,
            (false, false) => Giterminism::Strict,
        };
        Ok(Self {
            dir: values.text(&DIR),
            git_work_tree: values.text(&GIT_WORK_TREE),
            config: values.text(&CONFIG),
            project_name,
            config_templates_dir: values.text(&CONFIG_TEMPLATES_DIR),
            config_render_path: values.text(&CONFIG_RENDER_PATH),
            env: values.text(&ENV).unwrap_or_default(),
            debug_templates: values.switch(&DEBUG_TEMPLATES),
            giterminism_config: values.text(&GITERMINISM_CONFIG),
            giterminism,
            includes_config: values.text(&INCLUDES_CONFIG),
            allow_includes_update: values.switch(&ALLOW_INCLUDES_UPDATE),
            home_dir: values.text(&HOME_DIR),
            tmp_dir: values.text(&TMP_DIR),
        })
    }
}
