//! `slipway stages attach|import|winners|verify|reject`: the stored stages of a repository that many hosts share; and
//! `copy`, `list` and `show`, which ask the repository alone.

mod copy;
mod listing;
mod report;

pub(crate) use copy::run as copy;
pub(crate) use listing::{list, show};

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::ArgMatches;
use slipway_digest::{StageDigest, StageId};
use slipway_oci::Repo;
use slipway_storage::{
    RepoStorage, StageStorage as _, StorageError,
    kv::{Kept, KeptState, KvLedger, Reading, StagePlace as _},
};

use super::{program::IMAGES, session::Desk};
use crate::{
    embedded::{self, Shared},
    failure::{Exit, Failure},
    flags::storage::{ANEW, REASON, STAGES_OUTPUT, StorageFlags},
    host::RegistryOptions,
    synchronization::Synchronization,
};
use report::{Attaching, Importing, Rejecting, Report, Stage, Verifying, Winners};

/// What is said of a rejection that gives no reason.
const NO_REASON: &str = "an operator rejected it";

/// Records every stage of the repository.
pub(crate) async fn attach(desk: Desk) -> Result<(), Failure> {
    let (shared, repo) = open(&desk).await?;
    let ledger = shared.ledger();
    let attached = if desk.values.switch(&ANEW) { ledger.attach_anew().await? } else { ledger.attach().await? };
    shared.stages().untold().iter().for_each(|notice| desk.printer.warn(notice));
    print(&desk, &Attaching::new(&repo, attached))?;
    shared.close().await;
    Ok(())
}

/// Adopts what was written past the records.
pub(crate) async fn import(desk: Desk) -> Result<(), Failure> {
    let (shared, repo) = open(&desk).await?;
    let imported = shared.ledger().import().await?;
    print(&desk, &Importing::new(&repo, imported))?;
    shared.close().await;
    Ok(())
}

/// Lists the records.
pub(crate) async fn winners(desk: Desk, matches: &ArgMatches) -> Result<(), Failure> {
    let digests = digests(matches)?;
    let (shared, repo) = open(&desk).await?;
    let kept = kept(shared.ledger(), &digests).await?;
    print(&desk, &Winners::new(&repo, &kept))?;
    shared.close().await;
    Ok(())
}

/// Checks that what is recorded is there.
pub(crate) async fn verify(desk: Desk, matches: &ArgMatches) -> Result<(), Failure> {
    let digests = digests(matches)?;
    if is_alone(&desk)? {
        return verify_alone(&desk, &digests).await;
    }
    let (shared, repo) = open(&desk).await?;
    let ledger = shared.ledger().clone();
    let mut digests_of_all = digests;
    if digests_of_all.is_empty() {
        digests_of_all = kept(&ledger, &[]).await?.iter().map(|kept| kept.id.digest).collect();
        digests_of_all.dedup();
    }
    let mut verified = Verifying::new(&repo);
    for digest in digests_of_all {
        for kept in ledger.read(digest).await?.kept {
            let why = wrong(&ledger, &kept).await?;
            verified.add(Stage::new(&kept), why);
        }
    }
    print(&desk, &verified)?;
    shared.close().await;
    match verified.broken() {
        0 => Ok(()),
        number => Err(Failure {
            exit: Exit::Failed,
            error: anyhow!("{number} stages are not as recorded; `slipway stages reject` takes a stage out of use"),
        }),
    }
}

/// Whether no records of the stages are kept elsewhere.
fn is_alone(desk: &Desk) -> Result<bool, Failure> {
    let flags = StorageFlags::from_values(&desk.values).map_err(Failure::usage)?;
    let way = Synchronization::new(&flags.synchronization, flags.repo.is_some(), &desk.world.environment);
    Ok(matches!(way.map_err(Failure::usage)?, Synchronization::Local))
}

/// Checks that what is tagged as a stage is one, and whole.
async fn verify_alone(desk: &Desk, digests: &[StageDigest]) -> Result<(), Failure> {
    let (client, repo) = listing::open(desk)?;
    let storage = RepoStorage::new(client, repo.clone());
    let mut verified = Verifying::new(&repo);
    for id in storage.list().await?.stages {
        if !digests.is_empty() && !digests.contains(&id.digest) {
            continue;
        }
        let wrong = match storage.read(id).await? {
            Reading::Stage(found, _) => match storage.verify(&found.at).await {
                Ok(()) => None,
                Err(error @ (StorageError::Gone(_) | StorageError::Broken { .. })) => Some(error.to_string()),
                Err(error) => return Err(error.into()),
            },
            Reading::NoStage(why) => Some(why),
            Reading::Absent => Some("its tag is not there".to_owned()),
        };
        verified.add(Stage::found(id), wrong);
    }
    print(desk, &verified)?;
    match verified.broken() {
        0 => Ok(()),
        number => Err(anyhow!("{number} stages are not whole; builds that need one make it anew").into()),
    }
}

