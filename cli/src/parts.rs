//! Staged Dockerfiles, taken apart as the commit has them.

use std::collections::BTreeMap;

use slipway_config::{DockerfileImage, Image, ImageName};
use slipway_digest::CommitId;
use slipway_git::GitView as _;
use slipway_oci::Platform;
use slipway_stages::Graph;

use crate::{failure::Failure, project::Project};

/// The same graph with the parts of staged Dockerfiles as images of their own. Blocks. `contexts` are the commits of images whose
/// context is not of the commit that is built; `otherwise` is the platform of images of which nothing is said.
///
/// # Errors
/// When a Dockerfile is not there, or is wrong.
pub(crate) fn apart(
    project: &Project,
    graph: &Graph,
    contexts: &BTreeMap<ImageName, CommitId>,
    otherwise: &Platform,
) -> Result<Graph, Failure> {
    let read = |image: &Image, dockerfile: &DockerfileImage| {
        let path = project.prefix.join(dockerfile.dockerfile.as_bytes());
        let commit = contexts.get(image.name()).copied().unwrap_or(project.commit);
        let found = project.repository.read(commit, &path);
        let found = found.map_err(|error| format!("read the Dockerfile `{path}` of commit {commit}: {error}"))?;
        let bytes = found.ok_or_else(|| format!("the Dockerfile `{path}` is not in commit {}", project.commit))?;
        Ok((path.to_string(), String::from_utf8_lossy(&bytes).into_owned()))
    };
    graph.with_parts(otherwise, read).map_err(|error| {
        let place = project.rendering.place_of_line(error.line);
        Failure::project_text(format!("image {} ({place}): {}", error.image, error.why))
    })
}
