//! What the templates of a configuration may read: files of the project and variables, as giterminism allows.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use slipway_config::Giterminism as Permits;
use slipway_digest::CommitId;
use slipway_git::{Dirty, DirtyKind, GitView as _, Repository, StatusOptions};
use slipway_paths::{Glob, PathFilter, Scope, TreePath};
use slipway_process::{Clock, Environment};
use slipway_render::{Refusal, Surroundings, TemplateFile, World};

use crate::{
    failure::Failure,
    flags::project::Giterminism,
    giterminism::{self, Committed, disk},
    output::Printer,
};

/// The largest file that templates read from disk, in bytes; what the commit holds is limited by the memory of a run.
const LARGEST_FILE: u64 = 256 << 20;
/// Most files that a message names.
const NAMED: usize = 100;

/// Files and variables for templates.
pub(crate) struct ProjectFiles {
    pub(crate) repository: Repository,
    pub(crate) commit: CommitId,
    /// Files that come from other repositories: never from disk.
    pub(crate) included: BTreeSet<TreePath>,
    /// The project directory in the repository.
    pub(crate) prefix: TreePath,
    pub(crate) permits: Permits,
    /// The path of the giterminism configuration, for advice.
    pub(crate) permits_name: String,
    /// What differs from the commit.
    pub(crate) dirty: Vec<Dirty>,
    /// In loose mode files come from disk, and a variable that is not set is empty.
    pub(crate) mode: Giterminism,
    pub(crate) environment: Environment,
    /// Says what functions for debugging show; `None` = nothing.
    pub(crate) debug: Option<Arc<Printer>>,
    /// The files of the commit.
    pub(crate) listed: OnceLock<Vec<TreePath>>,
}

/// A file that a template asks for.
struct Asked {
    /// Its path in the repository. It may lie beside the project directory.
    full: TreePath,
    /// How messages call it: from the project directory.
    name: String,
}

/// Whether giterminism lets a file of the project come from disk.
type Allows = fn(&Permits, &TreePath) -> bool;

/// Where a file is read.
enum Place {
    Commit,
    Disk(PathBuf),
}

/// Why a file is not read.
enum Fault {
    Untracked,
    Changed,
    Other(Refusal),
}

impl ProjectFiles {
    /// The templates below a directory of the project, sorted by name.
    ///
    /// # Errors
    /// When one of them may not be used or is no text.
    pub(crate) fn templates(&self, directory: &str) -> Result<Vec<TemplateFile>, Failure> {
        let wrong = |text: &dyn std::fmt::Display| {
            Failure::project_text(format!("unable to read werf config templates: {text}"))
        };
        let directory = self.asked(directory).map_err(|refusal| wrong(&refusal))?.full;
        let glob = Glob::new("**/*.tmpl").map_err(|error| wrong(&error))?;
        let takes = |full: &TreePath| full.below(&directory).is_some_and(|path| glob.selects(&path));
        let refused = |refusal: Refusal| match refusal.hint {
            Some(hint) => wrong(&format!("{}\n\n{hint}", refusal.message)),
            None => wrong(&refusal.message),
        };
        let paths = self.list(&takes, Permits::allows_uncommitted_template).map_err(refused)?;
        let mut templates = Vec::with_capacity(paths.len());
        for full in paths {
            let name = full.below(&directory).unwrap_or_default().to_string();
            let asked = self.found(full);
            let bytes = self.content(&asked, Permits::allows_uncommitted_template).map_err(refused)?;
            let file = asked.name;
            let text = String::from_utf8(bytes).map_err(|_| wrong(&format!("{file}: the text is not UTF-8")))?;
            templates.push(TemplateFile { name, file, text });
        }
        Ok(templates)
    }

    /// A file by its path from the project directory. It may lie outside of that, but not outside of the repository.
    fn asked(&self, text: &str) -> Result<Asked, Refusal> {
        let full = TreePath::new(self.prefix.join(text.trim_start_matches('/').as_bytes()).as_bytes());
        match full {
            Ok(full) => Ok(Asked { name: self.name(&full).unwrap_or_else(|| text.to_owned()), full }),
            Err(_) => Err(not_found(text, "git repository")
                .with_hint("paths are relative to the project directory and stay inside of the repository")),
        }
    }

    /// A file of the repository.
    fn found(&self, full: TreePath) -> Asked {
        Asked { name: self.name(&full).unwrap_or_else(|| full.to_string()), full }
    }

    /// The path from the project directory; `None` when the file lies elsewhere.
    fn name(&self, full: &TreePath) -> Option<String> {
        full.below(&self.prefix).map(|path| path.to_string())
    }

