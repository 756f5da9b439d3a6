//! Repositories of others that a project takes files from: their copies on this host, and the commits that they are at.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, anyhow};
use slipway_config::{BasicAuth, GitRevision, Image, ImageKind, RemoteGit, SecretSource};
use slipway_digest::CommitId;
use slipway_git::{Address, Login, Repository, Speech, Upstream, Wanted};
use slipway_process::Environment;

use crate::{failure::Failure, project::Project};

/// The largest file that a password is read from, in bytes.
const LONGEST_PASSWORD: u64 = 64 << 10;

/// Looks up the commits of all other repositories that `images` take files from, fetches them, and leaves `project` with a
/// repository that has them. Equal addresses and names are looked up once. Blocks.
///
/// # Errors
/// When one of them cannot be fetched; says which.
pub(crate) fn take(
    project: &mut Project,
    images: &mut [Image],
    home: &Path,
    environment: &Environment,
) -> Result<(), Failure> {
    let mut known: BTreeMap<(String, String), CommitId> = BTreeMap::new();
    let mut repositories: Vec<Repository> = Vec::new();
    for image in images {
        let name = image.name().clone();
        let ImageKind::Stapel(stapel) = &mut image.kind else { continue };
        for remote in stapel.git.iter_mut().filter_map(|mapping| mapping.remote.as_mut()) {
            let key = (remote.url.clone(), format!("{:?}", remote.revision));
            let commit = match known.get(&key) {
                Some(commit) => *commit,
                None => {
                    let doing = || format!("image {name}: take files from {}", remote.name);
                    let upstream = open(remote, home, environment)?;
                    let commit = look_up(&upstream, remote).map_err(|failure| failure.context(doing()))?;
                    repositories.push(upstream.repository().with_context(doing).map_err(Failure::project)?);
                    *known.entry(key).or_insert(commit)
                }
            };
            remote.commit = Some(commit.to_string());
        }
    }
    let others: Vec<&Repository> = repositories.iter().collect();
    let joined = project.repository.with_commits_of(&home.join("snapshots"), &others);
    project.repository =
        joined.context("read the project and other repositories together").map_err(Failure::project)?;
    Ok(())
}

/// Refuses other repositories where coordinator and workers would have to fetch them.
///
/// # Errors
/// Names the first image that takes files from one.
pub(crate) fn refuse_in_cluster(project: &Project, images: &[Image]) -> Result<(), Failure> {
    for image in images {
        let ImageKind::Stapel(stapel) = &image.kind else { continue };
        if let Some(remote) = stapel.git.iter().find_map(|mapping| mapping.remote.as_ref()) {
            let place = project.rendering.place(remote.position);
            let name = image.name();
            return Err(Failure::project_text(format!(
                "{place}: not supported yet: git.url in a cluster (image {name})"
            )));
        }
    }
    Ok(())
}

/// The copy of a repository below `home`.
///
/// # Errors
/// When its address is none, or its password is not at hand.
pub(crate) fn open(remote: &RemoteGit, home: &Path, environment: &Environment) -> Result<Upstream, Failure> {
    let address = Address::new(&remote.url, false).map_err(Failure::project)?;
    let address = match &remote.auth {
        Some(auth) => address.with_login(login(auth, environment)?),
        None => address,
    };
    Ok(Upstream::new(home, address, Speech::default()))
}

fn login(auth: &BasicAuth, environment: &Environment) -> Result<Login, Failure> {
    let password = match &auth.password {
        SecretSource::Env(name) => environment.get(name).map(str::to_owned).ok_or_else(|| {
            Failure::project_text(format!("`basicAuth` takes its password from the variable {name}, which is not set"))
        })?,
        SecretSource::File(path) => password_file(path, environment)?,
        SecretSource::Value(value) => value.clone(),
    };
    Ok(Login { username: auth.username.clone(), password })
}

fn password_file(path: &str, environment: &Environment) -> Result<String, Failure> {
    let file = match (path.strip_prefix("~/"), environment.get("HOME")) {
        (Some(rest), Some(home)) => Path::new(home).join(rest),
        _ => Path::new(path).to_owned(),
    };
    let doing = || format!("read the password of `basicAuth` from {}", file.display());
    let size = std::fs::metadata(&file).with_context(doing).map_err(Failure::project)?.len();
    if size > LONGEST_PASSWORD {
        return Err(Failure::project(anyhow!("{}: the file is {size} bytes long", doing())));
    }
    let text = std::fs::read_to_string(&file).with_context(doing).map_err(Failure::project)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The commit that a repository is at now, fetched. Blocks.
///
/// # Errors
/// When it cannot be fetched.
pub(crate) fn look_up(upstream: &Upstream, remote: &RemoteGit) -> Result<CommitId, Failure> {
    let wanted = match &remote.revision {
        GitRevision::Default => Wanted::Default,
        GitRevision::Branch(name) => Wanted::Branch(name.clone()),
        GitRevision::Tag(name) => Wanted::Tag(name.clone()),
        GitRevision::Commit(id) => Wanted::Commit(commit_id(id)?),
    };
    upstream.fetch(&wanted).map_err(Failure::project)
}

/// `text` as the id of a commit.
///
/// # Errors
/// When it is longer than ids are here.
pub(crate) fn commit_id(text: &str) -> Result<CommitId, Failure> {
    text.to_ascii_lowercase().parse().map_err(|_| {
        Failure::project_text(format!("not supported yet: commits that are not named by 40 digits: {text}"))
    })
}
