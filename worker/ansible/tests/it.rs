//! The controller, packed of environments that these tests make of this host's Python; nothing is fetched.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use slipway_ansible::{Controller, Options, Source};
use slipway_backend::{BackendError, Script};
use slipway_process::{Tasks, child::command};
use slipway_stages::TaskInput;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// A home directory, and an environment that says it has an ansible-core of this version.
struct Host {
    home: TempDir,
}

impl Host {
    /// `None`, aloud, when this host has no Python to copy.
    fn new(ansible: &str) -> Option<Self> {
        let home = tempfile::tempdir().expect("a directory");
        let environment = home.path().join("environment");
        let made = command("/usr/bin/python3").args(["-m", "venv", "--without-pip"]).arg(&environment).output();
        if !made.is_ok_and(|made| made.status.success()) || !Path::new("/usr/lib/locale/C.utf8").exists() {
            slipway_parts::skip(
                "ansible",
                "/usr/bin/python3 makes no environments here, or there is no locale C.UTF-8",
            );
            return None;
        }
        let host = Self { home };
        let packages = host.packages();
        fs::create_dir_all(packages.join("ansible")).expect("a directory");
        fs::write(packages.join("ansible/__init__.py"), "").expect("a file");
        fs::create_dir(packages.join("pip")).expect("a directory");
        let about = packages.join(format!("ansible_core-{ansible}.dist-info"));
        fs::create_dir(&about).expect("a directory");
        let text = format!("Metadata-Version: 2.1\nName: ansible-core\nVersion: {ansible}\n");
        fs::write(about.join("METADATA"), text).expect("a file");
        Some(host)
    }

    fn environment(&self) -> PathBuf {
        self.home.path().join("environment")
    }

    fn packages(&self) -> PathBuf {
        let library = fs::read_dir(self.environment().join("lib")).expect("a directory").next();
        library.expect("a Python").expect("an entry").path().join("site-packages")
    }

    fn trees(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.home.path().join("ansible")) else { return Vec::new() };
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }

    fn controller(&self, path: PathBuf) -> Controller {
        let options = Options {
            source: Source::Given(path),
            home: self.home.path().join("ansible"),
            locks: self.home.path().join("locks"),
            arguments: Vec::new(),
        };
        Controller::new(options, Tasks::new())
    }
}

async fn script(controller: &Controller) -> Result<Script, BackendError> {
    let (logs, mut lines) = mpsc::channel(16);
    let task = TaskInput { text: r#"{"debug":{}}"#.to_owned(), lines: vec![7] };
    let script = controller.script(&[task], BTreeMap::new(), &logs).await;
    drop(logs);
    while lines.recv().await.is_some() {}
    script
}

fn root(script: &Script) -> PathBuf {
    script.tools.as_ref().and_then(|tools| tools.root.clone()).expect("a tree").join("ansible")
}

#[tokio::test(flavor = "multi_thread")]
async fn first_uses_at_once_make_one_tree_that_needs_nothing_of_the_base() {
    let Some(host) = Host::new("2.19.99") else { return };
    // What a process that was killed has left.
    fs::create_dir_all(host.home.path().join("ansible/aside-old/tree")).expect("a directory");
    let controllers = [(); 3].map(|()| host.controller(host.environment()));
    let [first, second, third] = &controllers;
    let scripts = tokio::join!(script(first), script(second), script(third));
    let scripts = [scripts.0, scripts.1, scripts.2].map(|script| script.expect("a script"));
    assert_eq!(host.trees().len(), 1, "{:?}", host.trees());
    assert_eq!(scripts[0].commands.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [7]);
    assert!(scripts.iter().all(|script| script.tools == scripts[0].tools));
    let root = root(&scripts[0]);
    let library =
        fs::read_dir(root.join("lib")).expect("a directory").next().expect("a Python").expect("an entry").path();
    for file in ["ansible/__init__.py", "os.py", "sitecustomize.py"] {
        assert!(library.join(file).exists(), "{file}");
    }
    assert!(!library.join("pip").exists() && !library.join("site-packages").exists());
    // It runs by its own loader and libraries: nothing else of this host is looked at.
    let libraries = root.join("libraries");
    let loader = fs::read_dir(&libraries).expect("a directory").map(|entry| entry.expect("an entry").path());
    let loader = loader.into_iter().find(|path| path.to_string_lossy().contains("/ld-linux")).expect("a loader");
    let told = command(&loader)
        .args(["--inhibit-cache", "--library-path"])
        .arg(&libraries)
        .arg(root.join("bin/python3.real"))
        .args(["-c", "import ssl, ctypes, ansible, os; print(os.__file__); print(open('/proc/self/maps').read())"])
        .env("PYTHONHOME", &root)
        .output()
        .expect("it starts");
    let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(out.starts_with(&*library.to_string_lossy()), "{out}{err}");
    let strange = |line: &&str| line.contains(".so") && !line.contains(&*root.to_string_lossy());
    assert_eq!(out.lines().filter(strange).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[tokio::test]
async fn what_is_used_stays_and_old_trees_go() {
    let Some(host) = Host::new("2.19.99") else { return };
    let mut held = Vec::new();
    for round in 0..5 {
        fs::write(host.packages().join(format!("round{round}.py")), "").expect("a file");
        let controller = host.controller(host.environment());
        let made = root(&script(&controller).await.expect("a script"));
        assert!(made.join("start.py").exists());
        // The first one is in use all the time.
        if round == 0 {
            held.push((controller, made));
        }
    }
    assert!(held[0].1.join("start.py").exists());
    // The new one, the first, and the two that were kept when the last one was made.
    assert_eq!(host.trees().len(), 4, "{:?}", host.trees());
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_with_what_to_do() {
    let Some(host) = Host::new("2.14.3") else { return };
    let refused = |error: BackendError, parts: &[&str]| {
        let text = error.to_string();
        assert!(!error.is_retryable() && parts.iter().all(|part| text.contains(part)), "{text}");
    };
    let old = script(&host.controller(host.environment())).await.expect_err("another version");
    refused(old, &["ansible-core 2.14.3", "2.19.x", "pip install ansible-core==", "--ansible-path"]);
    let none = script(&host.controller(host.home.path().join("none"))).await.expect_err("no environment");
    refused(none, &["no virtual environment of Python", "--ansible-path"]);
    fs::remove_dir_all(host.packages().join("ansible_core-2.14.3.dist-info")).expect("a directory");
    let empty = script(&host.controller(host.environment())).await.expect_err("no ansible-core");
    refused(empty, &["there is no ansible-core in", "pip install"]);
    assert!(host.trees().is_empty(), "{:?}", host.trees());
}
