//! Publishing on one host, with a journal.
//!
//! Under the lock of (storage, digest): finish what a killed process began; look into the storage itself; if a
//! suitable stage is there, adopt it. Else verify the image, commit it in the ledger with a timestamp, write the tag,
//! and look once more: an older suitable stage, of another host, is adopted even now. Only then is the intent cleared
//! and the stage used. The lock saves double work; that nobody commits over what he has not seen is the ledger's doing.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use slipway_digest::{Millis, StageDigest};
use slipway_locks::{Lease, LockError, LockManager};
use slipway_oci::Repo;
use slipway_process::{Clock, failpoint::failpoint};
use slipway_registry::Client;
use slipway_stages::StageRecord;

use crate::{Candidate, Committed, Intent, Judge, Ledger, Recovered, Seen, StageStorage, StorageError, Verdict};

/// The points between the steps at which a test may kill the process.
pub const FAILPOINTS: &[&str] = &[
    "publish.lock",
    "publish.settle",
    "publish.look",
    "publish.verify",
    "publish.journal-half",
    "publish.journal-write",
    "publish.commit",
    "publish.tag",
    "publish.relist",
    "publish.clear",
];

/// Who waits longer than this for somebody else's publishing goes on without the lock.
const LOCK_WAIT: Duration = Duration::from_secs(120);
/// How often in a row somebody else may be faster.
const MAX_ROUNDS: u32 = 10;
/// How often the storage may refuse a tag before that is no coincidence.
const MAX_REFUSALS: u32 = 3;
/// Intents that one start deals with; the next start deals with the rest.
const MAX_RECOVERED: usize = 100;

/// Publishes the stages of one storage, for the processes of one host.
#[derive(Clone)]
pub struct HostPublisher {
    storage: Arc<dyn StageStorage>,
    ledger: Arc<dyn Ledger>,
    locks: Arc<dyn LockManager>,
    clock: Arc<dyn Clock>,
    /// Keeps manifests that are stored with their tags and not before.
    holder: Option<Client>,
}

/// How far publishing has come.
pub enum Begun {
    /// To its end.
    Done(Box<Verdict>),
    /// The stage is committed, with the timestamp that it keeps: what stands on it may be built, and not published, until what
    /// remains is done.
    Committed(Box<StageRecord>, Remaining),
}

/// What makes a committed stage visible to others. It ends with the stage, with an earlier one of another host, or with an error:
/// then the stage was never stored. [`StorageError::Gone`] and [`StorageError::Broken`] have rejected it, and it can be built anew; of others
/// the intent is kept.
pub type Remaining = BoxFuture<'static, Result<Verdict, StorageError>>;

/// How one attempt at committing ended.
enum Round {
    /// A suitable stage was there.
    Found(Box<StageRecord>),
    Committed(Box<StageRecord>),
    /// Somebody else committed in between.
    Overtaken,
}

/// What became of a committed stage.
enum Shown {
    Stands(Box<Verdict>),
    /// The tag was refused, most likely because another host took the name in the same millisecond.
    Refused(StorageError),
}

/// What became of an intent.
enum Settled {
    Tagged,
    Dropped,
}

impl HostPublisher {
    /// A publisher; all processes that publish to `storage` on this host must use the same ledger and locks.
    pub fn new(
        storage: Arc<dyn StageStorage>,
        ledger: Arc<dyn Ledger>,
        locks: Arc<dyn LockManager>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { storage, ledger, locks, clock, holder: None }
    }

    /// Lets `client` hold the manifests of images in `repo`, which is the storage: it gets them with their tags.
    #[must_use]
    pub fn holding(self, client: Client, repo: &Repo) -> Self {
        client.hold_for(repo);
        Self { holder: Some(client), ..self }
    }

    /// Makes the candidate, whose image is in the storage without a tag, the stored stage, unless `judge` finds another
    /// one that is suitable.
    ///
    /// # Errors
    /// [`StorageError::Gone`] when the candidate's image is not there (any more): it must be uploaded again.
    pub async fn publish(&self, candidate: &Candidate, judge: &dyn Judge) -> Result<Verdict, StorageError> {
        let digest = candidate.record.id.digest;
        let _lease = self.lock(digest).await?;
        failpoint("publish.lock");
        let mut refusals = 0;
        for _ in 0..MAX_ROUNDS {
            let stage = match self.round(candidate, judge).await? {
                Round::Found(suitable) => return Ok(Verdict::Lost(*suitable)),
                Round::Overtaken => continue,
                Round::Committed(stage) => stage,
            };
            match self.make_visible(&stage, candidate, judge).await? {
                Shown::Stands(verdict) => return Ok(*verdict),
                Shown::Refused(error) => {
                    refusals += 1;
                    if refusals >= MAX_REFUSALS {
                        return Err(error);
                    }
                    tracing::warn!("stage {digest} gets another timestamp: {error}");
                }
            }
        }
        Err(self.overtaken(digest))
    }

