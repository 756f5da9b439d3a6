//! Copies of images for others: without what builds note in them, under names of the user's; or as they are, for an engine to run.
//!
//! Every image is read from a registry: the repository of its stages, the one that it goes to, or a shelf of this process
//! that its backend pushes it to. Reading order: [`names`] (what copies are called), [`source`] (the image to copy), then where
//! copies go: `registry`, `layout`, `archive`.

mod archive;
mod layout;
pub(crate) mod names;
mod registry;
mod source;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use slipway_backend::LocalImage;
use slipway_gateway::Shelf;
use slipway_oci::{ImageAt, Repo};
use slipway_process::{Tasks, random_id};
use slipway_registry::Client;

use crate::{
    choose::EngineAddress,
    host::{self, Host, HostOptions, RegistryOptions},
};
use names::Destination;
pub(crate) use source::Labels;
use source::Source;

/// What copies are made with.
pub(crate) struct Exporter {
    /// What has the images of the local storage; `None` = all are in a repository.
    pub(crate) host: Option<HostOptions>,
    /// How registries are spoken to.
    pub(crate) registry: RegistryOptions,
    /// The engine that copies may go to.
    pub(crate) engine: EngineAddress,
    /// Labels of all copies.
    pub(crate) labels: Labels,
    /// Where temporary files go.
    pub(crate) tmp: PathBuf,
}

impl Exporter {
    /// Copies images, each of which is one or an image for each platform, to their destinations, one after the other, and tells of each.
    ///
    /// # Errors
    /// When a copy cannot be made; the earlier ones stay.
    pub(crate) async fn export(
        &self,
        copies: &[(Vec<ImageAt>, Destination)],
        mut tell: impl FnMut(&Destination),
    ) -> Result<()> {
        let tasks = Tasks::new();
        let result = self.all(copies, &tasks, &mut tell).await;
        tasks.shut_down().await;
        result
    }

    async fn all(
        &self,
        copies: &[(Vec<ImageAt>, Destination)],
        tasks: &Tasks,
        tell: &mut impl FnMut(&Destination),
    ) -> Result<()> {
        let host = match &self.host {
            Some(options) => Some(Host::open(options, tasks).await?),
            None => None,
        };
        let client = host::client(&self.registry)?;
        let room = Room::make(&self.tmp)?;
        let shelf = Shelf::start(&room.0, tasks).await.context("open a shelf for images on their way")?;
        let work = async {
            for (images, destination) in copies {
                let doing = || format!("export to {destination}");
                self.one(images, destination, (&client, host.as_ref()), (&shelf, &room.0), tasks)
                    .await
                    .with_context(doing)?;
                tell(destination);
            }
            Ok(())
        };
        let done = work.await;
        if let Some(host) = &host {
            host.shut_down().await;
        }
        done
    }

    async fn one(
        &self,
        images: &[ImageAt],
        destination: &Destination,
        (client, host): (&Client, Option<&Host>),
        (shelf, room): (&Shelf, &Path),
        tasks: &Tasks,
    ) -> Result<()> {
        let via = match destination {
            Destination::Registry(repo, _) => repo,
            Destination::Docker(_) | Destination::Layout(..) | Destination::Archive(..) => shelf.repo(),
        };
        let mut sources: Vec<Source> = Vec::new();
        for image in images {
            let at = in_registry(image, host, via).await?;
            sources.extend(Source::read_all(client, &at, &self.labels).await?);
        }
        let only = || match sources.as_slice() {
            [source] => Ok(source),
            _ => bail!("it can hold one platform only: choose that with --platform"),
        };
        match destination {
            Destination::Registry(repo, tag) => registry::write(client, &sources, repo, tag).await,
            Destination::Layout(directory, tag) => {
                layout::write(client, &sources, directory, tag.as_deref(), tasks).await
            }
            Destination::Archive(file, name) => {
                archive::write(client, only()?, file, name.as_deref(), (room, tasks)).await
            }
            Destination::Docker(name) => {
                let file = room.join(random_id());
                archive::write(client, only()?, &file, Some(name), (room, tasks)).await?;
                let opened = tokio::fs::File::open(&file).await.context("read what is to be loaded")?;
                let stream = Box::pin(tokio_util::io::ReaderStream::new(opened));
                let engine = (self.engine.host.as_deref(), self.engine.certificates.as_deref());
                slipway_docker::load(engine.0, engine.1, stream).await?;
                Ok(tokio::fs::remove_file(&file).await?)
            }
        }
    }
}

/// Where an image is in a registry; one of the local storage is pushed to `via`.
async fn in_registry(at: &ImageAt, host: Option<&Host>, via: &Repo) -> Result<ImageAt> {
    if !at.repo.host.is_empty() {
        return Ok(at.clone());
    }
    let host = host.context("the image is in the local storage, and nothing that has it is at hand")?;
    let image = LocalImage { id: at.digest.clone() };
    let pushed = host.engine.push_away(&image, via).await?;
    Ok(via.at(pushed.manifest))
}

/// A directory for things on their way, gone with this.
struct Room(PathBuf);

impl Room {
    fn make(below: &Path) -> Result<Self> {
        let path = below.join(format!("export-{}", random_id()));
        std::fs::create_dir_all(&path).with_context(|| format!("make the directory {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // What stays lies among temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
