//! The result of a stage job on its way to where builds go: untagged in a repository and its caches, or as it is in the
//! local storage.

use std::time::Duration;

use slipway_backend::LocalImage;
use slipway_oci::{ImageAt, Repo};
use slipway_protocol::{Assignment, Delivery, Failure, Uploaded};
use slipway_registry::CopyError;
use slipway_stages::{Original, Place, StageBody, StagePlan};
use slipway_storage::beside::copy;

use super::{Runner, failure};

/// Stores an image that this host has.
pub(super) async fn built(
    runner: &Runner,
    assignment: &Assignment,
    plan: &StagePlan,
    image: &LocalImage,
    started: Duration,
) -> Result<Uploaded, Failure> {
    let Some(repo) = &assignment.push_to else {
        let repo = Repo { host: String::new(), path: plan.project.clone() };
        let at = ImageAt { repo, digest: image.id.clone() };
        return Ok(uploaded(runner, assignment, (at, image.clone(), 0), started));
    };
    let doing = format!("push the stage to {repo}");
    let pushed = runner.backend.push(image, repo, &assignment.attempt.id).await;
    let pushed = pushed.map_err(|error| match &plan.body {
        // Local images may be removed at any time.
        StageBody::Copy(original) => failure::stage(&doing, &original.record.at, error),
        StageBody::Nothing
        | StageBody::Git(_)
        | StageBody::Shell { .. }
        | StageBody::Imports(_)
        | StageBody::Respec(_)
        | StageBody::Dockerfile(_)
        | StageBody::Instruction(_) => failure::backend(&doing, error),
    })?;
    runner.holds.note(&pushed.manifest, &image.id).await;
    let at = ImageAt { repo: repo.clone(), digest: pushed.manifest };
    for cache in runner.caches.named(&assignment.caches) {
        if cache.has(&at.digest).await || cache.is_resting() {
            continue;
        }
        match runner.backend.push(image, cache.repo(), &assignment.attempt.id).await {
            Ok(pushed) if pushed.manifest == at.digest => {}
            // An engine may compress the same layer in more than one way.
            Ok(_) => cache.fill(&at, repo, None).await,
            Err(error) => cache.failed(&format!("push the stage to it: {error}")),
        }
    }
    Ok(uploaded(runner, assignment, (at, image.clone(), pushed.size), started))
}

/// Stores a stage of another repository, whose layers do not pass through the engine.
pub(super) async fn copied(
    runner: &Runner,
    assignment: &Assignment,
    original: &Original,
    started: Duration,
) -> Result<Uploaded, Failure> {
    let from = &original.record.at;
    let doing = |to: &Repo| format!("copy the stage {}:{} to {to}", from.repo, original.record.id);
    let Some(to) = &assignment.push_to else {
        return Err(failure::plain("copy a stage of a repository to the local storage: that is not done".to_owned()));
    };
    let copied = copy::as_attempt(runner.caches.client(), from, to, &assignment.attempt.id).await;
    let copied = copied.map_err(|error| not_copied(original, doing(to), error))?;
    let at = to.at(copied.manifest);
    for cache in runner.caches.named(&assignment.caches) {
        cache.fill(&at, &from.repo, None).await;
    }
    let image = LocalImage { id: original.record.image_id.clone() };
    Ok(uploaded(runner, assignment, (at, image, copied.size), started))
}

/// Brings a stored image to the final repository, as it is.
pub(super) async fn delivered(runner: &Runner, delivery: &Delivery) -> Result<(), Failure> {
    let Delivery { image, tag, to } = delivery;
    let copied = copy::with_platforms(runner.caches.client(), image, to, tag).await;
    copied.map_err(|error| {
        let error = error.into_inner();
        let why = format!("copy the image {}:{tag} to the final repository {to}: {error}", image.repo);
        Failure { retryable: error.is_retryable(), ..failure::plain(why) }
    })
}

/// What it means that a stage could not be copied. One that is not there any more is built instead, and so is one of a
/// cache that fails.
fn not_copied(original: &Original, doing: String, error: CopyError) -> Failure {
    let of_cache = matches!((&original.place, &error), (Place::Cache(_), CopyError::Source(_)));
    let lost = error.source_is_lost() || of_cache;
    let error = error.into_inner();
    let failure = failure::plain(format!("{doing}: {error}"));
    if lost {
        return Failure { lost: Some(original.record.at.clone()), ..failure };
    }
    Failure { retryable: error.is_retryable(), ..failure }
}

fn uploaded(
    runner: &Runner,
    assignment: &Assignment,
    (at, image, size): (ImageAt, LocalImage, u64),
    started: Duration,
) -> Uploaded {
    let took = runner.clock.monotonic().saturating_sub(started);
    let caches_failed = runner.caches.failed(&assignment.caches);
    Uploaded { at, image_id: image.id, size, took, base_pulled: false, caches_failed }
}
