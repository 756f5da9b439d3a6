//! `slipway plan`.

use super::{selection, session::Session};
use crate::{
    failure::Failure,
    flags::{
        building::{BuildingFlags, OUTPUT},
        cluster::COORDINATOR,
    },
    output::plan,
};

/// Prints the sets of images in which a build would go.
pub(crate) async fn run(session: Session) -> Result<(), Failure> {
    let flags = BuildingFlags::from_values(&session.values);
    let (project, config) = session.open().await?;
    let chosen = (flags.final_only, &selection::platforms(&flags.platforms)?);
    let graph = selection::graph(&config, &project.rendering, &session.patterns, chosen)?;
    let sets = plan::sets(&graph);
    let text = match session.values.text(&OUTPUT).as_deref() {
        Some("json") => plan::json(&sets),
        _ => {
            let cluster = !session.values.list(&COORDINATOR).is_empty();
            let limit = if cluster { flags.cluster_limit } else { flags.limit };
            plan::text(&sets, limit, session.printer.pretty())
        }
    };
    session.printer.data(text.as_bytes())?;
    Ok(())
}