    /// The same as far as the commit; what remains is handed over, to be run to its end. It holds the lock of the digest.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn begin(&self, candidate: Candidate, judge: Arc<dyn Judge>) -> Result<Begun, StorageError> {
        let digest = candidate.record.id.digest;
        let lease = self.lock(digest).await?;
        failpoint("publish.lock");
        for _ in 0..MAX_ROUNDS {
            let stage = match self.round(&candidate, judge.as_ref()).await? {
                Round::Found(suitable) => return Ok(Begun::Done(Box::new(Verdict::Lost(*suitable)))),
                Round::Overtaken => continue,
                Round::Committed(stage) => stage,
            };
            let (publisher, committed) = (self.clone(), stage.clone());
            let remaining = async move {
                let _lease = lease;
                match publisher.make_visible(&committed, &candidate, judge.as_ref()).await? {
                    Shown::Stands(verdict) => Ok(*verdict),
                    Shown::Refused(error) => Err(error),
                }
            };
            return Ok(Begun::Committed(stage, remaining.boxed()));
        }
        Err(self.overtaken(digest))
    }

    /// Finishes or takes back what killed processes had committed but not tagged. To be called on start; what others
    /// are publishing right now is left alone.
    ///
    /// # Errors
    /// When the ledger or the locks cannot be used; a storage that does not answer only keeps the intents.
    pub async fn recover(&self) -> Result<Recovered, StorageError> {
        let pending = self.ledger.pending().await?;
        let mut recovered = Recovered { kept: pending.len().saturating_sub(MAX_RECOVERED), ..Recovered::default() };
        for intent in pending.iter().take(MAX_RECOVERED) {
            match self.recover_one(intent).await {
                Ok(Some(Settled::Tagged)) => recovered.tagged += 1,
                Ok(Some(Settled::Dropped)) => recovered.dropped += 1,
                Ok(None) => recovered.kept += 1,
                Err(error) => {
                    tracing::warn!("the interrupted storing of stage {} is left for later: {error}", intent.stage.id);
                    recovered.kept += 1;
                }
            }
        }
        Ok(recovered)
    }

    async fn round(&self, candidate: &Candidate, judge: &dyn Judge) -> Result<Round, StorageError> {
        let digest = candidate.record.id.digest;
        let winners = self.ledger.winners(digest).await?;
        for intent in &winners.pending {
            self.settle(intent).await?;
        }
        failpoint("publish.settle");
        let stored = self.look(candidate).await?;
        failpoint("publish.look");
        if let Some(suitable) = judge.choose(&stored).await? {
            self.let_go(&candidate.record);
            return Ok(Round::Found(Box::new(suitable)));
        }
        self.storage.verify(&candidate.record.at).await?;
        failpoint("publish.verify");
        let latest = stored.last().map(|stage| stage.id.stamp).max(self.storage.latest(digest).await?);
        let seen = Seen { revision: winners.revision, latest };
        let at = &candidate.record.at;
        let held = self.holder.as_ref().and_then(|client| client.held_manifest(&at.repo, &at.digest));
        let committed = self.ledger.commit(candidate, held, seen, Millis(self.clock.unix_millis())).await?;
        failpoint("publish.commit");
        Ok(match committed {
            Committed::LookAgain => Round::Overtaken,
            Committed::Won(stage) => Round::Committed(stage),
        })
    }

    /// From the commit to a stage that may be used.
    async fn make_visible(
        &self,
        stage: &StageRecord,
        candidate: &Candidate,
        judge: &dyn Judge,
    ) -> Result<Shown, StorageError> {
        match self.storage.tag(stage).await {
            Ok(()) => {}
            // The commit was never used: a later one may replace it.
            Err(error @ StorageError::Broken { .. }) => {
                self.ledger.reject(stage.id, &error.to_string()).await?;
                return Ok(Shown::Refused(error));
            }
            Err(StorageError::Gone(what)) => {
                self.ledger.reject(stage.id, "its image was lost before it was tagged").await?;
                return Err(StorageError::Gone(what));
            }
            // The intent stays: whoever comes next finishes it.
            Err(error @ (StorageError::Denied(_) | StorageError::Fenced(_) | StorageError::Unavailable(_))) => {
                return Err(error);
            }
        }
        failpoint("publish.tag");
        let stored = self.look(candidate).await?;
        failpoint("publish.relist");
        let Some(own) = stored.iter().find(|other| other.id == stage.id && other.at == stage.at) else {
            self.ledger.reject(stage.id, "it did not read back as a stage").await?;
            // A host that shares no ledger with this one took the same moment, and thereby the same tag: what stands there
            // now is as good, and ours was never used.
            if let Some(suitable) = judge.choose(&stored).await? {
                return Ok(Shown::Stands(Box::new(Verdict::Lost(suitable))));
            }
            return Err(StorageError::Broken {
                what: format!("stage {} in {}", stage.id, self.storage.name()),
                why: "it was stored, but does not read back as a stage; warnings above say why".to_owned(),
            });
        };
        let chosen = judge.choose(&stored).await?.unwrap_or_else(|| own.clone());
        self.ledger.tagged(stage.id).await?;
        failpoint("publish.clear");
        let won = chosen.id == stage.id;
        let verdict = if won { Verdict::Won(chosen) } else { Verdict::Lost(chosen) };
        Ok(Shown::Stands(Box::new(verdict)))
    }

    fn overtaken(&self, digest: StageDigest) -> StorageError {
        StorageError::Unavailable(format!(
            "store stage {digest} in {}: others changed it {MAX_ROUNDS} times in a row; build again",
            self.storage.name()
        ))
    }

    /// What stands in the storage now and is not older than the candidate's parent.
    async fn look(&self, candidate: &Candidate) -> Result<Vec<StageRecord>, StorageError> {
        let record = &candidate.record;
        let mut stored = self.storage.find(record.id.digest, &record.platform, true).await?;
        stored.retain(|stage| stage.id.stamp > candidate.not_before);
        stored.sort_by_key(|stage| stage.id.stamp);
        Ok(stored)
    }

    async fn recover_one(&self, intent: &Intent) -> Result<Option<Settled>, StorageError> {
        let stage = &intent.stage;
        let lease = self.locks.acquire(&self.lock_name(stage.id.digest), Duration::ZERO).await;
        let _lease = match lease {
            Ok(lease) => lease,
            Err(LockError::TimedOut { .. }) => return Ok(None),
            Err(LockError::Unavailable(why)) => return Err(StorageError::Unavailable(why)),
        };
        let winners = self.ledger.winners(stage.id.digest).await?;
        match winners.pending.iter().any(|other| other.stage.id == stage.id) {
            true => self.settle(intent).await.map(Some),
            // Its publisher finished in between.
            false => Ok(Some(Settled::Tagged)),
        }
    }

    /// Finishes a commit whose publisher is gone. Nobody has used it yet; so it is taken back when its image is lost,
    /// or when a later stage stands: a tag put before that one now would change what builds choose.
    async fn settle(&self, intent: &Intent) -> Result<Settled, StorageError> {
        let stage = &intent.stage;
        let stored = self.storage.find(stage.id.digest, &stage.platform, true).await?;
        let stands = stored.iter().any(|other| other.id == stage.id && other.at == stage.at);
        if !stands {
            if stored.iter().any(|other| other.id.stamp >= stage.id.stamp) {
                return self.take_back(stage, "another stage was stored since").await;
            }
            match self.finish_tag(intent).await {
                Ok(()) => {}
                Err(StorageError::Gone(why) | StorageError::Broken { why, .. }) => {
                    return self.take_back(stage, &why).await;
                }
                Err(error @ (StorageError::Denied(_) | StorageError::Fenced(_) | StorageError::Unavailable(_))) => {
                    return Err(error);
                }
            }
        }
        if stands {
            // Others may not have been told of it.
            self.storage.tag(stage).await?;
        }
        self.ledger.tagged(stage.id).await?;
        tracing::info!("finished the interrupted storing of stage {}", stage.id);
        Ok(Settled::Tagged)
    }

    async fn finish_tag(&self, intent: &Intent) -> Result<(), StorageError> {
        let Intent { stage, held } = intent;
        if let (Some(client), Some(held)) = (&self.holder, held) {
            // The registry may have it all the same: it is stored once more then.
            client.hold_manifest(&stage.at.repo, held.clone());
        }
        let finished = async {
            self.storage.verify(&stage.at).await?;
            self.storage.tag(stage).await
        };
        let finished = finished.await;
        self.let_go(stage);
        finished
    }

    /// The manifest of an image that is not to be stored.
    fn let_go(&self, stage: &StageRecord) {
        if let Some(client) = &self.holder {
            client.let_go(&stage.at.repo, &stage.at.digest);
        }
    }

    async fn take_back(&self, stage: &StageRecord, why: &str) -> Result<Settled, StorageError> {
        tracing::info!("took back the interrupted storing of stage {}: {why}", stage.id);
        self.ledger.reject(stage.id, why).await?;
        Ok(Settled::Dropped)
    }

    async fn lock(&self, digest: StageDigest) -> Result<Option<Box<dyn Lease>>, StorageError> {
        match self.locks.acquire(&self.lock_name(digest), LOCK_WAIT).await {
            Ok(lease) => Ok(Some(lease)),
            Err(error @ LockError::TimedOut { .. }) => {
                tracing::warn!("{error}; going on without it");
                Ok(None)
            }
            Err(LockError::Unavailable(why)) => Err(StorageError::Unavailable(why)),
        }
    }

    fn lock_name(&self, digest: StageDigest) -> String {
        format!("stage {digest} in {}", self.storage.name())
    }
}
