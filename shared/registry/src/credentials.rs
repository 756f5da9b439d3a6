//! Who we are at which registry: Docker's `config.json` and what credential helpers hand out.
//!
//! For a registry, in this order: its own helper (`credHelpers`), what `auths` holds for it, the common helper
//! (`credsStore`). None of these: anonymous. Keys of `auths` may be hosts, addresses (`https://index.docker.io/v1/`)
//! or, as Podman writes them, `HOST/PATH` for what lies below.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;
use slipway_oci::Repo;
use slipway_process::Clock;

use crate::{RegistryError, helper};

pub(crate) const CONFIG_LIMIT: u64 = 1024 * 1024;
/// How long what a helper handed out is used without asking it again.
const HELPER_MEMORY: Duration = Duration::from_secs(300);

/// How we prove who we are. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// User and password.
    Password { user: String, password: String },
    /// An identity token, to be exchanged for access tokens.
    Identity(String),
    /// An access token, to be used as it is.
    Access(String),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password(…)",
            Self::Identity(_) => "Identity(…)",
            Self::Access(_) => "Access(…)",
        })
    }
}

/// All credentials of a user.
pub(crate) struct Credentials {
    path: Option<PathBuf>,
    /// As it was read last.
    config: RwLock<Arc<Config>>,
    clock: Arc<dyn Clock>,
    /// What helpers said, by server, and until when it is believed.
    remembered: Mutex<BTreeMap<String, (Option<Credential>, Duration)>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: Option<BTreeMap<String, Entry>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Credentials {
    /// The credentials of a Docker config; a file that is not there has none.
    ///
    /// # Errors
    /// When it is there but cannot be read or understood.
    pub(crate) fn load(path: Option<&Path>, clock: Arc<dyn Clock>) -> Result<Self, RegistryError> {
        let config = path.map(read_config).transpose()?.unwrap_or_default();
        Ok(Self::with(path.map(Path::to_owned), config, clock))
    }

    /// This credential for one registry, and none for others.
    pub(crate) fn only(host: &str, credential: &Credential, clock: Arc<dyn Clock>) -> Self {
        let entry = match credential.clone() {
            Credential::Password { user, password } => {
                Entry { username: Some(user), password: Some(password), ..Entry::default() }
            }
            Credential::Identity(token) => Entry { identitytoken: Some(token), ..Entry::default() },
            Credential::Access(token) => Entry { registrytoken: Some(token), ..Entry::default() },
        };
        let auths = Some(BTreeMap::from([(host.to_owned(), entry)]));
        Self::with(None, Config { auths, ..Config::default() }, clock)
    }

    fn with(path: Option<PathBuf>, config: Config, clock: Arc<dyn Clock>) -> Self {
        Self { path, config: RwLock::new(Arc::new(config)), clock, remembered: Mutex::default() }
    }

    /// The helper that keeps the credential of a registry; `None` when `auths` does.
    pub(crate) fn helper(&self, host: &str) -> Option<String> {
        self.config().helper(host).map(str::to_owned)
    }

    /// The credential for a repository; `None` for an anonymous user.
    ///
    /// # Errors
    /// When the config holds something unusable for this registry, or its helper fails.
    pub(crate) async fn of(&self, repo: &Repo) -> Result<Option<Credential>, String> {
        let config = self.config();
        if let Some(name) = config.own_helper(&repo.host) {
            return self.ask(name, repo).await;
        }
        if let Some(credential) = self.stored(&config, repo)? {
            return Ok(Some(credential));
        }
        match config.helper(&repo.host) {
            Some(name) => self.ask(name, repo).await,
            None => Ok(None),
        }
    }

    /// Forgets what a helper said for a registry, as it was not accepted, and reads the config again: somebody may have
    /// logged in anew, as tokens that are good for hours want.
    pub(crate) fn distrust(&self, host: &str) {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).remove(server_of(host));
        let Some(path) = &self.path else { return };
        match read_config(path) {
            Ok(config) => *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config),
            // It may be half-written: what was read before stays.
            Err(error) => tracing::warn!("{error}"),
        }
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What `auths` holds: the longest key that covers the repository wins.
    fn stored(&self, config: &Config, repo: &Repo) -> Result<Option<Credential>, String> {
        let all = config.auths.iter().flatten();
        let mut covering: Vec<_> = all.filter(|(key, _)| covers(key, repo)).collect();
        covering.sort_by_key(|(key, _)| std::cmp::Reverse(path_of(key).len()));
        for (key, entry) in covering {
            let credential = entry.credential().map_err(|why| {
                let path = self.path.as_deref().unwrap_or(Path::new("config.json")).display();
                format!("the entry `{key}` of `auths` in {path} {why}; log in again: `docker login {}`", repo.host)
            })?;
            if credential.is_some() {
                return Ok(credential);
            }
        }
        Ok(None)
    }

