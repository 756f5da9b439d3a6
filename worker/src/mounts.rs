//! Directories of this host that commands see: where they are, and how long they last.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use slipway_backend::HostMount;
use slipway_digest::Encoder;
use slipway_layers::{
    LayerError, Store,
    store::{Options, SharedDirectory, Work},
};
use slipway_oci::Repo;
use slipway_process::{Clock, random_id};
use slipway_stages::{MountedFrom, PlanMount};

/// How long the temporary directories of a build are kept that asks for them no more: nobody says when it is over.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// Which paths of the host commands may see.
#[derive(Clone, Debug)]
pub enum HostPaths {
    /// All: who builds is who owns them.
    Own {
        /// Where relative paths begin.
        current: PathBuf,
        /// What `~` stands for.
        home: Option<PathBuf>,
    },
    /// None: who builds is somebody else.
    Strangers,
}

/// Why a directory cannot be mounted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MountError {
    /// It can be, by another configuration.
    #[error("{0}")]
    Refused(String),
    /// The directories that are kept here fail.
    #[error(transparent)]
    Store(#[from] LayerError),
}

/// The directories that this host gives to builds.
pub struct Mounts {
    place: PathBuf,
    limit: u64,
    /// Opened when a build asks for it: most do not.
    store: OnceLock<Store>,
    paths: HostPaths,
    clock: Arc<dyn Clock>,
    /// Those of builds, by what names them.
    temporary: Mutex<HashMap<String, Temporary>>,
}

struct Temporary {
    work: Arc<Work>,
    used: Duration,
}

/// Mounts while they are in use.
pub(crate) struct Held {
    /// What is mounted.
    pub(crate) mounts: Vec<HostMount>,
    _shared: Vec<SharedDirectory>,
    _temporary: Vec<Arc<Work>>,
}

impl Mounts {
    /// The directories in the store at `place`, which may take `limit` bytes with all that is in it.
    pub fn new(place: PathBuf, limit: u64, paths: HostPaths, clock: Arc<dyn Clock>) -> Self {
        Self { place, limit, store: OnceLock::new(), paths, clock, temporary: Mutex::default() }
    }

    fn store(&self) -> Result<&Store, LayerError> {
        if self.store.get().is_none() {
            let opened = Store::open(&self.place, &Options { limit: Some(self.limit) })?;
            // Two opened at once are one on the disk.
            let _ = self.store.set(opened);
        }
        Ok(self.store.get().expect("it was just set"))
    }

    /// The directories that a stage of `project` asks for, made when they are missing. Builds for different
    /// repositories share none. Blocks.
    pub(crate) fn hold(&self, wanted: &[PlanMount], project: &str, repo: Option<&Repo>) -> Result<Held, MountError> {
        let mut held = Held { mounts: Vec::new(), _shared: Vec::new(), _temporary: Vec::new() };
        for mount in wanted {
            let source = match &mount.from {
                MountedFrom::Temporary { run, image } => {
                    let work = self.temporary(run)?;
                    let name = Encoder::new("temporary mount").text(image).text(&mount.to).finish().to_string();
                    let path = work.path().join(name);
                    make(&path)?;
                    held._temporary.push(work);
                    path
                }
                MountedFrom::Shared => {
                    let owner = match self.paths {
                        HostPaths::Own { .. } => String::new(),
                        HostPaths::Strangers => repo.map(ToString::to_string).unwrap_or_default(),
                    };
                    let name = Encoder::new("shared mount").text(&owner).text(project).text(&mount.to).finish();
                    let shared = self.store()?.shared_directory(&name.to_string())?;
                    let path = shared.path();
                    held._shared.push(shared);
                    path
                }
                MountedFrom::Path(path) => self.path(path)?,
            };
            held.mounts.push(HostMount { source, target: mount.to.clone(), read_only: false });
        }
        Ok(held)
    }

    /// The temporary directory of a build. Those of builds that have not asked for long go.
    fn temporary(&self, run: &str) -> Result<Arc<Work>, LayerError> {
        let now = self.clock.monotonic();
        let mut all = self.temporary.lock().unwrap_or_else(PoisonError::into_inner);
        // One in use is held by whoever uses it, and gone after that.
        all.retain(|name, one| name == run || now.saturating_sub(one.used) < KEPT);
        if let Some(known) = all.get_mut(run) {
            known.used = now;
            return Ok(Arc::clone(&known.work));
        }
        let work = Arc::new(self.store()?.work(&format!("mounts-{}", random_id()))?);
        all.insert(run.to_owned(), Temporary { work: Arc::clone(&work), used: now });
        Ok(work)
    }

