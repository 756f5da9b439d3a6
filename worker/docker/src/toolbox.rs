//! The toolbox: bash and a few programs that every build container sees under `/.werf/stapel`, so that a base image may
//! hold anything, even nothing.
//!
//! It is an image of the static bash and busybox of `slipway-toolbox`, made on first use, or an image that the user
//! names. One stopped container of it per host lends its volume to all build containers. Scripts that need further tools
//! get an image of both: so it works whether or not the engine sees the directories of this host.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Seek as _},
    path::Path,
};

use bollard::{
    models::ContainerCreateBody,
    query_parameters::{ContainerArchiveInfoOptions, CreateContainerOptions, CreateImageOptions},
};
use bytes::Bytes;
use futures::{Stream, TryStreamExt as _, stream};
use slipway_backend::{BackendError, SpoolDir, Tools, script::TOOLBOX_BIN};
use slipway_toolbox::{Archive, Places, REQUIRED, Source, ToolboxError, archive_with, complaint};
use tokio::sync::Mutex;
use tokio_util::io::ReaderStream;

use crate::{
    container::remove,
    engine::Engine,
    error::{failed, is_conflict, is_missing},
};

/// Where the toolbox is mounted.
const MOUNT: &str = "/.werf/stapel";
/// Repository of the images that are made here.
pub(crate) const OWN_REPOSITORY: &str = "slipway-toolbox";

/// The toolbox of one engine.
#[derive(Debug)]
pub(crate) struct Toolbox {
    engine: Engine,
    source: Source,
    spool: SpoolDir,
    /// Containers that were there, by the version of the tools beside the toolbox.
    ready: Mutex<BTreeMap<Option<String>, String>>,
}

impl Toolbox {
    pub(crate) fn new(engine: Engine, source: Source, spool: SpoolDir) -> Self {
        Self { engine, source, spool, ready: Mutex::default() }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Name of the container that lends its volume, with `tools` beside the toolbox; made on first use.
    pub(crate) async fn container(&self, tools: Option<&Tools>) -> Result<String, BackendError> {
        let version = tools.map(|tools| tools.version.clone());
        let mut ready = self.ready.lock().await;
        if let Some(name) = ready.get(&version) {
            return Ok(name.clone());
        }
        let name = self.prepare(tools).await?;
        ready.insert(version, name.clone());
        Ok(name)
    }

    /// Looks again at the next use: the container is gone.
    pub(crate) async fn forget(&self) {
        self.ready.lock().await.clear();
    }

    async fn prepare(&self, tools: Option<&Tools>) -> Result<String, BackendError> {
        let root = tools.and_then(|tools| Some((tools.version.as_str(), tools.root.as_deref()?)));
        match &self.source {
            Source::Image { name, .. } if root.is_some() => Err(BackendError::Refused(format!(
                "nothing can be laid beside the tools of the toolbox image {name}: name none, or one that has them"
            ))),
            Source::Image { name, version } => {
                let container = container_name(version)?;
                if !self.exists(&container).await? {
                    self.pull(name, version).await?;
                    self.create(&container, &format!("{name}:{version}")).await?;
                    self.check(&container, &format!("{name}:{version}")).await?;
                }
                Ok(container)
            }
            Source::Own(places) => {
                let places = places.clone();
                let made = self.engine.cleanups.blocking(move || own(&places)).await?;
                let Archive { version, bytes } = made;
                if let Some((tools, root)) = root {
                    return self.with_tools(&format!("{version}-{tools}"), root).await;
                }
                let container = container_name(&version)?;
                if !self.exists(&container).await? {
                    self.import(&version, stream::iter([Ok(Bytes::from(bytes))])).await?;
                    self.create(&container, &format!("{OWN_REPOSITORY}:{version}")).await?;
                }
                Ok(container)
            }
        }
    }

    /// A container of a toolbox with the tools in `root`.
    async fn with_tools(&self, version: &str, root: &Path) -> Result<String, BackendError> {
        let container = container_name(version)?;
        if self.exists(&container).await? {
            return Ok(container);
        }
        let Source::Own(places) = &self.source else {
            return Err(BackendError::Refused("the toolbox is not ours to add to".to_owned()));
        };
        let (places, root, spool) = (places.clone(), root.to_owned(), self.spool.0.clone());
        let packed = self.engine.cleanups.blocking(move || spooled(&places, &root, &spool)).await?;
        let stream = ReaderStream::with_capacity(tokio::fs::File::from_std(packed), 1 << 18);
        self.import(version, stream).await?;
        self.create(&container, &format!("{OWN_REPOSITORY}:{version}")).await?;
        Ok(container)
    }

    async fn exists(&self, container: &str) -> Result<bool, BackendError> {
        match self.engine.docker.inspect_container(container, None).await {
            Ok(_) => Ok(true),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(failed(&format!("look for the toolbox container {container}"), error)),
        }
    }

    /// Looks whether a toolbox that was just made has what is needed.
    async fn check(&self, container: &str, image: &str) -> Result<(), BackendError> {
        let mut missing = Vec::new();
        for program in REQUIRED {
            let options = ContainerArchiveInfoOptions { path: format!("{TOOLBOX_BIN}/{program}") };
            match self.engine.docker.get_container_archive_info(container, Some(options)).await {
                Ok(_) => {}
                Err(error) if is_missing(&error) => missing.push(program),
                Err(error) => return Err(failed(&format!("look into the toolbox image {image}"), error)),
            }
        }
        let Some(complaint) = complaint(image, &missing) else { return Ok(()) };
        // The next build is to look again, at another image of this name perhaps.
        remove(&self.engine, container).await;
        Err(BackendError::Refused(complaint))
    }

    async fn has_image(&self, image: &str) -> Result<bool, BackendError> {
        match self.engine.docker.inspect_image(image).await {
            Ok(_) => Ok(true),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(failed(&format!("look for the toolbox image {image}"), error)),
        }
    }

    async fn pull(&self, name: &str, version: &str) -> Result<(), BackendError> {
        let image = format!("{name}:{version}");
        if self.has_image(&image).await? {
            return Ok(());
        }
        let options = CreateImageOptions {
            from_image: Some(name.to_owned()),
            tag: Some(version.to_owned()),
            ..CreateImageOptions::default()
        };
        let pulled =
            self.engine.docker.create_image(Some(options), None, None).try_for_each(|_| async { Ok(()) }).await;
        pulled.map_err(|error| failed(&format!("pull the toolbox image {image} (WERF_STAPEL_IMAGE_NAME)"), error))
    }

    async fn import(
        &self,
        version: &str,
        archive: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), BackendError> {
        if self.has_image(&format!("{OWN_REPOSITORY}:{version}")).await? {
            return Ok(());
        }
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(OWN_REPOSITORY.to_owned()),
            tag: Some(version.to_owned()),
            changes: vec![format!("VOLUME {MOUNT}")],
            ..CreateImageOptions::default()
        };
        let archive = bollard::body_try_stream(archive);
        let made = self.engine.docker.create_image(Some(options), Some(archive), None);
        made.try_for_each(|_| async { Ok(()) }).await.map_err(|error| failed("make the toolbox image", error))
    }

