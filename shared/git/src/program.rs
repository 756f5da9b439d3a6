//! The program `git`, for what only it does as the user expects: comparing a work tree with its index, through the
//! user's own filters.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, ErrorKind, Read, Write as _},
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
    time::Duration,
};

use slipway_process::{Clock as _, SystemClock, child};

use crate::{GitError, Repository};

/// Variables by which a caller's git would lead ours to another repository, index or object store.
const LOCAL_VARIABLES: [&str; 24] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_ATTR_SOURCE",
    "GIT_CEILING_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DEFAULT_HASH",
    "GIT_DIR",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
    "GIT_GLOB_PATHSPECS",
    "GIT_GRAFT_FILE",
    "GIT_ICASE_PATHSPECS",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];
/// Most that is kept of what a call with a time limit prints, in bytes.
const MAX_PRINTED: u64 = 1 << 20;
/// Most of git's own words that are repeated in an error, in characters.
const MAX_COMPLAINT: usize = 2000;

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

/// One call of the program.
pub(crate) struct Git {
    command: Command,
    /// What it is for, as in "compare the work tree with the commit".
    purpose: &'static str,
}

impl Git {
    /// A call on the given repository and work tree that writes nothing into them: no index refresh, no hooks, no
    /// helpers that run on.
    pub(crate) fn new(git_dir: &Path, work_tree: &Path, purpose: &'static str) -> Self {
        let mut git = Self::bare(git_dir, purpose);
        git.command.current_dir(work_tree).arg(option("--work-tree=", work_tree));
        git
    }

    /// The same on a repository without a work tree.
    pub(crate) fn bare(git_dir: &Path, purpose: &'static str) -> Self {
        let mut command = child::command("git");
        for variable in LOCAL_VARIABLES {
            command.env_remove(variable);
        }
        command
            .current_dir(git_dir)
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_LITERAL_PATHSPECS", "1")
            .env("LC_ALL", "C")
            .arg(option("--git-dir=", git_dir));
        for setting in [
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "core.untrackedCache=false",
            "core.splitIndex=false",
            "core.quotePath=false",
            "gc.auto=0",
            "maintenance.auto=false",
        ] {
            command.args(["-c", setting]);
        }
        Self { command, purpose }
    }

    /// A call on a user's repository that speaks to its remotes. Git takes an address such as `../server.git` from the top of the
    /// work tree.
    pub(crate) fn speaking(repository: &Repository, purpose: &'static str) -> Self {
        match repository.work_tree() {
            Some(work_tree) => Self::new(repository.git_dir(), work_tree, purpose),
            None => Self::bare(repository.git_dir(), purpose),
        }
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn path_arg(mut self, path: &[u8]) -> Self {
        self.command.arg(OsStr::from_bytes(path));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it and returns what it printed.
    ///
    /// `input` must be of a kind that git reads to the end before it prints.
    pub(crate) fn run(mut self, input: &[u8]) -> Result<Vec<u8>, GitError> {
        let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
        let started = self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut running = started.map_err(|error| self.cannot_start(&error))?;
        if let Some(mut stdin) = running.stdin.take() {
            match stdin.write_all(input) {
                // It gave up early: why stands in its own words below.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                other => other.map_err(|error| self.cannot_start(&error))?,
            }
        }
        let output = running.wait_with_output().map_err(|error| self.cannot_start(&error))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(self.failed(output.status, &output.stderr))
    }

    /// Runs it for `longest` at most, with `stdin` to read from, and returns what it printed. When time is over, it and all
    /// that it started are killed.
    pub(crate) fn run_for(self, stdin: File, longest: Duration) -> Result<Vec<u8>, GitError> {
        self.run_within(stdin, longest, MAX_PRINTED).map(|(printed, _)| printed)
    }

    /// The same for a call whose whole output counts: more than `most` bytes are an error.
    pub(crate) fn read_for(self, longest: Duration, most: u64) -> Result<Vec<u8>, GitError> {
        let purpose = self.purpose;
        let nothing = File::open("/dev/null").map_err(|error| GitError::Program(format!("open /dev/null: {error}")))?;
        match self.run_within(nothing, longest, most)? {
            (printed, true) => Ok(printed),
            (_, false) => Err(GitError::Program(format!("{purpose}: git printed more than {most} bytes"))),
        }
    }

    /// What it printed, up to `most` bytes, and whether that is all.
    fn run_within(mut self, stdin: File, longest: Duration, most: u64) -> Result<(Vec<u8>, bool), GitError> {
        self.command.stdin(Stdio::from(stdin)).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut running = self.command.spawn().map_err(|error| self.cannot_start(&error))?;
        let printed = running.stdout.take().map(|pipe| reader(pipe, most));
        let said = running.stderr.take().map(|pipe| reader(pipe, MAX_PRINTED));
        let clock = SystemClock::new(None);
        let status = loop {
            match running.try_wait().map_err(|error| self.cannot_start(&error))? {
                Some(status) => break Some(status),
                None if clock.monotonic() < longest => thread::sleep(Duration::from_millis(10)),
                None => {
                    kill_group(&running);
                    running.wait().map_err(|error| self.cannot_start(&error))?;
                    break None;
                }
            }
        };
        let read =
            |reader: Option<JoinHandle<(Vec<u8>, bool)>>| reader.and_then(|it| it.join().ok()).unwrap_or_default();
        let (printed, (said, _)) = (read(printed), read(said));
        match status {
            Some(status) if status.success() => Ok(printed),
            Some(status) => Err(self.failed(status, &said)),
            None => {
                let (purpose, seconds) = (self.purpose, longest.as_secs());
                Err(GitError::Program(format!("{purpose}: git did not end within {seconds} s and was stopped")))
            }
        }
    }

    fn failed(&self, status: std::process::ExitStatus, said: &[u8]) -> GitError {
        let complaint: String = String::from_utf8_lossy(said).trim().chars().take(MAX_COMPLAINT).collect();
        GitError::Program(format!("{}: git failed ({status}): {complaint}", self.purpose))
    }

    fn cannot_start(&self, error: &std::io::Error) -> GitError {
        let purpose = self.purpose;
        GitError::Program(if error.kind() == ErrorKind::NotFound {
            format!("{purpose}: the program `git` is not installed; install it, or put it into PATH")
        } else {
            format!("{purpose}: run the program `git`: {error}")
        })
    }
}

/// Reads `pipe` to its end, beside what else is done; what goes beyond `most` bytes is dropped. Whether nothing was.
fn reader(pipe: impl Read + Send + 'static, most: u64) -> JoinHandle<(Vec<u8>, bool)> {
    thread::spawn(move || {
        let mut kept = Vec::new();
        let mut pipe = pipe;
        drop(pipe.by_ref().take(most).read_to_end(&mut kept));
        let rest = io::copy(&mut pipe, &mut io::sink()).unwrap_or_default();
        (kept, rest == 0)
    })
}

/// Kills a child and all of its group.
fn kill_group(child: &Child) {
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        // It may have ended by itself.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}
