//! How a stage goes whose record many hosts share.
//!
//! It is *condemned* first: builds that begin from then on take it back, if they want it. When every build that is older has
//! ended, nobody uses it who has not taken it back; it is marked as being *deleted* then, which nobody takes back, and its image
//! goes. Who was about to write its tag then may do so yet, for so long as [`TAG_TIME`]: after that the repository is looked at
//! once more. Last, its record is dropped. Each step compares the record as it was read; whoever is killed between two of them
//! is gone on with by the next cleanup.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use slipway_digest::{StageDigest, StageId};
use slipway_kv::{Do, Outcome, Revision, Txn, Watched, When, list};
use slipway_process::failpoint::failpoint;

use super::{
    ledger::{Digest, KvLedger},
    patience::failed,
    value::{Kept, KeptState},
};
use crate::StorageError;

/// The points between the steps at which a test may kill the process.
pub const FAILPOINTS: &[&str] = &["condemn.condemned", "condemn.waited", "condemn.doomed"];

/// How long the writing of a stage's tag may take. Who has not done it by then reads the record again first; so a tag that
/// appears later than this after its record was doomed is of nobody who knew of that.
pub const TAG_TIME: Duration = Duration::from_secs(60);

/// How often in a row somebody else may change a digest.
const MAX_ROUNDS: u32 = 50;

/// What is told while older builds are waited for: what they are.
pub type Waiting<'a> = &'a (dyn Fn(&[String]) + Send + Sync);

