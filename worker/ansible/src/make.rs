//! The controller is found, or made: aside, and renamed when it is whole. One process of a home directory makes one at a
//! time; what interrupted ones have left goes before.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use slipway_backend::{BackendError, Logs};
use slipway_locks::{FileLocks, LockManager as _};
use slipway_oci::BlobDigest;
use slipway_process::{Tasks, random_id};

use crate::{
    ROOT,
    pack::{OWN, Pack},
    python::{self, Layout, run},
};

/// What is installed of PyPI, and nothing else: what tasks need.
pub const PACKAGES: [&str; 6] = [
    "ansible-core==2.19.14",
    "Jinja2==3.1.6",
    "MarkupSafe==3.0.3",
    "PyYAML==6.0.3",
    "packaging==25.0",
    "resolvelib==1.2.1",
];
/// Versions of ansible-core that our own files are written for.
const SERIES: &str = "2.19.";
/// Changes with what a tree holds.
const LAYOUT: &str = "1";
/// The lock that makers hold.
const LOCK: &str = "ansible";
/// How long another maker may take.
const WAIT: Duration = Duration::from_secs(1200);
/// Trees beside the one in use that stay.
const KEPT: usize = 2;
/// The beginning of names of trees that are being made.
const ASIDE: &str = "aside-";
/// In a tree: locked as long as somebody uses it.
const USED: &str = "used";
/// In a tree: what is laid beside the toolbox.
const TREE: &str = "tree";
/// What is laid there.
const NAME: &str = "ansible";

/// A controller that is there.
#[derive(Debug)]
pub(crate) struct Made {
    /// Names its content.
    pub(crate) version: String,
    /// What is laid beside the toolbox.
    pub(crate) root: PathBuf,
    /// Keeps it from being removed.
    _used: File,
}

/// Finds the controller in `home`, or makes it.
pub(crate) async fn make(
    home: &Path,
    given: Option<&Path>,
    locks: &FileLocks,
    tasks: &Tasks,
    logs: &Logs,
) -> Result<Made, BackendError> {
    let program = match given {
        None => python::find().await?,
        Some(path) => in_environment(path)?,
    };
    let version = version(&program, given);
    if let Some(made) = take(home, &version)? {
        return Ok(made);
    }
    let held = locks.acquire(LOCK, WAIT).await;
    let _held = held.map_err(|error| BackendError::Engine(format!("wait for another maker of Ansible: {error}")))?;
    // Another process may have made it meanwhile.
    if let Some(made) = take(home, &version)? {
        return Ok(made);
    }
    let what = given.map_or_else(|| format!("{} of PyPI", PACKAGES[0]), |path| path.display().to_string());
    // Nobody needs to read it.
    let _ = logs.send(format!("Ansible is set up on this host, once: {what}").into_bytes()).await;
    let (place, swept) = (home.to_owned(), version.clone());
    tasks.blocking(move || sweep(&place, &swept)).await.map_err(|error| system(&error))?;
    let aside = home.join(format!("{ASIDE}{}", random_id()));
    if let Err(error) = build(&aside, &program, given, tasks).await {
        let _ = tasks.blocking(move || fs::remove_dir_all(aside)).await;
        return Err(error);
    }
    fs::rename(&aside, home.join(&version)).map_err(|error| system(&error))?;
    take(home, &version)?.ok_or_else(|| BackendError::Engine("what was made for Ansible is gone again".to_owned()))
}