    /// Creates the container; another process may be doing the same.
    async fn create(&self, name: &str, image: &str) -> Result<(), BackendError> {
        let options = CreateContainerOptions { name: Some(name.to_owned()), platform: String::new() };
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            cmd: Some(vec![format!("{TOOLBOX_BIN}/true")]),
            volumes: Some(vec![MOUNT.to_owned()]),
            ..ContainerCreateBody::default()
        };
        match self.engine.docker.create_container(Some(options), body).await {
            Ok(_) => Ok(()),
            Err(error) if is_conflict(&error) => Ok(()),
            Err(error) => Err(failed(&format!("create the toolbox container {name}"), error)),
        }
    }
}

fn container_name(version: &str) -> Result<String, BackendError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if !version.is_empty() && version.len() <= 128 && version.bytes().all(plain) {
        Ok(format!("stapel_{version}"))
    } else {
        let shown: String = version.chars().take(100).collect();
        Err(BackendError::Refused(format!(
            "`{shown}` is no version of a toolbox image: check WERF_STAPEL_IMAGE_VERSION"
        )))
    }
}

/// A toolbox of one's own. Takes a while.
fn own(places: &Places) -> Result<Archive, BackendError> {
    places.load().and_then(|programs| slipway_toolbox::archive(&programs)).map_err(refused)
}

/// The archive of a toolbox with tools, in an unnamed file. Takes a while.
fn spooled(places: &Places, tools: &Path, spool: &Path) -> Result<File, BackendError> {
    let programs = places.load().map_err(refused)?;
    let lost = |error: io::Error| BackendError::Engine(format!("pack tools of build containers: {error}"));
    fs::create_dir_all(spool).map_err(lost)?;
    let mut file = tempfile::tempfile_in(spool).map_err(lost)?;
    archive_with(&programs, tools, BufWriter::with_capacity(1 << 18, &mut file)).map_err(refused)?;
    file.rewind().map_err(lost)?;
    Ok(file)
}

fn refused(error: ToolboxError) -> BackendError {
    match error {
        ToolboxError::Missing(_) => BackendError::Refused(error.to_string()),
        ToolboxError::Pack(_) => BackendError::Engine(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_fit_for_the_name_of_a_container() {
        assert!(container_name("slipway-1-0123456789ab").is_ok());
        assert!(container_name("../x").is_err());
        assert!(container_name("").is_err());
    }

    #[test]
    fn a_host_without_programs_is_told_what_to_do() {
        let empty = tempfile::tempdir().expect("a directory");
        let places = Places { directories: Vec::new(), carried: false, host: empty.path().to_owned() };
        let error = own(&places).expect_err("there are none");
        assert!(!error.is_retryable() && error.to_string().contains("apt-get install"), "{error}");
    }
}
