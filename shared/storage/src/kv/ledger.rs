//! The ledger, and how it reads.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use slipway_digest::{Millis, StageDigest, StageId};
use slipway_kv::{Entry, Kv, KvError, Outcome, Page, Range, Revision, Txn, When, once};
use slipway_oci::{Platform, Repo};
use slipway_process::Clock;
use slipway_stages::StageRecord;

use super::{
    attach::Standing,
    attempts::Attempts,
    condemn::TAG_TIME,
    fences::Fences,
    keys::Keys,
    patience::{Patience, failed},
    place::StagePlace,
    value::{HeadText, Kept, KeptState},
};
use crate::{StorageError, notices::Notices};

/// How long a store that does not answer is waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// The records of one repository's stages in a shared store.
pub struct KvLedger {
    pub(super) kv: Arc<dyn Kv>,
    pub(super) keys: Keys,
    pub(super) repo: Repo,
    pub(super) place: Arc<dyn StagePlace>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) fences: Fences,
    pub(super) attempts: Attempts,
    pub(super) patience: Patience,
    /// How long the writing of a tag may take.
    pub(super) tag_time: Duration,
    /// How the repository is attached, as last seen.
    pub(super) standing: Mutex<Option<Standing>>,
    /// What builds are to be told of it.
    pub(super) notices: Notices,
}

/// What is recorded of a digest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Digest {
    /// Which one.
    pub digest: StageDigest,
    /// All records, oldest first.
    pub kept: Vec<Kept>,
    /// The last timestamp that was given.
    pub last: Option<Millis>,
    /// When the head was last written; 0 = never.
    pub head: Revision,
    /// The generation it was read in.
    pub(super) standing: Standing,
}

impl KvLedger {
    /// The ledger of `repo`, whose stages are in `place`. All ledgers of a repository must use the same store and
    /// prefix. `fences` go with every write.
    pub fn new(
        kv: Arc<dyn Kv>,
        repo: Repo,
        place: Arc<dyn StagePlace>,
        clock: Arc<dyn Clock>,
        fences: Fences,
        attempts: Attempts,
    ) -> Self {
        Self {
            kv,
            keys: Keys::new(&repo),
            repo,
            place,
            clock,
            fences,
            attempts,
            patience: Patience::new(LONGEST_WAIT),
            tag_time: TAG_TIME,
            standing: Mutex::new(None),
            notices: Notices::default(),
        }
    }

    /// An absent store is waited for this long instead of ten minutes.
    #[must_use]
    pub fn waiting_at_most(mut self, longest: Duration) -> Self {
        self.patience = Patience::new(longest);
        self
    }

    /// The writing of a tag may take this long instead of [`TAG_TIME`].
    #[must_use]
    pub fn tagging_within(mut self, time: Duration) -> Self {
        self.tag_time = time;
        self
    }

    /// The repository.
    pub fn repo(&self) -> &Repo {
        &self.repo
    }

    /// Where the stages are.
    pub fn place(&self) -> &Arc<dyn StagePlace> {
        &self.place
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Kv> {
        &self.kv
    }

    pub(super) fn now(&self) -> Millis {
        Millis(self.clock.unix_millis())
    }

    /// What is recorded of a digest, its labels read. Attaches the repository first, if that never happened.
    ///
    /// # Errors
    /// When store or repository do not answer, or a record cannot be read.
    pub async fn read(&self, digest: StageDigest) -> Result<Digest, StorageError> {
        loop {
            let found = self.look(digest).await?;
            if found.kept.iter().all(|kept| kept.state != KeptState::Listed) {
                return Ok(found);
            }
            self.read_in(&found).await?;
        }
    }

    /// What is recorded of a digest as it is: some labels may not have been read.
    pub(super) async fn look(&self, digest: StageDigest) -> Result<Digest, StorageError> {
        // The generation is read before the records: a commit on both is refused if either changed since.
        let standing = self.standing().await?;
        let page = self.range(&Range::under(self.keys.digest(digest))).await?;
        if page.store != standing.store {
            self.forget();
            return Err(StorageError::Unavailable(
                "the store of stage records was restored while it was read; build again".to_owned(),
            ));
        }
        let mut found = Digest { digest, kept: Vec::new(), last: None, head: Revision(0), standing };
        for entry in &page.entries {
            match self.keys.parse_stage(&entry.key) {
                Some(id) => found.kept.push(self.decode(id, entry)?),
                None if entry.key == self.keys.head(digest) => {
                    let text: HeadText = self.parse(entry)?;
                    (found.last, found.head) = (Some(text.last), entry.modified);
                }
                None => return Err(unreadable(&entry.key, "its name is of no stage")),
            }
        }
        let latest = found.kept.iter().map(|kept| kept.id.stamp).max();
        found.last = found.last.max(latest);
        Ok(found)
    }

    /// The record of a stage.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn find(&self, id: StageId) -> Result<Option<Kept>, StorageError> {
        Ok(self.read(id.digest).await?.kept.into_iter().find(|kept| kept.id == id))
    }

