//! Files of the configuration that come from other repositories: `werf-includes.yaml` and its lock file.
//!
//! They lie below the project's own: what the project has itself, in the commit or on disk, wins, then the include that
//! stands last. Together they are a commit of our own, from which the configuration is read; contexts and sources still come
//! from the commit that is built.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::Context as _;
use slipway_config::includes::{Include, Locked, parse, parse_lock};
use slipway_digest::CommitId;
use slipway_git::{Repository, TreeFile, Upstream, Wanted};
use slipway_paths::{PathFilter, Scope, TreePath};
use slipway_process::Environment;

use crate::{failure::Failure, project::Project, upstreams};

/// Name of the list of includes, unless a flag says so.
const NAME: &str = "werf-includes.yaml";
/// Most files that all includes bring together.
const MOST_FILES: usize = 100_000;

/// What includes are read with.
pub(crate) struct Including<'a> {
    /// `--includes-config`
    pub(crate) config: Option<&'a str>,
    /// `--allow-includes-update`: branches and tags are looked up, and there need be no lock file.
    pub(crate) update: bool,
    /// Where copies of repositories are kept.
    pub(crate) home: &'a Path,
    /// The environment, for passwords.
    pub(crate) environment: &'a Environment,
}

/// The files that includes bring into a project.
#[derive(Default)]
pub(crate) struct Includes {
    /// By path from the root of the project's repository. The project has none of them itself.
    files: BTreeMap<TreePath, Included>,
    /// The repositories that they come from.
    repositories: Vec<Repository>,
}

struct Included {
    file: TreeFile,
    /// The address of its repository.
    source: String,
}

impl Includes {
    /// Fetches what the includes of `project` bring. Blocks.
    ///
    /// # Errors
    /// When their list or lock is wrong or not committed, or a repository cannot be fetched.
    pub(crate) fn fetch(project: &Project, including: &Including<'_>) -> Result<Self, Failure> {
        let (name, declared) = declared(project, including)?;
        if declared.is_empty() {
            return Ok(Self::default());
        }
        let lock = if including.update { Vec::new() } else { lock(project, &name)? };
        let mut includes = Self::default();
        let forbidden = forbidden(project, &name)?;
        for include in &declared {
            let upstream = upstreams::open(&include.remote, including.home, including.environment)?;
            let commit = match include.held(&lock) {
                Some(commit) => upstreams::commit_id(&commit)?,
                None if including.update => upstreams::look_up(&upstream, &include.remote)?,
                None => return Err(not_locked(&name, include)),
            };
            upstream.fetch(&Wanted::Commit(commit)).map_err(Failure::project)?;
            includes.add(project, include, (&upstream, commit), &forbidden)?;
        }
        Ok(includes)
    }

    /// Adds the files of one include; they win over those of includes before it.
    fn add(
        &mut self,
        project: &Project,
        include: &Include,
        (upstream, commit): (&Upstream, CommitId),
        forbidden: &BTreeSet<TreePath>,
    ) -> Result<(), Failure> {
        let doing = || format!("list the files of {} at {commit}", upstream.address());
        let repository = upstream.repository().with_context(doing).map_err(Failure::project)?;
        let scope = Scope::Filter(PathFilter {
            base: include.add.clone(),
            include: include.include.clone(),
            exclude: include.exclude.clone(),
            within: Vec::new(),
        });
        let files = repository.files(commit, &scope).with_context(doing).map_err(Failure::project)?;
        if self.files.len() + files.len() > MOST_FILES {
            return Err(Failure::project_text(format!(
                "the includes bring more than {MOST_FILES} files; name what is needed by `add` and `includePaths`"
            )));
        }
        for file in files {
            let path = project.prefix.join(target(include, &file.path).as_bytes());
            if !forbidden.contains(&path) && !is_own(project, &path)? {
                let file = TreeFile { path: path.clone(), ..file };
                self.files.insert(path, Included { file, source: upstream.address().to_string() });
            }
        }
        self.repositories.push(repository);
        Ok(())
    }

    /// Whether the file at `path` of the repository comes from an include.
    pub(crate) fn has(&self, path: &TreePath) -> bool {
        self.files.contains_key(path)
    }

    /// All paths.
    pub(crate) fn paths(&self) -> BTreeSet<TreePath> {
        self.files.keys().cloned().collect()
    }

    /// The paths below `directory`, with the address that each comes from.
    pub(crate) fn below(&self, directory: &TreePath) -> impl Iterator<Item = (TreePath, &str)> {
        let directory = directory.clone();
        self.files.iter().filter_map(move |(path, included)| Some((path.below(&directory)?, included.source.as_str())))
    }

