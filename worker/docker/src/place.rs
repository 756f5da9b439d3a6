//! Putting an archive to its place in a container that is not running.

use std::sync::{Arc, Mutex, PoisonError};

use bollard::query_parameters::UploadToContainerOptions;
use futures::{StreamExt as _, TryStreamExt as _};
use slipway_backend::{
    BackendError, ByteStream,
    retar::{self, Kind, Predicate, Rewrite, RootEntry},
};
use slipway_paths::TreePath;

use crate::{
    accounts::{Account, resolve},
    container::{Container, Found},
    error::{archive_failed, failed},
};

/// Directories that many base images have as symbolic links: an archive that brings the directory must not replace
/// the link, which would hide half of the system.
const USUAL_LINKS: [&str; 10] =
    ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "var/run", "var/lock", "var/mail", "usr/tmp"];

/// An archive that waits for its container.
pub(crate) struct Pending {
    pub(crate) tar: ByteStream,
    pub(crate) to: String,
    /// Whether it is a single file: `to` is its path, or a directory that it goes into.
    pub(crate) single: bool,
    pub(crate) owner: Option<String>,
    pub(crate) group: Option<String>,
}

/// Where an archive goes.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    /// A directory that is there.
    existing: String,
    /// The directories to be made below it; the last is the archive's own root.
    missing: Vec<String>,
}

impl Pending {
    /// Unpacks the archive in the container.
    pub(crate) async fn put(self, container: &Container) -> Result<(), BackendError> {
        let doing = format!("put files to {}", self.to);
        let (to, name) = if self.single { of_file(container, &self.to).await? } else { (self.to.clone(), None) };
        let target = find_target(container, &to).await?;
        let uid = match &self.owner {
            Some(name) => Some(resolve(container, Account::User, name).await?),
            None => None,
        };
        let gid = match &self.group {
            Some(name) => Some(resolve(container, Account::Group, name).await?),
            None => None,
        };
        let links = if target.missing.is_empty() { kept_links(container, &target.existing).await? } else { Vec::new() };
        let rewrite = Rewrite { uid, gid, single: name, ..target.rewrite(links) };
        upload(container, &doing, retar::stream(self.tar, rewrite)).await
    }
}

/// The directory that a single file goes to on its way to `to`, and what it is called there, if not as in the archive.
async fn of_file(container: &Container, to: &str) -> Result<(String, Option<Vec<u8>>), BackendError> {
    let path = to.trim_end_matches('/');
    if path.is_empty() || is_directory(container, path).await? {
        return Ok((to.to_owned(), None));
    }
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    Ok((if above.is_empty() { "/" } else { above }.to_owned(), Some(name.as_bytes().to_vec())))
}

/// Whether a directory, or a link to one, stands at a path.
async fn is_directory(container: &Container, path: &str) -> Result<bool, BackendError> {
    Ok(match container.look(path).await? {
        Found::Directory => true,
        Found::Link(end) => container.look(&end).await? == Found::Directory,
        Found::File | Found::Missing => false,
    })
}

impl Target {
    fn rewrite(&self, links: Vec<TreePath>) -> Rewrite {
        let existing = TreePath::root().join(self.existing.trim_matches('/').as_bytes());
        let prefix = |count: usize| existing.join(self.missing[..count].join("/").as_bytes());
        let count = self.missing.len();
        let keep: Predicate = Box::new(move |path, kind| kind != Kind::Directory || !links.contains(path));
        Rewrite {
            prefix: prefix(count),
            parents: (1..count).map(prefix).collect(),
            root: if count == 0 { RootEntry::Drop } else { RootEntry::Make },
            keep: Some(keep),
            ..Rewrite::default()
        }
    }
}

/// Follows `to` as far as it exists.
async fn find_target(container: &Container, to: &str) -> Result<Target, BackendError> {
    let refuse = |why: &str| BackendError::Refused(format!("files cannot be put to {to}: {why}"));
    if !to.starts_with('/') {
        return Err(refuse("the path must be absolute"));
    }
    let cleaned = TreePath::new(to).map_err(|error| refuse(&error.to_string()))?;
    let mut existing = format!("/{cleaned}");
    let mut missing = Vec::new();
    loop {
        let found = match container.look(&existing).await? {
            Found::Link(end) => {
                let behind = container.look(&end).await?;
                existing = end;
                behind
            }
            other => other,
        };
        match found {
            Found::Directory => break,
            Found::File | Found::Link(_) => return Err(refuse(&format!("{existing} of the image is no directory"))),
            Found::Missing => {
                let Some((parent, name)) = existing.rsplit_once('/').filter(|(_, name)| !name.is_empty()) else {
                    return Err(BackendError::Engine("look at / in a container: it is not there".to_owned()));
                };
                missing.insert(0, name.to_owned());
                existing = if parent.is_empty() { "/".to_owned() } else { parent.to_owned() };
            }
        }
    }
    Ok(Target { existing, missing })
}

/// Which of the usual links are there below `existing`, relative to it.
async fn kept_links(container: &Container, existing: &str) -> Result<Vec<TreePath>, BackendError> {
    let base = TreePath::new(existing).unwrap_or_default();
    let mut links = Vec::new();
    for name in USUAL_LINKS {
        let Some(below) = TreePath::new(name).ok().and_then(|path| path.below(&base)).filter(|path| !path.is_root())
        else {
            continue;
        };
        if let Found::Link(end) = container.look(&format!("/{name}")).await?
            && container.look(&end).await? == Found::Directory
        {
            links.push(below);
        }
    }
    Ok(links)
}

/// Sends an archive of the whole file system: an engine refuses symbolic links that lead out of the directory which it is
/// told to unpack in. When the archive itself fails, that is the error, not the broken request.
async fn upload(container: &Container, doing: &str, tar: ByteStream) -> Result<(), BackendError> {
    let broken = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&broken);
    let note = |error: &std::io::Error| archive_failed("read the archive of files", error);
    let body = tar
        .map_err(move |error| {
            *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(note(&error));
            error
        })
        .boxed();
    let path = "/".to_owned();
    let options = UploadToContainerOptions { path, no_overwrite_dir_non_dir: None, copy_uidgid: None };
    let docker = &container.engine().docker;
    let sent = docker.upload_to_container(container.name(), Some(options), bollard::body_try_stream(body)).await;
    let cause = broken.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (cause, sent) {
        (Some(cause), _) => Err(cause),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) => Err(failed(doing, error)),
    }
}
