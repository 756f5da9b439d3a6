//! Logging in to a registry and out of it: what a name and a password are worth there, and Docker's config that keeps
//! them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use slipway_process::{Clock, SystemClock, random_id};

use crate::{
    Client, Options, RegistryError,
    call::Call,
    credentials::{CONFIG_LIMIT, Credential, Credentials, host_of, path_of, same_host, server_of},
    helper,
};

/// Whom the helpers know by an identity token.
const TOKEN_USER: &str = "<token>";

/// Checks that a registry takes a name and a password (without a name, an identity token), then keeps them: by the
/// credential helper that the Docker config names for it, or else in that file, which only its owner can read. The
/// registry is `HOST[:PORT]`.
///
/// # Errors
/// When the registry does not take them, or they cannot be kept.
pub async fn log_in(options: Options, host: &str, user: Option<&str>, secret: &str) -> Result<(), RegistryError> {
    check_host(host)?;
    let path = config_of(&options)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(None));
    let known = Credentials::load(Some(&path), Arc::clone(&clock))?;
    let credential = match user {
        Some(user) => Credential::Password { user: user.to_owned(), password: secret.to_owned() },
        None => Credential::Identity(secret.to_owned()),
    };
    let client = Client::with(options, Credentials::only(host, &credential, Arc::clone(&clock)), clock)?;
    client.transport().fetch(&Call::root(host)?, CONFIG_LIMIT as usize, None).await?;
    let server = server_of(host);
    let user = user.unwrap_or(TOKEN_USER);
    let entry = match known.helper(host) {
        Some(name) => {
            helper::store(&name, server, user, secret).await.map_err(|why| refused(host, &why))?;
            Map::new()
        }
        None if user == TOKEN_USER => Map::from_iter([("identitytoken".to_owned(), secret.into())]),
        None => Map::from_iter([("auth".to_owned(), STANDARD.encode(format!("{user}:{secret}")).into())]),
    };
    change(&path, |config| {
        let auths = config.entry("auths").or_insert_with(|| Map::new().into());
        let Some(auths) = auths.as_object_mut() else { return false };
        auths.insert(server.to_owned(), entry.into());
        true
    })
}

/// Forgets who one is at a registry; answers whether something was known.
///
/// # Errors
/// When the Docker config cannot be changed, or its helper fails.
pub async fn log_out(config: &Path, host: &str) -> Result<bool, RegistryError> {
    check_host(host)?;
    let known = Credentials::load(Some(config), Arc::new(SystemClock::new(None)))?;
    if let Some(name) = known.helper(host) {
        helper::erase(&name, server_of(host)).await.map_err(|why| refused(host, &why))?;
    }
    let mut found = false;
    if config.exists() {
        change(config, |document| {
            let Some(auths) = document.get_mut("auths").and_then(Value::as_object_mut) else { return true };
            let before = auths.len();
            auths.retain(|key, _| !(same_host(host_of(key), host) && path_of(key).is_empty()));
            found = auths.len() < before;
            true
        })?;
    }
    Ok(found)
}

fn config_of(options: &Options) -> Result<PathBuf, RegistryError> {
    options.docker_config.clone().ok_or_else(|| {
        RegistryError::Refused("keep a login: there is no home directory; say --docker-config DIR".to_owned())
    })
}

fn check_host(host: &str) -> Result<(), RegistryError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if !host.is_empty() && host.bytes().all(plain) {
        return Ok(());
    }
    Err(refused(host, "this is no registry: write HOST or HOST:PORT"))
}

fn refused(host: &str, why: &str) -> RegistryError {
    RegistryError::Refused(format!("log in to {}: {why}", host.escape_debug()))
}

/// Changes the Docker config: whole, or not at all. What we do not know in it stays. `edit` answers `false` when the
/// document has another form.
fn change(path: &Path, edit: impl FnOnce(&mut Map<String, Value>) -> bool) -> Result<(), RegistryError> {
    let failed = |why: String| RegistryError::Refused(format!("change {}: {why}", path.display()));
    // A link stays one.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut document = read(&target).map_err(|error| failed(error.to_string()))?;
    if !edit(&mut document) {
        return Err(failed("it is no Docker config: `auths` is no map".to_owned()));
    }
    let mut text = serde_json::to_vec_pretty(&document).map_err(|error| failed(error.to_string()))?;
    text.push(b'\n');
    replace(&target, &text).map_err(|error| failed(error.to_string()))
}

fn read(path: &Path) -> io::Result<Map<String, Value>> {
    let mut text = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(CONFIG_LIMIT).read_to_end(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    // serde's messages may quote values, which are secrets here.
    serde_json::from_slice(&text).map_err(|_| io::Error::other("it is no JSON document"))
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", random_id()));
    let aside = path.with_file_name(name);
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&aside)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_logout_forgets_one_registry_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("config.json");
        let text = r#"{"auths":{"r.example":{"auth":"YTpi"},"r.example/path":{"auth":"YTpi"},"https://index.docker.io/v1/":{"auth":"YTpi"}},"proxies":{"x":1}}"#;
        fs::write(&path, text).expect("written");
        assert!(log_out(&path, "r.example").await.expect("changed"));
        assert!(!log_out(&path, "r.example").await.expect("unchanged"), "it is gone already");
        assert!(log_out(&path, "docker.io").await.expect("changed"));
        let left: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
        assert_eq!(left, serde_json::json!({"auths":{"r.example/path":{"auth":"YTpi"}},"proxies":{"x":1}}));
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn what_is_no_registry_or_no_config_is_refused() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("config.json");
        for host in ["", "a/b", "https://r.example", "r.example?x"] {
            assert!(log_out(&path, host).await.is_err(), "{host}");
        }
        assert!(!path.exists());
        fs::write(&path, "{\"auths\": {\"r\": {\"auth\": hunter2").expect("written");
        let error = log_out(&path, "r.example").await.expect_err("no JSON").to_string();
        assert!(error.contains("config.json") && !error.contains("hunter2"), "{error}");
    }
}
