//! `--follow`: build again whenever there is something new.

use std::time::Duration;

use slipway_digest::CommitId;

use crate::{
    commands::session::Session,
    failure::{Exit, Failure},
    flags::project::Giterminism,
    project::Project,
};

/// How often it is looked whether there is something new.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What would be built now: the commit, or the work tree's snapshot. `None` = it cannot be read at the moment, in the
/// middle of a checkout, say.
pub(crate) async fn head(session: &Session) -> Result<Option<CommitId>, Failure> {
    let (flags, reading) = (session.project_flags.clone(), session.reading());
    let found = session.blocking(move || Ok(Project::head(&flags, &reading).ok())).await;
    match found {
        Err(failure) if failure.exit == Exit::Interrupted => Err(failure),
        other => Ok(other.unwrap_or_default()),
    }
}

/// Waits until something else than `built` would be built.
///
/// # Errors
/// When the user gives up.
pub(crate) async fn wait(session: &Session, built: Option<CommitId>) -> Result<(), Failure> {
    let what = match session.project_flags.giterminism {
        Giterminism::Dev(_) => "change of a file",
        Giterminism::Strict | Giterminism::Loose => "commit",
    };
    session.printer.info(&format!("Waiting for the next {what} (--follow); interrupt to end"));
    loop {
        let waited = session.world.interrupted.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await;
        waited.ok_or_else(Failure::interrupted)?;
        match head(session).await? {
            Some(now) if Some(now) != built => {
                session.printer.info(&format!("Building commit {now}"));
                return Ok(());
            }
            Some(_) | None => {}
        }
    }
}
