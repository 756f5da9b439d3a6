//! Where stages are kept, and how registries are spoken to.

use super::{
    flag::{Flag, REGISTRY},
    resolve::Values,
};

pub(crate) const REPO: Flag = Flag::text(
    "repo",
    "REPO",
    "Container repository in which stages are kept, such as registry.example.org/project; without it they are kept on this host",
);
pub(crate) const INSECURE_REGISTRY: Flag =
    Flag::switch("insecure-registry", "Use plain HTTP for registries; localhost and 127.0.0.0/8 need no flag")
        .on(REGISTRY);
pub(crate) const SKIP_TLS_VERIFY_REGISTRY: Flag =
    Flag::switch("skip-tls-verify-registry", "Do not verify the certificates of registries").on(REGISTRY);
pub(crate) const DOCKER_CONFIG: Flag = Flag::text(
    "docker-config",
    "DIR",
    "Directory of Docker's config.json with registry credentials; ~/.docker by default",
)
.foreign("DOCKER_CONFIG")
.on(REGISTRY);

pub(super) const FLAGS: &[Flag] = &[REPO, INSECURE_REGISTRY, SKIP_TLS_VERIFY_REGISTRY, DOCKER_CONFIG];

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
}

impl StorageFlags {
    /// What the flags and variables say.
    pub(crate) fn from_values(values: &Values) -> Self {
        Self {
            // `:local` is how werf spells "no repository".
            repo: values.text(&REPO).filter(|repo| repo != ":local"),
            insecure: values.switch(&INSECURE_REGISTRY),
            skip_tls_verify: values.switch(&SKIP_TLS_VERIFY_REGISTRY),
            docker_config: values.text(&DOCKER_CONFIG),
        }
    }
}
