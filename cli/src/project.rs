//! The project: its repository, the commit that is built, and its configuration file.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use slipway_digest::CommitId;
use slipway_git::{Dirty, GitView as _, Repository, StatusOptions};
use slipway_paths::TreePath;

use crate::{
    failure::Failure,
    flags::project::{Giterminism, ProjectFlags},
    giterminism::{self, Committed},
};

/// Names of the configuration file, tried in this order.
const CONFIG_NAMES: [&str; 2] = ["werf.yaml", "werf.yml"];
/// Name of the giterminism configuration.
const GITERMINISM_NAME: &str = "werf-giterminism.yaml";
/// Longest configuration, in bytes.
const CONFIG_LIMIT: usize = 10 << 20;

/// A project, read.
pub(crate) struct Project {
    /// Its repository; in `--dev` mode its `HEAD` is the work tree.
    pub(crate) repository: Repository,
    /// The commit that is built.
    pub(crate) commit: CommitId,
    /// Its committer time, seconds since the Unix epoch.
    pub(crate) commit_time: i64,
    /// The project directory.
    pub(crate) directory: PathBuf,
    /// The project directory in the repository.
    pub(crate) prefix: TreePath,
    /// How uncommitted work is treated.
    pub(crate) giterminism: Giterminism,
    /// What differs from the commit; empty unless the mode is strict.
    pub(crate) dirty: Vec<Dirty>,
    /// The configuration's path, as messages name it.
    pub(crate) config_name: String,
    /// The configuration's text.
    pub(crate) config_text: String,
}

impl Project {
    /// Finds and reads the project. Blocks. `here` is the current directory, `home` where snapshots of work trees go.
    ///
    /// # Errors
    /// When there is no repository, commit or configuration, or when the configuration is not committed.
    pub(crate) fn open(flags: &ProjectFlags, here: &Path, home: &Path) -> Result<Self, Failure> {
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
        let commit_time = repository.commit(commit).context("read the commit").map_err(Failure::project)?.time;
        let dirty = match mode {
            Giterminism::Strict => uncommitted(&repository)?,
            Giterminism::Loose | Giterminism::Dev(_) => Vec::new(),
        };
        let mut project = Self {
            repository,
            commit,
            commit_time,
            directory,
            prefix,
            giterminism: mode.clone(),
            dirty,
            config_name: String::new(),
            config_text: String::new(),
        };
        project.check_giterminism_config(flags)?;
        project.read_config(flags.config.as_deref())?;
        Ok(project)
    }

    /// Whether the commit is a snapshot of uncommitted work.
    pub(crate) fn is_dev(&self) -> bool {
        matches!(self.giterminism, Giterminism::Dev(_))
    }

    /// The path of a file of the project in the repository.
    ///
    /// # Errors
    /// When it leads out of the repository.
    pub(crate) fn path(&self, name: &str) -> Result<TreePath, Failure> {
        let path = self.prefix.join(name.trim_start_matches('/').as_bytes());
        TreePath::new(path.as_bytes()).map_err(|error| Failure::usage(anyhow::Error::new(error)))
    }

    fn read_config(&mut self, chosen: Option<&str>) -> Result<(), Failure> {
        let names: Vec<&str> = chosen.map_or_else(|| CONFIG_NAMES.to_vec(), |name| vec![name]);
        for name in &names {
            if let Some(bytes) = self.config_bytes(name)? {
                self.config_text = config_text(name, bytes)?;
                self.config_name = (*name).to_owned();
                return templates(&self.config_name, &self.config_text);
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
        if !self.reads_disk() {
            return self.committed(name, "werf config");
        }
        let path = self.directory.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let error = anyhow::Error::new(error).context(format!("unable to read werf config {}", path.display()));
                Err(Failure::project(error))
            }
        }
    }

    /// Loose mode reads the configuration from disk, where there is one to read from.
    fn reads_disk(&self) -> bool {
        self.giterminism == Giterminism::Loose && self.repository.work_tree().is_some()
    }

