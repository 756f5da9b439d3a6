//! The addresses of coordinators, and which of them leads as far as is known.

use std::sync::{Mutex, MutexGuard, PoisonError};

use url::{Host, Url};

/// Most addresses that are kept, those that coordinators named included.
const MOST: usize = 32;

/// An address that cannot be one of a coordinator.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    /// It is malformed.
    #[error("`{0}` is no address of a coordinator; write http://HOST:PORT or https://HOST")]
    Malformed(String),
    /// It holds a name or password.
    #[error("an address of a coordinator must not hold a password; put the token into SLIPWAY_TOKEN or a --token-file")]
    Secret,
    /// There is none, or there are too many.
    #[error("between 1 and {MOST} addresses of coordinators can be given, not {0}")]
    Number(usize),
}

/// The addresses of the coordinators of one cluster.
#[derive(Debug)]
pub struct Addresses(Mutex<State>);

#[derive(Debug)]
struct State {
    urls: Vec<Url>,
    current: usize,
}

impl Addresses {
    /// These addresses; the first is believed to lead.
    ///
    /// # Errors
    /// When one is malformed, or when there is none.
    pub fn new<S: AsRef<str>>(texts: &[S]) -> Result<Self, AddressError> {
        if texts.is_empty() || texts.len() > MOST {
            return Err(AddressError::Number(texts.len()));
        }
        let urls = texts.iter().map(|text| parse(text.as_ref())).collect::<Result<Vec<_>, _>>()?;
        Ok(Self(Mutex::new(State { urls, current: 0 })))
    }

    /// The coordinator that is believed to lead.
    pub fn current(&self) -> Url {
        let state = self.lock();
        state.urls[state.current].clone()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().urls.len()
    }

    /// Whether all of them are on this machine.
    pub fn are_here(&self) -> bool {
        self.lock().urls.iter().all(is_here)
    }

    /// A coordinator did not answer, or does not lead: from now on the next one is asked, unless somebody has found
    /// another meanwhile.
    pub(crate) fn pass_over(&self, failed: &Url) {
        let mut state = self.lock();
        if state.urls[state.current] == *failed {
            state.current = (state.current + 1) % state.urls.len();
        }
    }

    /// A coordinator says where the leader is. `false` when that is no address that may be asked.
    pub(crate) fn follow(&self, from: &Url, leader: &str) -> bool {
        let Ok(leader) = parse(leader) else { return false };
        let mut state = self.lock();
        if let Some(known) = state.urls.iter().position(|url| *url == leader) {
            state.current = known;
            return leader != *from;
        }
        // A token that went by TLS does not go without it because an answer says so.
        let safe = from.scheme() == leader.scheme() || leader.scheme() == "https";
        if !safe || state.urls.len() >= MOST {
            return false;
        }
        state.urls.push(leader);
        state.current = state.urls.len() - 1;
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(text: &str) -> Result<Url, AddressError> {
    let malformed = || AddressError::Malformed(text.chars().take(100).filter(|c| !c.is_control()).collect());
    let url = Url::parse(text.trim()).map_err(|_| malformed())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AddressError::Secret);
    }
    let plain = url.query().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || !plain {
        return Err(malformed());
    }
    let mut url = url;
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Addresses {
        Addresses::new(texts).expect("addresses")
    }

    #[test]
    fn addresses_are_checked() {
        for text in ["", "coordinator:8080", "ftp://a", "http://", "http://a?b=c", "http://a#b", "/a"] {
            assert!(matches!(Addresses::new(&[text]), Err(AddressError::Malformed(_))), "{text}");
        }
        assert_eq!(Addresses::new(&["http://me:pass@a"]).err(), Some(AddressError::Secret));
        assert_eq!(Addresses::new::<&str>(&[]).err(), Some(AddressError::Number(0)));
        assert_eq!(addresses(&["http://a:1/below"]).current().as_str(), "http://a:1/below/");
    }

    #[test]
    fn the_next_is_asked_when_one_fails_and_only_once() {
        let all = addresses(&["http://a", "http://b"]);
        let first = all.current();
        all.pass_over(&first);
        // A second call that failed at the same one changes nothing.
        all.pass_over(&first);
        assert_eq!(all.current().as_str(), "http://b/");
        all.pass_over(&all.current());
        assert_eq!(all.current().as_str(), "http://a/");
    }

    #[test]
    fn a_leader_that_is_named_is_followed() {
        let all = addresses(&["https://a", "https://b", "https://c"]);
        let first = all.current();
        assert!(all.follow(&first, "https://c/"));
        assert_eq!(all.current().as_str(), "https://c/");
        assert!(all.follow(&first, "https://new:8443"));
        assert_eq!(all.current().as_str(), "https://new:8443/");
        for wrong in ["http://plain", "nonsense", "https://me:pass@d"] {
            assert!(!all.follow(&first, wrong), "{wrong}");
        }
        assert_eq!(all.current().as_str(), "https://new:8443/");
    }
}
