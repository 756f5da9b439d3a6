//! The images that a project has or had, as its repository records them: cleanup looks after these.

use slipway_oci::Repo;
use slipway_registry::Client;

use crate::{Records as _, RepoStorage, StorageError, names, repo::from_registry, tags::TagIndex};

/// The records of one repository.
#[derive(Debug)]
pub struct ManagedImages {
    client: Client,
    repo: Repo,
}

impl ManagedImages {
    /// Those of `repo`.
    pub fn new(client: Client, repo: Repo) -> Self {
        Self { client, repo }
    }

    /// The names of all images, sorted; empty for one without a name. Of a name that fits no tag, what stands for it.
    ///
    /// # Errors
    /// When the repository does not answer, or refuses.
    pub async fn list(&self) -> Result<Vec<String>, StorageError> {
        let tags = self.client.tags(&self.repo).await.map_err(|error| from_registry(&self.repo, error))?;
        let mut names: Vec<String> = tags.iter().filter_map(|tag| names::managed_name(tag)).collect();
        names.sort();
        Ok(names)
    }

    /// Records an image of a project; whether that is new.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn add(&self, project: &str, image: &str) -> Result<bool, StorageError> {
        let records = RepoStorage::new(self.client.clone(), self.repo.clone()).records(project).unlisted();
        records.add_image(image).await
    }

    /// Takes an image off the list; whether it was on it.
    ///
    /// # Errors
    /// As [`list`](Self::list); when the registry does not delete.
    pub async fn remove(&self, image: &str) -> Result<bool, StorageError> {
        let failed = |error| from_registry(&self.repo, error);
        let found = self.client.head_manifest(&self.repo, &names::managed_image(image)).await.map_err(failed)?;
        let Some(digest) = found else { return Ok(false) };
        self.client.delete_manifest(&self.repo, &digest).await.map_err(failed)?;
        // A build that keeps a listing would take the record for written.
        TagIndex::new(self.client.clone(), self.repo.clone()).announce().await.map_err(failed)?;
        Ok(true)
    }
}
