//! Images that only this host has, for the engine that is to run them.

use anyhow::Context as _;
use slipway_oci::{ImageAt, Repo};

use super::{images::Located, session::Session};
use crate::{
    choose::EngineAddress,
    export::{Exporter, Labels, names::Destination},
    failure::Failure,
    host::HostOptions,
    report::Place,
};

/// Loads images into the engine under the names that they have here, but for those that it has already. They are stages there
/// as here, and go with the other stages when the engine is cleaned up.
pub(super) async fn load(
    session: &Session,
    images: impl IntoIterator<Item = &Located>,
    keeper: HostOptions,
) -> Result<(), Failure> {
    let engine = EngineAddress::from_environment(&session.world.environment);
    let mut copies: Vec<(Vec<ImageAt>, Destination)> = Vec::new();
    for image in images {
        let at = kept(&image.place)?;
        let name = image.place.name();
        let has = slipway_docker::named(engine.host.as_deref(), engine.certificates.as_deref(), &name).await;
        let has = has.map_err(anyhow::Error::from)?;
        let destination = Destination::Docker(name);
        // An image may have several names in the configuration.
        if has.is_none_or(|has| has.id != at.digest) && !copies.iter().any(|(_, own)| *own == destination) {
            copies.push((vec![at], destination));
        }
    }
    if copies.is_empty() {
        return Ok(());
    }
    let registry = keeper.registry.clone();
    let tmp = keeper.tmp.clone().unwrap_or_else(|| session.home.join("service/tmp"));
    let exporter = Exporter { host: Some(keeper), registry, engine, labels: Labels::Same, tmp };
    let tell = |destination: &Destination| session.printer.info(&format!("Loaded into the engine: {destination}"));
    let loaded = session.world.interrupted.run_until_cancelled(Box::pin(exporter.export(&copies, tell))).await;
    Ok(loaded.ok_or_else(Failure::interrupted)??)
}

/// Where the local storage has an image.
fn kept(place: &Place) -> Result<ImageAt, Failure> {
    let repo = Repo { host: String::new(), path: place.repo.clone() };
    let digest = place.image_id.parse().with_context(|| format!("read the id of {}", place.name()))?;
    Ok(ImageAt { repo, digest })
}
