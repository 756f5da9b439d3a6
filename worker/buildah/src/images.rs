//! Images of the program's storage: named, and moved in and out.
//!
//! What came from or went to a repository keeps a name `slipway-cache:sha256-MANIFEST`, so that it is known again by its
//! manifest. Such a name may be removed at any time: the image is then pulled again. What is neither there nor a stage yet
//! is named `slipway-cache:id-ID`.

use serde::Deserialize;
use slipway_backend::{BackendError, Door, ImageLink, LocalImage, Pushed, STEADY_HOST, pulls::Pulls};
use slipway_layers::codec::Compression;
use slipway_oci::{BlobDigest, ImageAt, Platform, Reference, Repo};

use crate::{
    document::{inspect, of_id},
    error::{failed, is_missing},
    program::Program,
};

/// Names without a host belong to this one.
pub(crate) const LOCAL: &str = "localhost/";
/// Repository of the names by which images are known again.
pub(crate) const CACHE: &str = "localhost/slipway-cache";
/// What the program complains of when something stands on an image.
pub(crate) const IN_USE: &str = "in use by";

/// An image in the program's list.
#[derive(Deserialize)]
pub(crate) struct Listed {
    /// Its names, with their host.
    #[serde(default)]
    names: Option<Vec<String>>,
}

impl Listed {
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().flatten().map(String::as_str)
    }
}

/// Images whose name is like this, or the one of this id; none when there is no such image.
pub(crate) async fn list(program: &Program, doing: &str, which: &[&str]) -> Result<Vec<Listed>, BackendError> {
    let arguments = [&["images", "--json", "--no-trunc"], which].concat();
    let answer = program.answer(doing, &arguments).await?;
    match answer.complaint {
        None => {}
        Some(complaint) if is_missing(&complaint) => return Ok(Vec::new()),
        Some(complaint) => return Err(failed(doing, &complaint)),
    }
    let listed: Result<Option<Vec<Listed>>, _> = serde_json::from_slice(&answer.said);
    listed.map(Option::unwrap_or_default).map_err(|error| BackendError::Engine(format!("{doing}: {error}")))
}

/// A door as the program is told of it. It remembers which layers a host has: under the address of a gateway, which each process
/// has anew, it would send all of them again.
struct Way {
    reference: String,
    proxy: String,
}

impl Way {
    fn through(door: &dyn Door) -> Self {
        let reference = door.reference();
        let mut parts = reference.splitn(3, '/');
        let mut part = || parts.next().unwrap_or_default();
        let (address, token, rest) = (part(), part(), part());
        // An image's name is its own: another process would take it off an image that has come meanwhile.
        Self { reference: format!("{STEADY_HOST}/{token}/{rest}"), proxy: format!("http://{token}:x@{address}") }
    }
}

/// Whether an image was pulled before.
pub(crate) async fn is_here(program: &Program, image: &ImageAt) -> bool {
    matches!(inspect(program, &cache_name(&image.digest)).await, Ok(Some(_)))
}

/// Makes an image of a repository local.
pub(crate) async fn pull(
    program: &Program,
    pulls: &Pulls,
    link: &dyn ImageLink,
    image: &ImageAt,
) -> Result<LocalImage, BackendError> {
    let gone = || BackendError::Gone(image.to_string());
    if image.repo.host.is_empty() {
        // In the local storage, images go by their ids.
        return Ok(inspect(program, image.digest.as_str()).await?.ok_or_else(gone)?.image);
    }
    let pull = pulls.of(&image.digest);
    let _one = pull.lock().await;
    let cached = cache_name(&image.digest);
    if let Some(found) = inspect(program, &cached).await? {
        return Ok(found.image);
    }
    let door = link.pull_door(image).await?;
    let Way { reference, proxy } = Way::through(door.as_ref());
    let doing = format!("pull {image}");
    let (policy, from) = (program.policy.to_string_lossy(), format!("docker://{reference}"));
    let arguments = ["pull", "--quiet", "--signature-policy", &policy, "--tls-verify=false", &from];
    let answer = program.through(Some(&proxy), &doing, &arguments).await?;
    if let Some(complaint) = answer.complaint {
        return Err(if is_missing(&complaint) { gone() } else { failed(&doing, &complaint) });
    }
    let said = String::from_utf8_lossy(&answer.said);
    let pulled = of_id(said.lines().last().unwrap_or_default());
    let pulled = pulled.map_err(|why| BackendError::Engine(format!("{doing}: {why}")))?;
    tag(program, &pulled, &cached).await?;
    untag(program, &reference).await;
    Ok(pulled)
}

