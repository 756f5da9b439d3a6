//! `slipway plan`.

use std::collections::BTreeMap;

use super::{selection, session::Session};
use crate::{
    failure::Failure,
    flags::{
        building::{BuildingFlags, OUTPUT},
        cluster::COORDINATOR,
    },
    output::plan,
    parts,
};

/// Prints the sets of images in which a build would go.
pub(crate) async fn run(session: Session) -> Result<(), Failure> {
    let flags = BuildingFlags::from_values(&session.values);
    let (project, mut config) = session.open().await?;
    flags.overrule(&mut config);
    let platforms = selection::platforms(&flags.platforms)?;
    let graph = selection::graph(&config, &session.patterns, (flags.final_only, &platforms))?;
    let apart = move || parts::apart(&project, &graph, &BTreeMap::new(), &platforms.otherwise);
    let sets = plan::sets(&session.blocking(apart).await?);
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
