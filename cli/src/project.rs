//! The project: its repository, the commit that is built, and its configuration file.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, anyhow};
use slipway_digest::CommitId;
use slipway_git::{Authored, Dirty, GitView as _, Repository, StatusOptions};
use slipway_paths::TreePath;
use slipway_process::{Clock, Environment};
use slipway_render::{Commit, Configuration, Limits, Rendering, Surroundings, render};

use crate::{
    failure::Failure,
    flags::project::{Giterminism, ProjectFlags},
    giterminism::{self, Committed},
    includes::Includes,
    output::{Printer, timestamp},
    templates::{HostWorld, ProjectFiles},
};

/// Names of the configuration file, tried in this order.
const CONFIG_NAMES: [&str; 2] = ["werf.yaml", "werf.yml"];
/// Name of the giterminism configuration.
const GITERMINISM_NAME: &str = "werf-giterminism.yaml";
/// Longest configuration, in bytes.
const CONFIG_LIMIT: usize = 10 << 20;
/// Where templates are unless a flag says so.
const TEMPLATES_DIRECTORY: &str = ".werf";

/// What a project is read with.
#[derive(Clone)]
pub(crate) struct Reading {
    /// The current directory.
    pub(crate) here: PathBuf,
    /// Where snapshots of work trees go.
    pub(crate) home: PathBuf,
    /// The environment, for templates.
    pub(crate) environment: Environment,
    /// The clock, for templates.
    pub(crate) clock: Arc<dyn Clock>,
    /// Says what templates say for debugging.
    pub(crate) printer: Arc<Printer>,
}

/// A project, read.
pub(crate) struct Project {
    /// Its repository; in `--dev` mode its `HEAD` is the work tree.
    pub(crate) repository: Repository,
    /// The commit that is built.
    pub(crate) commit: CommitId,
    /// Its committer time, seconds since the Unix epoch.
    pub(crate) authored: Authored,
    /// The project directory.
    pub(crate) directory: PathBuf,
    /// The project directory in the repository.
    pub(crate) prefix: TreePath,
    /// How uncommitted work is treated.
    pub(crate) giterminism: Giterminism,
    /// What may be used without being in the commit.
    pub(crate) permits: slipway_config::Giterminism,
    /// The path of the giterminism configuration, be there one or not, as messages name it.
    pub(crate) permits_name: String,
    /// The commit that the configuration is read from: that of the build, with the files of includes put in.
    pub(crate) configuration: CommitId,
    /// Files of the configuration that come from other repositories.
    pub(crate) includes: Includes,
    /// What differs from the commit; empty unless the mode is strict.
    pub(crate) dirty: Vec<Dirty>,
    /// The configuration's path, as messages name it.
    pub(crate) config_name: String,
    /// The configuration's text, its templates rendered.
    pub(crate) rendering: Rendering,
}

impl Project {
    /// Finds and reads the project. Blocks.
    ///
    /// # Errors
    /// When there is no repository, commit or configuration, when the configuration is not committed, or when its
    /// templates fail.
    pub(crate) fn open(flags: &ProjectFlags, reading: &Reading) -> Result<Self, Failure> {
        let mut project = Self::with_includes(flags, reading)?;
        let text = project.read_config(flags.config.as_deref())?;
        project.rendering = project.render(text, flags, reading)?;
        Ok(project)
    }

    /// Finds the project and what its includes bring, without its configuration. Blocks.
    ///
    /// # Errors
    /// When there is no repository or commit, or the includes are wrong or cannot be fetched.
    pub(crate) fn with_includes(flags: &ProjectFlags, reading: &Reading) -> Result<Self, Failure> {
        let mut project = Self::locate(flags, reading)?;
        if flags.allow_includes_update && !project.permits.allows_includes_update() {
            let own = &project.permits_name;
            return Err(Failure::project_text(format!(
                "--allow-includes-update is not allowed by giterminism: the images would change with what other repositories \
                 hold at the moment. Run `slipway includes update` and commit the lock file, or allow it by \
                 `includes.allowIncludesUpdate: true` in {own}"
            )));
        }
        let includes = Includes::fetch(&project, &flags.including(reading))?;
        let together = includes.put_into(&project.repository, project.commit, &reading.home, |_| true);
        (project.repository, project.configuration) = together?;
        project.includes = includes;
        Ok(project)
    }

