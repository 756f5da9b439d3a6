//! Where builds agree on the stored stages: `--synchronization`.

use anyhow::{Context as _, Result, anyhow, bail};
use slipway_client::Addresses;
use slipway_kv::{EtcdAddress, EtcdOptions};
use slipway_process::Environment;

/// The three that there are, for messages.
pub(crate) const THREE: &str = "use `:local` (builds of this host), `etcd://HOST:PORT[,HOST:PORT…][/PREFIX]` (builds of many hosts), \
                     or `http(s)://HOST:PORT[,…]` (a coordinator that keeps the records)";

/// The lock server that werf uses by default.
const LOCK_SERVER: &str = "//synchronization.werf.io";

/// Where builds agree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Synchronization {
    /// In files of this host.
    Local,
    /// In etcd.
    Etcd(EtcdAddress, EtcdOptions),
    /// At a coordinator of many hosts: one of these addresses leads.
    Coordinator(Vec<String>),
}

impl Synchronization {
    /// What `--synchronization` says; how etcd is spoken to comes from variables.
    ///
    /// # Errors
    /// When it is none of the three, or does not fit the rest.
    pub(crate) fn new(text: &str, has_repo: bool, environment: &Environment) -> Result<Self> {
        if text == ":local" {
            return Ok(Self::Local);
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            return coordinator(text, has_repo);
        }
        if !text.starts_with("etcd://") {
            bail!("--synchronization: `{}` is not spoken to: {THREE}", shown(text));
        }
        let address: EtcdAddress = text.parse().map_err(|error| anyhow!("--synchronization: {error}"))?;
        if !has_repo {
            bail!("--synchronization {address}: stages of the local storage are on this host only; give --repo, too");
        }
        let options = EtcdOptions::from_environment(environment).map_err(|error| anyhow!(error))?;
        Ok(Self::Etcd(address, options))
    }
}

fn coordinator(text: &str, has_repo: bool) -> Result<Synchronization> {
    if text.contains(LOCK_SERVER) {
        bail!("--synchronization: {text}: werf's lock server is not spoken to: {THREE}");
    }
    let urls: Vec<String> = text.split(',').map(str::to_owned).collect();
    Addresses::new(&urls).context("--synchronization")?;
    if !has_repo {
        bail!("--synchronization {text}: stages of the local storage are on this host only; give --repo, too");
    }
    Ok(Synchronization::Coordinator(urls))
}

/// Without what may be a password.
fn shown(text: &str) -> String {
    let shown = text.rsplit_once('@').map_or(text.to_owned(), |(_, rest)| format!("…@{rest}"));
    shown.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, repo: bool) -> Result<Synchronization, String> {
        Synchronization::new(text, repo, &Environment::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn there_are_three() {
        assert_eq!(said(":local", false), Ok(Synchronization::Local));
        let address = "etcd://a:1,b:2/x".parse().expect("an address");
        assert_eq!(said("etcd://a:1,b:2/x", true), Ok(Synchronization::Etcd(address, EtcdOptions::default())));
        assert!(said("etcd://a:1", false).is_err_and(|error| error.contains("give --repo")));
        for text in
            ["kubernetes://ns:context@base64:secret@", "https://synchronization.werf.io", "redis://a", "", "local"]
        {
            let error = said(text, true).expect_err(text);
            assert!(error.contains(":local") && error.contains("etcd://") && error.contains("coordinator"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let urls = vec!["http://a:1".to_owned(), "https://b".to_owned()];
        assert_eq!(said("http://a:1,https://b", true), Ok(Synchronization::Coordinator(urls)));
        assert!(said("http://a:1", false).is_err_and(|error| error.contains("give --repo")));
        for text in ["http://", "http://user:secret@a", "http://a,redis://b"] {
            let error = said(text, true).expect_err(text);
            assert!(error.starts_with("--synchronization") && !error.contains("secret"), "{error}");
        }
    }
}
