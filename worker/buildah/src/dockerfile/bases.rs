//! What a Dockerfile stands on, under names of the build's own, so that nothing of the user's is named anew; and what a
//! build leaves when it does not come to its end.

use std::path::Path;

use serde::Deserialize;
use slipway_backend::{BackendError, DockerfileBuild, LocalImage, attempt::attempt_of};
use slipway_dockerfile::Origin;

use crate::{
    Shared,
    images::{self, Listed, list, pull, tag},
    program::Program,
};

/// Repository of these names.
const NAMES: &str = "localhost/slipway-build";
/// How the program is asked what a container is marked with.
const MARK: &str = "{{.CNIConfigDir}}";

/// The names.
pub(super) struct Bases {
    attempt: String,
    /// How the Dockerfile calls each.
    named: Vec<Vec<String>>,
}

impl Bases {
    /// Pulls what a build stands on, and names it. The names go with the room of the build.
    pub(super) async fn name(
        shared: &Shared,
        build: &DockerfileBuild,
        program: &slipway_dockerfile::Program,
    ) -> Result<Self, BackendError> {
        let mut bases = Self::none(&build.attempt);
        for (name, at) in &build.bases {
            // What is found nowhere else is local, under the name that the Dockerfile has.
            let Some(at) = at else { continue };
            let image = pull(&shared.program, &shared.pulls, shared.link.as_ref(), at).await?;
            bases.add(&shared.program, calls(program, name), &image).await?;
        }
        Ok(bases)
    }

    /// No names yet.
    pub(super) fn none(attempt: &str) -> Self {
        Self { attempt: attempt.to_owned(), named: Vec::new() }
    }

    /// Gives an image a name of the build's own, and answers it. `calls` = how the Dockerfile calls it.
    pub(super) async fn add(
        &mut self,
        program: &Program,
        calls: Vec<String>,
        image: &LocalImage,
    ) -> Result<String, BackendError> {
        let own = own_name(&self.attempt, self.named.len());
        self.named.push(calls);
        tag(program, image, &own).await.map(|()| own)
    }

    /// What the program is told of them.
    pub(super) fn arguments(&self) -> impl Iterator<Item = String> {
        let named = self.named.iter().enumerate();
        let all = named.flat_map(|(at, calls)| calls.iter().map(move |call| (at, call)));
        all.map(|(at, call)| format!("{call}=container-image://{}", own_name(&self.attempt, at)))
    }
}

/// How a Dockerfile calls an image: by its name, and as a `FROM` has it before its variables are expanded, for there some
/// versions of the program look.
fn calls(program: &slipway_dockerfile::Program, name: &str) -> Vec<String> {
    let mut calls = vec![name.to_owned()];
    for stage in 0..=program.target() {
        let written = program.written_base(stage);
        let same = program.head(stage).is_ok_and(|head| head.base == Origin::Image(name.to_owned()));
        if same && !written.contains('=') && !calls.iter().any(|call| call == written) {
            calls.push(written.to_owned());
        }
    }
    calls
}

fn own_name(attempt: &str, at: usize) -> String {
    format!("{NAMES}:{attempt}-{at}")
}

#[derive(Deserialize)]
struct Found {
    containername: String,
}

/// Removes what the build in the directory `place` has left: containers, and names.
pub(crate) async fn sweep(program: &Program, place: &Path) -> Result<(), BackendError> {
    let doing = "remove what the build of a Dockerfile has left";
    let said = program.ask(doing, &["containers", "--json"]).await?;
    let containers: Option<Vec<Found>> =
        serde_json::from_str(&said).map_err(|error| BackendError::Engine(format!("{doing}: {error}")))?;
    for Found { containername: name } in containers.into_iter().flatten() {
        // Those of stages are named by their attempts.
        if attempt_of(&name).is_some() {
            continue;
        }
        // One that is gone meanwhile is nobody's.
        let answer = program.answer(doing, &["inspect", "--format", MARK, &name]).await?;
        if Path::new(String::from_utf8_lossy(&answer.said).trim()) == place {
            program.ask(doing, &["rm", &name]).await?;
        }
    }
    let attempt = place.file_name().and_then(|name| name.to_str()?.strip_prefix("attempt-")).unwrap_or_default();
    let own = format!("{NAMES}:{attempt}-");
    let filter = format!("reference={own}*");
    let listed = list(program, doing, &["--filter", &filter]).await?;
    for name in listed.iter().flat_map(Listed::names).filter(|name| name.starts_with(&own)) {
        images::untag(program, name).await;
    }
    Ok(())
}
