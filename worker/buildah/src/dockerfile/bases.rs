//! What a Dockerfile stands on, under names of the build's own: so nothing of the user's is named anew, and a container
//! that a killed build has left is known by the name of what it stands on.

use std::{collections::BTreeSet, sync::Arc};

use serde::Deserialize;
use slipway_backend::{BackendError, DockerfileBuild};

use crate::{
    Shared,
    images::{self, Listed, list, pull, tag},
    program::Program,
};

/// Repository of these names.
const NAMES: &str = "localhost/slipway-build";

/// The names, which go with this.
pub(super) struct Bases {
    program: Arc<Program>,
    attempt: String,
    /// How the Dockerfile calls each.
    named: Vec<String>,
}

impl Bases {
    /// Pulls what a build stands on, and names it.
    pub(super) async fn name(shared: &Shared, build: &DockerfileBuild) -> Result<Self, BackendError> {
        let program = Arc::clone(&shared.program);
        let mut bases = Self { program, attempt: build.attempt.clone(), named: Vec::new() };
        for (name, at) in &build.bases {
            // What is found nowhere else is local, under the name that the Dockerfile has.
            let Some(at) = at else { continue };
            let image = pull(&shared.program, &shared.pulls, shared.link.as_ref(), at).await?;
            let own = own_name(&bases.attempt, bases.named.len());
            bases.named.push(name.clone());
            tag(&shared.program, &image, &own).await?;
        }
        Ok(bases)
    }

    /// What the program is told of them.
    pub(super) fn arguments(&self) -> impl Iterator<Item = String> {
        let named = self.named.iter().enumerate();
        named.map(|(at, name)| format!("{name}=container-image://{}", own_name(&self.attempt, at)))
    }
}

impl Drop for Bases {
    fn drop(&mut self) {
        if self.named.is_empty() {
            return;
        }
        let (program, attempt) = (Arc::clone(&self.program), std::mem::take(&mut self.attempt));
        let owned = Arc::clone(&program);
        program.in_background(async move {
            if let Err(error) = sweep(&owned, &attempt).await {
                tracing::warn!(%error, "names of a Dockerfile's bases stay");
            }
        });
    }
}

fn own_name(attempt: &str, at: usize) -> String {
    format!("{NAMES}:{attempt}-{at}")
}

#[derive(Deserialize)]
struct Found {
    imagename: String,
    containername: String,
}

/// Removes what the build of an attempt has left: containers, and names.
pub(crate) async fn sweep(program: &Program, attempt: &str) -> Result<(), BackendError> {
    let doing = "remove what the build of a Dockerfile has left";
    let own = format!("{NAMES}:{attempt}-");
    let said = program.ask(doing, &["containers", "--json"]).await?;
    let containers: Option<Vec<Found>> =
        serde_json::from_str(&said).map_err(|error| BackendError::Engine(format!("{doing}: {error}")))?;
    let ours = containers.iter().flatten().filter(|found| found.imagename.starts_with(&own));
    let containers: BTreeSet<&str> = ours.map(|found| found.containername.as_str()).collect();
    if !containers.is_empty() {
        let which: Vec<&str> = std::iter::once("rm").chain(containers).collect();
        program.ask(doing, &which).await?;
    }
    let filter = format!("reference={own}*");
    let listed = list(program, doing, &["--filter", &filter]).await?;
    for name in listed.iter().flat_map(Listed::names).filter(|name| name.starts_with(&own)) {
        images::untag(program, name).await;
    }
    Ok(())
}
