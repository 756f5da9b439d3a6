//! The repositories that are cleaned up.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use slipway_locks::{FileLocks, Lease, LockManager as _};
use slipway_oci::Repo;
use slipway_storage::{
    HostBuilds,
    cleanup::{Listed, Place},
};

use super::records::SharedRecords;
use crate::{
    commands::session::Session,
    failure::Failure,
    flags::{
        cleanup::{PARALLEL, PARALLEL_LIMIT},
        storage::StorageFlags,
    },
    host::{RegistryOptions, client},
    synchronization::Synchronization,
};

/// Requests at once when nothing limits them.
const MOST: usize = 64;
/// How long another cleanup on this host is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(3600);

/// The repositories.
pub(super) struct Places {
    /// Where stages are kept.
    pub(super) primary: Place,
    /// Where images run from.
    pub(super) last: Option<Place>,
    /// The records of stages that many hosts share, where there are any.
    pub(super) shared: Option<SharedRecords>,
}

/// Their tags.
#[derive(PartialEq, Eq)]
pub(super) struct AllListed {
    pub(super) primary: Listed,
    pub(super) last: Option<Listed>,
}

impl AllListed {
    /// How many they are.
    pub(super) fn len(&self) -> usize {
        self.primary.len() + self.last.as_ref().map_or(0, Listed::len)
    }
}

impl Places {
    /// Those that the flags name.
    ///
    /// # Errors
    /// When they name none, or how builds agree on its stages is not supported.
    pub(super) async fn open(session: &Session, project: &str) -> Result<Self, Failure> {
        let flags = StorageFlags::from_values(&session.values).map_err(Failure::usage)?;
        let repo =
            flags.repo.as_ref().ok_or_else(|| Failure::usage(anyhow!("give --repo: what is to be cleaned up?")))?;
        let repo: Repo = repo.parse().context("--repo").map_err(Failure::usage)?;
        let environment = &session.world.environment;
        let way = Synchronization::new(&flags.synchronization, true, environment).map_err(Failure::usage)?;
        let registry = RegistryOptions::new(&flags, environment);
        let shared = SharedRecords::open(session, &way, &repo, &registry).await?;
        let client = client(&registry.deleting(environment))?;
        let limit = session.values.number(&PARALLEL_LIMIT).and_then(|limit| usize::try_from(limit).ok());
        let at_once = match (session.values.switch(&PARALLEL), limit) {
            (false, _) => 1,
            (true, None | Some(0)) => MOST,
            (true, Some(limit)) => limit.min(MOST),
        };
        let place = |repo: Repo| Place::new(client.clone(), repo, project, at_once);
        Ok(Self { primary: place(repo), last: flags.others.final_repo.map(place), shared })
    }

    /// Who uses the primary one, on this host.
    pub(super) fn builds(&self, session: &Session) -> HostBuilds {
        HostBuilds::new(&session.home.join("service"), self.primary.repo())
    }

    /// Keeps other cleanups of this host out, until the answer is dropped.
    ///
    /// # Errors
    /// When it cannot be had.
    pub(super) async fn lock(&self, session: &Session) -> Result<Box<dyn Lease>, Failure> {
        let locks = FileLocks::new(session.home.join("service/locks"));
        Ok(locks.acquire(&format!("cleanup of {}", self.primary.repo()), LOCK_WAIT).await?)
    }

    /// Lists the tags.
    ///
    /// # Errors
    /// When a repository does not answer; when it is of two projects.
    pub(super) async fn list(&self) -> Result<AllListed, Failure> {
        let primary = self.primary.list().await?;
        let last = match &self.last {
            Some(last) => Some(last.list().await?),
            None => None,
        };
        if let Some(other) = self.primary.other_project(&primary).await? {
            return Err(Failure::from(anyhow!(
                "{} holds stages of another project, `{other}`: nobody knows what both need, so nothing is deleted; give each \
                 project a repository of its own",
                self.primary.repo()
            )));
        }
        Ok(AllListed { primary, last })
    }

    /// What they are called.
    pub(super) fn names(&self) -> String {
        match &self.last {
            Some(last) => format!("{} and {}", self.primary.repo(), last.repo()),
            None => self.primary.repo().to_string(),
        }
    }
}