    /// The files that `takes` takes, sorted.
    fn list(&self, takes: &dyn Fn(&TreePath) -> bool, allows: Allows) -> Result<Vec<TreePath>, Refusal> {
        let loose_dirty;
        let dirty = if self.is_loose() {
            loose_dirty = self.uncommitted()?;
            &loose_dirty
        } else {
            &self.dirty
        };
        let mut found: BTreeSet<TreePath> = self.committed()?.iter().filter(|full| takes(full)).cloned().collect();
        let (mut untracked, mut changed) = (Vec::new(), Vec::new());
        for Dirty { path, kind } in dirty.iter().filter(|dirty| takes(&dirty.path)) {
            let asked = self.found(path.clone());
            if self.reads_disk(&asked.full, allows) {
                match self.on_disk(&asked, allows) {
                    Ok(_) => drop(found.insert(asked.full)),
                    Err(_) => drop(found.remove(&asked.full)),
                }
            } else if *kind == DirtyKind::Untracked {
                untracked.push(asked.name);
            } else {
                changed.push(asked.name);
            }
        }
        for (paths, word) in [(untracked, "untracked "), (changed, "")] {
            if !paths.is_empty() {
                return Err(Refusal::new(must_be_committed(&paths, word)).with_hint(giterminism::HINT));
            }
        }
        Ok(found.into_iter().collect())
    }

    fn content(&self, asked: &Asked, allows: Allows) -> Result<Vec<u8>, Refusal> {
        let place = self.judge(asked, allows).map_err(|fault| fault.into_refusal(&asked.name))?;
        let read = match &place {
            Place::Commit => self.repository.read(self.commit, &asked.full).map_err(anyhow::Error::new),
            Place::Disk(file) => fs::read(file).map(Some).map_err(anyhow::Error::new),
        };
        match read {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(not_found(&asked.name, "git repository")),
            Err(error) => Err(Refusal::new(format!("read the file \"{}\": {error:#}", asked.name))),
        }
    }

    /// Where the file is to be read.
    fn judge(&self, asked: &Asked, allows: Allows) -> Result<Place, Fault> {
        if self.reads_disk(&asked.full, allows) {
            return self.on_disk(asked, allows).map(Place::Disk).map_err(Fault::Other);
        }
        let unread = |error| Fault::Other(Refusal::new(format!("read the file \"{}\": {error}", asked.name)));
        match giterminism::file(&self.repository, self.commit, &self.dirty, &asked.full).map_err(unread)? {
            Committed::Same => Ok(Place::Commit),
            Committed::Changed => Err(Fault::Changed),
            Committed::Untracked => Err(Fault::Untracked),
            Committed::Absent if self.is_ignored(&asked.full) => Err(Fault::Untracked),
            Committed::Absent => Err(Fault::Other(not_found(&asked.name, "git repository"))),
        }
    }

    fn reads_disk(&self, full: &TreePath, allows: Allows) -> bool {
        let allowed = || full.below(&self.prefix).is_some_and(|path| allows(&self.permits, &path));
        let is_own = !self.included.contains(full);
        is_own && self.repository.work_tree().is_some() && (self.is_loose() || allowed())
    }

    /// The file on disk, links resolved. It lies in the work tree, and so does every link on the way, each allowed.
    fn on_disk(&self, asked: &Asked, allows: Allows) -> Result<PathBuf, Refusal> {
        let missing = || not_found(&asked.name, "directory");
        let root = self.repository.work_tree().ok_or_else(missing)?;
        let trail = trail(root, &asked.full);
        if let Some(refused) = trail.iter().find(|full| !self.reads_disk(full, allows)) {
            let refused = self.found(refused.clone()).name;
            return Err(Refusal::new(format!("the file \"{refused}\" is not accepted by giterminism"))
                .with_hint(format!("\"{}\" is a link to it: list both in {}", asked.name, self.permits_name)));
        }
        let file = disk::on_disk(root, trail.last().ok_or_else(missing)?);
        match fs::metadata(&file) {
            Ok(data) if data.len() > LARGEST_FILE => Err(Refusal::new(format!(
                "the file \"{}\" is {} bytes long; up to {LARGEST_FILE} are read",
                asked.name,
                data.len()
            ))),
            Ok(_) => Ok(file),
            Err(_) => Err(missing()),
        }
    }

    /// The files of the commit, sorted.
    fn committed(&self) -> Result<&[TreePath], Refusal> {
        if let Some(listed) = self.listed.get() {
            return Ok(listed);
        }
        let listed = self.repository.list(self.commit, &Scope::Filter(PathFilter::default()));
        let listed = listed.map_err(|error| Refusal::new(format!("list the files of the commit: {error}")))?;
        Ok(self.listed.get_or_init(|| listed))
    }