/// Takes stages out of use.
pub(crate) async fn reject(desk: Desk, matches: &ArgMatches) -> Result<(), Failure> {
    let parsed = given(matches).map(|text| text.parse::<StageId>());
    let stages: Vec<StageId> = parsed.collect::<Result<_, _>>().map_err(Failure::usage)?;
    let why = desk.values.text(&REASON).unwrap_or_else(|| NO_REASON.to_owned());
    let (shared, repo) = open(&desk).await?;
    let mut report = Rejecting::new(&repo);
    for stage in stages {
        report.add(stage, shared.publishing().reject_by_hand(stage, &why).await?);
    }
    print(&desk, &report)?;
    shared.close().await;
    Ok(())
}

/// The ledger that the flags name.
async fn open(desk: &Desk) -> Result<(Shared, Repo), Failure> {
    let flags = StorageFlags::from_values(&desk.values).map_err(Failure::usage)?;
    let environment = &desk.world.environment;
    let synchronization = Synchronization::new(&flags.synchronization, flags.repo.is_some(), environment);
    let (address, options) = match synchronization.map_err(Failure::usage)? {
        Synchronization::Etcd(address, options) => (address, options),
        Synchronization::Local => {
            return Err(Failure::usage(anyhow!(
                "stages of the local storage have no records: name the etcd that the builds share with \
                 --synchronization etcd://HOST:PORT"
            )));
        }
        Synchronization::Coordinator(_) => {
            return Err(Failure::usage(anyhow!(
                "a coordinator lets builds publish and nothing else: name the etcd that it uses with --synchronization \
                 etcd://HOST:PORT"
            )));
        }
    };
    let repo = flags.repo.clone().ok_or_else(|| Failure::usage(anyhow!("give --repo: whose stages?")))?;
    let repo: Repo = repo.parse().context("--repo").map_err(Failure::usage)?;
    let registry = RegistryOptions::new(&flags, environment);
    let shared = embedded::share((&address, &options), repo.clone(), &registry, Arc::clone(&desk.world.clock)).await?;
    Ok((shared, repo))
}

fn given(matches: &ArgMatches) -> impl Iterator<Item = &String> {
    matches.try_get_many::<String>(IMAGES).ok().flatten().unwrap_or_default()
}

fn digests(matches: &ArgMatches) -> Result<Vec<StageDigest>, Failure> {
    given(matches).map(|text| text.parse().map_err(Failure::usage)).collect()
}

/// The records of some digests, labels read; or all, as they are.
async fn kept(ledger: &KvLedger, digests: &[StageDigest]) -> Result<Vec<Kept>, StorageError> {
    if digests.is_empty() {
        return ledger.all().await;
    }
    let mut kept = Vec::new();
    for digest in digests {
        kept.extend(ledger.read(*digest).await?.kept);
    }
    Ok(kept)
}

/// What is not as it is recorded; `None` when all is, or the record is out of use.
async fn wrong(ledger: &KvLedger, kept: &Kept) -> Result<Option<String>, StorageError> {
    let in_use = matches!(kept.state, KeptState::Live | KeptState::Orphan);
    let Some(stage) = kept.stage.as_deref().filter(|_| in_use) else { return Ok(None) };
    if !kept.tagged {
        return Ok(Some("its tag was not written yet; the next build does it".to_owned()));
    }
    match ledger.place().verify(&stage.at).await {
        Ok(()) => {}
        Err(error @ (StorageError::Gone(_) | StorageError::Broken { .. })) => return Ok(Some(error.to_string())),
        Err(error) => return Err(error),
    }
    Ok(match ledger.place().read(kept.id).await? {
        Reading::Stage(found, _) if found.at == stage.at => None,
        Reading::Stage(found, _) => Some(format!("its tag is of another image, {}", found.at.digest)),
        Reading::NoStage(why) => Some(why),
        Reading::Absent => Some("its tag is not there".to_owned()),
    })
}

fn print(desk: &Desk, report: &impl Report) -> Result<(), Failure> {
    let text = match desk.values.text(&STAGES_OUTPUT).as_deref() {
        Some("json") => serde_json::to_string_pretty(report).map(|text| format!("{text}\n"))?,
        _ => report.text(),
    };
    desk.printer.data(text.as_bytes())?;
    Ok(())
}
