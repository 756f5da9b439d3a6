//! `slipway purge`: nothing of a project is left in its repositories.

use slipway_storage::cleanup::judge::everything;

use super::{finish, meter::Meter, places::Places, report};
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
    let listed = places.list(session).await?;
    let meter = Meter::new(session);
    let last = places.last.as_ref().zip(listed.last.as_ref());
    let mut plan = everything((&places.primary, &listed.primary), last, &|progress| meter.tell(progress)).await?;
    if session.values.switch(&DRY_RUN) {
        let line = |going: &slipway_storage::cleanup::Going| format!("{} {}\n", going.kind, going.tag);
        let text: String = plan.going.iter().map(line).collect();
        session.printer.data(text.as_bytes())?;
        return Ok(());
    }
    session.printer.info(&format!("Deleting from {}: {}", places.names(), report::numbers(&plan)));
    let done = places.work(session, &mut plan, &|progress| meter.tell(progress)).await?;
    finish(session, &plan, &done)
}
