//! `slipway purge`: nothing of a project is left in its repositories.

use slipway_storage::cleanup::{Plan, judge::everything};

use super::{
    NOTHING,
    claim::Claim,
    finish,
    meter::Meter,
    places::{AllListed, Places},
    report,
};
use crate::{commands::session::Session, failure::Failure, flags::host::DRY_RUN};

/// Purges.
pub(crate) async fn run(session: Session) -> Result<(), Failure> {
    let purging = Box::pin(purge(&session));
    session.world.interrupted.run_until_cancelled(purging).await.ok_or_else(Failure::interrupted)?
}

async fn purge(session: &Session) -> Result<(), Failure> {
    let (_, config) = session.open().await?;
    let places = Places::open(session, &config.project).await?;
    let _lock = places.lock(session).await?;
    let meter = Meter::new(session);
    let (listed, mut plan) = look(&places, &meter).await?;
    if session.values.switch(&DRY_RUN) {
        let text: String = plan.going.iter().map(|going| format!("{}\n", report::name(going))).collect();
        session.printer.data(text.as_bytes())?;
        session.printer.info(NOTHING);
        return Ok(());
    }
    session.printer.info(&format!("{} tags are in {}", listed.len(), places.names()));
    let claim = Claim::new(session, &places, &plan).await?;
    if claim.waited {
        plan = look(&places, &meter).await?.1;
    }
    session.printer.info(&format!("Deleting from {}: {}", places.names(), report::numbers(&plan)));
    let done = claim.work(session, &places, &mut plan, &|progress| meter.tell(progress)).await?;
    finish(session, &plan, &done)
}

/// What is there, all of which goes.
async fn look(places: &Places, meter: &Meter) -> Result<(AllListed, Plan), Failure> {
    let listed = places.list().await?;
    let last = places.last.as_ref().zip(listed.last.as_ref());
    let plan = everything((&places.primary, &listed.primary), last, &|progress| meter.tell(progress)).await?;
    Ok((listed, plan))
}