/// Stores an image in a repository, untagged.
pub(crate) async fn push(
    program: &Program,
    link: &dyn ImageLink,
    compression: Compression,
    (image, to, attempt): (&LocalImage, &Repo, &str),
) -> Result<Pushed, BackendError> {
    let door = link.push_door(to, attempt).await?;
    let doing = format!("push an image to {to}");
    let way = Way::through(door.as_ref());
    let (policy, reference) = (program.policy.to_string_lossy(), format!("docker://{}", way.reference));
    let mut arguments = vec!["push", "--quiet", "--signature-policy", &policy, "--tls-verify=false"];
    if compression == Compression::Zstd {
        arguments.extend(["--compression-format", "zstd"]);
    }
    arguments.extend([image.id.as_str(), &reference]);
    let answer = program.through(Some(&way.proxy), &doing, &arguments).await?;
    // What the door has to say of a failure is nearer to its cause.
    let pushed = match (door.pushed().await, answer.complaint) {
        (Ok(pushed), None) => pushed,
        (_, Some(complaint)) if is_missing(&complaint) => return Err(BackendError::Gone(image.id.to_string())),
        (Err(error), None) => return Err(error),
        (Err(error), Some(_)) if !error.is_retryable() => return Err(error),
        (_, Some(complaint)) => return Err(failed(&doing, &complaint)),
    };
    tag(program, image, &cache_name(&pushed.manifest)).await?;
    kept(program, image).await;
    Ok(pushed)
}

/// Gives an image a name.
pub(crate) async fn tag(program: &Program, image: &LocalImage, name: &str) -> Result<(), BackendError> {
    let doing = format!("name {} {name}", image.id);
    let answer = program.answer(&doing, &["tag", image.id.as_str(), name]).await?;
    match answer.complaint {
        None => Ok(()),
        Some(complaint) if is_missing(&complaint) => Err(BackendError::Gone(image.id.to_string())),
        Some(complaint) => Err(failed(&doing, &complaint)),
    }
}

/// Takes a name off an image that has another.
pub(crate) async fn untag(program: &Program, name: &str) {
    match program.answer("take a name off an image", &["rmi", name]).await {
        Ok(answer) => {
            if let Some(why) = answer.complaint.filter(|why| !is_missing(why)) {
                tracing::warn!(name, why, "a temporary name of an image could not be removed");
            }
        }
        Err(error) => tracing::warn!(name, %error, "a temporary name of an image could not be removed"),
    }
}

/// The local image of a user's reference, when it is for the platform.
pub(crate) async fn find(
    program: &Program,
    reference: &Reference,
    platform: &Platform,
) -> Result<Option<LocalImage>, BackendError> {
    let repo = &reference.repo;
    let name = match (&reference.digest, &reference.tag) {
        (Some(digest), _) => format!("{repo}@{digest}"),
        (None, tag) => format!("{repo}:{}", tag.as_deref().unwrap_or("latest")),
    };
    let Some(found) = inspect(program, &name).await? else { return Ok(None) };
    let same = |given: &str, wanted: &str| given.is_empty() || given == wanted;
    let variant = found.config.variant.filter(|variant| !variant.is_empty());
    let variants_agree = platform.variant.is_none() || variant.is_none() || platform.variant == variant;
    let fits = same(&found.config.os, &platform.os) && same(&found.config.architecture, &platform.arch);
    Ok((fits && variants_agree).then_some(found.image))
}

/// Forgets an image, unless something other than our own cache names it.
pub(crate) async fn remove(program: &Program, image: &LocalImage) -> Result<(), BackendError> {
    let doing = format!("remove the image {}", image.id);
    let listed = list(program, &doing, &[image.id.as_str()]).await?;
    let names: Vec<&str> = listed.iter().flat_map(Listed::names).collect();
    if listed.is_empty() || names.iter().any(|name| !name.starts_with(CACHE)) {
        return Ok(());
    }
    // An image goes with its last name.
    let which = if names.is_empty() { vec![image.id.as_str()] } else { names };
    let answer = program.answer(&doing, &[&["rmi"], which.as_slice()].concat()).await?;
    match answer.complaint {
        Some(complaint) if !is_missing(&complaint) && !complaint.contains(IN_USE) => Err(failed(&doing, &complaint)),
        // Gone, or something stands on it: then it goes with that.
        _ => Ok(()),
    }
}

/// Names an image that no stage names yet: an image without a name goes together with the last one on top of it.
pub(crate) async fn keep(program: &Program, image: &LocalImage) -> Result<(), BackendError> {
    tag(program, image, &id_name(image)).await
}

/// Takes that name off an image that has got another.
pub(crate) async fn kept(program: &Program, image: &LocalImage) {
    untag(program, &id_name(image)).await;
}

/// The name of an image without any other.
pub(crate) fn id_name(image: &LocalImage) -> String {
    format!("{CACHE}:id-{}", image.id.as_str().trim_start_matches("sha256:"))
}

/// The name by which an image is known again by its manifest.
fn cache_name(manifest: &BlobDigest) -> String {
    format!("{CACHE}:{}", manifest.as_str().replace(':', "-"))
}
