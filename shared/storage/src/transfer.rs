//! Stages from one repository to another: each is a commit like any other, with a timestamp of its own.

use std::collections::BTreeMap;

use slipway_digest::{Millis, StageId};
use slipway_process::random_id;
use slipway_registry::{Client, CopyError};

use crate::{
    Candidate, Judge, Publisher, RepoStorage, StageStorage as _, StorageError,
    beside::copy,
    kv::{Reading, StagePlace as _},
    names,
    repo::from_registry,
};

/// From where to where.
pub struct Transfer<'t> {
    /// Speaks to both.
    pub client: &'t Client,
    /// Where stages are read.
    pub from: &'t RepoStorage,
    /// Where they go.
    pub to: &'t RepoStorage,
    /// Makes them the stored ones there.
    pub publisher: &'t Publisher,
}

/// What became of a stage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Moved {
    /// It was copied, and is this one now.
    Copied(StageId),
    /// One that is as good was there already.
    There(StageId),
    /// It is no stage that can be used, and why.
    Unusable(String),
}

impl Moved {
    /// The stage where it went.
    pub fn id(&self) -> Option<StageId> {
        match self {
            Self::Copied(id) | Self::There(id) => Some(*id),
            Self::Unusable(_) => None,
        }
    }
}

impl Transfer<'_> {
    /// Copies a stage, unless one that `judge` finds as good is there. `moved` are those before it: what it stands on must
    /// be among them when that is copied too, for a stage is younger than what it stands on. `judge` is made for it.
    ///
    /// # Errors
    /// When a repository does not answer, or refuses.
    pub async fn stage<J: Judge>(
        &self,
        id: StageId,
        moved: &BTreeMap<StageId, StageId>,
        judge: impl FnOnce(&slipway_stages::StageRecord, Millis) -> J,
    ) -> Result<Moved, StorageError> {
        let record = match self.from.read(id).await? {
            Reading::Stage(record, _) => *record,
            Reading::NoStage(why) => return Ok(Moved::Unusable(why)),
            Reading::Absent => return Ok(Moved::Unusable("it is not there".to_owned())),
        };
        let below = record.parent.and_then(|parent| moved.get(&parent));
        let not_before = below.map(|below| below.stamp).unwrap_or_default();
        let judge = judge(&record, not_before);
        let there = self.to.find(record.id.digest, &record.platform, false).await?;
        if let Some(there) = judge.choose(&there).await? {
            return Ok(Moved::There(there.id));
        }
        let attempt = random_id();
        let copied = copy::as_attempt(self.client, &record.at, self.to.repo(), &attempt).await;
        let copied = copied.map_err(|error| match error {
            CopyError::Source(error) => from_registry(self.from.repo(), error),
            CopyError::Target(error) => from_registry(self.to.repo(), error),
        })?;
        let record =
            slipway_stages::StageRecord { at: self.to.repo().at(copied.manifest), size: copied.size, ..record };
        self.publisher.admit(&attempt).await?;
        let verdict = self.publisher.publish(&Candidate { record, not_before, attempt }, &judge).await?;
        Ok(Moved::Copied(verdict.stage().id))
    }

    /// Copies what is recorded of imports.
    ///
    /// # Errors
    /// When a repository does not answer, or refuses.
    pub async fn imports(&self) -> Result<usize, StorageError> {
        let (from, to) = (self.from.repo(), self.to.repo());
        let tags = self.client.tags(from).await.map_err(|error| from_registry(from, error))?;
        let there = self.client.tags(to).await.map_err(|error| from_registry(to, error))?;
        let missing = tags.iter().filter(|tag| names::is_import(tag) && !there.contains(tag));
        let mut copied = 0;
        for tag in missing {
            let found = self.client.head_manifest(from, tag).await.map_err(|error| from_registry(from, error))?;
            let Some(digest) = found else { continue };
            let done = copy::as_it_is(self.client, (&from.at(digest), from), to, Some(tag)).await;
            done.map_err(|error| from_registry(to, error.into_inner()))?;
            copied += 1;
        }
        Ok(copied)
    }
}
