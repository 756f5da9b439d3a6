//! Publishing through the ledger of many hosts.
//!
//! Read the records; a suitable one → see that its tag stands, and adopt it. Else verify the image, commit it, write
//! the tag, clear the intent; only then it is used. Any process may do the same at the same time: the transactions
//! decide. The lock only saves double work.

use std::{sync::Arc, time::Duration};

use slipway_digest::{StageDigest, StageId};
use slipway_kv::Range;
use slipway_locks::{Lease, LockError, LockManager};
use slipway_process::{failpoint::failpoint, random_id};
use slipway_stages::StageRecord;
use tokio::time::sleep;

use super::{
    attempts::{Attempts, Fence},
    changes::Stand,
    commit::Commit,
    ledger::{Digest, KvLedger},
    value::{Kept, KeptState},
};
use crate::{Candidate, Judge, Recovered, StorageError, Verdict};

/// The points between the steps at which a test may kill the process.
pub const FAILPOINTS: &[&str] = &[
    "publish.lock",
    "publish.look",
    "publish.verify",
    "publish.granted",
    "publish.commit",
    "publish.tag",
    "publish.clear",
];

/// Who waits longer than this for somebody else's publishing goes on without the lock.
const LOCK_WAIT: Duration = Duration::from_secs(120);
/// How often in a row somebody else may be faster.
const MAX_ROUNDS: u32 = 50;
/// How often the repository may be late with a tag: some minutes in all.
pub(super) const MAX_LATE: u32 = 5;
/// Intents that one start deals with; the next start deals with the rest.
const MAX_RECOVERED: usize = 100;
/// Looks at an image that is said to be lost, and the pause between them: 12 seconds in all.
const LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_secs(4);

/// Publishes the stages of one repository. Clones are one.
#[derive(Clone)]
pub struct SharedPublisher {
    ledger: Arc<KvLedger>,
    locks: Option<Arc<dyn LockManager>>,
    between_looks: Duration,
}

/// How one attempt at publishing ended.
enum Round {
    Done(Box<Verdict>),
    /// Something changed: look again.
    Again,
    /// The repository did not write a tag in time: look again.
    Late,
    /// The attempt may not commit.
    Fenced,
}

impl SharedPublisher {
    /// A publisher on a ledger; `locks` keep processes without a coordinator from publishing the same at once.
    pub fn new(ledger: Arc<KvLedger>, locks: Option<Arc<dyn LockManager>>) -> Self {
        Self { ledger, locks, between_looks: BETWEEN_LOOKS }
    }

    /// Looks at lost images with another pause than four seconds.
    #[must_use]
    pub fn looking_every(mut self, pause: Duration) -> Self {
        self.between_looks = pause;
        self
    }

    /// The ledger.
    pub fn ledger(&self) -> &Arc<KvLedger> {
        &self.ledger
    }

    /// As [`Publisher::publish`](crate::Publisher::publish).
    ///
    /// # Errors
    /// [`StorageError::Gone`] when the candidate's image is not there: it must be uploaded again;
    /// [`StorageError::Fenced`] when the attempt was cancelled or given to another, or this process does not lead.
    pub async fn publish(&self, candidate: &Candidate, judge: &dyn Judge) -> Result<Verdict, StorageError> {
        let digest = candidate.record.id.digest;
        let _lease = self.lock(digest).await?;
        failpoint("publish.lock");
        let (mut candidate, mut late) = (candidate.clone(), 0);
        for _ in 0..MAX_ROUNDS {
            match self.round(&candidate, judge).await? {
                Round::Done(verdict) => return Ok(*verdict),
                Round::Again => {}
                Round::Late if late + 1 < MAX_LATE => late += 1,
                Round::Late => return Err(too_late(&self.ledger, digest)),
                Round::Fenced => candidate = self.another_attempt(candidate).await?,
            }
        }
        Err(StorageError::Unavailable(format!(
            "store stage {digest} in {}: others changed it {MAX_ROUNDS} times in a row; build again",
            self.ledger.place.name()
        )))
    }

    async fn round(&self, candidate: &Candidate, judge: &dyn Judge) -> Result<Round, StorageError> {
        let seen = self.ledger.read_wanted(candidate.record.id.digest).await?;
        failpoint("publish.look");
        if let Some(own) = seen.of_attempt(&candidate.attempt).filter(|own| own.is_live()) {
            // An earlier commit whose reply was lost, or that another process has moved on.
            return self.use_it(&seen, own, true).await;
        }
        let mut suitable = seen.live(&candidate.record.platform, candidate.not_before);
        suitable.extend(orphans_of(&seen, candidate));
        suitable.sort_by_key(|stage| stage.id.stamp);
        let unknown = judge.unknown(&suitable).await?;
        if !self.ledger.orphan(&seen, &unknown).await? {
            return Ok(Round::Again);
        }
        suitable.retain(|stage| !unknown.contains(&stage.id));
        if let Some(chosen) = judge.choose(&suitable).await? {
            let Some(kept) = seen.kept(chosen.id) else { return Ok(Round::Again) };
            return self.use_it(&seen, kept, false).await;
        }
        if !unknown.is_empty() {
            return Ok(Round::Again);
        }
        self.commit(candidate, &seen).await
    }

