//! The final repository: the images that run, and nothing else.

use std::collections::BTreeSet;

use slipway_oci::Repo;
use slipway_registry::Client;

use crate::{StorageError, repo::from_registry};

/// Where images go that run. An image has the tag there that it has in the primary repository.
#[derive(Clone, Debug)]
pub struct FinalRepo {
    client: Client,
    repo: Repo,
}

impl FinalRepo {
    /// The final repository `repo`.
    pub fn new(client: Client, repo: Repo) -> Self {
        Self { client, repo }
    }

    /// The repository.
    pub fn repo(&self) -> &Repo {
        &self.repo
    }

    /// Those of these tags that are not there yet, each once. Costs one listing.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn missing(&self, wanted: &[String]) -> Result<Vec<String>, StorageError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let tags = self.client.tags(&self.repo).await.map_err(|error| from_registry(&self.repo, error))?;
        let mut there: BTreeSet<String> = tags.into_iter().collect();
        Ok(wanted.iter().filter(|tag| there.insert((*tag).clone())).cloned().collect())
    }
}
