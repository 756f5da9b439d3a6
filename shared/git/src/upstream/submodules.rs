//! Submodules of other repositories: each has a copy of its own, as any other repository has.

use slipway_digest::CommitId;
use slipway_paths::{PathFilter, Scope};

use super::{Address, Upstream, Wanted};
use crate::{GitError, Repository, Submodule};

/// Deepest submodule in submodules.
const MAX_DEPTH: usize = 50;
/// Most submodules of one commit, those inside of others included.
const MOST: usize = 1000;

impl Upstream {
    /// Fetches the submodules that `scope` takes files of at a commit that was fetched, those inside of them included;
    /// answers what has them. Blocks. What was fetched before costs nothing.
    ///
    /// # Errors
    /// As [`fetch`](Upstream::fetch); [`GitError::Unusable`] when one has no address, or one that a repository must not name.
    pub fn fetch_submodules(&self, commit: CommitId, scope: &Scope) -> Result<Vec<Repository>, GitError> {
        let mut fetched = Vec::new();
        self.fetch_below(commit, scope, 0, &mut fetched)?;
        Ok(fetched)
    }

    fn fetch_below(
        &self,
        commit: CommitId,
        scope: &Scope,
        depth: usize,
        fetched: &mut Vec<Repository>,
    ) -> Result<(), GitError> {
        for submodule in self.repository()?.submodules(commit, scope)? {
            let unusable = |why: String| {
                let (path, address) = (&submodule.path, &self.address);
                GitError::Unusable(format!("fetch the submodule `{path}` of {address}: {why}"))
            };
            if depth >= MAX_DEPTH || fetched.len() >= MOST {
                return Err(unusable(format!("there are more than {MOST} submodules, or they are nested too deep")));
            }
            let address = self.address_of(&submodule).map_err(unusable)?;
            let inner = Self::new(&self.home, address, self.speech.clone());
            inner.fetch(&Wanted::Commit(submodule.commit)).map_err(|error| match error {
                GitError::Program(said) => GitError::Program(format!("submodule `{}`: {said}", submodule.path)),
                other => unusable(other.to_string()),
            })?;
            fetched.push(inner.repository()?);
            inner.fetch_below(submodule.commit, &Scope::Filter(PathFilter::default()), depth + 1, fetched)?;
        }
        Ok(())
    }

    /// Where a submodule is fetched from. A repository must not make its reader open files of this machine, or speak
    /// without encryption, where the reader did not choose to.
    fn address_of(&self, submodule: &Submodule) -> Result<Address, String> {
        let own = self.address.url();
        let Some(url) = submodule.url.as_deref() else { return Err("`.gitmodules` names no `url`".to_owned()) };
        let whole = if url.starts_with("./") || url.starts_with("../") {
            relative(own, url).ok_or_else(|| format!("`{url}` leads above the address"))?
        } else {
            url.to_owned()
        };
        let address = Address::new(&whole, false).map_err(|error| error.to_string())?;
        if is_file(address.url()) && !is_file(own) {
            return Err(format!("`{address}` is on this machine, and the repository is not"));
        }
        if address.url().starts_with("http://") && !own.starts_with("http://") {
            return Err(format!("`{address}` is not encrypted"));
        }
        match self.address.login() {
            Some(login) if address.login().is_none() && host(address.url()) == host(own) => {
                Ok(address.with_login(login.clone()))
            }
            Some(_) | None => Ok(address),
        }
    }
}

fn is_file(url: &str) -> bool {
    url.starts_with('/') || url.starts_with("file:")
}

/// Scheme, host and port.
fn host(url: &str) -> &str {
    let Some((scheme, rest)) = url.split_once("://") else { return url };
    let end = rest.find('/').unwrap_or(rest.len());
    &url[..scheme.len() + 3 + end]
}

/// `url`, which begins with `./` or `../`, as seen from `base`; `None` when it leads above it.
fn relative(base: &str, url: &str) -> Option<String> {
    let root = match base.split_once("://") {
        Some(_) => host(base).len(),
        None => base.find(':').map_or(0, |colon| colon + 1),
    };
    let (head, mut path) = (&base[..root], base[root..].trim_matches('/'));
    let mut rest = url;
    loop {
        if let Some(below) = rest.strip_prefix("./") {
            rest = below;
        } else if let Some(above) = rest.strip_prefix("../") {
            if path.is_empty() {
                return None;
            }
            (path, rest) = (path.rsplit_once('/').map_or("", |(path, _)| path), above);
        } else {
            break;
        }
    }
    let separator = if head.ends_with(':') { "" } else { "/" };
    let joint = if path.is_empty() { "" } else { "/" };
    (!rest.is_empty() && rest != "..").then(|| format!("{head}{separator}{path}{joint}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_addresses_are_those_of_git() {
        for (base, url, expected) in [
            ("https://host/a/b.git", "../c.git", Some("https://host/a/c.git")),
            ("https://host:1/a/b", "./c", Some("https://host:1/a/b/c")),
            ("https://host/a/b/", "../../c/d", Some("https://host/c/d")),
            ("https://host/a", "../../c", None),
            ("git@host:a/b", "../c", Some("git@host:a/c")),
            ("git@host:b", "../c", Some("git@host:c")),
            ("git@host:b", "../../c", None),
            ("/srv/a", "../c", Some("/srv/c")),
            ("file:///srv/a", "../c", Some("file:///srv/c")),
            ("file:///srv/a", "..", None),
        ] {
            assert_eq!(relative(base, url).as_deref(), expected, "{base} {url}");
        }
    }

    fn seen(own: &str, url: &str) -> Result<Address, String> {
        let upstream = Upstream::new(
            std::path::Path::new("/nowhere"),
            Address::new(own, false).expect(own),
            super::super::Speech::default(),
        );
        upstream.address_of(&Submodule {
            commit: CommitId([0; 20]),
            path: slipway_paths::TreePath::root(),
            repository: None,
            url: Some(url.to_owned()),
        })
    }

    #[test]
    fn a_repository_names_no_files_of_its_readers_and_gets_their_passwords_for_its_own_host_alone() {
        for url in ["file:///etc", "/etc", "http://localhost/x", "ext::sh", "../../../x"] {
            assert!(seen("https://host/a/b", url).is_err(), "{url}");
        }
        let same = seen("https://me:pass@host/a/b", "../c").expect("an address");
        assert_eq!((same.url(), same.login().is_some()), ("https://host/a/c", true));
        let other = seen("https://me:pass@host/a/b", "https://other/c").expect("an address");
        assert!(other.login().is_none());
        assert!(seen("file:///srv/a", "/srv/c").is_ok());
    }
}