    async fn commit(&self, candidate: &Candidate, seen: &Digest) -> Result<Round, StorageError> {
        self.ledger.place.verify(&candidate.record.at).await?;
        failpoint("publish.verify");
        let Some(fence) = self.fence(&candidate.attempt).await? else { return Ok(Round::Fenced) };
        failpoint("publish.granted");
        let committed = self.ledger.commit(candidate, seen, &fence).await?;
        failpoint("publish.commit");
        match committed {
            Commit::Won(kept) => {
                let seen = Digest {
                    kept: vec![kept.as_ref().clone()],
                    last: Some(kept.id.stamp),
                    head: kept.revision,
                    ..seen.clone()
                };
                self.use_it(&seen, &kept, true).await
            }
            Commit::LookAgain => Ok(Round::Again),
            Commit::Fenced => {
                let now = self.ledger.read(seen.digest).await?;
                let own = now.of_attempt(&candidate.attempt).is_some_and(Kept::is_live);
                if own {
                    return Ok(Round::Again);
                }
                self.ledger.fences.refused_one();
                Ok(Round::Fenced)
            }
        }
    }

    /// A coordinator granted it, or did not; a process grants its own attempts.
    async fn fence(&self, attempt: &str) -> Result<Option<Fence>, StorageError> {
        match &self.ledger.attempts {
            Attempts::OfCoordinator => self.ledger.granted(attempt).await,
            Attempts::OfProcess(_) => self.ledger.grant(attempt).await.map(Some),
        }
    }

    /// The same build as another attempt, after its fence ended with a lease: with a manifest that names it.
    async fn another_attempt(&self, candidate: Candidate) -> Result<Candidate, StorageError> {
        if matches!(self.ledger.attempts, Attempts::OfCoordinator) {
            return Err(StorageError::Fenced(format!(
                "attempt {} was cancelled or given to another worker",
                candidate.attempt
            )));
        }
        let attempt = random_id();
        let at = self.ledger.place.copy(&candidate.record.at, &attempt).await?;
        tracing::info!(
            "the lease of this process ended; stage {} is stored as another attempt",
            candidate.record.id.digest
        );
        Ok(Candidate { record: StageRecord { at, ..candidate.record.clone() }, attempt, ..candidate })
    }

    async fn use_it(&self, seen: &Digest, kept: &Kept, own: bool) -> Result<Round, StorageError> {
        match self.ledger.stand(seen, kept).await {
            Ok(Stand::Stands(stage)) => {
                let verdict = if own { Verdict::Won(*stage) } else { Verdict::Lost(*stage) };
                Ok(Round::Done(Box::new(verdict)))
            }
            Ok(Stand::Changed) => Ok(Round::Again),
            Ok(Stand::Late) => Ok(Round::Late),
            Err(StorageError::Gone(what)) if kept.tagged => {
                self.reject_lost(kept.id, &what).await?;
                Ok(Round::Again)
            }
            Err(error) => Err(error),
        }
    }

    /// Rejects a stage whose image is lost. It is looked for several times over ten seconds and more, and only a record
    /// that did not change meanwhile is rejected. `false` when it is not lost, or rejected already.
    ///
    /// # Errors
    /// When store or repository do not answer.
    pub async fn reject_lost(&self, id: StageId, why: &str) -> Result<bool, StorageError> {
        let seen = self.ledger.read(id.digest).await?;
        let Some(kept) = seen.kept(id).filter(|kept| kept.state != KeptState::Rejected) else { return Ok(false) };
        if let Some(stage) = &kept.stage {
            for look in 0..LOOKS {
                match self.ledger.place.verify(&stage.at).await {
                    Ok(()) => return Ok(false),
                    Err(StorageError::Gone(_) | StorageError::Broken { .. }) => {}
                    Err(error) => return Err(error),
                }
                if look + 1 < LOOKS && !self.between_looks.is_zero() {
                    sleep(self.between_looks).await;
                }
            }
        }
        self.reject(&seen, kept, why).await
    }

