//! All that is ours in an engine: images, known by their names and labels, and containers, known by their names.
//!
//! What others have made or named is never touched: an image that somebody has given a name of his own keeps that name, and
//! so stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bollard::{
    models::{ContainerSummary, ImageSummary},
    query_parameters::{ListContainersOptions, ListImagesOptions, RemoveImageOptions},
};
use slipway_backend::{BackendError, attempt::attempt_of};
use slipway_digest::StageId;
use slipway_oci::BlobDigest;
use slipway_stages::labels;

use crate::{
    SCRATCH,
    container::remove,
    engine::Engine,
    error::{failed, is_conflict, is_missing},
    images::{CACHE, inspect, split_tag},
    sweep::sweep,
    toolbox::OWN_REPOSITORY,
};

/// What the engine calls an image without a name.
const NAMELESS: &str = "<none>";
/// The tag of images on their way through a gateway.
const DOOR_TAG: &str = "stage";
/// Digits of a door's token.
const DOOR_TOKEN: usize = 32;

/// What an image of ours is there for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum What {
    /// It came from or went to a repository, and can come again.
    Cached,
    /// A stage of the local storage, which nobody else has.
    Stage,
    /// Nothing names it any more but what a killed build may have left.
    Nameless,
    /// A toolbox, or the empty image.
    Tool,
    /// Somebody has given it a name of his own, beside ours.
    Shared,
}

/// An image of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldImage {
    /// Its id.
    pub id: BlobDigest,
    /// What it is there for.
    pub what: What,
    /// Those of its names that are ours.
    pub names: Vec<String>,
    /// The project that it was built for; `None` = it was not built.
    pub project: Option<String>,
    /// Its bytes, those that it shares with other images included.
    pub bytes: u64,
    /// When it was used last by builds of this home directory, or made, where they know nothing of it.
    pub used: SystemTime,
    /// Whether builds of this home directory know of it.
    pub known: bool,
    /// Names of the containers that were made of it.
    pub containers: Vec<String>,
    /// Ids of the images that were made on top of it, whoever has made them.
    pub carries: BTreeSet<String>,
}

impl HeldImage {
    /// Whether nothing stands on it but what is `gone`. Others must not go: the engine would only take their names.
    pub fn is_free(&self, gone: &BTreeSet<String>) -> bool {
        self.carries.is_subset(gone)
    }
}

/// What became of something that was to go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Gone {
    /// It is not there any more.
    Gone,
    /// It stays: other images stand on it, or a container uses it.
    InUse(String),
}

/// What is ours in an engine.
pub struct Holdings {
    engine: Engine,
}

impl Holdings {
    /// Connects to an engine; `attempts` and `uses` as in [`DockerOptions`](crate::DockerOptions).
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn open(
        host: Option<&str>,
        certificates: Option<&Path>,
        (attempts, uses): (PathBuf, PathBuf),
    ) -> Result<Self, BackendError> {
        Ok(Self { engine: Engine::connect(host, certificates, (attempts, uses)).await? })
    }

    /// Where the engine keeps images, on its own host.
    ///
    /// # Errors
    /// When the engine does not say.
    pub async fn root(&self) -> Result<Option<PathBuf>, BackendError> {
        let doing = "ask the Docker engine where it keeps images";
        let info = self.engine.docker.info().await.map_err(|error| failed(doing, error))?;
        Ok(info.docker_root_dir.filter(|root| !root.is_empty()).map(PathBuf::from))
    }

    /// Removes build containers of this home directory whose owner is dead; answers how many went.
    ///
    /// # Errors
    /// When the engine does not list them.
    pub async fn sweep(&self) -> Result<u32, BackendError> {
        sweep(&self.engine).await
    }

    /// All images that are ours. Uses before `old` of images that are gone are forgotten.
    ///
    /// # Errors
    /// When the engine does not list them.
    pub async fn images(&self, old: SystemTime) -> Result<Vec<HeldImage>, BackendError> {
        let users = users(&self.containers().await?);
        // With those in the middle, which only others stand on.
        let options = ListImagesOptions { all: true, ..ListImagesOptions::default() };
        let listed = self.engine.docker.list_images(Some(options)).await;
        let listed = listed.map_err(|error| failed("list the images of the Docker engine", error))?;
        let mut found = Vec::new();
        for summary in &listed {
            let Some(mut image) = ours(summary) else { continue };
            let upon = listed.iter().filter(|other| other.parent_id == summary.id);
            image.carries = upon.map(|other| other.id.clone()).collect();
            image.containers = users.get(&summary.id).cloned().unwrap_or_default();
            if let Some(used) = self.engine.uses.last(&image.id) {
                (image.used, image.known) = (used, true);
            } else if let Some(tagged) = self.tagged(&image.id).await? {
                image.used = image.used.max(tagged);
            }
            found.push(image);
        }
        let there: BTreeSet<&str> = found.iter().map(|image| image.id.as_str().trim_start_matches("sha256:")).collect();
        if let Err(error) = self.engine.uses.forget_others(|name| there.contains(name), old) {
            tracing::debug!("forget uses of images that are gone: {error}");
        }
        Ok(found)
    }

