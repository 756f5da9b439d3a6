//! A directory of its own for every test, a git repository in it, and the program run there.

use std::{collections::BTreeMap, fs, path::Path};

use slipway_parts::{Part, require};
use slipway_process::child::command;
use tempfile::TempDir;

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// Asserts the exit code, and that standard error holds every one of `texts`.
    pub(crate) fn ends(self, code: i32, texts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        for text in texts {
            assert!(self.err.contains(text), "`{text}` is not in:\n{}", self.err);
        }
        self
    }

    /// Asserts success, and what was printed as data.
    pub(crate) fn prints(self, text: &str) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(self.out, text);
        self
    }
}

/// A directory with a project in it.
pub(crate) struct Sandbox {
    directory: TempDir,
    variables: BTreeMap<String, String>,
}

/// A sandbox with these files committed, or `None`, said aloud, when there is no git here.
pub(crate) fn project(files: &[(&str, &str)]) -> Option<Sandbox> {
    let sandbox = Sandbox::new();
    if !require(&[Part::Git]) {
        return None;
    }
    sandbox.git(&["init", "-q", "-b", "main"]);
    files.iter().for_each(|(name, text)| sandbox.write(name, text));
    sandbox.commit();
    Some(sandbox)
}

impl Sandbox {
    /// An empty directory.
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory"), variables: BTreeMap::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Sets a variable for the program.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("files lie in directories")).expect("made");
        fs::write(path, text).expect("written");
    }

    /// Commits everything.
    pub(crate) fn commit(&self) {
        self.git(&["add", "-A"]);
        self.git(&["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "--allow-empty", "-m", "x"]);
    }

    pub(crate) fn git(&self, arguments: &[&str]) {
        let run = command("git").args(arguments).current_dir(self.path()).output().expect("git runs");
        assert!(run.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    }

    /// Runs the program with nothing of the environment but what was set here.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        let run = self.command(arguments).output().expect("the program starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        Run { code: run.status.code(), out: text(run.stdout), err: text(run.stderr) }
    }

    /// The program with nothing of the environment but what was set here.
    pub(crate) fn command(&self, arguments: &[&str]) -> std::process::Command {
        let home = self.path().join(".git/test-home");
        #[expect(clippy::disallowed_methods, reason = "programs are found by it")]
        let search = std::env::var("PATH").unwrap_or_default();
        let mut program = command(env!("CARGO_BIN_EXE_slipway"));
        program.args(arguments).current_dir(self.path()).env_clear().env("PATH", search).env("HOME", home);
        // No test is about it, and disks of machines that test may be full.
        program.env("SLIPWAY_DISABLE_AUTO_HOST_CLEANUP", "1").envs(&self.variables);
        program
    }
}
