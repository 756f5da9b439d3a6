//! A ledger that another process keeps: this one asks, and judges what it is shown by the history that it has.
//!
//! What may be written is decided where the ledger is: an image must be in the repository under the attempt's name and say
//! of itself that it is this stage, nothing is stored beside a suitable one, and only what is lost is rejected.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use slipway_digest::{Millis, StageDigest, StageId};
use slipway_oci::{ImageAt, Platform};
use slipway_stages::StageRecord;

use crate::{
    Candidate, Judge, Rejects, StageStorage, StorageError, Verdict,
    kv::{SharedPublisher, StagePlace},
};

/// How often in a row the ledger may show something new to judge.
const MAX_ROUNDS: u32 = 50;
/// Longest name of an attempt.
const LONGEST_ATTEMPT: usize = 100;

/// Whether a stored stage may be used by a build.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suits {
    /// Its commits are ancestors of the build's.
    Yes,
    /// They are not.
    No,
    /// The history that would tell is cut.
    Unknown,
}

/// What became of a candidate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Which stage is the stored one.
    Done(Box<Verdict>),
    /// Nothing yet: these are stored, and whether they suit was not said of all of them.
    Judge(Vec<StageRecord>),
}

/// The ledger, as who asks sees it. Live: the HTTP interface of a coordinator. Every call means the same when it arrives
/// twice.
#[async_trait]
pub trait AskedLedger: Send + Sync {
    /// The stages of a digest and platform that may be used, oldest first.
    async fn find(&self, digest: StageDigest, platform: &Platform) -> Result<Vec<StageRecord>, StorageError>;
    /// Makes a candidate the stored stage, unless one suits that is stored already.
    async fn publish(&self, candidate: &Candidate, judged: &BTreeMap<StageId, Suits>) -> Result<Asked, StorageError>;
    /// Takes a stage out of use whose image is lost; `false` when it is not lost.
    async fn reject(&self, stage: StageId, why: &str) -> Result<bool, StorageError>;
}

/// Publishes by asking.
#[derive(Clone)]
pub struct AskedPublisher(pub Arc<dyn AskedLedger>);

impl AskedPublisher {
    /// As [`Publisher::publish`](crate::Publisher::publish).
    ///
    /// # Errors
    /// [`StorageError::Gone`] when the candidate's image is not there: it must be uploaded again.
    pub async fn publish(&self, candidate: &Candidate, judge: &dyn Judge) -> Result<Verdict, StorageError> {
        let mut judged = BTreeMap::new();
        for _ in 0..MAX_ROUNDS {
            match self.0.publish(candidate, &judged).await? {
                Asked::Done(verdict) => return Ok(*verdict),
                Asked::Judge(stages) => judged = judge_all(judge, &stages).await?,
            }
        }
        let digest = candidate.record.id.digest;
        Err(StorageError::Unavailable(format!(
            "store stage {digest}: others changed it {MAX_ROUNDS} times in a row; build again"
        )))
    }
}

/// What a judge says of each.
async fn judge_all(judge: &dyn Judge, stages: &[StageRecord]) -> Result<BTreeMap<StageId, Suits>, StorageError> {
    let unknown = judge.unknown(stages).await?;
    let mut judged = BTreeMap::new();
    for stage in stages {
        let suits = match unknown.contains(&stage.id) {
            true => Suits::Unknown,
            false if judge.choose(std::slice::from_ref(stage)).await?.is_some() => Suits::Yes,
            false => Suits::No,
        };
        judged.insert(stage.id, suits);
    }
    Ok(judged)
}

/// Publishes for who asks, where the ledger is.
///
/// # Errors
/// [`StorageError::Broken`] when the candidate's image does not say that it is this stage of this attempt, else as
/// [`SharedPublisher::publish`].
pub async fn publish_asked(
    publisher: &SharedPublisher,
    candidate: &Candidate,
    judged: BTreeMap<StageId, Suits>,
) -> Result<Asked, StorageError> {
    check(publisher.ledger().place().as_ref(), candidate).await?;
    publisher.ledger().grant(&candidate.attempt).await?;
    let judge = Told { judged, shown: Mutex::default() };
    let published = publisher.publish(candidate, &judge).await;
    let shown = std::mem::take(&mut *judge.shown.lock().unwrap_or_else(PoisonError::into_inner));
    if let Err(error) = take_back(publisher, &candidate.attempt).await {
        // Without a commit it does no harm, and the next leader takes it back.
        tracing::debug!("take back the leave of attempt {}: {error}", candidate.attempt);
    }
    match published {
        Err(_) if !shown.is_empty() => Ok(Asked::Judge(shown)),
        published => published.map(|verdict| Asked::Done(Box::new(verdict))),
    }
}