    fn uncommitted(&self) -> Result<Vec<Dirty>, Refusal> {
        let dirty = self.repository.uncommitted(&StatusOptions::default());
        dirty.map_err(|error| Refusal::new(format!("compare the work tree with the commit: {error}")))
    }

    /// Whether the file stands in the work tree, though git does not list it. Only the strict mode looks there.
    fn is_ignored(&self, full: &TreePath) -> bool {
        self.mode == Giterminism::Strict
            && self.repository.work_tree().is_some_and(|root| !trail(root, full).is_empty())
    }

    fn is_loose(&self) -> bool {
        self.mode == Giterminism::Loose
    }
}

impl Fault {
    fn into_refusal(self, name: &str) -> Refusal {
        let word = match self {
            Self::Untracked => "untracked ",
            Self::Changed => "",
            Self::Other(refusal) => return refusal,
        };
        Refusal::new(must_be_committed(&[name.to_owned()], word)).with_hint(giterminism::HINT)
    }
}

fn must_be_committed(paths: &[String], word: &str) -> String {
    if let [path] = paths {
        return format!("the {word}file \"{path}\" must be committed");
    }
    let more = paths.len().saturating_sub(NAMED);
    let mut lines: Vec<String> = paths.iter().take(NAMED).map(|path| format!(" - {path}")).collect();
    lines.extend((more > 0).then(|| format!(" … and {more} more")));
    format!("the following {word}files must be committed:\n\n{}", lines.join("\n"))
}

/// The file on disk and the links that lead to it; nothing when it is not there, or lies elsewhere or among git's own.
fn trail(root: &Path, full: &TreePath) -> Vec<TreePath> {
    let trail = disk::trail(root, full, &|_| true);
    let is_gits = |path: &TreePath| path.segments().any(|segment| segment == b".git");
    if trail.iter().any(is_gits) { Vec::new() } else { trail }
}

fn not_found(name: &str, place: &str) -> Refusal {
    Refusal::new(format!("the file \"{name}\" not found in the project {place}"))
}

impl Surroundings for ProjectFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, Refusal> {
        self.content(&self.asked(path)?, Permits::allows_template_file)
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, Refusal> {
        let glob = Glob::new(pattern).map_err(|error| Refusal::new(error.to_string()))?;
        let takes = |full: &TreePath| full.below(&self.prefix).is_some_and(|path| glob.selects(&path));
        let paths = self.list(&takes, Permits::allows_template_file)?;
        Ok(paths.into_iter().map(|full| self.found(full).name).collect())
    }

    fn is_file(&self, path: &str) -> Result<bool, Refusal> {
        let asked = self.asked(path)?;
        match self.judge(&asked, Permits::allows_template_file) {
            Ok(_) => Ok(true),
            Err(Fault::Changed) => Err(Fault::Changed.into_refusal(&asked.name)),
            Err(Fault::Untracked | Fault::Other(_)) => Ok(false),
        }
    }

    fn is_directory(&self, path: &str) -> Result<bool, Refusal> {
        let base = self.asked(path)?.full;
        let is_above = |file: &TreePath| file.below(&base).is_some_and(|rest| !rest.is_root());
        Ok(!self.list(&is_above, Permits::allows_template_file)?.is_empty())
    }

    fn variable(&self, name: &str) -> Result<Option<String>, Refusal> {
        if !self.permits.allows_env(name) {
            let hint = "allow it by adding it to `config.goTemplateRendering.allowEnvVariables`";
            return Err(Refusal::new(format!("env name \"{name}\" not allowed by giterminism"))
                .with_hint(format!("{hint} in {}", self.permits_name)));
        }
        let value = self.environment.get(name).map(str::to_owned);
        Ok(if self.is_loose() { Some(value.unwrap_or_default()) } else { value })
    }

    fn is_debugging(&self) -> bool {
        self.debug.is_some()
    }

    fn say(&self, text: &str) {
        if let Some(printer) = &self.debug {
            printer.info(text);
        }
    }
}

/// The time and randomness for functions of templates.
pub(crate) struct HostWorld(pub(crate) Arc<dyn Clock>);

impl World for HostWorld {
    fn now(&self) -> (i64, u32) {
        let millis = self.0.unix_millis();
        (i64::try_from(millis / 1000).unwrap_or(i64::MAX), u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000)
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        slipway_process::fill_random(bytes);
    }
}
