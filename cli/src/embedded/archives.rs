//! Images in archives of the project, shown to the backend as those of a registry.

use std::path::PathBuf;

use slipway_gateway::{ShownBlob, ShownManifest, Stand};
use slipway_layers::archive::{ArchivedImage, Part, open};
use slipway_oci::{ArchiveName, ImageAt, Platform};
use slipway_process::Tasks;
use tokio::sync::OnceCell;

/// The archives of one project, for one build.
pub(super) struct Archives {
    project: PathBuf,
    tasks: Tasks,
    /// Opened for the first image.
    stand: OnceCell<Stand>,
}

impl Archives {
    /// Those below the directory `project`. What is shown of them is so by one of `tasks`.
    pub(super) fn new(project: PathBuf, tasks: Tasks) -> Self {
        Self { project, tasks, stand: OnceCell::new() }
    }

    /// Finds an image; it can be pulled from the answer as long as this lives.
    pub(super) async fn find(&self, name: ArchiveName, platform: &Platform) -> Result<ImageAt, String> {
        let (project, platform) = (self.project.clone(), platform.clone());
        let opened = self.tasks.blocking(move || open(&project, &name, &platform)).await;
        let image = opened.map_err(|error| format!("unable to fetch base image: {error}"))?;
        let stand = self.stand.get_or_try_init(|| Stand::start(&self.tasks)).await;
        let stand = stand.map_err(|error| format!("open a stand for images of archives: {error}"))?;
        let ArchivedImage { digest, media_type, manifest, parts } = image;
        let manifest = ShownManifest { digest, media_type, bytes: manifest.into() };
        Ok(stand.show(manifest, parts.into_iter().map(shown)))
    }
}

fn shown(part: Part) -> ShownBlob {
    ShownBlob { digest: part.digest.clone(), size: part.size, open: Box::new(move || part.open()) }
}