    /// Rejects a stage because an operator says so.
    ///
    /// # Errors
    /// When store or repository do not answer.
    pub async fn reject_by_hand(&self, id: StageId, why: &str) -> Result<bool, StorageError> {
        for _ in 0..MAX_ROUNDS {
            let seen = self.ledger.read(id.digest).await?;
            let Some(kept) = seen.kept(id).filter(|kept| kept.state != KeptState::Rejected) else { return Ok(false) };
            if self.reject(&seen, kept, why).await? {
                return Ok(true);
            }
        }
        Err(StorageError::Unavailable(format!("reject stage {id}: others changed it all the time; try again")))
    }

    /// The record first: it decides. The mark in the repository is for who lists it.
    async fn reject(&self, seen: &Digest, kept: &Kept, why: &str) -> Result<bool, StorageError> {
        if !self.ledger.reject(seen, kept, why).await? {
            return Ok(false);
        }
        tracing::warn!("rejected the stage {}: {why}", kept.id);
        self.ledger.place.mark_rejected(kept.id, why).await?;
        Ok(true)
    }

    /// As [`Publisher::recover`](crate::Publisher::recover): finishes the commits whose tags were not seen to stand.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn recover(&self) -> Result<Recovered, StorageError> {
        self.ledger.standing().await?;
        let prefix = self.ledger.keys.intents();
        let page = self.ledger.range(&Range { limit: MAX_RECOVERED, ..Range::under(prefix.clone()) }).await?;
        let mut recovered = Recovered { kept: usize::from(page.more), ..Recovered::default() };
        let named = page.entries.iter().filter_map(|entry| entry.key.strip_prefix(&prefix)?.parse().ok());
        for id in named.collect::<Vec<StageId>>() {
            match self.recover_one(id).await {
                Ok(Some(true)) => recovered.tagged += 1,
                Ok(Some(false)) => recovered.dropped += 1,
                Ok(None) => recovered.kept += 1,
                Err(error @ StorageError::Fenced(_)) => return Err(error),
                Err(error) => {
                    tracing::warn!("the interrupted storing of stage {id} is left for later: {error}");
                    recovered.kept += 1;
                }
            }
        }
        Ok(recovered)
    }

    /// Whether the stage has its tag now; `None` when somebody else deals with it.
    async fn recover_one(&self, id: StageId) -> Result<Option<bool>, StorageError> {
        for _ in 0..MAX_ROUNDS {
            let seen = self.ledger.read(id.digest).await?;
            let Some(kept) = seen.kept(id) else { return Ok(None) };
            match kept.state {
                KeptState::Rejected => return Ok(Some(false)),
                KeptState::Listed | KeptState::Foreign | KeptState::Condemned | KeptState::Deleting => return Ok(None),
                KeptState::Live | KeptState::Orphan => {}
            }
            match self.ledger.stand(&seen, kept).await? {
                Stand::Stands(_) => {
                    tracing::info!("finished the interrupted storing of stage {id}");
                    return Ok(Some(true));
                }
                Stand::Changed => {}
                Stand::Late => return Err(too_late(&self.ledger, id.digest)),
            }
        }
        Ok(None)
    }

    async fn lock(&self, digest: StageDigest) -> Result<Option<Box<dyn Lease>>, StorageError> {
        let Some(locks) = &self.locks else { return Ok(None) };
        match locks.acquire(&format!("stage {digest} in {}", self.ledger.repo), LOCK_WAIT).await {
            Ok(lease) => Ok(Some(lease)),
            // The lock saves double work and nothing more.
            Err(error @ (LockError::TimedOut { .. } | LockError::Unavailable(_))) => {
                tracing::warn!("{error}; going on without it");
                Ok(None)
            }
        }
    }
}

/// The error when a repository was late too often.
pub(super) fn too_late(ledger: &KvLedger, digest: StageDigest) -> StorageError {
    let (place, seconds) = (ledger.place.name(), ledger.tag_time.as_secs());
    StorageError::Unavailable(format!(
        "write the tag of stage {digest} in {place}: it took longer than {seconds} s, again and again; check that the registry can be \
         reached, and build again"
    ))
}

/// Records whose history is not known everywhere, but that are of the candidate's very commits.
fn orphans_of(seen: &Digest, candidate: &Candidate) -> Vec<StageRecord> {
    let orphans = seen.kept.iter().filter(|kept| kept.state == KeptState::Orphan);
    let stages = orphans.filter_map(|kept| kept.stage.as_deref());
    let wanted = &candidate.record;
    let same = |stage: &&StageRecord| stage.commits == wanted.commits && stage.platform == wanted.platform;
    stages.filter(same).filter(|stage| stage.id.stamp > candidate.not_before).cloned().collect()
}
