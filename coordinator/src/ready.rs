//! From what a client submits to a build that can run: everything is read and checked here, too.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use slipway_config::{
    Config, DockerfileImage, Image, ImageKind, ImageName, MountSource, Secret, SecretSource, closure, hide::HIDDEN,
};
use slipway_git::GitView;
use slipway_protocol::{BuildName, SubmitRequest};
use slipway_stages::{Build, BuildOptions, Graph, PartsError, Platforms, Settings};

/// Most images that are named in a request.
const MAX_IMAGES: usize = 100_000;
/// Most repositories that a request names.
const MAX_REPOS: usize = 100;
/// Most platforms whose programs the commands of a request are.
const MAX_PLATFORMS: usize = 100;
/// Most commits that a request names.
const MAX_COMMITS: usize = 10_000;

/// The images of a request, with all that they need.
///
/// # Errors
/// What is wrong with the request.
pub(crate) fn graph(request: &SubmitRequest) -> Result<Graph, String> {
    check(request)?;
    let mut config = slipway_config::parse(&request.config_name, &request.config).map_err(|error| error.to_string())?;
    check_logins(&config)?;
    if let Some(network) = &request.network {
        config.set_network(network);
    }
    if request.force_staged {
        config.set_staged();
    }
    pin(&mut config, request);
    // The request's name counts: a variable or flag of the client may have replaced that of the configuration.
    slipway_config::check_project_name(&request.project).map_err(|error| error.to_string())?;
    let wanted: BTreeSet<&ImageName> = request.images.iter().collect();
    let is_wanted = |image: &&Image| image.names.iter().any(|name| wanted.contains(name));
    let chosen: Vec<&Image> = config.images.iter().filter(is_wanted).collect();
    let known: BTreeSet<&ImageName> = chosen.iter().flat_map(|image| &image.names).collect();
    if let Some(unknown) = request.images.iter().find(|name| !known.contains(name)) {
        return Err(format!("the configuration has no image `{unknown}`"));
    }
    let images = closure(&config, &chosen);
    check_supported(&request.config_name, &images)?;
    let platforms = Platforms { forced: request.platforms.clone(), otherwise: request.platform.clone() };
    let images: Vec<Image> = images.into_iter().cloned().collect();
    let graph =
        Graph::for_platforms(images, |image| platforms.of(&config, image)).map_err(|error| error.to_string())?;
    if graph.targets().len() > MAX_IMAGES {
        return Err(format!("more than {MAX_IMAGES} images for platforms are named"));
    }
    Ok(graph)
}

/// The same images with the parts of staged Dockerfiles. Blocks. `git` has all commits of the request.
///
/// # Errors
/// When a Dockerfile is not there or is wrong, or there are too many parts.
pub(crate) fn with_parts(request: &SubmitRequest, graph: &Graph, git: &dyn GitView) -> Result<Graph, PartsError> {
    let read = |image: &Image, dockerfile: &DockerfileImage| {
        let path = request.project_dir.join(dockerfile.dockerfile.as_bytes());
        let commit = request.context_commits.get(image.name()).copied().unwrap_or(request.commit);
        let found = git.read(commit, &path);
        let found = found.map_err(|error| format!("read the Dockerfile `{path}` of commit {commit}: {error}"))?;
        let bytes = found.ok_or_else(|| format!("the Dockerfile `{path}` is not in commit {}", request.commit))?;
        Ok((path.to_string(), String::from_utf8_lossy(&bytes).into_owned()))
    };
    let graph = graph.with_parts(&request.platform, read)?;
    match graph.images().last().filter(|_| graph.targets().len() > MAX_IMAGES) {
        None => Ok(graph),
        Some(image) => Err(PartsError {
            image: image.name().clone(),
            line: image.position.line,
            why: format!("with the parts of Dockerfiles the build has more than {MAX_IMAGES} images for platforms"),
        }),
    }
}

/// Refuses passwords: what is submitted is stored, and may be read by whoever looks after the cluster.
fn check_logins(config: &Config) -> Result<(), String> {
    match config.upstreams().find(|(_, remote)| remote.tells_login()) {
        Some((image, remote)) => Err(format!(
            "image {}: the description of {} holds a name or password, which the cluster would store",
            image.name(),
            remote.name
        )),
        None => Ok(()),
    }
}

/// Tells the mappings of other repositories the commits that the request has for them.
fn pin(config: &mut Config, request: &SubmitRequest) {
    let known: BTreeMap<(&str, &str), String> = request
        .upstreams
        .iter()
        .map(|upstream| ((upstream.url.as_str(), upstream.revision.as_str()), upstream.commit.to_string()))
        .collect();
    let stapel = config.images.iter_mut().filter_map(|image| match &mut image.kind {
        ImageKind::Stapel(stapel) => Some(stapel),
        ImageKind::Dockerfile(_) => None,
    });
    for remote in stapel.flat_map(|stapel| &mut stapel.git).filter_map(|mapping| mapping.remote.as_mut()) {
        remote.commit = known.get(&(remote.url.as_str(), remote.revision.to_string().as_str())).cloned();
    }
}

/// The build of this name, which a request is for.
pub(crate) fn build(request: &SubmitRequest, graph: Graph, name: &BuildName) -> Build {
    let settings = Settings {
        project: request.project.clone(),
        commit: request.commit,
        context_commits: request.context_commits.clone(),
        commit_time: request.commit_time,
        commit_time_human: request.commit_time_human.clone(),
        project_dir: request.project_dir.clone(),
        run: name.to_string(),
        platform: request.platform.clone(),
        dev: request.dev,
        virtual_merge: request.virtual_merge,
        sources: request.others.sources(),
        foresees: false,
    };
    let options =
        BuildOptions { parallel: request.parallel, require_built: request.require_built, schedule: request.schedule };
    Build::new(graph, &Arc::new(settings), options)
}

