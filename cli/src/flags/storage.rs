//! Where stages are kept, and how registries are spoken to.

use slipway_oci::Repo;
use slipway_protocol::OtherRepos;
use slipway_registry::{Mirror, MirrorError};

use super::{
    flag::{
        BUILD, CLEANING, CommandName, Flag, KEEPERS, LISTS, MANAGED_IMAGES, REGISTRIES, REGISTRY, REPOSITORY, STAGES,
        Werf, joined,
    },
    resolve::{FlagError, Values},
    stages::FROM,
};

pub(crate) const REPO: Flag = Flag::text(
    "repo",
    "REPO",
    "Container repository in which stages are kept, such as registry.example.org/project; without it they are kept on this host",
)
.on(&joined::<{ REPOSITORY.len() + LISTS.len() + MANAGED_IMAGES.len() + CLEANING.len() }>(
    &joined::<{ REPOSITORY.len() + LISTS.len() }>(REPOSITORY, LISTS),
    &joined::<{ MANAGED_IMAGES.len() + CLEANING.len() }>(MANAGED_IMAGES, CLEANING),
));
pub(crate) const SECONDARY_REPO: Flag = Flag::list(
    "secondary-repo",
    "REPO",
    "Repository of others whose stages are copied instead of being built; it is only read",
)
.on(BUILD);
pub(crate) const CACHE_REPO: Flag = Flag::list(
    "cache-repo",
    "REPO",
    "Repository near the builder that stages are read from first; new ones and those that were needed go there, too; cleanup \
     never touches it",
)
.on(KEEPERS);
pub(crate) const FINAL_REPO: Flag = Flag::text(
    "final-repo",
    "REPO",
    "Repository from which images are run: the last stages of images that may be deployed are copied to it, and nothing else",
)
.on(KEEPERS);
pub(crate) const INSECURE_REGISTRY: Flag =
    Flag::switch("insecure-registry", "Use plain HTTP for registries; localhost and 127.0.0.0/8 need no flag")
        .on(REGISTRIES);
pub(crate) const SKIP_TLS_VERIFY_REGISTRY: Flag =
    Flag::switch("skip-tls-verify-registry", "Do not verify the certificates of registries").on(REGISTRIES);
pub(crate) const DOCKER_CONFIG: Flag = Flag::text(
    "docker-config",
    "DIR",
    "Directory of Docker's config.json with registry credentials; ~/.docker by default",
)
.foreign("DOCKER_CONFIG")
.on(REGISTRIES);
pub(crate) const CONTAINER_REGISTRY_MIRROR: Flag = Flag::list(
    "container-registry-mirror",
    "URL",
    "Mirror of docker.io that base images are pulled from: HOST[:PORT], or its address with http:// or https:// in front; the first that has an image \
     serves, docker.io when none does",
)
.on(REGISTRY);

pub(crate) const SYNCHRONIZATION: Flag = Flag::text(
    "synchronization",
    "ADDRESS",
    "Where builds agree on the stored stages: `:local` (those of this host), `etcd://HOST:PORT[,HOST:PORT…][/PREFIX]`, or \
     `http(s)://HOST:PORT[,…]` (a coordinator that keeps the records)",
)
.short('S')
.default(":local")
.on(&joined::<{ REPOSITORY.len() + CLEANING.len() }>(REPOSITORY, CLEANING));
pub(crate) const STAGES_OUTPUT: Flag = Flag::choice("output", &["text", "json"], "Form of what is printed")
    .short('o')
    .default("text")
    .werf(Werf::Absent)
    .on(&joined::<{ STAGES.len() + LISTS.len() }>(STAGES, LISTS));
pub(crate) const ANEW: Flag = Flag::switch(
    "anew",
    "Record everything anew from the tags of the repository, as after a restore of etcd; stop all builds first",
)
.werf(Werf::Absent)
.on(&[CommandName::StagesAttach]);
pub(crate) const REASON: Flag = Flag::text("reason", "TEXT", "Why the stages are not to be used")
    .werf(Werf::Absent)
    .on(&[CommandName::StagesReject]);

pub(super) const FLAGS: &[Flag] = &[
    SYNCHRONIZATION,
    STAGES_OUTPUT,
    ANEW,
    REASON,
    REPO,
    SECONDARY_REPO,
    CACHE_REPO,
    FINAL_REPO,
    INSECURE_REGISTRY,
    SKIP_TLS_VERIFY_REGISTRY,
    DOCKER_CONFIG,
    CONTAINER_REGISTRY_MIRROR,
];

