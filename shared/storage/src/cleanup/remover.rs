//! How one tag is deleted, and nothing else.
//!
//! Most registries delete by digest, which takes all tags of a manifest along. So where a tag that stays leads to the same
//! manifest, the tag alone is taken off: by its name where the registry does that, else it is moved to a *tombstone* first, a
//! manifest that nothing else leads to, and that is deleted by its digest. Some registries keep the tags of a manifest that
//! was deleted by its digest; the first deletion shows that.

use std::{collections::BTreeMap, sync::OnceLock};

use slipway_oci::{BlobDigest, Repo};
use slipway_process::{failpoint::failpoint, random_id};
use slipway_registry::{Client, Deletes, RegistryError, Removed};
use tokio::sync::Mutex;

use super::{
    Place,
    plan::{Guarded, Side},
};
use crate::{StorageError, repo::from_registry, tiny};

/// Under this name the manifest of a tombstone says what it is.
const REMOVED: &str = "slipway.removed";

/// Deletes tags of one repository.
#[derive(Debug)]
pub struct Remover {
    client: Client,
    repo: Repo,
    side: Side,
    way: OnceLock<Way>,
    /// Held by who finds out how the registry deletes.
    trying: Mutex<()>,
}

/// How a registry deletes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// By digest, with all tags.
    Digest,
    /// The same; a tag alone by its name.
    DigestOrTag,
    /// By tag.
    Tag,
    /// By tag, and then by digest what no tag leads to.
    TagThenDigest,
}

impl Way {
    /// That of a service of which it is known.
    fn known(deletes: Deletes) -> OnceLock<Self> {
        match deletes {
            Deletes::AsItTurnsOut => OnceLock::new(),
            Deletes::Digests => OnceLock::from(Self::Digest),
            Deletes::DigestsAndTags => OnceLock::from(Self::DigestOrTag),
            Deletes::Tags => OnceLock::from(Self::Tag),
            Deletes::TagsThenDigests => OnceLock::from(Self::TagThenDigest),
        }
    }

    /// Whether a manifest goes with all tags at once.
    fn by_digest(self) -> bool {
        matches!(self, Self::Digest | Self::DigestOrTag)
    }
}

/// Why a tag was not deleted.
#[derive(Debug)]
pub enum Failed {
    /// Only this one; others may be.
    This(StorageError),
    /// No other one would be, either.
    All(StorageError),
}

impl Remover {
    /// Deletes in this repository.
    pub fn new(place: &Place, side: Side) -> Self {
        let (client, repo) = (place.client.clone(), place.repo.clone());
        let way = Way::known(client.deletes(&repo));
        Self { client, repo, side, way, trying: Mutex::new(()) }
    }

    /// Deletes a tag; whether it was there. `known` = the manifest that it leads to. A manifest that is guarded stays.
    ///
    /// # Errors
    /// When the registry does not delete, or not this.
    pub async fn remove(&self, tag: &str, known: Option<BlobDigest>, guarded: &Guarded) -> Result<bool, Failed> {
        let way = self.way.get().copied();
        if let Some(digest) = known.filter(|digest| !guarded.has(self.side, digest))
            && way.is_some_and(Way::by_digest)
        {
            match self.delete(digest.as_str()).await? {
                Removed::Done => return Ok(true),
                // It was not what the tag leads to.
                Removed::Absent => {}
                Removed::Unsupported => return Err(self.refused()),
            }
        }
        if way == Some(Way::Tag) {
            // Nothing else goes with it, whatever it leads to.
            return self.by_tag(tag).await;
        }
        let there = self.client.head_manifest(&self.repo, tag).await.map_err(|error| self.failed(error))?;
        let Some(digest) = there else { return Ok(false) };
        if guarded.has(self.side, &digest) {
            return self.take_off(tag).await.map(|()| true);
        }
        self.go(tag, &digest).await.map(|()| true)
    }