/// An attempt that has not committed, or had before, has no use of its leave.
async fn take_back(publisher: &SharedPublisher, attempt: &str) -> Result<(), StorageError> {
    match publisher.ledger().granted(attempt).await? {
        Some(_) => publisher.ledger().cancel(attempt).await,
        None => Ok(()),
    }
}

/// Whether an image is there that says of itself what the candidate says of it.
async fn check(place: &dyn StagePlace, candidate: &Candidate) -> Result<(), StorageError> {
    let broken = |why: &str| StorageError::Broken { what: candidate.record.at.to_string(), why: why.to_owned() };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let attempt = candidate.attempt.as_bytes();
    if attempt.is_empty() || attempt.len() > LONGEST_ATTEMPT || !attempt.iter().copied().all(plain) {
        return Err(broken("its attempt has no usable name"));
    }
    let (said, attempt) = place.identify(&candidate.record).await?;
    if attempt.as_deref() != Some(candidate.attempt.as_str()) {
        return Err(broken("its manifest does not name the attempt that wants to publish it"));
    }
    let id = StageId { stamp: said.id.stamp, ..candidate.record.id };
    // A copy stands on the stage that its original stood on, and sizes are told differently by different uploads.
    let wanted = StageRecord { id, size: said.size, parent: said.parent, ..candidate.record.clone() };
    if wanted != said {
        return Err(broken("its labels say that it is another stage than it is to be published as"));
    }
    Ok(())
}

/// Says what was said by who asks; notes what he has not seen.
struct Told {
    judged: BTreeMap<StageId, Suits>,
    shown: Mutex<Vec<StageRecord>>,
}

#[async_trait]
impl Judge for Told {
    async fn choose(&self, candidates: &[StageRecord]) -> Result<Option<StageRecord>, StorageError> {
        let suits = |stage: &&StageRecord| self.judged.get(&stage.id) == Some(&Suits::Yes);
        Ok(candidates.iter().filter(suits).min_by_key(|stage| stage.id.stamp).cloned())
    }

    async fn unknown(&self, candidates: &[StageRecord]) -> Result<Vec<StageId>, StorageError> {
        if candidates.iter().any(|stage| !self.judged.contains_key(&stage.id)) {
            *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = candidates.to_vec();
            return Err(StorageError::Unavailable("stages are stored that nobody has judged".to_owned()));
        }
        let unknown = |stage: &&StageRecord| self.judged.get(&stage.id) == Some(&Suits::Unknown);
        Ok(candidates.iter().filter(unknown).map(|stage| stage.id).collect())
    }
}

/// The stages of an asked ledger, as a storage; images are looked for where they are.
#[derive(Clone)]
pub struct AskedStages {
    /// The ledger.
    pub ledger: Arc<dyn AskedLedger>,
    /// Where the images are.
    pub place: Arc<dyn StageStorage>,
}

#[async_trait]
impl StageStorage for AskedStages {
    fn name(&self) -> String {
        self.place.name()
    }

    async fn find(&self, digest: StageDigest, of: &Platform, _fresh: bool) -> Result<Vec<StageRecord>, StorageError> {
        self.ledger.find(digest, of).await
    }

    async fn tag(&self, stage: &StageRecord) -> Result<(), StorageError> {
        self.place.tag(stage).await
    }

    async fn verify(&self, image: &ImageAt) -> Result<(), StorageError> {
        self.place.verify(image).await
    }

    async fn not_whole(&self, images: &[ImageAt]) -> Result<Vec<(ImageAt, String)>, StorageError> {
        self.place.not_whole(images).await
    }

    async fn latest(&self, _digest: StageDigest) -> Result<Option<Millis>, StorageError> {
        // Timestamps are given where the ledger is.
        Ok(None)
    }

    fn untold(&self) -> Vec<String> {
        self.place.untold()
    }
}

#[async_trait]
impl Rejects for AskedPublisher {
    async fn reject(&self, stage: StageId, why: &str) -> Result<bool, StorageError> {
        self.0.reject(stage, why).await
    }
}
