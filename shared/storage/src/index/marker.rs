//! How builds tell each other that the tags of a repository have changed.
//!
//! A registry says nothing of what has changed. So whoever has tagged or rejected a stage *announces* it: it moves one
//! tag, the marker, to a manifest that never was. A listing that began after the marker was seen is true as long as the
//! marker stays where it is: what was tagged before is in it, and what is tagged later moves the marker. Moving it over
//! another's move hides nothing, for both are places where it never was.
//!
//! Only who keeps listings makes a marker; where there is none, nothing is trusted and nothing announced. Whether a
//! registry lets tags move is tried first: while the marker is on trial, or stuck there, it says nothing.

use std::collections::BTreeMap;

use slipway_oci::{BlobDigest, Repo};
use slipway_process::random_id;
use slipway_registry::{Client, RegistryError};

use crate::{names, tiny};

/// Under this name the manifest says what it is for.
const CHANGE: &str = "slipway.change";
/// The marker while nobody knows whether it can be moved.
const TRIAL: &str = "trial";

/// The marker of one repository.
#[derive(Debug)]
pub(crate) struct Marker {
    client: Client,
    repo: Repo,
}

impl Marker {
    pub(crate) fn new(client: Client, repo: Repo) -> Self {
        Self { client, repo }
    }

    /// Where it is; `None` when there is none that says anything.
    pub(crate) async fn look(&self) -> Result<Option<BlobDigest>, RegistryError> {
        let found = self.client.head_manifest(&self.repo, names::INDEX).await?;
        Ok(found.filter(|digest| *digest != tiny::marked(names::INDEX, &change(TRIAL)).1))
    }

    /// Makes one; `None` when this process may not, or tags cannot be moved there.
    pub(crate) async fn make(&self) -> Option<BlobDigest> {
        for change in [TRIAL.to_owned(), random_id()] {
            match self.put(&change).await {
                Ok(_) if change == TRIAL => {}
                Ok(mark) => return Some(mark),
                Err(error) => {
                    tracing::debug!("the tags of {} are listed by each build: {error}", self.repo);
                    return None;
                }
            }
        }
        None
    }

    /// Something was tagged or rejected: moves the marker, if there is one.
    /// Answers where it is now. `known` = it was there a moment ago.
    pub(crate) async fn announce(&self, known: bool) -> Result<Option<BlobDigest>, RegistryError> {
        if !known && self.look().await?.is_none() {
            return Ok(None);
        }
        match self.put(&random_id()).await {
            Ok(mark) => Ok(Some(mark)),
            Err(RegistryError::Denied(why) | RegistryError::Refused(why)) => Err(RegistryError::Refused(format!(
                "{why}; other builds learn of new stages by this tag: let it be moved (exclude `{}` from what makes tags \
                 immutable), or delete it",
                names::INDEX
            ))),
            Err(error) => Err(error),
        }
    }

    async fn put(&self, text: &str) -> Result<BlobDigest, RegistryError> {
        tiny::put_marked(&self.client, &self.repo, names::INDEX, &change(text)).await
    }
}

fn change(text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(CHANGE.to_owned(), text.to_owned())])
}