    async fn ask(&self, name: &str, repo: &Repo) -> Result<Option<Credential>, String> {
        let server = server_of(&repo.host);
        let now = self.clock.monotonic();
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner).get(server).cloned();
        if let Some((credential, until)) = remembered
            && now < until
        {
            return Ok(credential);
        }
        let credential = helper::ask(name, server).await?;
        let entry = (credential.clone(), now + HELPER_MEMORY);
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).insert(server.to_owned(), entry);
        Ok(credential)
    }
}

impl Config {
    fn helper(&self, host: &str) -> Option<&str> {
        self.own_helper(host).or(self.creds_store.as_deref().filter(|name| !name.is_empty()))
    }

    fn own_helper(&self, host: &str) -> Option<&str> {
        let helpers = self.cred_helpers.as_ref()?;
        let name = helpers.iter().find(|(key, _)| same_host(host_of(key), host)).map(|(_, name)| name.as_str());
        name.filter(|name| !name.is_empty())
    }
}

impl Entry {
    /// `None` for an empty entry, as stands there when a helper keeps the secret.
    fn credential(&self) -> Result<Option<Credential>, &'static str> {
        let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        if let Some(token) = given(&self.registrytoken) {
            return Ok(Some(Credential::Access(token)));
        }
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Some(Credential::Identity(token)));
        }
        if let Some(auth) = given(&self.auth) {
            return decode(&auth).map(Some);
        }
        match (given(&self.username), given(&self.password)) {
            (Some(user), Some(password)) => Ok(Some(Credential::Password { user, password })),
            (Some(_), None) | (None, Some(_)) | (None, None) => Ok(None),
        }
    }
}

/// `USER:PASSWORD` in base64.
fn decode(auth: &str) -> Result<Credential, &'static str> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(&STANDARD, lenient).decode(auth.trim()).map_err(|_| "is no base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "is no text")?;
    let (user, password) = text.split_once(':').ok_or("has no password")?;
    // Old engines padded the password.
    let password = password.trim_end_matches('\0').to_owned();
    if user == "<token>" {
        return Ok(Credential::Identity(password));
    }
    Ok(Credential::Password { user: user.to_owned(), password })
}

fn read_config(path: &Path) -> Result<Config, RegistryError> {
    let refuse = |why: String| {
        RegistryError::Refused(format!(
            "read registry credentials from {}: {why}; repair or remove the file, or name another one",
            path.display()
        ))
    };
    let size = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Config::default()),
        Err(error) => return Err(refuse(error.to_string())),
    };
    if size > CONFIG_LIMIT {
        return Err(refuse(format!("it has {size} bytes, more than {CONFIG_LIMIT}")));
    }
    let text = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(Config::default());
    }
    // serde's messages may quote values, which are secrets here.
    serde_json::from_slice(&text)
        .map_err(|error| refuse(format!("it is no Docker config (line {}, column {})", error.line(), error.column())))
}

/// The host in a key of the config: `https://HOST/v1/`, `HOST` or `HOST/PATH`.
pub(crate) fn host_of(key: &str) -> &str {
    let bare = key.split_once("://").map_or(key, |(_, rest)| rest);
    bare.split_once('/').map_or(bare, |(host, _)| host)
}

/// The path in a key without a scheme; addresses have none that matters.
pub(crate) fn path_of(key: &str) -> &str {
    if key.contains("://") { "" } else { key.split_once('/').map_or("", |(_, path)| path.trim_end_matches('/')) }
}

fn covers(key: &str, repo: &Repo) -> bool {
    let path = path_of(key);
    // `docker.io/v1/` and the like, once written without a scheme, mean the whole host.
    let whole = path.is_empty() || matches!(path, "v1" | "v2");
    let below = repo.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    same_host(host_of(key), &repo.host) && (whole || below)
}

pub(crate) fn same_host(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || (is_docker_hub(one) && is_docker_hub(other))
}

fn is_docker_hub(host: &str) -> bool {
    matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io")
}

/// What a registry is called when helpers are asked.
pub(crate) fn server_of(host: &str) -> &str {
    if is_docker_hub(host) { "https://index.docker.io/v1/" } else { host }
}

#[cfg(test)]
mod tests;