    /// When an image was named last.
    async fn tagged(&self, id: &BlobDigest) -> Result<Option<SystemTime>, BackendError> {
        let found = inspect(&self.engine, id.as_str()).await?;
        let time = found.and_then(|found| found.metadata?.last_tag_time);
        let seconds = time.and_then(|time| u64::try_from(time.timestamp()).ok());
        Ok(seconds.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)))
    }

    /// Takes our names off an image, and so removes it unless it has others; with `containers`, those that use it first.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn remove(&self, image: &HeldImage, containers: bool) -> Result<Gone, BackendError> {
        if containers {
            for name in &image.containers {
                remove(&self.engine, name).await;
            }
        }
        let id = [image.id.to_string()];
        let which = if image.names.is_empty() { &id[..] } else { &image.names[..] };
        for name in which {
            // Nameless images below it stay: a build may stand on them.
            let options = RemoveImageOptions { force: false, noprune: true, platforms: None };
            match self.engine.docker.remove_image(name, Some(options), None).await {
                Ok(_) => {}
                Err(error) if is_missing(&error) => {}
                Err(error) if is_conflict(&error) => return Ok(Gone::InUse(error.to_string())),
                Err(error) => return Err(failed(&format!("remove the image {name}"), error)),
            }
        }
        Ok(Gone::Gone)
    }

    /// Names of the containers that lend a toolbox, and of build containers; those of this home directory's live builds and
    /// of other home directories among them.
    ///
    /// # Errors
    /// When the engine does not list them.
    pub async fn named_containers(&self) -> Result<(Vec<String>, Vec<String>), BackendError> {
        let (mut lenders, mut builds) = (Vec::new(), Vec::new());
        for container in self.containers().await? {
            let lends = container.image.as_deref().is_some_and(|image| split_tag(image).0 == OWN_REPOSITORY);
            for name in names(&container) {
                if attempt_of(&name).is_some() {
                    builds.push(name);
                } else if lends && name.starts_with("stapel_") {
                    lenders.push(name);
                }
            }
        }
        Ok((lenders, builds))
    }

    /// Removes a container with its volumes; whether it is gone.
    pub async fn remove_container(&self, name: &str) -> bool {
        remove(&self.engine, name).await
    }

    async fn containers(&self) -> Result<Vec<ContainerSummary>, BackendError> {
        let options = ListContainersOptions { all: true, ..ListContainersOptions::default() };
        let listed = self.engine.docker.list_containers(Some(options)).await;
        listed.map_err(|error| failed("list the containers of the Docker engine", error))
    }
}

fn names(container: &ContainerSummary) -> impl Iterator<Item = String> {
    container.names.iter().flatten().map(|name| name.trim_start_matches('/').to_owned())
}

/// Names of containers by the id of their image.
fn users(containers: &[ContainerSummary]) -> BTreeMap<String, Vec<String>> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for container in containers {
        if let Some(image) = &container.image_id {
            users.entry(image.clone()).or_default().extend(names(container));
        }
    }
    users
}

/// What one name of an image is.
enum Name {
    Cache,
    Stage,
    Door,
    Tool,
    Foreign,
}

fn name_of(name: &str, project: Option<&str>) -> Name {
    let (repo, tag) = split_tag(name);
    match repo {
        CACHE => Name::Cache,
        OWN_REPOSITORY | SCRATCH => Name::Tool,
        _ if project == Some(repo) && tag.parse::<StageId>().is_ok() => Name::Stage,
        _ if is_door(repo) && tag == DOOR_TAG => Name::Door,
        _ => Name::Foreign,
    }
}

/// Whether a name is that of an image on its way through a gateway: `127.0.0.1:PORT/TOKEN/NAME`.
fn is_door(repo: &str) -> bool {
    let mut parts = repo.split('/');
    let (host, token) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let digits = token.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    host.starts_with("127.0.0.1:") && token.len() == DOOR_TOKEN && digits && parts.count() == 1
}

