//! `slipway cleanup` and `slipway purge`: less of a project's repositories.

mod claim;
mod in_use;
mod kubernetes;
mod meter;
mod places;
pub(crate) mod purge;
mod records;
mod references;
mod report;

use slipway_cleanup::{Hit, ImageHistory, Reason};
use slipway_config::{Cleanup, Config};
use slipway_digest::Millis;
use slipway_process::failpoint::failpoint;
use slipway_storage::cleanup::{Done, Plan, Wanted, judge};
use std::{collections::BTreeMap, sync::Arc};

use super::session::Session;
use crate::{
    failure::{Exit, Failure},
    flags::{
        cleanup::{KEEP_HOURS, REPORT_PATH, SAVE_REPORT},
        host::DRY_RUN,
    },
    project::Project,
};
use claim::Claim;
use meter::Meter;
use places::{AllListed, Places};

/// How long stages are kept for being new, in hours, unless said otherwise.
const HOURS: u64 = 2;

/// What is said when no stage is kept for being new.
const OF_OTHERS: &str = "no stage is kept for being new: a build on another host that runs now may lose stages that it has just stored or \
                         found, and must then be run again; where builds share records (--synchronization), it loses none";

/// What is said last by a dry run.
const NOTHING: &str = "This was a dry run: nothing is deleted";

/// Cleans up.
pub(crate) async fn run(session: Session) -> Result<(), Failure> {
    let cleaning = Box::pin(clean(&session));
    session.world.interrupted.run_until_cancelled(cleaning).await.ok_or_else(Failure::interrupted)?
}

async fn clean(session: &Session) -> Result<(), Failure> {
    let (project, config) = session.open().await?;
    let said = config.cleanup.as_ref();
    if said.is_some_and(|cleanup| cleanup.disable) {
        session.printer.info("Nothing is deleted: the configuration says `cleanup.disable: true`");
        return Ok(());
    }
    hours(session, said)?;
    let places = Places::open(session, &config.project).await?;
    let _lock = places.lock(session).await?;
    let (listed, mut plan) = look(session, (&project, &config), &places, None).await?;
    plan.warnings.iter().for_each(|warning| session.printer.warn(warning));
    if session.values.switch(&DRY_RUN) {
        session.printer.data(report::tree(&places, &plan).as_bytes())?;
        session.printer.info(NOTHING);
        return save(session, &report::json(&places, &plan, None));
    }
    failpoint("cleanup.judged");
    let claim = Claim::new(session, &places, &plan).await?;
    // A build that has ended meanwhile may have recorded what it used.
    if claim.waited || places.list().await? != listed {
        session.printer.info("Tags have changed meanwhile: what is needed is looked at once more");
        plan = look(session, (&project, &config), &places, Some(&claim)).await?.1;
    }
    drop(listed);
    session.printer.info(&format!("Deleting from {}: {}", places.names(), report::numbers(&plan)));
    let meter = Meter::new(session);
    let done = claim.work(session, &places, &mut plan, &|progress| meter.tell(progress)).await?;
    save(session, &report::json(&places, &plan, Some(&done)))?;
    finish(session, &plan, &done)
}

/// Sees what is there, and what of it is needed. Of what is not claimed then, nothing goes.
async fn look(
    session: &Session,
    (project, config): (&Project, &Config),
    places: &Places,
    claim: Option<&Claim>,
) -> Result<(AllListed, Plan), Failure> {
    let said = config.cleanup.as_ref();
    let references = references::find(session, project, config).await?;
    let listed = places.list().await?;
    session.printer.info(&format!("{} tags are in {}", listed.len(), places.names()));
    failpoint("cleanup.listed");
    let (images, hits) = reached(session, project, config, (&listed.primary, references)).await?;
    let (hours, now) = (hours(session, said)?, Millis(session.world.clock.unix_millis()));
    if hours == 0 && claim.is_none() && places.shared.is_none() {
        session.printer.warn(OF_OTHERS);
    }
    let mut in_use = in_use::read(session, places)?;
    in_use.extend(kubernetes::running(session, said, places).await?);
    let claimed = claim.map(|claim| Arc::clone(&claim.stages));
    let wanted = Wanted { images, hits, in_use, hours, now, claimed };
    let meter = Meter::new(session);
    let last = places.last.as_ref().zip(listed.last.as_ref());
    let plan = judge((&places.primary, &listed.primary), last, &wanted, &|progress| meter.tell(progress)).await?;
    Ok((listed, plan))
}

/// Says what was done; fails when something was not.
fn finish(session: &Session, plan: &Plan, done: &Done) -> Result<(), Failure> {
    for (going, why) in &done.failed {
        session.printer.warn(&format!("the {} {} is still there: {why}", going.kind, going.tag));
    }
    let stays = plan.keeping.kept().count();
    session.printer.info(&format!("{} tags are deleted, {stays} stages stay", done.removed.len()));
    match done.failed.len() {
        0 => Ok(()),
        number => {
            let error = anyhow::anyhow!("{number} tags could not be deleted; the next cleanup tries them again");
            Err(Failure { exit: Exit::Failed, error })
        }
    }
}

/// What branches and tags lead to; nothing when the configuration does not want that.
async fn reached(
    session: &Session,
    project: &Project,
    config: &Config,
    (listed, references): (&slipway_storage::cleanup::Listed, Option<references::Found>),
) -> Result<(Vec<ImageHistory>, BTreeMap<Hit, Reason>), Failure> {
    let names: Vec<String> = config.images.iter().flat_map(|image| &image.names).map(|name| name.0.clone()).collect();
    let images = listed.histories(&names);
    let Some(references) = references else { return Ok((images, BTreeMap::new())) };
    let repository = project.repository.clone();
    session.blocking(move || references.hits(&repository, images)).await
}

/// For how many hours stages are kept for being new.
fn hours(session: &Session, said: Option<&Cleanup>) -> Result<u64, Failure> {
    let configured = said.map_or(HOURS, |cleanup| match cleanup.disable_built_within_policy {
        true => 0,
        false => cleanup.keep_built_within_hours,
    });
    let hours = match session.values.number(&KEEP_HOURS) {
        None => configured,
        Some(hours) => u64::try_from(hours).map_err(|_| {
            let spelled = session.values.spelling(&KEEP_HOURS);
            Failure::usage(anyhow::anyhow!("{spelled}: {hours} is no number of hours"))
        })?,
    };
    Ok(hours)
}

/// Writes the report, if one is wanted.
fn save(session: &Session, report: &str) -> Result<(), Failure> {
    if !session.values.switch(&SAVE_REPORT) {
        return Ok(());
    }
    let path = session.here.join(session.values.text(&REPORT_PATH).unwrap_or_default());
    std::fs::write(&path, report)
        .map_err(|error| Failure::from(anyhow::anyhow!("write the report {}: {error}", path.display())))
}
