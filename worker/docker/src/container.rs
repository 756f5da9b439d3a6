//! A container of ours: named by its attempt, gone when it is dropped.

use std::sync::Arc;

use bollard::{
    errors::Error,
    models::ContainerCreateBody,
    query_parameters::{
        ContainerArchiveInfoOptions, CreateContainerOptions, DownloadFromContainerOptions, RemoveContainerOptions,
    },
};
use futures::StreamExt as _;
use slipway_backend::{
    BackendError,
    attempt::{Alive, container_name},
};

use crate::{
    engine::Engine,
    error::{failed, is_missing},
};

/// Bits of the mode that the engine reports for a path.
const MODE_DIRECTORY: u32 = 1 << 31;
const MODE_SYMLINK: u32 = 1 << 27;
/// How often a removal is tried.
const REMOVAL_TRIES: u32 = 3;

/// A container; dropping it removes it in the background.
#[derive(Debug)]
pub(crate) struct Container {
    engine: Engine,
    name: String,
    alive: Option<Alive>,
}

/// What stands at a path of a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// Nothing.
    Missing,
    /// A directory.
    Directory,
    /// A symbolic link, and the absolute path that it leads to in the end.
    Link(String),
    /// Anything else.
    File,
}

impl Container {
    /// Creates a container, not started.
    pub(crate) async fn create(
        engine: &Engine,
        attempt: &str,
        body: ContainerCreateBody,
    ) -> Result<Self, BackendError> {
        let name = container_name(attempt)?;
        let alive = Alive::declare(&engine.attempts, attempt)?;
        // In a task: when the caller goes away in the middle, the request is still seen through and its result dropped,
        // which removes what it made.
        let owned = engine.clone();
        let task = engine.cleanups.spawn(async move {
            let options = CreateContainerOptions { name: Some(name.clone()), platform: String::new() };
            match owned.docker.create_container(Some(options), body).await {
                Ok(_) => Ok(Self { engine: owned, name, alive: Some(alive) }),
                Err(error) => {
                    alive.end();
                    Err(error)
                }
            }
        });
        let ended = || BackendError::Engine("create a build container: the backend is shutting down".to_owned());
        let created = task.await.ok().flatten().ok_or_else(ended)?;
        created.map_err(|error| match &error {
            // Only the status is known to us: the image, or the toolbox's container.
            _ if is_missing(&error) => BackendError::Gone(error.to_string()),
            _ => failed("create a build container", error),
        })
    }

    /// The container's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The engine it is on.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What stands at an absolute path; links in front of its last segment are followed.
    pub(crate) async fn look(&self, path: &str) -> Result<Found, BackendError> {
        let options = ContainerArchiveInfoOptions { path: path.to_owned() };
        match self.engine.docker.get_container_archive_info(&self.name, Some(options)).await {
            Ok(stat) if stat.file_mode & MODE_SYMLINK != 0 => Ok(Found::Link(stat.link_target)),
            Ok(stat) if stat.file_mode & MODE_DIRECTORY != 0 => Ok(Found::Directory),
            Ok(_) => Ok(Found::File),
            Err(error) if is_missing(&error) => Ok(Found::Missing),
            Err(error) => self.look_again(path, error).await,
        }
    }

    /// Answers to a look have no body, so they do not say what went wrong; those to a download do.
    async fn look_again(&self, path: &str, first: Error) -> Result<Found, BackendError> {
        let options = DownloadFromContainerOptions { path: path.to_owned() };
        let mut parts = std::pin::pin!(self.engine.docker.download_from_container(&self.name, Some(options)));
        match parts.next().await {
            // A file stands where a directory would have to be.
            Some(Err(error)) if error.to_string().contains("not a directory") => Ok(Found::Missing),
            Some(Err(error)) => Err(failed(&format!("look at {path} in a container"), error)),
            Some(Ok(_)) | None => Err(failed(&format!("look at {path} in a container"), first)),
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let (engine, name, alive) = (self.engine.clone(), std::mem::take(&mut self.name), self.alive.take());
        self.engine.in_background(async move {
            if remove(&engine, &name).await
                && let Some(alive) = alive
            {
                alive.end();
            }
        });
    }
}

/// Kills and removes a container with its anonymous volumes; answers whether it is gone. What stays is left to the
/// next sweep.
pub(crate) async fn remove(engine: &Engine, name: &str) -> bool {
    for attempt in 1..=REMOVAL_TRIES {
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        match engine.docker.remove_container(name, Some(options)).await {
            Ok(()) => return true,
            Err(error) if is_missing(&error) => return true,
            Err(error) if attempt == REMOVAL_TRIES => {
                tracing::warn!(container = name, %error, "a build container could not be removed");
            }
            Err(_) => {}
        }
    }
    false
}

/// A container that several streams hold.
pub(crate) type Shared = Arc<Container>;
