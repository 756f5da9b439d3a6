//! Images of the engine: named, looked at, moved in and out.
//!
//! What came from or went to a repository keeps a tag `slipway-cache:sha256-MANIFEST`, so that it is known again by its
//! manifest, and is not dangling. Such a tag may be removed at any time: the image is then pulled again.

use std::collections::BTreeMap;

use bollard::{
    models::ImageInspect,
    query_parameters::{CreateImageOptions, PushImageOptions, RemoveImageOptions, TagImageOptions},
};
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use slipway_backend::{BackendError, Door, ImageLink, LocalImage, Pushed, pulls::Pulls};
use slipway_oci::{
    BlobDigest, ImageAt, ImageConfig, Platform, Reference, Repo,
    config::{Healthcheck, RootFs, RunConfig},
};

use crate::{
    engine::Engine,
    error::{failed, is_conflict, is_missing},
};

/// Repository of the tags by which images are known again.
pub(crate) const CACHE: &str = "slipway-cache";

/// Looks at an image; `None` when there is none of that name.
pub(crate) async fn inspect(engine: &Engine, name: &str) -> Result<Option<ImageInspect>, BackendError> {
    match engine.docker.inspect_image(name).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(failed(&format!("look at the local image {name}"), error)),
    }
}

/// The image that was looked at.
pub(crate) fn local(found: &ImageInspect) -> Result<LocalImage, BackendError> {
    let id = found.id.as_deref().unwrap_or_default();
    let id = id.parse().map_err(|error| BackendError::Engine(format!("read the engine's answer: {error}")))?;
    Ok(LocalImage { id })
}

/// Makes an image of a repository local.
pub(crate) async fn pull(
    engine: &Engine,
    pulls: &Pulls,
    link: &dyn ImageLink,
    image: &ImageAt,
) -> Result<LocalImage, BackendError> {
    if image.repo.host.is_empty() {
        // In the local storage, images go by their ids.
        let found = inspect(engine, image.digest.as_str()).await?;
        let found = local(&found.ok_or_else(|| BackendError::Gone(image.to_string()))?)?;
        engine.uses.note(&found.id);
        return Ok(found);
    }
    let pull = pulls.of(&image.digest);
    let _one = pull.lock().await;
    let cached = cache_tag(&image.digest);
    if let Some(found) = inspect(engine, &cached).await? {
        let found = local(&found)?;
        engine.uses.note(&found.id);
        return Ok(found);
    }
    let door = link.pull_door(image).await?;
    let reference = door.reference();
    let doing = format!("pull {image}");
    let options = CreateImageOptions { from_image: Some(reference.clone()), ..CreateImageOptions::default() };
    let pulled = engine.docker.create_image(Some(options), None, None).try_for_each(|_| async { Ok(()) }).await;
    pulled.map_err(|error| pull_failed(&doing, image, error))?;
    let untag = Untag { engine: engine.clone(), reference };
    let found = inspect(engine, &untag.reference).await?.ok_or_else(|| BackendError::Gone(image.to_string()))?;
    let pulled = local(&found)?;
    engine.uses.note(&pulled.id);
    tag(engine, &pulled, CACHE, &cached[CACHE.len() + 1..]).await?;
    untag.now().await;
    Ok(pulled)
}

/// Whether an image was pulled before.
pub(crate) async fn is_here(engine: &Engine, image: &ImageAt) -> bool {
    matches!(inspect(engine, &cache_tag(&image.digest)).await, Ok(Some(_)))
}

fn pull_failed(doing: &str, image: &ImageAt, error: bollard::errors::Error) -> BackendError {
    let text = error.to_string().to_lowercase();
    let gone = is_missing(&error) || text.contains("manifest unknown") || text.contains("not found");
    if gone { BackendError::Gone(image.to_string()) } else { failed(doing, error) }
}

