//! A project of the corpus, and what its templates may read: the files that are given, and the names of the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use slipway_paths::{Glob, TreePath};
use slipway_process::child;
use slipway_render::{Refusal, Surroundings};

/// A project.
pub(crate) struct Project {
    /// Its folder.
    pub(crate) folder: PathBuf,
    pub(crate) name: String,
    /// Paths of all files of the repository, a line each.
    pub(crate) listing: PathBuf,
    /// The files that are given.
    pub(crate) contents: BTreeMap<String, Vec<u8>>,
    /// All files of the repository.
    pub(crate) paths: BTreeSet<String>,
    _listings: tempfile::TempDir,
}

/// All projects, by name.
pub(crate) fn all(root: &Path) -> Vec<Project> {
    let mut folders: Vec<PathBuf> = fs::read_dir(root)
        .expect("the corpus can be read")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir() && path.file_name().is_some_and(|name| name != "trees"))
        .collect();
    folders.sort();
    folders.into_iter().map(|folder| Project::read(root, folder)).collect()
}

impl Project {
    fn read(root: &Path, folder: PathBuf) -> Project {
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        let mut contents = BTreeMap::new();
        collect(&folder, &folder, &mut contents);
        let tree = root.join("trees").join(format!("{name}.lstree.gz"));
        let listed = child::command("gzip").arg("-dc").arg(&tree).output().expect("gzip runs");
        assert!(listed.status.success(), "{}: no listing", tree.display());
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let mut paths: BTreeSet<String> =
            listed.lines().filter_map(|line| line.rsplit('\t').next()).map(str::to_owned).collect();
        let listings = tempfile::tempdir().expect("a directory");
        let listing = listings.path().join("listing");
        fs::write(&listing, paths.iter().map(|path| format!("{path}\n")).collect::<String>()).expect("written");
        paths.extend(contents.keys().cloned());
        Project { folder, name, listing, contents, paths, _listings: listings }
    }

    /// Paths of the configurations of the repository.
    pub(crate) fn configurations(&self) -> impl Iterator<Item = String> {
        let is_config = |path: &&String| {
            let name = path.rsplit('/').next().unwrap_or_default();
            matches!(name, "werf.yaml" | "werf.yml") && !path.contains(".werf/")
        };
        self.contents.keys().filter(is_config).cloned().collect::<Vec<_>>().into_iter()
    }
}

fn collect(root: &Path, directory: &Path, contents: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(directory).expect("the corpus can be read") {
        let path = entry.expect("an entry").path();
        let data = fs::symlink_metadata(&path).expect("its data");
        if data.is_dir() {
            collect(root, &path, contents);
        } else if data.is_file() {
            let name = path.strip_prefix(root).expect("it lies below").to_string_lossy().into_owned();
            contents.insert(name, fs::read(&path).expect("a given file"));
        }
    }
}

/// A project as the templates of one configuration see it.
pub(crate) struct Seen {
    pub(crate) prefix: TreePath,
    pub(crate) contents: BTreeMap<String, Vec<u8>>,
    pub(crate) paths: BTreeSet<String>,
    /// The value of every variable.
    pub(crate) variable: String,
}

impl Seen {
    fn full(&self, path: &str) -> Option<String> {
        TreePath::new(self.prefix.join(path.as_bytes()).as_bytes()).ok().map(|full| full.to_string())
    }
}

impl Surroundings for Seen {
    fn read(&self, path: &str) -> Result<Vec<u8>, Refusal> {
        let full = self.full(path).filter(|full| self.paths.contains(full));
        // What a file holds that is not given, nobody knows; Go is told the same.
        full.map(|full| self.contents.get(&full).cloned().unwrap_or_default())
            .ok_or_else(|| Refusal::new(format!("the file \"{path}\" not found in the project git repository")))
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, Refusal> {
        let glob = Glob::new(pattern).map_err(|error| Refusal::new(error.to_string()))?;
        let inside = |full: &String| TreePath::new(full).ok()?.below(&self.prefix);
        Ok(self
            .paths
            .iter()
            .filter_map(inside)
            .filter(|path| glob.selects(path))
            .map(|path| path.to_string())
            .collect())
    }

    fn is_file(&self, path: &str) -> Result<bool, Refusal> {
        Ok(self.full(path).is_some_and(|full| self.paths.contains(&full)))
    }

    fn is_directory(&self, path: &str) -> Result<bool, Refusal> {
        let Some(full) = self.full(path) else { return Ok(false) };
        let below = format!("{full}/");
        Ok(self.paths.range(below.clone()..).next().is_some_and(|path| path.starts_with(&below)))
    }

    fn variable(&self, _: &str) -> Result<Option<String>, Refusal> {
        Ok(Some(self.variable.clone()))
    }

    fn is_debugging(&self) -> bool {
        false
    }

    fn say(&self, _: &str) {}
}