    /// A path of the host, as a configuration names it.
    fn path(&self, written: &str) -> Result<PathBuf, MountError> {
        let HostPaths::Own { current, home } = &self.paths else {
            let why = format!("`fromPath: {written}` is refused: this worker gives builds no paths of its host");
            return Err(MountError::Refused(why));
        };
        let path = match (written.strip_prefix('~'), home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                home.join(rest.trim_start_matches('/'))
            }
            (Some(rest), None) if rest.is_empty() || rest.starts_with('/') => {
                let why = format!("`fromPath: {written}` begins in the user's home directory, and HOME is not set");
                return Err(MountError::Refused(why));
            }
            _ => current.join(written),
        };
        make(&path)?;
        // What is mounted is no link, and nobody can make it one afterwards.
        fs::canonicalize(&path).map_err(|error| refused(&path, &error))
    }
}

/// Makes a directory, unless one is there.
fn make(path: &Path) -> Result<(), MountError> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(MountError::Refused(format!(
            "{} is no directory, and only directories can be mounted: `secrets` gives single files to commands",
            path.display()
        ))),
        Err(_) => fs::create_dir_all(path).map_err(|error| refused(path, &error)),
    }
}

fn refused(path: &Path, error: &std::io::Error) -> MountError {
    MountError::Refused(format!("the directory {} cannot be used: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use slipway_process::SystemClock;

    use super::*;

    fn mounts(home: &Path, paths: HostPaths) -> Mounts {
        Mounts::new(home.join("store"), 1 << 30, paths, Arc::new(SystemClock::new(None)))
    }

    fn own(home: &Path) -> HostPaths {
        HostPaths::Own { current: home.join("here"), home: Some(home.join("me")) }
    }

    fn repo(name: &str) -> Repo {
        Repo { host: "r.example".to_owned(), path: name.to_owned() }
    }

    fn one(from: MountedFrom, to: &str) -> Vec<PlanMount> {
        vec![PlanMount { from, to: to.to_owned(), line: 1 }]
    }

    fn source(mounts: &Mounts, wanted: &[PlanMount], project: &str, repo: Option<&Repo>) -> PathBuf {
        mounts.hold(wanted, project, repo).expect("a directory").mounts.remove(0).source
    }

    #[test]
    fn shared_ones_are_the_projects() {
        let home = tempfile::tempdir().expect("a directory");
        let own = mounts(home.path(), own(home.path()));
        let cache = one(MountedFrom::Shared, "/cache");
        let first = source(&own, &cache, "p", None);
        assert!(first.is_dir());
        assert_eq!(source(&own, &cache, "p", Some(&repo("a"))), first);
        assert_ne!(source(&own, &cache, "q", None), first);
        assert_ne!(source(&own, &one(MountedFrom::Shared, "/other"), "p", None), first);
        // Of strangers, whoever may use a repository is another.
        let strangers = mounts(home.path(), HostPaths::Strangers);
        let theirs = source(&strangers, &cache, "p", Some(&repo("a")));
        assert_ne!(theirs, source(&strangers, &cache, "p", Some(&repo("b"))));
        assert_ne!(theirs, first);
    }

    #[test]
    fn temporary_ones_last_for_a_build() {
        let home = tempfile::tempdir().expect("a directory");
        let own = mounts(home.path(), own(home.path()));
        let of = |run: &str, image: &str| {
            one(MountedFrom::Temporary { run: run.to_owned(), image: image.to_owned() }, "/tmp")
        };
        let first = source(&own, &of("1", "a"), "p", None);
        assert_eq!(source(&own, &of("1", "a"), "p", None), first);
        assert_ne!(source(&own, &of("1", "b"), "p", None), first);
        assert_ne!(source(&own, &of("2", "a"), "p", None), first);
        assert!(first.is_dir());
        drop(own);
        assert!(!first.exists());
    }

    #[test]
    fn paths_are_the_users_own_or_nobodys() {
        let home = tempfile::tempdir().expect("a directory");
        let at = |name: &str| home.path().canonicalize().expect("a path").join(name);
        let own = mounts(home.path(), own(home.path()));
        let path = |text: &str| one(MountedFrom::Path(text.to_owned()), "/x");
        for (written, expected) in [("./a/b", "here/a/b"), ("~/cache", "me/cache"), ("~", "me"), ("~x", "here/~x")] {
            assert_eq!(source(&own, &path(written), "p", None), at(expected), "{written}");
        }
        std::os::unix::fs::symlink(at("me/cache"), at("here/link")).expect("a link");
        assert_eq!(source(&own, &path("link"), "p", None), at("me/cache"));
        fs::write(at("here/file"), "").expect("a file");
        let refused =
            |mounts: &Mounts, text: &str| mounts.hold(&path(text), "p", None).err().map(|error| error.to_string());
        assert!(refused(&own, "file").is_some_and(|why| why.contains("only directories")));
        assert!(refused(&mounts(home.path(), HostPaths::Strangers), "/etc").is_some_and(|why| why.contains("/etc")));
        let homeless = HostPaths::Own { current: at("here"), home: None };
        assert!(refused(&mounts(home.path(), homeless), "~/x").is_some_and(|why| why.contains("HOME")));
    }
}