/// Stores an image in a repository, untagged.
pub(crate) async fn push(
    engine: &Engine,
    link: &dyn ImageLink,
    image: &LocalImage,
    to: &Repo,
    attempt: &str,
) -> Result<Pushed, BackendError> {
    // The door's tag may be the image's only one, and with its last tag an image goes.
    let kept = format!("id-{}", hex_of(&image.id));
    engine.uses.note(&image.id);
    tag(engine, image, CACHE, &kept).await?;
    let door = link.push_door(to, attempt).await?;
    let reference = door.reference();
    let pushed = push_through(engine, door.as_ref(), image, &reference, to).await?;
    tag(engine, image, CACHE, &cache_tag(&pushed.manifest)[CACHE.len() + 1..]).await?;
    untag(engine, &format!("{CACHE}:{kept}")).await;
    Ok(pushed)
}

async fn push_through(
    engine: &Engine,
    door: &dyn Door,
    image: &LocalImage,
    reference: &str,
    to: &Repo,
) -> Result<Pushed, BackendError> {
    let (name, version) = split_tag(reference);
    tag(engine, image, name, version).await?;
    let untag = Untag { engine: engine.clone(), reference: reference.to_owned() };
    let options = PushImageOptions { tag: Some(version.to_owned()), platform: None };
    let sent = engine.docker.push_image(name, Some(options), None).try_for_each(|_| async { Ok(()) }).await;
    sent.map_err(|error| failed(&format!("push an image to {to}"), error))?;
    let pushed = door.pushed().await;
    untag.now().await;
    pushed
}

/// `NAME:TAG` in two; a colon in the host is no tag.
pub(crate) fn split_tag(reference: &str) -> (&str, &str) {
    let last = reference.rfind('/').map_or(0, |at| at + 1);
    match reference[last..].find(':') {
        Some(at) => (&reference[..last + at], &reference[last + at + 1..]),
        None => (reference, "latest"),
    }
}

/// Gives an image a name.
pub(crate) async fn tag(engine: &Engine, image: &LocalImage, repo: &str, tag: &str) -> Result<(), BackendError> {
    let options = TagImageOptions { repo: Some(repo.to_owned()), tag: Some(tag.to_owned()) };
    engine.docker.tag_image(image.id.as_str(), Some(options)).await.map_err(|error| {
        if is_missing(&error) {
            BackendError::Gone(image.id.to_string())
        } else {
            failed(&format!("tag {} as {repo}:{tag}", image.id), error)
        }
    })
}

/// Takes a door's name off an image, also when the push was given up in the middle.
struct Untag {
    engine: Engine,
    reference: String,
}

impl Untag {
    async fn now(mut self) {
        let reference = std::mem::take(&mut self.reference);
        untag(&self.engine, &reference).await;
    }
}

impl Drop for Untag {
    fn drop(&mut self) {
        if self.reference.is_empty() {
            return;
        }
        let (engine, reference) = (self.engine.clone(), std::mem::take(&mut self.reference));
        self.engine.in_background(async move { untag(&engine, &reference).await });
    }
}

async fn untag(engine: &Engine, reference: &str) {
    let options = RemoveImageOptions { force: false, noprune: true, platforms: None };
    if let Err(error) = engine.docker.remove_image(reference, Some(options), None).await
        && !is_missing(&error)
    {
        tracing::warn!(reference, %error, "a temporary name of an image could not be removed");
    }
}

/// The local image of a user's reference, when it is for the platform.
pub(crate) async fn find(
    engine: &Engine,
    reference: &Reference,
    platform: &Platform,
) -> Result<Option<LocalImage>, BackendError> {
    let Some(found) = inspect(engine, &spelled(reference)).await? else { return Ok(None) };
    let same = |given: &Option<String>, wanted: &str| given.as_deref().is_none_or(|given| given == wanted);
    let variant = found.variant.clone().filter(|variant| !variant.is_empty());
    let variants_agree = platform.variant.is_none() || variant.is_none() || platform.variant == variant;
    let fits = same(&found.os, &platform.os) && same(&found.architecture, &platform.arch) && variants_agree;
    if fits { local(&found).map(Some) } else { Ok(None) }
}

/// A reference as the engine takes it.
fn spelled(reference: &Reference) -> String {
    let repo = &reference.repo;
    match (&reference.digest, &reference.tag) {
        (Some(digest), _) => format!("{repo}@{digest}"),
        (None, tag) => format!("{repo}:{}", tag.as_deref().unwrap_or("latest")),
    }
}