impl KvLedger {
    /// Marks stages that are to be deleted, and waits until every build has ended that began before. A build that begins later
    /// takes back what it wants.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn condemn(&self, stages: &[StageId], waiting: Waiting<'_>) -> Result<(), StorageError> {
        let since = self.mark_condemned(stages).await?;
        failpoint("condemn.condemned");
        self.wait_for_older(since, waiting).await?;
        failpoint("condemn.waited");
        Ok(())
    }

    /// Marks stages that are to be deleted, and waits for nobody. Answers when the last of them was marked.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn mark_condemned(&self, stages: &[StageId]) -> Result<Revision, StorageError> {
        let mut latest = Revision(0);
        for (digest, ids) in by_digest(stages) {
            latest = latest.max(self.condemn_of(digest, &ids).await?);
        }
        Ok(latest)
    }

    /// The builds that began before `since` and have not ended, by what they say of themselves.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn older_builds(&self, since: Revision) -> Result<Vec<String>, StorageError> {
        let prefix = self.keys.lives();
        let (builds, _) = self.patience.call(|| list(&*self.kv, &prefix)).await.map_err(failed)?;
        Ok(builds.iter().filter(|build| build.created < since).map(|build| note(&build.value)).collect())
    }

    /// Takes back what was condemned of these, for it is needed after all.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn spare(&self, stages: &[StageId]) -> Result<(), StorageError> {
        for (digest, ids) in by_digest(stages) {
            self.take_back(digest, |kept| ids.contains(&kept.id)).await?;
        }
        Ok(())
    }

    /// From here on nobody takes these stages back, which were condemned. Answers those that may be deleted now; the others are
    /// wanted again, or not yet tagged.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn doom(&self, stages: &[StageId]) -> Result<BTreeSet<StageId>, StorageError> {
        let mut free = BTreeSet::new();
        for (digest, ids) in by_digest(stages) {
            free.extend(self.doom_of(digest, &ids).await?);
        }
        failpoint("condemn.doomed");
        Ok(free)
    }

    /// Condemns stages of a digest; answers when the last of them was.
    async fn condemn_of(&self, digest: StageDigest, ids: &[StageId]) -> Result<Revision, StorageError> {
        for _ in 0..MAX_ROUNDS {
            let seen = self.look(digest).await?;
            let ours = seen.kept.iter().filter(|kept| ids.contains(&kept.id) && kept.tagged);
            let (done, open): (Vec<&Kept>, Vec<&Kept>) = ours.partition(|kept| kept.state.is_going());
            if open.is_empty() {
                // For what is deleted already, it was waited.
                let condemned = done.iter().filter(|kept| kept.state == KeptState::Condemned);
                return Ok(condemned.map(|kept| kept.revision).max().unwrap_or_default());
            }
            let condemned: Vec<Kept> = open
                .into_iter()
                .map(|kept| Kept { state: KeptState::Condemned, was: Some(kept.state), ..kept.clone() })
                .collect();
            self.rewrite(&seen, &condemned).await?;
        }
        Err(restless(digest))
    }

    /// Waits until every build has ended that began before `since`.
    async fn wait_for_older(&self, since: Revision, waiting: Waiting<'_>) -> Result<(), StorageError> {
        let prefix = self.keys.lives();
        let opened = self.patience.call(|| Watched::open(self.kv.clone(), &prefix)).await;
        let mut watched = opened.map_err(failed)?;
        let mut told = Vec::new();
        loop {
            let older = watched.state().values().filter(|build| build.created < since);
            let older: Vec<String> = older.map(|build| note(&build.value)).collect();
            if older.is_empty() {
                return Ok(());
            }
            if older != told {
                waiting(&older);
                told = older;
            }
            watched.next().await.map_err(failed)?;
        }
    }

    /// From condemned to deleted; answers the stages that nobody has taken back, and those that have no record.
    async fn doom_of(&self, digest: StageDigest, ids: &[StageId]) -> Result<Vec<StageId>, StorageError> {
        for _ in 0..MAX_ROUNDS {
            let seen = self.look(digest).await?;
            let condemned =
                seen.kept.iter().filter(|kept| ids.contains(&kept.id) && kept.state == KeptState::Condemned);
            let doomed: Vec<Kept> = condemned.map(|kept| Kept { state: KeptState::Deleting, ..kept.clone() }).collect();
            if doomed.is_empty() {
                let free = |id: &StageId| seen.kept(*id).is_none_or(|kept| kept.state == KeptState::Deleting);
                return Ok(ids.iter().copied().filter(free).collect());
            }
            self.rewrite(&seen, &doomed).await?;
        }
        Err(restless(digest))
    }

    /// Stages whose records were doomed by whoever, and not dropped yet: their images may be gone.
    ///
    /// # Errors
    /// When the store does not answer, or a record cannot be read.
    pub async fn doomed(&self) -> Result<BTreeSet<StageId>, StorageError> {
        let all = self.all().await?.into_iter();
        Ok(all.filter(|kept| kept.state == KeptState::Deleting).map(|kept| kept.id).collect())
    }

    /// Drops the records of stages whose images are gone.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn drop_records(&self, stages: &[StageId]) -> Result<(), StorageError> {
        let digests: BTreeSet<StageDigest> = stages.iter().map(|stage| stage.digest).collect();
        for digest in digests {
            self.drop_of(digest, stages).await?;
        }
        Ok(())
    }

    async fn drop_of(&self, digest: StageDigest, stages: &[StageId]) -> Result<(), StorageError> {
        for _ in 0..MAX_ROUNDS {
            let seen = self.look(digest).await?;
            let is_gone = |kept: &&Kept| kept.state == KeptState::Deleting && stages.contains(&kept.id);
            let gone: Vec<&Kept> = seen.kept.iter().filter(is_gone).collect();
            if gone.is_empty() {
                return Ok(());
            }
            let mut when = vec![seen.standing.generation.clone(), self.head_is(&seen)];
            when.extend(gone.iter().map(|kept| When::ModifiedAt(self.keys.stage(kept.id), kept.revision)));
            let mut then: Vec<Do> = gone.iter().map(|kept| Do::Delete(self.keys.stage(kept.id))).collect();
            // The head goes with the last record: later timestamps are later by the clock.
            match gone.len() == seen.kept.len() {
                true => then.push(Do::Delete(self.keys.head(digest))),
                false => then.push(self.same_head(&seen)),
            }
            if self.write(Txn { when, then }).await? == Some(Outcome::Refused) {
                self.forget();
                self.check_fences().await?;
            }
        }
        Err(restless(digest))
    }

    /// What is recorded of a digest that a build wants: what was condemned is taken back first.
    pub(super) async fn read_wanted(&self, digest: StageDigest) -> Result<Digest, StorageError> {
        self.take_back(digest, |_| true).await
    }

    /// Takes back what was condemned of a digest, if it `is_wanted`; answers what is recorded then.
    async fn take_back(&self, digest: StageDigest, is_wanted: impl Fn(&Kept) -> bool) -> Result<Digest, StorageError> {
        loop {
            let seen = self.read(digest).await?;
            let condemned = seen.kept.iter().filter(|kept| kept.state == KeptState::Condemned && is_wanted(kept));
            let back = |kept: &Kept| Kept { state: kept.was.unwrap_or(KeptState::Listed), was: None, ..kept.clone() };
            let rescued: Vec<Kept> = condemned.map(back).collect();
            if rescued.is_empty() {
                return Ok(seen);
            }
            tracing::debug!("stages of {digest} were to be cleaned up, and are wanted: they stay");
            self.rewrite(&seen, &rescued).await?;
        }
    }

    /// A build that goes on whatever becomes of this process runs: its key stands until [`end_live`](Self::end_live).
    ///
    /// # Errors
    /// When the store does not answer, or [`StorageError::Fenced`].
    pub async fn mark_live(&self, build: &str, note: &str) -> Result<(), StorageError> {
        let key = self.keys.live(build);
        for _ in 0..MAX_ROUNDS {
            let put = Do::put(key.clone(), note.as_bytes().to_vec());
            match self.write(Txn { when: vec![When::Absent(key.clone())], then: vec![put] }).await? {
                Some(Outcome::Done(_)) => return Ok(()),
                Some(Outcome::Refused) => self.check_fences().await?,
                None => {}
            }
            if self.get(key.clone()).await?.is_some() {
                return Ok(());
            }
        }
        Err(StorageError::Unavailable(format!("note that build {build} runs: others remove the note; build again")))
    }
}

/// What a build says of itself.
fn note(value: &[u8]) -> String {
    String::from_utf8_lossy(value).chars().take(200).collect()
}

fn by_digest(stages: &[StageId]) -> BTreeMap<StageDigest, Vec<StageId>> {
    let mut sorted: BTreeMap<StageDigest, Vec<StageId>> = BTreeMap::new();
    stages.iter().for_each(|stage| sorted.entry(stage.digest).or_default().push(*stage));
    sorted
}

fn restless(digest: StageDigest) -> StorageError {
    StorageError::Unavailable(format!("clean up stages of {digest}: others change them all the time; try again"))
}