    /// Finds the project and what it allows. Blocks.
    ///
    /// # Errors
    /// When there is no repository or commit, or when what it allows is wrong.
    pub(crate) fn locate(flags: &ProjectFlags, reading: &Reading) -> Result<Self, Failure> {
        let Reading { here, home, .. } = reading;
        let directory = flags.dir.as_ref().map_or_else(|| here.to_owned(), |dir| here.join(dir));
        if !directory.is_dir() {
            return Err(Failure::usage(anyhow!("the project directory {} does not exist", directory.display())));
        }
        let root = flags.git_work_tree.as_ref().map_or_else(|| directory.clone(), |root| here.join(root));
        let repository = Repository::open(&root).with_context(|| format!("open the project {}", directory.display()));
        let repository = repository.map_err(Failure::project)?;
        let prefix = prefix(&repository, &directory)?;
        let mode = &flags.giterminism;
        let (repository, commit) = head(repository, mode, home)?;
        let authored = repository.commit(commit).context("read the commit").map_err(Failure::project)?.authored;
        let dirty = match mode {
            Giterminism::Strict => uncommitted(&repository)?,
            Giterminism::Loose | Giterminism::Dev(_) => Vec::new(),
        };
        let mut project = Self {
            repository,
            commit,
            authored,
            directory,
            prefix,
            giterminism: mode.clone(),
            permits: slipway_config::Giterminism::default(),
            permits_name: flags.giterminism_config.clone().unwrap_or_else(|| GITERMINISM_NAME.to_owned()),
            configuration: commit,
            includes: Includes::default(),
            dirty,
            config_name: String::new(),
            rendering: Rendering::plain("", String::new()),
        };
        project.permits = project.read_permits(flags.giterminism_config.is_some())?;
        Ok(project)
    }

    /// The commit that would be built now. Blocks.
    ///
    /// # Errors
    /// When there is no repository or commit.
    pub(crate) fn head(flags: &ProjectFlags, reading: &Reading) -> Result<CommitId, Failure> {
        let directory = flags.dir.as_ref().map_or_else(|| reading.here.clone(), |dir| reading.here.join(dir));
        let root = flags.git_work_tree.as_ref().map_or(directory, |root| reading.here.join(root));
        let repository = Repository::open(&root).context("open the project").map_err(Failure::project)?;
        head(repository, &flags.giterminism, &reading.home).map(|(_, commit)| commit)
    }

    /// Whether the commit is a snapshot of uncommitted work.
    pub(crate) fn is_dev(&self) -> bool {
        matches!(self.giterminism, Giterminism::Dev(_))
    }

    /// Whether files must be committed to be used.
    pub(crate) fn is_strict(&self) -> bool {
        self.giterminism == Giterminism::Strict
    }

    /// The path of a file of the project in the repository.
    ///
    /// # Errors
    /// When it leads out of the repository.
    pub(crate) fn path(&self, name: &str) -> Result<TreePath, Failure> {
        let path = self.prefix.join(name.trim_start_matches('/').as_bytes());
        TreePath::new(path.as_bytes()).map_err(|error| Failure::usage(anyhow::Error::new(error)))
    }

    /// Renders the templates of the configuration, whose text is given.
    fn render(&self, text: String, flags: &ProjectFlags, reading: &Reading) -> Result<Rendering, Failure> {
        let files = ProjectFiles {
            repository: self.repository.clone(),
            commit: self.configuration,
            included: self.includes.paths(),
            prefix: self.prefix.clone(),
            permits: self.permits.clone(),
            permits_name: self.permits_name.clone(),
            dirty: self.dirty.clone(),
            mode: self.giterminism.clone(),
            environment: reading.environment.clone(),
            debug: flags.debug_templates.then(|| Arc::clone(&reading.printer)),
            listed: std::sync::OnceLock::new(),
        };
        let configuration = Configuration {
            file: self.config_name.clone(),
            text,
            templates: files.templates(flags.config_templates_dir.as_deref().unwrap_or(TEMPLATES_DIRECTORY))?,
            environment: flags.env.clone(),
            commit: Commit {
                hash: self.commit.to_string(),
                human: timestamp::go(self.authored),
                unix: self.authored.time,
            },
        };
        let files: Arc<dyn Surroundings> = Arc::new(files);
        let world = Arc::new(HostWorld(Arc::clone(&reading.clock)));
        let rendered = render(&configuration, &files, world, Limits::default()).map_err(Failure::project)?;
        if let Some(path) = &flags.config_render_path {
            let path = reading.here.join(path);
            let doing = || format!("write the rendered configuration to {}", path.display());
            std::fs::write(&path, &rendered.text).with_context(doing)?;
        }
        Ok(rendered)
    }

    /// The text of the configuration.
    fn read_config(&mut self, chosen: Option<&str>) -> Result<String, Failure> {
        let names: Vec<&str> = chosen.map_or_else(|| CONFIG_NAMES.to_vec(), |name| vec![name]);
        for name in &names {
            if let Some(bytes) = self.config_bytes(name)? {
                self.config_name = (*name).to_owned();
                return text(name, "werf config", bytes);
            }
        }
        let looked = names.join(" and ");
        let place = if self.reads_disk() {
            format!("in {}", self.directory.display())
        } else {
            format!("in the project directory `{}` of commit {}", self.prefix, self.commit)
        };
        Err(Failure::project_text(format!(
            "unable to read werf config: {} not found: looked for {looked} {place}",
            names[0]
        )))
    }

    fn config_bytes(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        if !self.reads_disk() || self.includes.has(&self.path(name)?) {
            return self.committed(name, "werf config");
        }
        self.disk_bytes(name, "werf config")
    }