/// Makes a tree in the new directory `aside`.
async fn build(aside: &Path, program: &Path, given: Option<&Path>, tasks: &Tasks) -> Result<(), BackendError> {
    fs::create_dir_all(aside).map_err(|error| system(&error))?;
    let environment = aside.join("environment");
    let layout = match given {
        Some(path) => {
            let layout = Layout::of(program).await?;
            check(&layout, path)?;
            layout
        }
        None => {
            install(&environment, program).await?;
            Layout::of(&environment.join("bin/python3")).await?
        }
    };
    let tree = aside.join(TREE).join(NAME);
    let (root, known) = (tree.clone(), layout.clone());
    let packed = tasks.blocking(move || Pack::copy(&root, &known).and_then(|pack| Ok((pack.binaries()?, pack)))).await;
    let (binaries, pack) = packed.map_err(|error| system(&error))?;
    let mut arguments = vec![layout.executable.to_string_lossy().into_owned()];
    arguments.extend(binaries.iter().map(|path| path.to_string_lossy().into_owned()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let needed = run(Path::new("ldd"), &arguments).await;
    let needed = needed.map_err(|why| BackendError::Refused(format!("look for the libraries of Python: {why}")))?;
    tasks.blocking(move || pack.finish(&needed)).await.map_err(|error| system(&error))?;
    compile(&layout, &tree).await;
    let rest = aside.join(USED);
    let tidy = move || -> io::Result<()> {
        File::create(rest)?;
        if environment.exists() { fs::remove_dir_all(&environment) } else { Ok(()) }
    };
    tasks.blocking(tidy).await.map_err(|error| system(&error))
}

/// Compiles what is imported, so that no task has to. Without it all is only slower.
async fn compile(layout: &Layout, tree: &Path) {
    let (text, library) = (tree.to_string_lossy(), tree.join("lib"));
    let library = library.to_string_lossy();
    let arguments =
        ["-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", &text, "-p", ROOT, &library];
    if let Err(why) = run(&layout.executable, &arguments).await {
        tracing::debug!("compile what Ansible imports: {why}");
    }
}

/// A virtual environment with the packages.
async fn install(environment: &Path, program: &Path) -> Result<(), BackendError> {
    let path = environment.to_string_lossy();
    run(program, &["-m", "venv", &path]).await.map_err(|why| {
        BackendError::Refused(format!(
            "make a virtual environment for Ansible: {why}\nrun `apt-get install python3-venv`, or name an environment that has \
             {} with --ansible-path",
            PACKAGES[0]
        ))
    })?;
    let mut arguments = vec!["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"];
    // What is installed is only unpacked: no program of a package runs, and nothing else comes with it.
    arguments.extend(["--no-deps", "--no-compile", "--only-binary", ":all:"]);
    arguments.extend(PACKAGES);
    let installed = run(&environment.join("bin/python3"), &arguments).await;
    installed.map(drop).map_err(|why| {
        BackendError::Refused(format!(
            "install Ansible from PyPI: {why}\nname a mirror of PyPI with PIP_INDEX_URL, or an environment that has {} with \
             --ansible-path",
            PACKAGES[0]
        ))
    })
}

/// The Python of an environment.
fn in_environment(path: &Path) -> Result<PathBuf, BackendError> {
    let program = path.join("bin/python3");
    if program.exists() {
        return Ok(program);
    }
    Err(BackendError::Refused(format!(
        "{} is no virtual environment of Python: there is no {} (--ansible-path)",
        path.display(),
        program.display()
    )))
}

fn check(layout: &Layout, path: &Path) -> Result<(), BackendError> {
    let path = path.display();
    let wanted = format!("run `{path}/bin/pip install {}`", PACKAGES[0]);
    match layout.ansible.as_deref() {
        Some(version) if version.starts_with(SERIES) => Ok(()),
        Some(version) => Err(BackendError::Refused(format!(
            "ansible-core {version} in {path} cannot be used, only {SERIES}x (--ansible-path): {wanted}"
        ))),
        None => Err(BackendError::Refused(format!("there is no ansible-core in {path} (--ansible-path): {wanted}"))),
    }
}

/// Names what a tree would be made of, without running anything.
fn version(program: &Path, given: Option<&Path>) -> String {
    let mut text = [&[LAYOUT, python::LAYOUT], OWN.as_slice(), PACKAGES.as_slice()].concat().join("\0");
    let apt = Path::new("/usr/lib/python3/dist-packages/apt/__init__.py");
    let release = given.map(|path| path.join("lib"));
    let libraries = release.iter().flat_map(fs::read_dir).flatten().flatten().map(|entry| entry.path());
    let packages: Vec<PathBuf> = libraries.map(|path| path.join("site-packages")).collect();
    for path in packages.iter().map(PathBuf::as_path).chain([program, apt]) {
        let found = fs::metadata(path).ok();
        let time = found.as_ref().and_then(|found| found.modified().ok());
        let time = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map(|time| time.as_nanos());
        let size = found.map(|found| found.len());
        text.push_str(&format!("\0{}\0{size:?}\0{time:?}", path.display()));
    }
    format!("ansible-{}", BlobDigest::of(text.as_bytes()).short())
}

/// A tree that is whole, in use from now on.
fn take(home: &Path, version: &str) -> Result<Option<Made>, BackendError> {
    let place = home.join(version);
    let used = match File::options().write(true).open(place.join(USED)) {
        Ok(used) => used,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(system(&error)),
    };
    used.lock_shared().map_err(|error| system(&error))?;
    // It was removed before the lock was there.
    if !place.join(USED).exists() {
        return Ok(None);
    }
    // The time says which was used last.
    let _ = used.set_len(0);
    Ok(Some(Made { version: version.to_owned(), root: place.join(TREE), _used: used }))
}

/// Removes what interrupted makers have left, and trees that nobody uses but the last few. For the one maker. Blocks.
fn sweep(home: &Path, version: &str) -> io::Result<()> {
    fs::create_dir_all(home)?;
    let mut trees: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(home)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(ASIDE) {
            fs::remove_dir_all(&path)?;
        } else if name != version {
            let used = fs::metadata(path.join(USED)).and_then(|found| found.modified()).unwrap_or(UNIX_EPOCH);
            trees.push((used, path.clone()));
        }
    }
    trees.sort();
    trees.reverse();
    for (_, path) in trees.into_iter().skip(KEPT) {
        let used = File::options().write(true).open(path.join(USED));
        if used.is_ok_and(|used| used.try_lock().is_ok()) {
            let aside = home.join(format!("{ASIDE}{}", random_id()));
            fs::rename(&path, &aside)?;
            fs::remove_dir_all(&aside)?;
        }
    }
    Ok(())
}

fn system(error: &io::Error) -> BackendError {
    let text = format!("set Ansible up: {error}");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BackendError::NoSpace(text),
        _ => BackendError::Engine(text),
    }
}
