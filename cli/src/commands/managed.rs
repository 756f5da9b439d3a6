//! `slipway managed-images ls|add|rm`: the images that cleanup looks after.

use anyhow::{Context as _, anyhow};
use slipway_oci::Repo;
use slipway_storage::ManagedImages;

use super::session::Session;
use crate::{
    failure::Failure,
    flags::storage::StorageFlags,
    host::{RegistryOptions, client},
};

/// What stands for the image without a name.
const NAMELESS: &str = "~";

/// Lists them.
pub(crate) async fn list(session: Session) -> Result<(), Failure> {
    let names = open(&session)?.list().await?;
    let line = |name: &String| format!("{}\n", if name.is_empty() { NAMELESS } else { name });
    let text: String = names.iter().map(line).collect();
    session.printer.data(text.as_bytes())?;
    Ok(())
}

/// Puts images on the list.
pub(crate) async fn add(session: Session) -> Result<(), Failure> {
    let managed = open(&session)?;
    let (_, config) = session.open().await?;
    for image in &session.patterns {
        let state = if managed.add(&config.project, named(image)).await? { "added" } else { "was there" };
        session.printer.info(&format!("Image {image}: {state}"));
    }
    Ok(())
}

/// Takes images off the list.
pub(crate) async fn remove(session: Session) -> Result<(), Failure> {
    let managed = open(&session)?;
    for image in &session.patterns {
        let state = if managed.remove(named(image)).await? { "removed" } else { "was not there" };
        session.printer.info(&format!("Image {image}: {state}"));
    }
    Ok(())
}

fn named(image: &str) -> &str {
    if image == NAMELESS { "" } else { image }
}

fn open(session: &Session) -> Result<ManagedImages, Failure> {
    let storage = StorageFlags::from_values(&session.values).map_err(Failure::usage)?;
    let repo = storage.repo.as_ref().ok_or_else(|| Failure::usage(anyhow!("give --repo: whose images?")))?;
    let repo: Repo = repo.parse().context("--repo").map_err(Failure::usage)?;
    let client = client(&RegistryOptions::new(&storage, &session.world.environment))?;
    Ok(ManagedImages::new(client, repo))
}