    /// Deletes a tag that leads to a manifest which need not stay.
    async fn go(&self, tag: &str, digest: &BlobDigest) -> Result<(), Failed> {
        match self.way.get() {
            Some(Way::Digest | Way::DigestOrTag) => self.by_digest(digest).await,
            Some(Way::Tag) => self.by_tag(tag).await.map(drop),
            Some(Way::TagThenDigest) => {
                self.by_tag(tag).await?;
                // It stays while another tag leads to it.
                self.delete(digest.as_str()).await.map(drop)
            }
            None => self.find_way(tag, digest).await,
        }
    }

    /// The same with a tag of a user's choice; one that leads to a stage that stays is left alone.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub async fn remove_custom(&self, tag: &str, guarded: &Guarded) -> Result<bool, Failed> {
        let there = self.client.head_manifest(&self.repo, tag).await.map_err(|error| self.failed(error))?;
        match there {
            Some(digest) if !guarded.has_stage(self.side, &digest) => self.remove(tag, Some(digest), guarded).await,
            Some(_) | None => Ok(false),
        }
    }

    async fn by_digest(&self, digest: &BlobDigest) -> Result<(), Failed> {
        match self.delete(digest.as_str()).await? {
            Removed::Done | Removed::Absent => Ok(()),
            Removed::Unsupported => Err(self.refused()),
        }
    }

    /// Whether it was there.
    async fn by_tag(&self, tag: &str) -> Result<bool, Failed> {
        match self.delete(tag).await? {
            Removed::Done => Ok(true),
            Removed::Absent => Ok(false),
            Removed::Unsupported => Err(self.refused()),
        }
    }

    /// The first deletion shows how the registry does it.
    async fn find_way(&self, tag: &str, digest: &BlobDigest) -> Result<(), Failed> {
        let _turn = self.trying.lock().await;
        if self.way.get().is_some() {
            return Box::pin(self.go(tag, digest)).await;
        }
        if self.delete(digest.as_str()).await? != Removed::Unsupported {
            let left = self.client.head_manifest(&self.repo, tag).await.map_err(|error| self.failed(error))?;
            if left.as_ref() != Some(digest) {
                let _ = self.way.set(Way::Digest);
                return Ok(());
            }
        }
        match self.delete(tag).await? {
            Removed::Done => {
                let _ = self.way.set(Way::Tag);
                Ok(())
            }
            Removed::Absent | Removed::Unsupported => Err(self.refused()),
        }
    }

    /// Takes a tag off a manifest that stays.
    async fn take_off(&self, tag: &str) -> Result<(), Failed> {
        match self.way.get() {
            Some(Way::Tag | Way::TagThenDigest | Way::DigestOrTag) => return self.by_tag(tag).await.map(drop),
            // One that has shown that it deletes by digest: most of those refuse names.
            Some(Way::Digest) => {}
            None if self.delete(tag).await? == Removed::Done => return Ok(()),
            None => {}
        }
        let marks = BTreeMap::from([(REMOVED.to_owned(), random_id())]);
        let put = tiny::put_marked(&self.client, &self.repo, tag, &marks).await;
        let tombstone = put.map_err(|error| self.failed(error))?;
        failpoint("cleanup.tombstone");
        self.by_digest(&tombstone).await
    }

    async fn delete(&self, selector: &str) -> Result<Removed, Failed> {
        self.client.remove(&self.repo, selector).await.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: RegistryError) -> Failed {
        let all = matches!(error, RegistryError::Denied(_));
        let error = from_registry(&self.repo, error);
        if all { Failed::All(error) } else { Failed::This(error) }
    }

    fn refused(&self) -> Failed {
        Failed::All(StorageError::Denied(format!(
            "the registry {} deletes neither by digest nor by tag: let it delete (docker-registry: `storage: {{delete: {{enabled: \
             true}}}}`); docs/reference/registries.md says which services delete in which way",
            self.repo.host
        )))
    }
}
