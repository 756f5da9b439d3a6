//! `slipway stages copy`: stages of one repository in another.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::{Context as _, anyhow};
use async_trait::async_trait;
use slipway_config::Config;
use slipway_digest::{CommitId, Millis, StageId};
use slipway_git::{GitView as _, Repository};
use slipway_locks::FileLocks;
use slipway_oci::Repo;
use slipway_process::Tasks;
use slipway_registry::Client;
use slipway_stages::{Commits, StageRecord};
use slipway_storage::{
    JournalLedger, Judge, ManagedImages, Publisher, Records, RepoStorage, StageStorage as _, StorageError,
    kv::StagePlace as _,
    names,
    transfer::{Moved, Transfer},
};

use crate::{
    commands::{build, images, session::Session},
    embedded::{self, Shared},
    failure::Failure,
    flags::{
        bridge::USE_BUILD_REPORT,
        log::Level,
        stages::{ALL, FROM, TO},
        storage::StorageFlags,
    },
    host::{RegistryOptions, client},
    project::Project,
    synchronization::Synchronization,
};

/// What is to be copied.
#[derive(Default)]
struct Wanted {
    stages: BTreeSet<StageId>,
    /// Images, the commits that they are of, and their last stages.
    images: Vec<(String, CommitId, StageId)>,
    /// Images of which no more is known.
    names: Vec<String>,
}

/// Copies the stages of the project's images, or all.
pub(crate) async fn run(session: Session) -> Result<(), Failure> {
    let (from, to) = (repo(&session, true)?, repo(&session, false)?);
    if from == to {
        return Err(Failure::usage(anyhow!("--from and --to are the same repository, {from}")));
    }
    let flags = StorageFlags::from_values(&session.values).map_err(Failure::usage)?;
    let registry = RegistryOptions::new(&flags, &session.world.environment);
    let client = client(&registry)?;
    let (from, to) = (RepoStorage::new(client.clone(), from), RepoStorage::new(client.clone(), to));
    let (project, config) = session.peek().await?;
    let wanted = wanted(&session, (&client, &from), &config, project.commit).await?;
    let copying = copying(&session, (&client, &registry, &flags), (&from, &to), (&project, &config), &wanted);
    let done = session.world.interrupted.run_until_cancelled(Box::pin(copying)).await;
    done.ok_or_else(Failure::interrupted)?
}

fn repo(session: &Session, from: bool) -> Result<Repo, Failure> {
    let flag = if from { FROM } else { TO };
    let missing = || Failure::usage(anyhow!("stages are copied from one repository to another: give --from and --to"));
    let text = session.values.text(&flag).ok_or_else(missing)?;
    if text.starts_with("archive:") {
        return Err(Failure::usage(anyhow!("not supported yet: --{} {text}", flag.name)));
    }
    text.parse().with_context(|| format!("--{}", flag.name)).map_err(Failure::usage)
}

async fn wanted(
    session: &Session,
    (client, from): (&Client, &RepoStorage),
    config: &Config,
    commit: CommitId,
) -> Result<Wanted, Failure> {
    if session.values.switch(&ALL) {
        return all(client, from).await;
    }
    let mut wanted = Wanted::default();
    if session.values.switch(&USE_BUILD_REPORT) {
        for (name, image) in images::entries(session, config)? {
            let stages = image.stages.iter().map(|stage| stage.place.tag.parse::<StageId>());
            let stages: Vec<StageId> =
                stages.collect::<Result<_, _>>().context("read the stages of the build report")?;
            let of = image.commit.parse().unwrap_or(commit);
            wanted.images.extend(stages.last().map(|last| (name, of, *last)));
            wanted.stages.extend(stages);
        }
        return Ok(wanted);
    }
    let built = Box::pin(build::build(session, |_| Ok(true))).await?.context("the build did not wait for its end")?;
    for image in &built.outcome.images {
        wanted.stages.extend(image.stages().map(|stage| stage.record.id));
        let names = image.names.iter().filter(|_| !image.inner);
        let named = names.flat_map(|name| image.lasts().map(move |last| (name, last)));
        wanted.images.extend(named.map(|(name, last)| (name.0.clone(), commit, last.record.id)));
    }
    Ok(wanted)
}

/// All that a repository has.
async fn all(client: &Client, from: &RepoStorage) -> Result<Wanted, Failure> {
    let listing = from.list().await?;
    let rejected: BTreeSet<StageId> = listing.rejected.into_iter().collect();
    let stages = listing.stages.into_iter().filter(|stage| !rejected.contains(stage)).collect();
    let names = ManagedImages::new(client.clone(), from.repo().clone()).list().await?;
    let tags = client.tags(from.repo()).await?;
    let of = |name: &String| {
        let found = tags.iter().filter_map(|tag| names::commit_of(tag, name));
        found.map(|(commit, stage)| (name.clone(), commit, stage)).collect::<Vec<_>>()
    };
    Ok(Wanted { images: names.iter().flat_map(of).collect(), stages, names })
}