/// Where stages are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StorageFlags {
    /// `--repo`; `None` = this host.
    pub(crate) repo: Option<String>,
    /// `--insecure-registry`
    pub(crate) insecure: bool,
    /// `--skip-tls-verify-registry`
    pub(crate) skip_tls_verify: bool,
    /// `--docker-config`: the directory.
    pub(crate) docker_config: Option<String>,
    /// `--container-registry-mirror`
    pub(crate) mirrors: Vec<Mirror>,
    /// `--synchronization`
    pub(crate) synchronization: String,
    /// `--secondary-repo`, `--cache-repo` and `--final-repo`
    pub(crate) others: OtherRepos,
}

impl StorageFlags {
    /// What the flags and variables say.
    ///
    /// # Errors
    /// When a mirror or a repository is none.
    pub(crate) fn from_values(values: &Values) -> Result<Self, FlagError> {
        let mirrors: Result<Vec<Mirror>, _> =
            values.list(&CONTAINER_REGISTRY_MIRROR).iter().map(|text| text.parse()).collect();
        let mirrors = mirrors.map_err(|error: MirrorError| {
            FlagError(format!("{}: {error}", values.spelling(&CONTAINER_REGISTRY_MIRROR)))
        })?;
        // `:local` is how werf spells "no repository".
        let repo = values.text(&FROM).or_else(|| values.text(&REPO)).filter(|repo| repo != ":local");
        Ok(Self {
            others: others(values, repo.as_deref())?,
            repo,
            insecure: values.switch(&INSECURE_REGISTRY),
            skip_tls_verify: values.switch(&SKIP_TLS_VERIFY_REGISTRY),
            docker_config: values.text(&DOCKER_CONFIG),
            mirrors,
            synchronization: values.text(&SYNCHRONIZATION).unwrap_or_else(|| ":local".to_owned()),
        })
    }
}

/// The repositories beside the primary one, each once.
fn others(values: &Values, primary: Option<&str>) -> Result<OtherRepos, FlagError> {
    let primary = primary.and_then(|repo| repo.parse::<Repo>().ok());
    let read = |flag: &Flag, texts: Vec<String>| {
        let mut repos: Vec<Repo> = Vec::new();
        for text in texts {
            let repo = beside(&text, primary.as_ref());
            let repo = repo.map_err(|why| FlagError(format!("{}: {why}", values.spelling(flag))))?;
            if !repos.contains(&repo) {
                repos.push(repo);
            }
        }
        Ok(repos)
    };
    // The local storage of a host is always looked through.
    let list = |flag: &Flag| values.list(flag).into_iter().filter(|text| text != ":local").collect();
    let caches = read(&CACHE_REPO, list(&CACHE_REPO))?;
    let secondaries = read(&SECONDARY_REPO, list(&SECONDARY_REPO))?;
    let last = read(&FINAL_REPO, values.text(&FINAL_REPO).into_iter().collect())?;
    let kinds = [(&CACHE_REPO, &caches), (&SECONDARY_REPO, &secondaries), (&FINAL_REPO, &last)];
    for (at, (flag, repos)) in kinds.iter().enumerate() {
        for (other, others) in &kinds[at + 1..] {
            if let Some(both) = repos.iter().find(|repo| others.contains(repo)) {
                let (flag, other) = (values.spelling(flag), values.spelling(other));
                return Err(FlagError(format!("{both} is named by {flag} and by {other}: it can be one of them only")));
            }
        }
    }
    Ok(OtherRepos { caches, secondaries, final_repo: last.into_iter().next() })
}

/// A repository that stands beside the primary one; why it does not, otherwise.
fn beside(text: &str, primary: Option<&Repo>) -> Result<Repo, String> {
    let repo: Repo = text.parse().map_err(|error: slipway_oci::ReferenceError| error.to_string())?;
    match primary {
        None => Err(format!("{repo} stands beside a primary repository: give that by --{}", REPO.name)),
        Some(primary) if *primary == repo => Err(format!("{repo} is the primary repository (--{}) itself", REPO.name)),
        Some(_) => Ok(repo),
    }
}