    /// The repository of a project with a commit that is `base` with those of the files that `takes` takes.
    ///
    /// # Errors
    /// When the commit cannot be written below `home`.
    pub(crate) fn put_into(
        &self,
        repository: &Repository,
        base: CommitId,
        home: &Path,
        takes: impl Fn(&TreePath) -> bool,
    ) -> Result<(Repository, CommitId), Failure> {
        let files: Vec<TreeFile> =
            self.files.values().map(|included| included.file.clone()).filter(|file| takes(&file.path)).collect();
        let others: Vec<&Repository> = self.repositories.iter().collect();
        let together = repository.with_included(&home.join("snapshots"), base, &files, &others);
        together.context("put included files and the project's together").map_err(Failure::project)
    }
}

/// The commits that the includes of `project` are at now, for its lock file: the file's name and its entries. Blocks.
///
/// # Errors
/// When the list is wrong, not committed or not there, or a repository cannot be fetched.
pub(crate) fn update(project: &Project, including: &Including<'_>) -> Result<(String, Vec<Locked>), Failure> {
    let (name, declared) = declared(project, including)?;
    if declared.is_empty() {
        return Err(Failure::project_text(format!("{name} is not there or has no includes: there is nothing to lock")));
    }
    let mut locked: Vec<Locked> = Vec::new();
    for include in &declared {
        let upstream = upstreams::open(&include.remote, including.home, including.environment)?;
        let commit = upstreams::look_up(&upstream, &include.remote)?;
        let entry = include.locked(&commit.to_string());
        if !locked.contains(&entry) {
            locked.push(entry);
        }
    }
    Ok((lock_name(&name), locked))
}

/// The list of includes, with its name.
fn declared(project: &Project, including: &Including<'_>) -> Result<(String, Vec<Include>), Failure> {
    let name = including.config.unwrap_or(NAME).to_owned();
    match project.configuration_text(&name, "werf includes config")? {
        Some(text) => parse(&name, &text).map(|includes| (name, includes)).map_err(Failure::project),
        None if including.config.is_some() => {
            Err(Failure::project_text(format!("unable to read werf includes config: {name} not found")))
        }
        None => Ok((name, Vec::new())),
    }
}

fn lock(project: &Project, name: &str) -> Result<Vec<Locked>, Failure> {
    let name = lock_name(name);
    match project.configuration_text(&name, "werf includes lock")? {
        Some(text) => parse_lock(&name, &text).map_err(Failure::project),
        // Those that name their commits need none; the others are named one by one.
        None => Ok(Vec::new()),
    }
}

/// The lock file stands beside the list: `werf-includes.lock` of `werf-includes.yaml`.
fn lock_name(name: &str) -> String {
    let stem = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml")).unwrap_or(name);
    format!("{stem}.lock")
}

fn not_locked(name: &str, include: &Include) -> Failure {
    let (line, lock) = (include.position.line, lock_name(name));
    Failure::project_text(format!(
        "{name}:{line}: the include of {} is not in {lock}\n\nSo that the same commit gives the same images everywhere, {lock} \
         holds every include at a commit. Run `slipway includes update` and commit the file, or add --allow-includes-update \
         where giterminism allows it.",
        include.remote.name
    ))
}

/// What no include may bring: what says what may be included and what is allowed.
fn forbidden(project: &Project, name: &str) -> Result<BTreeSet<TreePath>, Failure> {
    [name, &lock_name(name), &project.permits_name].into_iter().map(|name| project.path(name)).collect()
}

/// Whether the project has something at `path` itself: in the commit, on disk, or a file where `path` has a directory.
fn is_own(project: &Project, path: &TreePath) -> Result<bool, Failure> {
    for own in std::iter::successors(Some(path.clone()), TreePath::parent).filter(|own| !own.is_root()) {
        let trail = project.repository.trail(project.commit, &own).context("look for files of the project");
        if trail.map_err(Failure::project)?.is_some() {
            return Ok(true);
        }
    }
    Ok(project.is_on_disk(path))
}

/// Where a file of an include goes, from the project directory. `path` is relative to `add`: the root when `add` is a file.
fn target(include: &Include, path: &TreePath) -> TreePath {
    match (path.is_root(), include.to.is_root()) {
        (true, true) => include.to.join(include.add.name()),
        (true, false) => include.to.clone(),
        (false, _) => include.to.join(path.as_bytes()),
    }
}
