//! The records of stages that many hosts share, as a cleanup changes them: in etcd, or at a coordinator that writes them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use slipway_client::{Addresses, Client};
use slipway_digest::StageId;
use slipway_oci::Repo;
use slipway_process::failpoint::failpoint;
use slipway_protocol::{CleanStages, CleanStep, Code, StagesCleaned};
use slipway_storage::kv::Waiting;

use crate::{
    commands::session::Session,
    embedded::{self, Shared},
    failure::Failure,
    flags::cluster,
    host::RegistryOptions,
    synchronization::{Synchronization, THREE},
};

/// Stages that one call names: fewer than a coordinator takes, so that it answers soon.
const AT_ONCE: usize = 200;
/// How often a coordinator is asked whether builds have ended.
const EVERY: Duration = Duration::from_secs(1);

/// The records.
pub(super) enum SharedRecords {
    /// In etcd, which this process speaks to itself.
    Etcd(Box<Shared>),
    /// At a coordinator.
    Coordinator(Asked),
}

/// A coordinator that keeps the records of a repository.
pub(super) struct Asked {
    client: Client,
    repo: Repo,
}

impl SharedRecords {
    /// Those of a repository, if there are any.
    ///
    /// # Errors
    /// When nobody answers, or the token may not clean the repository up.
    pub(super) async fn open(
        session: &Session,
        way: &Synchronization,
        repo: &Repo,
        registry: &RegistryOptions,
    ) -> Result<Option<Self>, Failure> {
        let clock = Arc::clone(&session.world.clock);
        match way {
            Synchronization::Local => Ok(None),
            Synchronization::Etcd(address, options) => {
                let shared = embedded::share((address, options), repo.clone(), registry, clock).await?;
                Ok(Some(Self::Etcd(Box::new(shared))))
            }
            Synchronization::Coordinator(urls) => {
                let token = cluster::token(&session.values, &session.world.environment, &session.here);
                let token = token.map_err(Failure::usage)?;
                let client = Client::new(Addresses::new(urls).map_err(Failure::usage)?, token, clock)?;
                let asked = Asked { client, repo: repo.clone() };
                asked.try_out().await?;
                Ok(Some(Self::Coordinator(asked)))
            }
        }
    }

    /// Marks stages that are to be deleted, and waits until every build has ended that began before.
    ///
    /// # Errors
    /// When the records do not answer.
    pub(super) async fn condemn(&self, stages: &[StageId], waiting: Waiting<'_>) -> Result<(), Failure> {
        match self {
            Self::Etcd(shared) => Ok(shared.ledger().condemn(stages, waiting).await?),
            Self::Coordinator(asked) => asked.condemn(stages, waiting).await,
        }
    }

    /// Takes back what was condemned of these.
    ///
    /// # Errors
    /// When the records do not answer.
    pub(super) async fn spare(&self, stages: &[StageId]) -> Result<(), Failure> {
        match self {
            Self::Etcd(shared) => Ok(shared.ledger().spare(stages).await?),
            Self::Coordinator(asked) => asked.of_all(stages, CleanStep::Spare).await.map(drop),
        }
    }

    /// From here on nobody takes these back. Answers those that may be deleted.
    ///
    /// # Errors
    /// When the records do not answer.
    pub(super) async fn doom(&self, stages: &[StageId]) -> Result<BTreeSet<StageId>, Failure> {
        match self {
            Self::Etcd(shared) => Ok(shared.ledger().doom(stages).await?),
            Self::Coordinator(asked) => {
                let answers = asked.of_all(stages, CleanStep::Doom).await?;
                failpoint("condemn.doomed");
                Ok(answers.into_iter().flat_map(|answer| answer.stages).collect())
            }
        }
    }

    /// What was doomed, by whomever, and has its record yet.
    ///
    /// # Errors
    /// When the records do not answer.
    pub(super) async fn doomed(&self) -> Result<BTreeSet<StageId>, Failure> {
        match self {
            Self::Etcd(shared) => Ok(shared.ledger().doomed().await?),
            Self::Coordinator(asked) => Ok(asked.take(CleanStep::Doomed, false).await?.stages.into_iter().collect()),
        }
    }

    /// Drops the records of stages whose images are gone.
    ///
    /// # Errors
    /// When the records do not answer.
    pub(super) async fn drop_records(&self, stages: &[StageId]) -> Result<(), Failure> {
        match self {
            Self::Etcd(shared) => Ok(shared.ledger().drop_records(stages).await?),
            Self::Coordinator(asked) => asked.of_all(stages, CleanStep::Drop).await.map(drop),
        }
    }

    /// Lets go of all that other processes may wait for.
    pub(super) async fn close(&self) {
        if let Self::Etcd(shared) = self {
            shared.close().await;
        }
    }
}

impl Asked {
    /// Whether there is a coordinator that lets this process clean up; it is told before anything else is done.
    async fn try_out(&self) -> Result<(), Failure> {
        let asked = self.take(CleanStep::Older(0), true).await;
        let at = self.client.addresses().current();
        asked.map(drop).map_err(|failure| {
            let code = failure.error.downcast_ref::<slipway_client::ClientError>().and_then(|error| error.code());
            let hint = match code {
                // Who speaks another language is no coordinator.
                Some(Code::NotFound | Code::Invalid) => format!("; {THREE}"),
                Some(Code::Unauthenticated | Code::Forbidden) => {
                    "; a cleanup takes a token of the role `cleanup` (--token-file, SLIPWAY_TOKEN)".to_owned()
                }
                _ => String::new(),
            };
            Failure { error: failure.error.context(format!("use {at} (--synchronization){hint}")), ..failure }
        })
    }

    async fn condemn(&self, stages: &[StageId], waiting: Waiting<'_>) -> Result<(), Failure> {
        let answers = self.of_all(stages, CleanStep::Condemn).await?;
        let since = answers.iter().map(|answer| answer.since).max().unwrap_or_default();
        failpoint("condemn.condemned");
        let mut told = Vec::new();
        loop {
            let older = self.take(CleanStep::Older(since), false).await?.builds;
            if older.is_empty() {
                break;
            }
            if older != told {
                waiting(&older);
                told = older;
            }
            tokio::time::sleep(EVERY).await;
        }
        failpoint("condemn.waited");
        Ok(())
    }

    /// Takes a step with some stages after the others.
    async fn of_all(
        &self,
        stages: &[StageId],
        step: impl Fn(Vec<StageId>) -> CleanStep,
    ) -> Result<Vec<StagesCleaned>, Failure> {
        let mut answers = Vec::new();
        for some in stages.chunks(AT_ONCE) {
            answers.push(self.take(step(some.to_vec()), false).await?);
        }
        Ok(answers)
    }

    async fn take(&self, step: CleanStep, first: bool) -> Result<StagesCleaned, Failure> {
        let asked = CleanStages { repo: self.repo.clone(), step };
        Ok(self.client.clean_stages(&asked, first).await?)
    }
}