async fn copying(
    session: &Session,
    (client, registry, flags): (&Client, &RegistryOptions, &StorageFlags),
    (from, to): (&RepoStorage, &RepoStorage),
    (project, config): (&Project, &Config),
    wanted: &Wanted,
) -> Result<(), Failure> {
    let ledger = ledger(session, (flags, registry), to).await?;
    let publisher = match &ledger {
        Some(shared) => shared.publisher(),
        None => on_host(session, RepoStorage::new(client.clone(), to.repo().clone())),
    };
    let transfer = Transfer { client, from, to, publisher: &publisher };
    let mut stages: Vec<StageId> = wanted.stages.iter().copied().collect();
    // What stands on another is younger.
    stages.sort_by_key(|stage| stage.stamp);
    let (mut moved, mut copied) = (BTreeMap::new(), 0_usize);
    for stage in stages {
        let judge = |record: &StageRecord, not_before| Kin::new(&project.repository, record, not_before);
        match transfer.stage(stage, &moved, judge).await? {
            Moved::Unusable(why) => session.printer.warn(&format!("{}:{stage} is not copied: {why}", from.repo())),
            done => {
                let id = done.id().unwrap_or(stage);
                copied += usize::from(matches!(done, Moved::Copied(_)));
                session.printer.say(Level::Verbose, &format!("{stage} is {}:{id}", to.repo()));
                moved.insert(stage, id);
            }
        }
    }
    let records: Arc<dyn Records> = match &ledger {
        Some(shared) => shared.records(to, &config.project),
        None => Arc::new(to.records(&config.project)),
    };
    record(records.as_ref(), wanted, &moved).await?;
    transfer.imports().await?;
    let there = moved.len() - copied;
    session.printer.info(&format!("{copied} stages copied to {}, {there} were there already", to.repo()));
    if let Some(shared) = ledger {
        shared.close().await;
    }
    Ok(())
}

/// Notes which images the stages are, at which commits.
async fn record(
    records: &dyn Records,
    wanted: &Wanted,
    moved: &BTreeMap<StageId, StageId>,
) -> Result<(), StorageError> {
    let named: BTreeSet<&String> = wanted.names.iter().chain(wanted.images.iter().map(|(name, ..)| name)).collect();
    for name in named {
        records.add_image(name).await?;
    }
    for (name, commit, stage) in &wanted.images {
        if let Some(stage) = moved.get(stage) {
            records.add_image_commit(name, *commit, *stage).await?;
        }
    }
    Ok(())
}

/// The shared ledger of the target; `None` = that of this host.
async fn ledger(
    session: &Session,
    (flags, registry): (&StorageFlags, &RegistryOptions),
    to: &RepoStorage,
) -> Result<Option<Shared>, Failure> {
    let environment = &session.world.environment;
    match Synchronization::new(&flags.synchronization, true, environment).map_err(Failure::usage)? {
        Synchronization::Local => Ok(None),
        Synchronization::Etcd(address, options) => {
            let clock = Arc::clone(&session.world.clock);
            Ok(Some(embedded::share((&address, &options), to.repo().clone(), registry, clock).await?))
        }
        Synchronization::Coordinator(_) => Err(Failure::usage(anyhow!(
            "not supported yet: stages copy through a coordinator: name the etcd that it uses with --synchronization \
             etcd://HOST:PORT"
        ))),
    }
}

fn on_host(session: &Session, to: RepoStorage) -> Publisher {
    let service = session.home.join("service");
    let ledger = Arc::new(JournalLedger::new(&service.join("ledger"), &to.name()));
    let storage = Arc::new(to);
    Publisher::new(storage, ledger, Arc::new(FileLocks::new(service.join("locks"))), Arc::clone(&session.world.clock))
}

/// Finds a stage that builds of the same commits would take.
struct Kin {
    git: Repository,
    tasks: Tasks,
    commits: Commits,
    not_before: Millis,
}

impl Kin {
    fn new(git: &Repository, record: &StageRecord, not_before: Millis) -> Self {
        Self { git: git.clone(), tasks: Tasks::new(), commits: record.commits.clone(), not_before }
    }
}

#[async_trait]
impl Judge for Kin {
    async fn choose(&self, candidates: &[StageRecord]) -> Result<Option<StageRecord>, StorageError> {
        let (git, commits) = (self.git.clone(), self.commits.clone());
        let mut candidates: Vec<StageRecord> =
            candidates.iter().filter(|candidate| candidate.id.stamp > self.not_before).cloned().collect();
        candidates.sort_by_key(|candidate| candidate.id.stamp);
        let suits = move |candidate: &StageRecord| {
            let older = |old: CommitId, new: CommitId| old == new || git.is_ancestor(old, new).unwrap_or(false);
            let known = |(key, commit): (&String, &CommitId)| {
                candidate.commits.get(key).is_some_and(|old| older(*old, *commit))
            };
            commits.iter().all(known)
        };
        Ok(self.tasks.blocking(move || candidates.into_iter().find(suits)).await)
    }
}