    /// All records, by digest and timestamp; labels are not read.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn all(&self) -> Result<Vec<Kept>, StorageError> {
        self.standing().await?;
        let prefix = self.keys.stages();
        let listed = self.patience.call(|| slipway_kv::list(&*self.kv, &prefix)).await;
        let (entries, _) = listed.map_err(failed)?;
        let ids = entries.iter().filter_map(|entry| Some((self.keys.parse_stage(&entry.key)?, entry)));
        ids.map(|(id, entry)| self.decode(id, entry)).collect()
    }

    fn decode(&self, id: StageId, entry: &Entry) -> Result<Kept, StorageError> {
        Kept::decode(id, &self.repo, &entry.value, entry.modified).map_err(|why| unreadable(&entry.key, &why))
    }

    pub(super) fn parse<T: serde::de::DeserializeOwned>(&self, entry: &Entry) -> Result<T, StorageError> {
        serde_json::from_slice(&entry.value).map_err(|why| unreadable(&entry.key, &why.to_string()))
    }

    pub(super) async fn range(&self, range: &Range) -> Result<Page, StorageError> {
        self.patience.call(|| self.kv.range(range)).await.map_err(failed)
    }

    pub(super) async fn get(&self, key: String) -> Result<Option<Entry>, StorageError> {
        Ok(self.range(&Range::key(key)).await?.entries.pop())
    }

    /// A transaction under the fences; `None` when its outcome is unknown: read back.
    pub(super) async fn write(&self, mut txn: Txn) -> Result<Option<Outcome>, StorageError> {
        txn.when.extend(self.fences.conditions()?);
        let written = self.patience.call(|| once(&*self.kv, txn.clone())).await;
        match written {
            Ok(outcome) => Ok(Some(outcome)),
            Err(KvError::Unknown(why)) => {
                tracing::debug!("a transaction of the stage records is read back: {why}");
                Ok(None)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// After a refusal: whether it was because of the fences.
    ///
    /// # Errors
    /// [`StorageError::Fenced`] when one of them does not hold.
    pub(super) async fn check_fences(&self) -> Result<(), StorageError> {
        for when in self.fences.conditions()? {
            let entry = self.get(when.key().to_owned()).await?;
            let holds = match &when {
                When::Absent(_) => entry.is_none(),
                When::CreatedAt(_, at) => entry.map(|entry| entry.created).unwrap_or_default() == *at,
                When::ModifiedAt(_, at) => entry.map(|entry| entry.modified).unwrap_or_default() == *at,
            };
            if !holds {
                self.fences.refused_one();
                return Err(StorageError::Fenced(format!("this process does not lead any more: `{}`", when.key())));
            }
        }
        Ok(())
    }

    pub(super) fn forget(&self) {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Digest {
    /// The stages that may be chosen, of one platform and younger than `not_before`, oldest first.
    pub fn live(&self, platform: &Platform, not_before: Millis) -> Vec<StageRecord> {
        let live = self.kept.iter().filter(|kept| kept.is_live() && kept.id.stamp > not_before);
        live.filter_map(|kept| kept.stage.as_deref()).filter(|stage| stage.platform == *platform).cloned().collect()
    }

    /// The stages whose tags stand, of one platform, oldest first: those that builds may use.
    pub fn usable(&self, platform: &Platform) -> Vec<StageRecord> {
        let usable = self.kept.iter().filter(|kept| kept.is_live() && kept.tagged);
        usable.filter_map(|kept| kept.stage.as_deref()).filter(|stage| stage.platform == *platform).cloned().collect()
    }

    /// The record that an attempt made; one that may be chosen rather than one that was rejected.
    pub fn of_attempt(&self, attempt: &str) -> Option<&Kept> {
        let own = || self.kept.iter().filter(|kept| kept.attempt == attempt && kept.state != KeptState::Foreign);
        own().find(|kept| kept.is_live()).or_else(|| own().next())
    }

    /// The record of a stage.
    pub fn kept(&self, id: StageId) -> Option<&Kept> {
        self.kept.iter().find(|kept| kept.id == id)
    }
}

pub(super) fn unreadable(key: &str, why: &str) -> StorageError {
    StorageError::Broken {
        what: format!("the record `{key}`"),
        why: format!("{why}; was it written by a newer version of this program?"),
    }
}
