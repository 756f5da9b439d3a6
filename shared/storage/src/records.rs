//! What a repository keeps beside its stages: for cleanup, which images a project has and which stage an image had at
//! which commit; for imports, the checksums of files that need not be read again.
//!
//! A record is a tag on a tiny image, under werf's names. It is written when the tag list that was read for the
//! stages does not have it; two writers of one record write the same bytes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use slipway_digest::{Checksum, CommitId, Encoder, StageId};
use slipway_oci::Repo;
use slipway_registry::{Client, RegistryError};
use slipway_stages::ImportInput;
use tokio::sync::OnceCell;

use crate::{StorageError, names, notices::Notices, repo::from_registry, tags::TagIndex, tiny};

pub(crate) const PROJECT: &str = "werf";
const FINAL_REPO: &str = "slipway.final-repo";
const IMPORT_ID: &str = "import-source-id";
pub(crate) const IMPORT_STAGE: &str = "source-stage-id";
pub(crate) const IMPORT_CHECKSUM: &str = "checksum";
/// Why a stage is rejected.
pub(crate) const REJECTED_WHY: &str = "slipway-rejected-because";
/// What is kept of a reason, in characters.
const MAX_REASON: usize = 500;

/// Which files of which content: everything that the checksum of an import depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ImportKey(Checksum);

impl ImportKey {
    /// The key of `input` from a source stage with this `content`. Owner and target do not count: they change what
    /// becomes of the files, not what they are.
    pub fn new(content: Checksum, input: &ImportInput) -> Self {
        let set = |globs: &[String]| globs.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>();
        let key = Encoder::new("import record").checksum(&content).text(&input.add);
        Self(key.texts(set(&input.include)).texts(set(&input.exclude)).finish())
    }
}

/// Keeps records. Writing says whether the record is new. Live: [`RepoRecords`]; test, and local builds:
/// [`MemoryRecords`].
#[async_trait]
pub trait Records: Send + Sync {
    /// The project has an image of this name; empty for an image without one.
    async fn add_image(&self, image: &str) -> Result<bool, StorageError>;
    /// At `commit`, the last stage of the image was `stage`.
    async fn add_image_commit(&self, image: &str, commit: CommitId, stage: StageId) -> Result<bool, StorageError>;
    /// The checksum of imported files, if it is known. A broken record is as good as none.
    async fn import(&self, key: ImportKey) -> Result<Option<Checksum>, StorageError>;
    /// The files of `key` have this checksum; `source` is the stage that they are in, `None` = an external image.
    async fn add_import(
        &self,
        key: ImportKey,
        source: Option<StageId>,
        checksum: Checksum,
    ) -> Result<bool, StorageError>;
    /// The final repository that was used last, as it was written.
    async fn final_repo(&self) -> Result<Option<String>, StorageError>;
    /// This final repository is used.
    async fn set_final_repo(&self, repo: &Repo) -> Result<(), StorageError>;
    /// The stage is not to be used any more.
    async fn reject(&self, stage: StageId, why: &str) -> Result<bool, StorageError>;
}

/// Records in the repository of the stages.
#[derive(Clone, Debug)]
pub struct RepoRecords {
    client: Client,
    repo: Repo,
    project: String,
    tags: Arc<TagIndex>,
    /// Whether the tags are listed to know which records there are; else each is asked for.
    listed: bool,
    notices: Arc<Notices>,
    /// Whether it was seen whose repository it is.
    claimed: Arc<OnceCell<()>>,
}

impl RepoRecords {
    /// The records of `project` in `repo`, whose tags are `tags`.
    pub(crate) fn new(client: Client, repo: Repo, project: &str, tags: Arc<TagIndex>, notices: Arc<Notices>) -> Self {
        let (project, claimed) = (project.to_owned(), Arc::default());
        Self { client, repo, project, tags, listed: true, notices, claimed }
    }

    /// The same records, of which each is asked for by its name: where the tags need not be listed for the stages.
    #[must_use]
    pub fn unlisted(self) -> Self {
        Self { listed: false, ..self }
    }

    /// The first project of a repository is noted in it; another one is told.
    async fn claim(&self) -> Result<(), StorageError> {
        let labels = BTreeMap::from([(PROJECT.to_owned(), self.project.clone())]);
        let failed = |error| self.failed(error);
        let there = self.client.head_manifest(&self.repo, names::PROJECT).await.map_err(failed)?;
        match there {
            None => {
                let put = tiny::put(&self.client, &self.repo, names::PROJECT, labels).await;
                put.map_err(failed)?;
                self.tags.added(names::PROJECT);
            }
            Some(digest) if digest == tiny::digest(names::PROJECT, labels) => {}
            Some(_) => {
                let held = tiny::labels(&self.client, &self.repo, names::PROJECT).await.map_err(failed)?;
                let other = held.and_then(|mut labels| labels.remove(PROJECT)).unwrap_or_default();
                if other != self.project {
                    self.notices.shared(&self.repo, &other, &self.project);
                }
            }
        }
        Ok(())
    }

    async fn has(&self, tag: &str) -> Result<bool, StorageError> {
        if self.listed {
            self.tags.refresh(false).await.map_err(|error| self.failed(error))?;
        }
        if self.listed || self.tags.has_record(tag) {
            return Ok(self.tags.has_record(tag));
        }
        let there = self.client.head_manifest(&self.repo, tag).await.map_err(|error| self.failed(error))?;
        if there.is_some() {
            self.tags.added(tag);
        }
        Ok(there.is_some())
    }

