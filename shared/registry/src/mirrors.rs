//! Mirrors: other registries that have what a registry has.
//!
//! Only what is pulled comes from them, and what has a digest must be that, as everywhere. A mirror that fails is left
//! alone for a while: it costs one wait, and one warning. It is shown its own credentials, never those of the registry
//! that it mirrors.

use std::{
    future::Future,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use slipway_oci::Repo;
use slipway_process::Clock;
use url::Url;

use crate::{RegistryError, call::root};

/// How long a mirror that failed is left alone.
const REST: Duration = Duration::from_secs(300);
/// The registry that mirrors are for unless another is named.
const DOCKER_HUB: &str = "docker.io";

/// Where a registry is mirrored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mirror {
    /// Host of the registry that is mirrored, as references name it.
    of: String,
    /// Host of the mirror, with its port.
    host: String,
    /// It speaks plain HTTP.
    plain: bool,
}

/// A text that names no mirror.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is no mirror: {why}; write [http://|https://]HOST[:PORT]")]
pub struct MirrorError {
    text: String,
    why: &'static str,
}

impl Mirror {
    /// The same mirror, of another registry than Docker Hub.
    #[must_use]
    pub fn of(self, host: &str) -> Self {
        Self { of: host.to_owned(), ..self }
    }
}

impl FromStr for Mirror {
    type Err = MirrorError;

    fn from_str(text: &str) -> Result<Self, MirrorError> {
        let wrong = |why| MirrorError {
            text: text.split('@').next_back().unwrap_or_default().chars().take(200).collect(),
            why,
        };
        let (scheme, host) = text.split_once("://").unwrap_or(("https", text));
        if !matches!(scheme, "http" | "https") {
            return Err(wrong("only http and https are spoken"));
        }
        if host.contains('@') {
            return Err(wrong("it holds credentials; log in to it instead"));
        }
        let host = host.trim_end_matches('/');
        let address = root(scheme, host).ok().filter(|url: &Url| url.path() == "/");
        if host.is_empty() || host.contains(['/', '?', '#']) || address.is_none() {
            return Err(wrong("a host with an optional port is expected"));
        }
        Ok(Self { of: DOCKER_HUB.to_owned(), host: host.to_ascii_lowercase(), plain: scheme == "http" })
    }
}

/// All mirrors, in the order in which they are asked.
pub(crate) struct Mirrors {
    clock: Arc<dyn Clock>,
    all: Vec<Known>,
}

struct Known {
    mirror: Mirror,
    /// On the monotonic clock: until when it is left alone.
    resting: Mutex<Duration>,
}

impl Mirrors {
    pub(crate) fn new(mirrors: Vec<Mirror>, clock: Arc<dyn Clock>) -> Self {
        let all = mirrors.into_iter().map(|mirror| Known { mirror, resting: Mutex::default() }).collect();
        Self { clock, all }
    }

    /// Whether `host` is a mirror: no time is spent on it, as there is another.
    pub(crate) fn has(&self, host: &str) -> bool {
        self.all.iter().any(|known| known.mirror.host == host)
    }

    /// Whether `host` is a mirror that speaks plain HTTP, as the user says.
    pub(crate) fn is_plain(&self, host: &str) -> bool {
        self.all.iter().any(|known| known.mirror.plain && known.mirror.host == host)
    }

    /// What the first mirror of a repository gives that has it; `None` when none does.
    pub(crate) async fn first<T, F>(&self, repo: &Repo, read: impl Fn(Repo) -> F) -> Option<T>
    where
        F: Future<Output = Result<Option<T>, RegistryError>>,
    {
        for known in self.all.iter().filter(|known| known.mirror.of == repo.host) {
            if self.is_resting(known) {
                continue;
            }
            let at = Repo { host: known.mirror.host.clone(), path: repo.path.clone() };
            match read(at).await {
                Ok(Some(found)) => return Some(found),
                Ok(None) | Err(RegistryError::NotFound(_)) => {}
                Err(error) => self.rest(&known.mirror.host, &error.to_string()),
            }
        }
        None
    }

    /// Leaves a mirror alone for a while, and says so when that is news.
    pub(crate) fn rest(&self, host: &str, why: &str) {
        for known in self.all.iter().filter(|known| known.mirror.host == host) {
            let mut resting = known.resting.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.clock.monotonic();
            if now >= *resting {
                let of = &known.mirror.of;
                tracing::warn!("the mirror {host} of {of} is not used for {} s: {why}", REST.as_secs());
                *resting = now + REST;
            }
        }
    }

    /// Leaves the mirrors of a repository alone for a while; `false` when all are left alone already.
    pub(crate) fn rest_all(&self, repo: &Repo, why: &str) -> bool {
        let awake = |known: &&Known| known.mirror.of == repo.host && !self.is_resting(known);
        let awake: Vec<&Known> = self.all.iter().filter(awake).collect();
        awake.iter().for_each(|known| self.rest(&known.mirror.host, why));
        !awake.is_empty()
    }

    fn is_resting(&self, known: &Known) -> bool {
        self.clock.monotonic() < *known.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hand::Hand;

    #[test]
    fn mirrors_are_hosts() {
        let mirror = |text: &str| text.parse::<Mirror>();
        let expected = |host: &str, plain| Ok(Mirror { of: "docker.io".to_owned(), host: host.to_owned(), plain });
        assert_eq!(mirror("mirror.example"), expected("mirror.example", false));
        assert_eq!(mirror("https://Mirror.example/"), expected("mirror.example", false));
        assert_eq!(mirror("http://10.0.0.1:5000"), expected("10.0.0.1:5000", true));
        for (text, part) in [
            ("", "a host"),
            ("https://", "a host"),
            ("https://mirror.example/prefix", "a host"),
            ("mirror.example?x", "a host"),
            ("mirror.example:http", "a host"),
            ("ftp://mirror.example", "only http"),
            ("https://me:secret@mirror.example", "credentials"),
        ] {
            let error = mirror(text).expect_err(text).to_string();
            assert!(error.contains(part) && !error.contains("secret"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_mirror_that_fails_rests() {
        let clock = Arc::new(Hand::default());
        let all = ["http://one", "http://two"].map(|text| text.parse().unwrap()).to_vec();
        let mirrors = Mirrors::new(all, Arc::clone(&clock) as Arc<dyn Clock>);
        let repo: Repo = "library/app".parse().unwrap();
        let broken = |at: Repo| async move {
            if at.host == "one" { Err(RegistryError::Unavailable("gone".to_owned())) } else { Ok(Some(at.to_string())) }
        };
        let echo = |at: Repo| async move { Ok(Some(at.to_string())) };
        let two = Some("two/library/app".to_owned());
        assert_eq!(mirrors.first(&repo, broken).await, two);
        assert_eq!(mirrors.first(&repo, echo).await, two, "the first is left alone");
        clock.set(300);
        assert_eq!(mirrors.first(&repo, echo).await, Some("one/library/app".to_owned()));
        let missing = |_| async { Ok::<Option<()>, _>(None) };
        assert_eq!(mirrors.first(&repo, missing).await, None);
        assert_eq!(
            mirrors.first(&repo, echo).await,
            Some("one/library/app".to_owned()),
            "to have nothing is no failure"
        );
        let other: Repo = "registry.example/app".parse().unwrap();
        assert_eq!(mirrors.first(&other, echo).await, None, "they are of one registry");
    }
}