/// Forgets an image, unless something other than our own cache names it.
pub(crate) async fn remove(engine: &Engine, image: &LocalImage) -> Result<(), BackendError> {
    let Some(found) = inspect(engine, image.id.as_str()).await? else { return Ok(()) };
    let own = format!("{CACHE}:");
    let (ours, others): (Vec<String>, Vec<String>) =
        found.repo_tags.unwrap_or_default().into_iter().partition(|tag| tag.starts_with(&own));
    for tag in &ours {
        untag(engine, tag).await;
    }
    if !others.is_empty() {
        return Ok(());
    }
    // Untagged images below it stay: another build may stand on them.
    let options = RemoveImageOptions { force: false, noprune: true, platforms: None };
    match engine.docker.remove_image(image.id.as_str(), Some(options), None).await {
        Ok(_) => Ok(()),
        // Gone with its last tag, or something stands on it: then it goes with that.
        Err(error) if is_missing(&error) || is_conflict(&error) => Ok(()),
        Err(error) => Err(failed(&format!("remove the image {}", image.id), error)),
    }
}

/// The config of a local image.
pub(crate) async fn config(engine: &Engine, image: &LocalImage) -> Result<ImageConfig, BackendError> {
    let found = inspect(engine, image.id.as_str()).await?;
    Ok(image_config(found.ok_or_else(|| BackendError::Gone(image.id.to_string()))?))
}

/// An engine's answer as the document that it stands for.
pub(crate) fn image_config(found: ImageInspect) -> ImageConfig {
    let keys = |list: Vec<String>| list.into_iter().map(|key| (key, json!({}))).collect::<BTreeMap<_, _>>();
    let config = found.config.unwrap_or_default();
    let mut other = BTreeMap::new();
    for (name, list) in [("OnBuild", config.on_build), ("Shell", config.shell)] {
        if let Some(list) = list.filter(|list| !list.is_empty()) {
            other.insert(name.to_owned(), Value::from(list));
        }
    }
    let healthcheck = config.healthcheck.map(|check| Healthcheck {
        test: check.test.unwrap_or_default(),
        interval: check.interval.unwrap_or_default(),
        timeout: check.timeout.unwrap_or_default(),
        start_period: check.start_period.unwrap_or_default(),
        retries: check.retries.unwrap_or_default(),
        start_interval: check.start_interval.unwrap_or_default(),
    });
    let run = RunConfig {
        user: config.user.unwrap_or_default(),
        exposed_ports: config.exposed_ports.map(keys),
        env: config.env,
        entrypoint: config.entrypoint,
        cmd: config.cmd,
        volumes: config.volumes.map(keys),
        working_dir: config.working_dir.unwrap_or_default(),
        labels: config.labels.map(BTreeMap::from_iter),
        stop_signal: config.stop_signal.filter(|signal| !signal.is_empty()),
        healthcheck,
        other,
    };
    let layers = found.root_fs.and_then(|root| root.layers).unwrap_or_default();
    ImageConfig {
        architecture: found.architecture.unwrap_or_default(),
        os: found.os.unwrap_or_default(),
        variant: found.variant.filter(|variant| !variant.is_empty()),
        created: found.created.map(|time| time.to_rfc3339()),
        config: run,
        rootfs: RootFs { kind: "layers".to_owned(), diff_ids: layers },
        other: BTreeMap::new(),
    }
}

/// The tag by which an image is known again by its manifest.
pub(crate) fn cache_tag(manifest: &BlobDigest) -> String {
    format!("{CACHE}:sha256-{}", hex_of(manifest))
}

fn hex_of(digest: &BlobDigest) -> &str {
    digest.as_str().trim_start_matches("sha256:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_split_off() {
        for (reference, parts) in [
            ("127.0.0.1:5000/a/b:c", ("127.0.0.1:5000/a/b", "c")),
            ("127.0.0.1:5000/a", ("127.0.0.1:5000/a", "latest")),
            ("a:b", ("a", "b")),
        ] {
            assert_eq!(split_tag(reference), parts);
        }
    }
}