    /// A file of the project as it is in the commit; in strict mode it must be the same in the work tree.
    fn committed(&self, name: &str, what: &str) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.path(name)?;
        let committed = giterminism::file(&self.repository, self.commit, &self.dirty, &path)
            .with_context(|| format!("unable to read {what}"))
            .map_err(Failure::project)?;
        let untracked = match committed {
            Committed::Same => {
                let bytes = self.repository.read(self.commit, &path);
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

    /// Whether the file stands in the work tree, though git does not list it: it may be ignored.
    fn is_on_disk(&self, path: &TreePath) -> bool {
        use std::os::unix::ffi::OsStrExt as _;
        let strict = self.giterminism == Giterminism::Strict;
        let name = Path::new(std::ffi::OsStr::from_bytes(path.as_bytes()));
        strict && self.repository.work_tree().is_some_and(|root| root.join(name).exists())
    }

    fn check_giterminism_config(&self, flags: &ProjectFlags) -> Result<(), Failure> {
        if self.giterminism == Giterminism::Loose {
            return Ok(());
        }
        let name = flags.giterminism_config.as_deref().unwrap_or(GITERMINISM_NAME);
        let Some(bytes) = self.committed(name, "werf giterminism config")? else {
            if flags.giterminism_config.is_some() {
                return Err(Failure::project_text(format!("unable to read werf giterminism config: {name} not found")));
            }
            return Ok(());
        };
        match giterminism_directive(&String::from_utf8_lossy(&bytes)) {
            None => Ok(()),
            Some(line) => {
                Err(Failure::project_text(format!("not supported yet: permissions of giterminism ({name}:{line})")))
            }
        }
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

fn config_text(name: &str, bytes: Vec<u8>) -> Result<String, Failure> {
    if bytes.len() > CONFIG_LIMIT {
        return Err(Failure::project_text(format!(
            "unable to read werf config: {name} is {} bytes long, more than {CONFIG_LIMIT} are not read",
            bytes.len()
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        Failure::project_text(format!("unable to read werf config: {name}:{line}: the text is not UTF-8"))
    })
}

/// Templates are refused as long as nothing renders them.
fn templates(name: &str, text: &str) -> Result<(), Failure> {
    match text.lines().position(|line| line.contains("{{")) {
        None => Ok(()),
        Some(index) => Err(Failure::project_text(format!("not supported yet: templates ({name}:{})", index + 1))),
    }
}

/// The number of the first line that says more than `giterminismConfigVersion`.
fn giterminism_directive(text: &str) -> Option<usize> {
    let says_nothing = |line: &str| {
        let line = line.split(" #").next().unwrap_or_default().trim();
        let version =
            line.strip_prefix("giterminismConfigVersion:").map(|version| version.trim().trim_matches(['"', '\'']));
        line.is_empty() || line.starts_with('#') || line == "---" || version == Some("1")
    };
    text.lines().position(|line| !says_nothing(line)).map(|index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_version_is_no_permission() {
        for text in ["", "giterminismConfigVersion: 1\n", "# note\n---\ngiterminismConfigVersion: \"1\" # v\n\n"] {
            assert_eq!(giterminism_directive(text), None, "{text}");
        }
        assert_eq!(giterminism_directive("giterminismConfigVersion: 1\nconfig:\n  allowUncommitted: true\n"), Some(2));
        assert_eq!(giterminism_directive("giterminismConfigVersion: 2\n"), Some(1));
    }

    #[test]
    fn templates_are_named_with_their_line() {
        assert!(templates("werf.yaml", "a: 1\n").is_ok());
        let error = templates("werf.yaml", "a: 1\nb: {{ .Env }}\n").expect_err("a template");
        assert_eq!(error.text(), "not supported yet: templates (werf.yaml:2)");
    }

    #[test]
    fn bytes_that_are_no_text_are_named_with_their_line() {
        let error = config_text("werf.yaml", b"a: 1\nb: \xff\n".to_vec()).expect_err("no text");
        assert_eq!(error.text(), "unable to read werf config: werf.yaml:2: the text is not UTF-8");
    }
}