/// An image as far as a listing tells; `None` = it is not ours.
fn ours(summary: &ImageSummary) -> Option<HeldImage> {
    // Other programs use the label of a project, too.
    let labelled = summary.labels.contains_key(labels::SCHEME);
    let project = summary.labels.get(labels::PROJECT).filter(|_| labelled).cloned();
    let (mut names, mut what) = (Vec::new(), None);
    let tags = summary.repo_tags.iter().filter(|tag| !tag.starts_with(NAMELESS));
    let mut foreign = false;
    for name in tags {
        let found = match name_of(name, project.as_deref()) {
            Name::Cache => What::Cached,
            Name::Stage => What::Stage,
            Name::Tool => What::Tool,
            Name::Door => What::Nameless,
            Name::Foreign => {
                foreign = true;
                continue;
            }
        };
        names.push(name.clone());
        what = Some(match (what, found) {
            // What must stay counts more than what may go.
            (Some(What::Stage), _) | (_, What::Stage) => What::Stage,
            (Some(What::Cached), _) | (_, What::Cached) => What::Cached,
            (_, found) => found,
        });
    }
    let through_door =
        || summary.repo_digests.iter().any(|digest| is_door(digest.split('@').next().unwrap_or_default()));
    let what = match what {
        Some(_) if foreign => What::Shared,
        Some(what) => what,
        // A name of somebody else alone is his.
        None if foreign => return None,
        None if labelled || through_door() => What::Nameless,
        None => return None,
    };
    Some(HeldImage {
        id: summary.id.parse().ok()?,
        what,
        names,
        project,
        bytes: u64::try_from(summary.size).unwrap_or_default(),
        used: UNIX_EPOCH + Duration::from_secs(u64::try_from(summary.created).unwrap_or_default()),
        known: false,
        containers: Vec::new(),
        carries: BTreeSet::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGE: &str = "shop:0123456789abcdef0123456789abcdef0123456789abcdef01234567-1700000000000";
    const CACHED: &str = "slipway-cache:sha256-aa";
    const DOOR: &str = "127.0.0.1:40001/0123456789abcdef0123456789abcdef/app";

    fn image(tags: &[&str], digests: &[&str], labels: &[(&str, &str)]) -> Option<(What, usize)> {
        let summary = ImageSummary {
            id: BlobDigest::of(b"image").to_string(),
            repo_tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            repo_digests: digests.iter().map(|digest| (*digest).to_owned()).collect(),
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..ImageSummary::default()
        };
        ours(&summary).map(|image| (image.what, image.names.len()))
    }

    #[test]
    fn images_are_known_by_their_names_and_labels() {
        let built = [(labels::PROJECT, "shop"), (labels::SCHEME, "1")];
        let of_werf = [(labels::PROJECT, "shop")];
        let push = format!("{DOOR}:stage");
        let pull = format!("{DOOR}@sha256:aa");
        for (tags, digests, labels, expected) in [
            (&["alpine:3"][..], &["alpine@sha256:aa"][..], &[][..], None),
            (&["<none>:<none>"], &["<none>@<none>"], &[], None),
            (&[], &[], &of_werf, None),
            (&[STAGE], &[], &of_werf, None),
            // Named by its user: his.
            (&["mine:1"], &[], &built, None),
            (&["shop:1"], &[], &built, None),
            (&[CACHED], &[], &[], Some((What::Cached, 1))),
            (&[CACHED, "alpine:3"], &[], &[], Some((What::Shared, 1))),
            (&[STAGE, "mine:1"], &[], &built, Some((What::Shared, 1))),
            (&[CACHED, STAGE], &[], &built, Some((What::Stage, 2))),
            (&[CACHED, push.as_str()], &[], &built, Some((What::Cached, 2))),
            (&[], &[], &built, Some((What::Nameless, 0))),
            (&["<none>:<none>"], &[], &built, Some((What::Nameless, 0))),
            (&[push.as_str()], &[], &[], Some((What::Nameless, 1))),
            (&[], &[pull.as_str()], &[], Some((What::Nameless, 0))),
            (&["alpine:3"], &[pull.as_str()], &[], None),
            (&["slipway-toolbox:1"], &[], &[], Some((What::Tool, 1))),
            (&["slipway-scratch:linux-amd64"], &[], &[], Some((What::Tool, 1))),
            (&["127.0.0.1:5000/team/app:stage"], &[], &[], None),
            (&["other/slipway-cache:1"], &[], &[], None),
        ] {
            assert_eq!(image(tags, digests, labels), expected, "{tags:?} {digests:?} {labels:?}");
        }
    }
}