    fn disk_bytes(&self, name: &str, what: &str) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.directory.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let error = anyhow::Error::new(error).context(format!("unable to read {what} {}", path.display()));
                Err(Failure::project(error))
            }
        }
    }

    /// Whether the configuration is read from disk, where there is one to read from: in loose mode, or when allowed.
    fn reads_disk(&self) -> bool {
        self.permits.allows_uncommitted_config() && self.repository.work_tree().is_some()
    }

    /// The text of a file beside the configuration: from the commit, or in loose mode from disk; `None` = there is none.
    ///
    /// # Errors
    /// When it is not committed or no text.
    pub(crate) fn configuration_text(&self, name: &str, what: &str) -> Result<Option<String>, Failure> {
        let loose = self.giterminism == Giterminism::Loose && self.repository.work_tree().is_some();
        let bytes = if loose { self.disk_bytes(name, what)? } else { self.committed(name, what)? };
        bytes.map(|bytes| text(name, what, bytes)).transpose()
    }

    /// A file of the project as it is in the commit; in strict mode it must be the same in the work tree.
    fn committed(&self, name: &str, what: &str) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.path(name)?;
        let committed = giterminism::file(&self.repository, self.configuration, &self.dirty, &path)
            .with_context(|| format!("unable to read {what}"))
            .map_err(Failure::project)?;
        let untracked = match committed {
            Committed::Same => {
                let bytes = self.repository.read(self.configuration, &path);
                return bytes.with_context(|| format!("unable to read {what}")).map_err(Failure::project);
            }
            Committed::Absent if !self.is_on_disk(&path) => return Ok(None),
            Committed::Absent | Committed::Untracked => "untracked ",
            Committed::Changed => "",
        };
        Err(Failure::project_text(format!(
            "unable to read {what}: the {untracked}file \"{name}\" must be committed\n\n{}",
            giterminism::HINT
        )))
    }

    /// Whether the file stands in the work tree, though git does not list it: it may be ignored. A snapshot has what
    /// counts.
    pub(crate) fn is_on_disk(&self, path: &TreePath) -> bool {
        use std::os::unix::ffi::OsStrExt as _;
        let looks = !self.is_dev();
        let name = Path::new(std::ffi::OsStr::from_bytes(path.as_bytes()));
        looks && self.repository.work_tree().is_some_and(|root| root.join(name).exists())
    }

    /// The giterminism configuration, which is never read from disk. `chosen`: it was named by a flag.
    fn read_permits(&self, chosen: bool) -> Result<slipway_config::Giterminism, Failure> {
        if self.giterminism == Giterminism::Loose {
            return Ok(slipway_config::Giterminism::everything());
        }
        let name = &self.permits_name;
        let Some(bytes) = self.committed(name, "werf giterminism config")? else {
            if chosen {
                return Err(Failure::project_text(format!("unable to read werf giterminism config: {name} not found")));
            }
            return Ok(slipway_config::Giterminism::default());
        };
        let text = text(name, "werf giterminism config", bytes)?;
        slipway_config::giterminism::parse(name, &text).map_err(Failure::project)
    }
}

fn prefix(repository: &Repository, directory: &Path) -> Result<TreePath, Failure> {
    if repository.work_tree().is_none() {
        return Ok(TreePath::root());
    }
    repository.prefix(directory).context("find the project in its repository").map_err(Failure::project)
}

fn head(repository: Repository, mode: &Giterminism, home: &Path) -> Result<(Repository, CommitId), Failure> {
    match mode {
        Giterminism::Strict | Giterminism::Loose => {
            let commit = repository.resolve("HEAD").context("find the commit to build");
            let commit = commit.map_err(Failure::project)?;
            Ok((repository, commit))
        }
        Giterminism::Dev(ignore) => {
            let store = home.join("snapshots");
            let snapshot = repository.with_work_tree_snapshot(&store, ignore);
            snapshot.context("take a snapshot of the work tree (--dev)").map_err(Failure::project)
        }
    }
}

fn uncommitted(repository: &Repository) -> Result<Vec<Dirty>, Failure> {
    let dirty = repository.uncommitted(&StatusOptions::default());
    dirty.context("compare the work tree with the commit").map_err(Failure::project)
}

/// The text of a file that was read as `what`.
fn text(name: &str, what: &str, bytes: Vec<u8>) -> Result<String, Failure> {
    if bytes.len() > CONFIG_LIMIT {
        return Err(Failure::project_text(format!(
            "unable to read {what}: {name} is {} bytes long, more than {CONFIG_LIMIT} are not read",
            bytes.len()
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        Failure::project_text(format!("unable to read {what}: {name}:{line}: the text is not UTF-8"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_named_with_their_line() {
        let error = text("werf.yaml", "werf config", b"a: 1\nb: \xff\n".to_vec()).expect_err("no text");
        assert_eq!(error.text(), "unable to read werf config: werf.yaml:2: the text is not UTF-8");
    }
}