    async fn add(&self, tag: String, more: &[(&str, String)]) -> Result<bool, StorageError> {
        if self.has(&tag).await? {
            return Ok(false);
        }
        let mut labels = BTreeMap::from([(PROJECT.to_owned(), self.project.clone())]);
        labels.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        tiny::put(&self.client, &self.repo, &tag, labels).await.map_err(|error| self.failed(error))?;
        self.tags.added(&tag);
        Ok(true)
    }

    fn failed(&self, error: RegistryError) -> StorageError {
        from_registry(&self.repo, error)
    }
}

#[async_trait]
impl Records for RepoRecords {
    async fn add_image(&self, image: &str) -> Result<bool, StorageError> {
        self.claimed.get_or_try_init(|| self.claim()).await?;
        self.add(names::managed_image(image), &[]).await
    }

    async fn add_image_commit(&self, image: &str, commit: CommitId, stage: StageId) -> Result<bool, StorageError> {
        self.add(names::image_commit(image, commit, stage), &[]).await
    }

    async fn import(&self, key: ImportKey) -> Result<Option<Checksum>, StorageError> {
        let tag = names::import(&key.0.to_string());
        if !self.has(&tag).await? {
            return Ok(None);
        }
        let labels = match tiny::labels(&self.client, &self.repo, &tag).await {
            Ok(Some(labels)) => labels,
            Ok(None) => return Ok(None),
            Err(RegistryError::NotFound(why) | RegistryError::Corrupt(why) | RegistryError::Refused(why)) => {
                tracing::warn!("the import record {}:{tag} is not used: {why}", self.repo);
                return Ok(None);
            }
            Err(error) => return Err(self.failed(error)),
        };
        let ours = labels.get(IMPORT_ID).is_some_and(|id| *id == key.0.to_string());
        let checksum = labels.get(IMPORT_CHECKSUM).and_then(|text| text.parse().ok());
        if !ours || checksum.is_none() {
            tracing::warn!("the import record {}:{tag} is not used: its labels are not those of one", self.repo);
            return Ok(None);
        }
        Ok(checksum)
    }

    async fn add_import(
        &self,
        key: ImportKey,
        source: Option<StageId>,
        checksum: Checksum,
    ) -> Result<bool, StorageError> {
        let mut labels = vec![(IMPORT_ID, key.0.to_string()), (IMPORT_CHECKSUM, checksum.to_string())];
        labels.extend(source.map(|source| (IMPORT_STAGE, source.to_string())));
        self.add(names::import(&key.0.to_string()), &labels).await
    }

    async fn final_repo(&self) -> Result<Option<String>, StorageError> {
        if !self.has(names::FINAL_REPO).await? {
            return Ok(None);
        }
        let labels = tiny::labels(&self.client, &self.repo, names::FINAL_REPO).await;
        let labels = labels.map_err(|error| self.failed(error))?;
        Ok(labels.and_then(|mut labels| labels.remove(FINAL_REPO)))
    }

    async fn set_final_repo(&self, repo: &Repo) -> Result<(), StorageError> {
        let labels = [(PROJECT, self.project.clone()), (FINAL_REPO, repo.to_string())]
            .map(|(name, value)| (name.to_owned(), value));
        let put = tiny::put(&self.client, &self.repo, names::FINAL_REPO, labels.into()).await;
        put.map_err(|error| self.failed(error))?;
        self.tags.added(names::FINAL_REPO);
        Ok(())
    }

    async fn reject(&self, stage: StageId, why: &str) -> Result<bool, StorageError> {
        if self.listed {
            self.tags.refresh(false).await.map_err(|error| self.failed(error))?;
        }
        if self.tags.is_rejected(stage) {
            return Ok(false);
        }
        let why = why.chars().take(MAX_REASON).collect();
        let is_new = self.add(names::rejected(stage), &[(REJECTED_WHY, why)]).await?;
        self.tags.announce().await.map_err(|error| self.failed(error))?;
        Ok(is_new)
    }
}

/// Records that last as long as the process.
#[derive(Debug, Default)]
pub struct MemoryRecords {
    names: Mutex<HashSet<String>>,
    imports: Mutex<HashMap<ImportKey, Checksum>>,
    final_repo: Mutex<Option<String>>,
}

impl MemoryRecords {
    fn add(&self, name: String) -> bool {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name)
    }

    /// The names of all records, as they would be tags, sorted; imports are not among them.
    pub fn names(&self) -> Vec<String> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
}

#[async_trait]
impl Records for MemoryRecords {
    async fn add_image(&self, image: &str) -> Result<bool, StorageError> {
        Ok(self.add(names::managed_image(image)))
    }

    async fn add_image_commit(&self, image: &str, commit: CommitId, stage: StageId) -> Result<bool, StorageError> {
        Ok(self.add(names::image_commit(image, commit, stage)))
    }

    async fn import(&self, key: ImportKey) -> Result<Option<Checksum>, StorageError> {
        Ok(self.imports.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied())
    }

    async fn add_import(
        &self,
        key: ImportKey,
        _source: Option<StageId>,
        checksum: Checksum,
    ) -> Result<bool, StorageError> {
        Ok(self.imports.lock().unwrap_or_else(PoisonError::into_inner).insert(key, checksum).is_none())
    }

    async fn final_repo(&self) -> Result<Option<String>, StorageError> {
        Ok(self.final_repo.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn set_final_repo(&self, repo: &Repo) -> Result<(), StorageError> {
        *self.final_repo.lock().unwrap_or_else(PoisonError::into_inner) = Some(repo.to_string());
        Ok(())
    }

    async fn reject(&self, stage: StageId, _why: &str) -> Result<bool, StorageError> {
        Ok(self.add(names::rejected(stage)))
    }
}
