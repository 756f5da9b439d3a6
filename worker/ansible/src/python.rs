//! The Pythons of this host: what is asked of them, and what they do.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::Deserialize;
use slipway_backend::BackendError;
use slipway_process::child::async_command;

/// Tells the layout of the Python that reads it.
pub(crate) const LAYOUT: &str = include_str!("../files/layout.py");
/// Where Pythons are looked for: that of the distribution first.
const PYTHONS: [&str; 2] = ["/usr/bin/python3", "python3"];
/// How long one program may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// Bytes kept of what a program says.
const SAID: usize = 2000;

/// Where a Python lies.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub(crate) struct Layout {
    /// `3.11`.
    pub(crate) version: String,
    /// The program itself.
    pub(crate) executable: PathBuf,
    /// Directory of the standard library.
    pub(crate) standard: PathBuf,
    /// Directories of installed packages.
    pub(crate) packages: Vec<PathBuf>,
    /// Files and directories of python3-apt.
    pub(crate) apt: Vec<PathBuf>,
    /// Version of the ansible-core that is installed.
    pub(crate) ansible: Option<String>,
}

impl Layout {
    /// Asks the Python `program`.
    pub(crate) async fn of(program: &Path) -> Result<Self, BackendError> {
        let text = run(program, &["-I", "-c", LAYOUT]).await.map_err(BackendError::Refused)?;
        serde_json::from_str(&text)
            .map_err(|error| BackendError::Refused(format!("{} does not say where it is: {error}", program.display())))
    }
}

/// The Python of this host.
pub(crate) async fn find() -> Result<PathBuf, BackendError> {
    for program in PYTHONS {
        match run(Path::new(program), &["-I", "-c", "import sys; print(sys.executable, end='')"]).await {
            Ok(found) if !found.is_empty() => return Ok(PathBuf::from(found)),
            Ok(_) | Err(_) => {}
        }
    }
    Err(BackendError::Refused(
        "Ansible tasks need a Python, and this host has none: run `apt-get install python3-venv`".to_owned(),
    ))
}

/// Runs a program to its end and answers what it printed, or in words why not.
pub(crate) async fn run(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = async_command(program);
    command.args(arguments).stdin(Stdio::null()).env_remove("PYTHONHOME").env_remove("PYTHONPATH");
    // `ldd` is read by its words.
    command.env("LC_ALL", "C.UTF-8");
    let name = program.display();
    let output = match tokio::time::timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => return Err(format!("there is no {name}")),
        Ok(Err(error)) => return Err(format!("start {name}: {error}")),
        Err(_) => return Err(format!("{name} did not end within {} minutes", PATIENCE.as_secs() / 60)),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stderr, output.stdout].concat();
    let from = said.len().saturating_sub(SAID);
    Err(format!("{name}: {}: {}", output.status, String::from_utf8_lossy(&said[from..]).trim()))
}
