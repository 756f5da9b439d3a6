//! What is still to be done when all images are stored: those that run go to the final repository.

use slipway_config::ImageName;
use slipway_protocol::Delivery;
use slipway_stages::{
    StageKind,
    build::{BuildFailure, BuiltImage},
};
use slipway_storage::StorageError;

use crate::outside::Outside;

/// What the final repository lacks, and what the user should know.
#[derive(Default)]
pub(crate) struct Undelivered {
    /// Each stage once, with an image that it is.
    pub(crate) missing: Vec<(ImageName, StageKind, Delivery)>,
    /// A notice.
    pub(crate) notice: Option<String>,
}

/// What is to be delivered of a finished build. That the final repository was used is recorded, so that a build that does
/// not name it can be told.
pub(crate) async fn undelivered(outside: &Outside, images: &[BuiltImage]) -> Result<Undelivered, BuildFailure> {
    let Some(image) = images.iter().find_map(|image| image.names.first()) else { return Ok(Undelivered::default()) };
    let failed = |what: &str, error: StorageError| BuildFailure::Unanswered {
        image: image.clone(),
        why: format!("{what}: {error}"),
    };
    let (place, records) = (outside.primary.name(), &outside.records);
    let noted = records.final_repo().await;
    let noted = noted.map_err(|error| failed(&format!("read which final repository is used with {place}"), error))?;
    let Some(final_repo) = &outside.beside.final_repo else {
        let notice = noted.map(|repo| {
            format!(
                "the final repository {repo} was used with {place} before, and this build does not fill it: give it with \
                 --final-repo"
            )
        });
        return Ok(Undelivered { missing: Vec::new(), notice });
    };
    let repo = final_repo.repo();
    if noted.as_deref() != Some(&repo.to_string()) {
        let written = records.set_final_repo(repo).await;
        written.map_err(|error| failed(&format!("record in {place} that {repo} is its final repository"), error))?;
    }
    let runs = images.iter().filter(|image| image.is_run());
    let runs: Vec<_> =
        runs.filter_map(|image| Some((image.names.first()?, image.lasts().next()?.kind, image.whole()?))).collect();
    let tags: Vec<String> = runs.iter().map(|(_, _, (tag, _))| tag.clone()).collect();
    let missing = final_repo.missing(&tags).await;
    let missing = missing.map_err(|error| failed(&format!("list the final repository {repo}"), error))?;
    let delivery = |missing: String| {
        let (name, kind, (tag, at)) = runs.iter().find(|(_, _, (tag, _))| *tag == missing)?;
        Some(((*name).clone(), *kind, Delivery { image: (*at).clone(), tag: tag.clone(), to: repo.clone() }))
    };
    Ok(Undelivered { missing: missing.into_iter().filter_map(delivery).collect(), notice: None })
}
