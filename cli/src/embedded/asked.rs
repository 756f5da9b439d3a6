//! Stages that many hosts share, by a coordinator that keeps their records.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use async_trait::async_trait;
use slipway_client::{Client, ClientError};
use slipway_digest::{Millis, StageDigest, StageId};
use slipway_oci::{Platform, Repo};
use slipway_process::{Tasks, random_id};
use slipway_protocol::{Code, FindStages, JudgedStage, KeepBuild, PublishStage, RejectStage, StagePublished};
use slipway_stages::StageRecord;
use slipway_storage::{
    Candidate, StorageError, Verdict,
    asked::{Asked, AskedLedger, Suits},
};

use crate::synchronization::THREE;

/// The timestamp of a stage that has none yet: one of the form that stages have.
const SOME_TIME: Millis = Millis(1_000_000_000_000);
/// How often a build says that it runs: three times in the time after which it counts as dead.
const EVERY: Duration = Duration::from_secs(20);

/// The records of one repository, at a coordinator.
pub(super) struct Asking {
    client: Client,
    repo: Repo,
}

impl Asking {
    pub(super) fn new(client: Client, repo: Repo) -> Self {
        Self { client, repo }
    }
}

#[async_trait]
impl AskedLedger for Asking {
    async fn find(&self, digest: StageDigest, platform: &Platform) -> Result<Vec<StageRecord>, StorageError> {
        let asked = FindStages { repo: self.repo.clone(), digest, platform: platform.clone() };
        Ok(self.client.find_stages(&asked).await.map_err(failed)?.stages)
    }

    async fn publish(&self, candidate: &Candidate, judged: &BTreeMap<StageId, Suits>) -> Result<Asked, StorageError> {
        let judged = judged.iter().map(|(stage, suits)| JudgedStage {
            stage: *stage,
            suits: match suits {
                Suits::Yes => Some(true),
                Suits::No => Some(false),
                Suits::Unknown => None,
            },
        });
        let id = StageId { stamp: SOME_TIME, ..candidate.record.id };
        let asked = PublishStage {
            record: StageRecord { id, ..candidate.record.clone() },
            not_before: candidate.not_before,
            attempt: candidate.attempt.clone(),
            judged: judged.collect(),
        };
        match self.client.publish_stage(&asked).await.map_err(failed)? {
            StagePublished::Won(stage) => Ok(Asked::Done(Box::new(Verdict::Won(*stage)))),
            StagePublished::Lost(stage) => Ok(Asked::Done(Box::new(Verdict::Lost(*stage)))),
            StagePublished::Judge(stages) => Ok(Asked::Judge(stages)),
            StagePublished::Gone(what) => Err(StorageError::Gone(what)),
        }
    }

    async fn reject(&self, stage: StageId, why: &str) -> Result<bool, StorageError> {
        let asked = RejectStage { repo: self.repo.clone(), stage, why: why.to_owned() };
        Ok(self.client.reject_stage(&asked).await.map_err(failed)?.rejected)
    }
}

/// What a coordinator's refusal means for a build.
fn failed(error: ClientError) -> StorageError {
    let text = error.to_string();
    match error.code() {
        Some(Code::Unauthenticated | Code::Forbidden) => StorageError::Denied(text),
        Some(Code::Invalid | Code::Conflict | Code::TooLarge | Code::NotFound | Code::Internal) => {
            StorageError::Broken { what: "what was asked of the coordinator".to_owned(), why: text }
        }
        Some(Code::Busy | Code::NotLeader | Code::Unavailable) | None => StorageError::Unavailable(text),
    }
}

/// A build that tells a coordinator that it runs.
pub(super) struct Running {
    client: Client,
    told: KeepBuild,
    since: Option<i64>,
    /// Whether it was forgotten in between.
    forgotten: Arc<AtomicBool>,
}

impl Running {
    /// A build begins; it says so until `tasks` end.
    pub(super) async fn begin(client: &Client, repo: &Repo, note: String, tasks: &Tasks) -> Result<Self> {
        let told = KeepBuild { repo: repo.clone(), build: random_id(), note, ended: false };
        let kept = client.keep_build(&told, true).await;
        let at = client.addresses().current();
        let since = kept.map_err(|error| {
            // Who speaks another language is no coordinator.
            let others = matches!(error.code(), Some(Code::NotFound | Code::Invalid)).then(|| format!("; {THREE}"));
            anyhow::Error::new(error).context(format!("use {at} (--synchronization){}", others.unwrap_or_default()))
        });
        let since = since?.since;
        let forgotten = Arc::new(AtomicBool::new(false));
        let running = Self { client: client.clone(), told, since, forgotten };
        let (client, told, forgotten) = (running.client.clone(), running.told.clone(), Arc::clone(&running.forgotten));
        drop(tasks.spawn(async move {
            loop {
                tokio::time::sleep(EVERY).await;
                match client.keep_build(&told, false).await {
                    Ok(kept) if kept.since == since => {}
                    Ok(_) => forgotten.store(true, Ordering::Relaxed),
                    Err(error) => tracing::debug!("{error}"),
                }
            }
        }));
        Ok(running)
    }

    /// It ends. Whether it was known all the time.
    pub(super) async fn end(&self) -> Result<bool> {
        let ended = KeepBuild { ended: true, ..self.told.clone() };
        let kept = self.client.keep_build(&ended, false).await?;
        Ok(kept.since.is_some() && kept.since == self.since && !self.forgotten.load(Ordering::Relaxed))
    }
}
