//! Ansible tasks in build containers.
//!
//! Everything of Ansible runs inside the build container, as the commands of `shell` do: the controller is mounted there
//! read-only with a Python, its loader and its libraries, and works on its own container by its local connection. So a
//! base image may hold anything, and nothing on this host acts on a container's files.
//!
//! Reading order: this file, [`playbook`] (tasks as a playbook), `script` (what bash runs), `make` (the controller is
//! found or made) on `python` (what is there) and `pack` (what is mounted).

mod make;
mod pack;
mod playbook;
mod python;
mod script;

use std::{collections::BTreeMap, path::PathBuf};

use slipway_backend::{BackendError, Logs, Script, Tools};
use slipway_locks::FileLocks;
use slipway_process::Tasks;
use slipway_stages::TaskInput;
use tokio::sync::OnceCell;

pub use make::PACKAGES;

use crate::{make::Made, playbook::Playbook};

/// Where the controller is, in build containers.
const ROOT: &str = "/.werf/stapel/ansible";

/// Where the controller comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// Made here on first use, of this host's Python and packages of PyPI.
    PyPi,
    /// A virtual environment that the user names.
    Given(PathBuf),
    /// The toolbox image that the user names has it.
    Toolbox,
}

/// How a controller is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it comes from.
    pub source: Source,
    /// Directory that it is kept in.
    pub home: PathBuf,
    /// Directory of lock files, the same for all processes with this `home`.
    pub locks: PathBuf,
    /// Further arguments of `ansible-playbook`.
    pub arguments: Vec<String>,
}

/// Ansible's controller. Cheap until it is needed.
#[derive(Debug)]
pub struct Controller {
    options: Options,
    locks: FileLocks,
    tasks: Tasks,
    made: OnceCell<Option<Made>>,
}

impl Controller {
    /// A controller that works in `tasks`.
    pub fn new(options: Options, tasks: Tasks) -> Self {
        let locks = FileLocks::new(&options.locks);
        Self { options, locks, tasks, made: OnceCell::new() }
    }

    /// The script that runs tasks: the controller is made when it is not there, which is said to `logs`.
    ///
    /// # Errors
    /// When there is no controller and none can be made: what is missing, and what to do.
    pub async fn script(
        &self,
        tasks: &[TaskInput],
        variables: BTreeMap<String, String>,
        logs: &Logs,
    ) -> Result<Script, BackendError> {
        let playbook = Playbook::new(tasks).map_err(|error| BackendError::Refused(error.to_string()))?;
        let made = self.made.get_or_try_init(|| self.make(logs)).await?;
        let tools = match made {
            Some(made) => Tools { version: made.version.clone(), root: Some(made.root.clone()) },
            None => Tools { version: "own".to_owned(), root: None },
        };
        let line = tasks.first().and_then(|task| task.lines.first()).copied().unwrap_or(1);
        let text = script::text(&playbook, &self.options.arguments);
        Ok(Script { commands: vec![(line, text)], variables, tools: Some(tools) })
    }

    async fn make(&self, logs: &Logs) -> Result<Option<Made>, BackendError> {
        let given = match &self.options.source {
            Source::Toolbox => return Ok(None),
            Source::PyPi => None,
            Source::Given(path) => Some(path.as_path()),
        };
        make::make(&self.options.home, given, &self.locks, &self.tasks, logs).await.map(Some)
    }
}
