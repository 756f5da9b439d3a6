//! Repositories of others that a project takes files from: their copies on this host, and the commits that they are at.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use slipway_config::{
    BasicAuth, Config, GitMapping, GitRevision, Image, ImageKind, ImageName, RemoteGit, SecretSource,
};
use slipway_digest::CommitId;
use slipway_git::{Address, Login, Repository, Speech, Upstream, Wanted};
use slipway_paths::{PathFilter, Scope};
use slipway_process::Environment;
use slipway_protocol::UpstreamCommit;

use crate::{failure::Failure, project::Project, ssh};

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
        for mapping in &mut stapel.git {
            let scope = scope(mapping);
            let Some(remote) = mapping.remote.as_mut() else { continue };
            let doing = || format!("image {name}: take files from {}", remote.name);
            let upstream = open(remote, home, environment)?;
            let key = (remote.url.clone(), remote.revision.to_string());
            let commit = match known.get(&key) {
                Some(commit) => *commit,
                None => {
                    let commit = look_up(&upstream, remote).map_err(|failure| failure.context(doing()))?;
                    repositories.push(upstream.repository().with_context(doing).map_err(Failure::project)?);
                    *known.entry(key).or_insert(commit)
                }
            };
            let submodules = upstream.fetch_submodules(commit, &scope).with_context(doing);
            repositories.extend(submodules.map_err(Failure::project)?);
            remote.commit = Some(commit.to_string());
        }
    }
    let others: Vec<&Repository> = repositories.iter().collect();
    let joined = project.repository.with_commits_of(&home.join("snapshots"), &others);
    project.repository =
        joined.context("read the project and other repositories together").map_err(Failure::project)?;
    Ok(())
}

/// The files of a mapping.
fn scope(mapping: &GitMapping) -> Scope {
    let (include, exclude) = (mapping.include.clone(), mapping.exclude.clone());
    Scope::Filter(PathFilter { base: mapping.add.clone(), include, exclude, within: Vec::new() })
}

/// Refuses passwords in the configuration: a cluster stores its text.
///
/// # Errors
/// Names the first image that takes files from a repository whose description holds one.
pub(crate) fn refuse_logins(project: &Project, config: &Config) -> Result<(), Failure> {
    let Some((image, remote)) = config.upstreams().find(|(_, remote)| remote.tells_login()) else { return Ok(()) };
    let (place, name) = (project.rendering.place(remote.position), image.name());
    Err(Failure::project_text(format!(
        "{place}: image {name}: the description of {} holds a name or password, which the cluster would store; take it out of \
         the configuration: write `basicAuth` with `password: {{env: NAME}}` or `{{src: PATH}}`, or set up a credential helper \
         of git",
        remote.name
    )))
}

/// What a cluster reads besides the commits of the project.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// Commits of other repositories.
    pub(crate) upstreams: Vec<UpstreamCommit>,
    /// Commits of submodules.
    pub(crate) submodules: Vec<CommitId>,
}

/// Finds out what a cluster must be given, and leaves `project` with a repository that has all of it. Other repositories
/// must have been [taken](take). Submodules that are not at hand are left out: an image that needs one says so. Blocks.
///
/// # Errors
/// When the repository cannot be read.
pub(crate) fn for_cluster(
    project: &mut Project,
    images: &[Image],
    contexts: &BTreeMap<ImageName, CommitId>,
    home: &Path,
) -> Result<Sources, Failure> {
    let mut sources = Sources::default();
    let mut wanted: BTreeSet<(CommitId, Scope)> = BTreeSet::new();
    for image in images {
        let ImageKind::Stapel(stapel) = &image.kind else {
            let commit = contexts.get(image.name()).copied().unwrap_or(project.commit);
            wanted.insert((commit, Scope::Filter(PathFilter::default())));
            continue;
        };
        for mapping in &stapel.git {
            let commit = match &mapping.remote {
                None => project.commit,
                Some(remote) => {
                    let commit = commit_id(remote.commit.as_deref().unwrap_or_default())?;
                    let (url, revision) = (remote.url.clone(), remote.revision.to_string());
                    sources.upstreams.push(UpstreamCommit { url, revision, commit });
                    commit
                }
            };
            wanted.insert((commit, scope(mapping)));
        }
    }
    let mut submodules = Vec::new();
    for (commit, scope) in wanted {
        let found = project.repository.submodules(commit, &scope).context("find the submodules of the commit");
        submodules.extend(found.map_err(Failure::project)?.into_iter().filter(|it| it.repository.is_some()));
    }
    let joined = project.repository.with_submodules(&home.join("snapshots"), &submodules);
    project.repository = joined.context("read the project and its submodules together").map_err(Failure::project)?;
    sources.upstreams.sort_by(|a, b| (&a.url, &a.revision).cmp(&(&b.url, &b.revision)));
    sources.upstreams.dedup();
    let commits: BTreeSet<CommitId> = submodules.into_iter().map(|submodule| submodule.commit).collect();
    sources.submodules = commits.into_iter().collect();
    Ok(sources)
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
    let agent = environment.non_empty(ssh::SOCKET).map(PathBuf::from);
    Ok(Upstream::new(home, address, Speech { agent, ..Speech::default() }))
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
