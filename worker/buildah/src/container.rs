//! A working container of ours: named by its attempt, gone when it is dropped.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use slipway_backend::{
    BackendError, LocalImage,
    attempt::{Alive, container_name},
};
use slipway_layers::root::Root;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{
    dockerfile,
    error::{failed, is_missing, system},
    program::Program,
};

/// What the program calls an image of nothing.
const SCRATCH: &str = "scratch";
/// What it complains of when it has no such container.
const NO_CONTAINER: &str = "container not known";

/// A working container; dropping it removes it in the background.
#[derive(Debug)]
pub(crate) struct Container {
    program: Arc<Program>,
    name: String,
    /// A directory of its own, for what is temporary.
    place: PathBuf,
    /// Where its files are.
    root: PathBuf,
    alive: Option<Alive>,
    /// Held by what runs in it.
    busy: Arc<Mutex<()>>,
    /// Whether it is the room of a Dockerfile's build, which makes containers and names of its own.
    is_build: bool,
}

impl Container {
    /// Room for the build of a Dockerfile: the name and the directory of an attempt, without files.
    pub(crate) fn room(program: &Arc<Program>, attempt: &str) -> Result<Self, BackendError> {
        let name = container_name(attempt)?;
        let alive = Some(Alive::declare(&program.attempts, attempt)?);
        let place = place_of(program, attempt);
        fs::create_dir(&place).map_err(|error| system("make room for a build", error))?;
        let (program, root, busy) = (Arc::clone(program), PathBuf::new(), Arc::default());
        Ok(Self { program, name, place, root, alive, busy, is_build: true })
    }

    /// Makes one on top of an image, with these limits for the processes in it, and mounts its files.
    pub(crate) async fn create(
        program: &Arc<Program>,
        attempt: &str,
        base: Option<&LocalImage>,
        limits: &[String],
    ) -> Result<Self, BackendError> {
        let doing = "make a build container";
        let mut made = Self::room(program, attempt)?;
        made.is_build = false;
        let name = made.name.clone();
        let from = base.map_or(SCRATCH, |base| base.id.as_str());
        let policy = program.policy.to_string_lossy();
        let mut arguments = vec!["from", "--pull=never", "--quiet", "--signature-policy", &policy, "--name", &name];
        arguments.extend(limits.iter().flat_map(|limit| ["--ulimit", limit]));
        arguments.push(from);
        let answer = program.answer(doing, &arguments).await?;
        match answer.complaint {
            None => {}
            Some(complaint) if is_missing(&complaint) => return Err(BackendError::Gone(from.to_owned())),
            Some(complaint) => return Err(failed(doing, &complaint)),
        }
        let root = program.ask("mount a build container", &["mount", &name]).await?;
        made.root = PathBuf::from(root);
        Ok(made)
    }

    /// What the program calls it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The program.
    pub(crate) fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// A directory for what is temporary.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// Its files.
    pub(crate) fn root(&self) -> Result<Root, BackendError> {
        Root::open(&self.root).map_err(|error| system("open the files of a build container", error))
    }

    /// To be held by what runs in it, for it is not removed before that has ended.
    pub(crate) async fn hold(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.busy).lock_owned().await
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let program = Arc::clone(&self.program);
        let (name, place, alive) = (std::mem::take(&mut self.name), std::mem::take(&mut self.place), self.alive.take());
        let (owned, busy, is_build) = (Arc::clone(&program), Arc::clone(&self.busy), self.is_build);
        program.in_background(async move {
            let _ended = busy.lock().await;
            if is_build && let Err(error) = dockerfile::sweep(&owned, &place).await {
                // What stays is found by the next sweep.
                tracing::warn!(%error, "something of the build of a Dockerfile stays");
                return;
            }
            if remove(&owned, &name, &place).await
                && let Some(alive) = alive
            {
                alive.end();
            }
        });
    }
}

/// The directory of an attempt.
pub(crate) fn place_of(program: &Program, attempt: &str) -> PathBuf {
    program.spool.join(format!("attempt-{attempt}"))
}

/// Removes a container and the directory of its attempt; answers whether it is gone. What stays is left to the next sweep.
pub(crate) async fn remove(program: &Program, name: &str, place: &Path) -> bool {
    let doing = "remove a build container";
    let removed = program.answer(doing, &["rm", name]).await;
    let gone = match removed {
        Ok(answer) => answer.complaint.filter(|complaint| !complaint.contains(NO_CONTAINER)),
        Err(error) => Some(error.to_string()),
    };
    if let Some(why) = gone {
        tracing::warn!(container = name, why, "a build container could not be removed");
        return false;
    }
    let place = place.to_owned();
    let cleared = program.tasks.blocking(move || fs::remove_dir_all(place)).await;
    cleared.is_ok() || cleared.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}
