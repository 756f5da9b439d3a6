//! The toolbox that commands see: a directory of this host, made on first use.

use std::{future::Future, path::PathBuf};

use slipway_backend::{BackendError, ByteStream, Tools};
use slipway_layers::Store;
use slipway_native::toolbox::{directory, joined, known, of_files, unpacked};
use slipway_oci::{ImageAt, Platform, Reference};
use slipway_process::Tasks;
use slipway_registry::Client;
use slipway_toolbox::Source;
use tokio::sync::OnceCell;

/// Makes it.
pub(crate) struct Toolbox {
    pub(crate) source: Source,
    pub(crate) store: Store,
    pub(crate) client: Client,
    pub(crate) tasks: Tasks,
    pub(crate) ready: OnceCell<PathBuf>,
}

impl Toolbox {
    /// Its directory, with `tools` laid beside; `files` reads those of an image of a repository.
    pub(crate) async fn directory<F>(
        &self,
        tools: Option<&Tools>,
        files: impl Fn(ImageAt) -> F + Send,
    ) -> Result<PathBuf, BackendError>
    where
        F: Future<Output = Result<ByteStream, BackendError>> + Send,
    {
        let plain = self.ready.get_or_try_init(|| self.make(files)).await?.clone();
        let Some(tools) = tools.filter(|tools| tools.root.is_some()) else { return Ok(plain) };
        if let Source::Image { name, .. } = &self.source {
            return Err(BackendError::Refused(format!(
                "nothing can be laid beside the tools of the toolbox image {name}: name none, or one that has them"
            )));
        }
        let (store, tools) = (self.store.clone(), tools.clone());
        self.tasks.blocking(move || joined(&store, &plain, &tools)).await
    }

    async fn make<F>(&self, files: impl Fn(ImageAt) -> F + Send) -> Result<PathBuf, BackendError>
    where
        F: Future<Output = Result<ByteStream, BackendError>> + Send,
    {
        let store = self.store.clone();
        let (name, version) = match &self.source {
            Source::Own(places) => {
                let places = places.clone();
                return self.tasks.blocking(move || directory(&store, &places)).await;
            }
            Source::Image { name, version } => (name, version),
        };
        let image = format!("{name}:{version}");
        let doing = format!("take the toolbox image {image} (WERF_STAPEL_IMAGE_NAME)");
        let reference: Reference = image.parse().map_err(|error| BackendError::Refused(format!("{doing}: {error}")))?;
        let found = self.client.resolve(&reference, &Platform::host()).await;
        let found = found.map_err(|error| BackendError::Engine(format!("{doing}: {error}")))?;
        let lacks = || BackendError::Refused(format!("{doing}: its registry does not have it for this machine"));
        let at = found.ok_or_else(lacks)?;
        if let Some(place) = known(&store, &at, &image) {
            return place;
        }
        let tar = of_files(&image, files(at.clone()).await)?;
        self.tasks.blocking(move || unpacked(&store, &at, &image, tar)).await
    }
}