/// All commits that a build reads.
pub(crate) fn commits(request: &SubmitRequest) -> Vec<slipway_digest::CommitId> {
    let upstreams = request.upstreams.iter().map(|upstream| upstream.commit);
    let own = std::iter::once(request.commit).chain(request.context_commits.values().copied());
    let all: BTreeSet<_> = own.chain(upstreams).chain(request.submodules.iter().copied()).collect();
    all.into_iter().collect()
}

fn check(request: &SubmitRequest) -> Result<(), String> {
    crate::mirrors::Mirrors::check_name(&request.project).map_err(|error| error.to_string())?;
    if request.repo.host.is_empty() {
        return Err("a cluster keeps stages in a repository: name one by --repo".to_owned());
    }
    if request.custom_tags.len() > MAX_IMAGES {
        return Err(format!("more than {MAX_IMAGES} tags are wanted"));
    }
    let others: Vec<_> = request.others.iter().collect();
    if others.len() > MAX_REPOS {
        return Err(format!("more than {MAX_REPOS} repositories are named"));
    }
    if others.iter().any(|repo| repo.host.is_empty() || **repo == request.repo) {
        return Err("a repository beside the primary one is that one, or none".to_owned());
    }
    if request.commands.len() > MAX_PLATFORMS {
        return Err(format!("commands of more than {MAX_PLATFORMS} platforms are named"));
    }
    if request.images.is_empty() {
        return Err("no image is named".to_owned());
    }
    let commits = request.context_commits.len() + request.upstreams.len() + request.submodules.len();
    if request.images.len() > MAX_IMAGES || commits > MAX_COMMITS {
        return Err(format!("more than {MAX_IMAGES} images or {MAX_COMMITS} commits are named"));
    }
    if request.parallel == Some(0) {
        return Err("at least one image must be under way at once".to_owned());
    }
    Ok(())
}

/// Refuses what is not for a cluster, or what the client has left out.
fn check_supported(file: &str, images: &[&Image]) -> Result<(), String> {
    let lost = |image: &&Image| image.upstreams().any(|remote| remote.commit.is_none());
    if let Some(image) = images.iter().copied().find(lost) {
        return Err(format!(
            "{file}: image {} takes files from another repository, and the request does not say at which commit: ask by \
             `slipway build` of the coordinator's version",
            image.name()
        ));
    }
    check_networks(file, images)?;
    check_secrets(file, images)?;
    check_mounts(file, images)
}

/// Refuses directories of a host: which of its workers would that be, and who submits does not own their files.
fn check_mounts(file: &str, images: &[&Image]) -> Result<(), String> {
    for image in images {
        let ImageKind::Stapel(stapel) = &image.kind else { continue };
        let mounts = stapel.mounts.iter().chain(&stapel.inherited_mounts);
        for mount in mounts {
            if let MountSource::Path(path) = &mount.source {
                return Err(format!(
                    "{file}:{}:{}: image {}: `mount` with `fromPath: {path}` is not for a cluster, whose workers have files \
                     of their own: write `from: build_dir`, a directory that the project has on every worker",
                    mount.position.line,
                    mount.position.column,
                    image.name()
                ));
            }
        }
    }
    Ok(())
}

/// Refuses Dockerfiles whose commands would see the network of a worker: whoever may submit would reach what listens on
/// its loopback.
fn check_networks(file: &str, images: &[&Image]) -> Result<(), String> {
    for image in images {
        let network = match &image.kind {
            ImageKind::Dockerfile(dockerfile) => dockerfile.network.as_deref(),
            ImageKind::Stapel(stapel) => stapel.network.as_deref(),
        };
        if let Some(network) = network.filter(|network| !is_apart(network)) {
            return Err(format!(
                "{file}: image {}: `network: {network}` is not for a cluster, where commands must not see the network of \
                 a worker: write `default` or `none`",
                image.name()
            ));
        }
    }
    Ok(())
}

/// Refuses secrets that stand in the configuration, whose text is stored with the build: they are to be hidden before it is sent.
fn check_secrets(file: &str, images: &[&Image]) -> Result<(), String> {
    for image in images {
        let open = |secret: &&Secret| matches!(&secret.source, SecretSource::Value(value) if value != HIDDEN);
        if let Some(secret) = image.secrets.iter().find(open) {
            return Err(format!(
                "{file}:{}: image {}: the secret `{}` is spelled out by `value`, and a cluster stores the configuration: \
                 send it beside the text, in which `{HIDDEN}` stands in its place",
                secret.position.line,
                image.name(),
                secret.id
            ));
        }
    }
    Ok(())
}

/// Whether a network is one of the container's own.
fn is_apart(network: &str) -> bool {
    matches!(network, "" | "default" | "bridge" | "none")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(network: &str) -> Result<(), String> {
        let text = format!("project: p\nconfigVersion: 1\n---\nimage: a\ndockerfile: Dockerfile\nnetwork: {network}\n");
        let config = slipway_config::parse("werf.yaml", &text).expect("a configuration");
        check_networks("werf.yaml", &config.images.iter().collect::<Vec<_>>())
    }

    #[test]
    fn commands_in_a_cluster_do_not_see_the_network_of_a_worker() {
        for network in ["default", "none", "bridge"] {
            assert_eq!(checked(network), Ok(()), "{network}");
        }
        for network in ["host", "container:etcd", "other"] {
            let error = checked(network).expect_err(network);
            assert!(error.contains(&format!("image a: `network: {network}` is not for a cluster")), "{error}");
        }
    }
}
