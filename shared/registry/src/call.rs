//! One request as its caller means it, before authentication, redirects and retries.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use slipway_oci::{BlobDigest, Repo};
use url::Url;

use crate::{RegistryError, scheme::api_host};

/// How long a registry may take to begin its answer, and between two pieces of it.
pub(crate) const IDLE: Duration = Duration::from_secs(60);
/// How long it may take to store an upload for good: some copy the whole blob then.
pub(crate) const STORING: Duration = Duration::from_secs(300);
/// Slowest upload that is waited for, in bytes per second.
const SLOWEST_UPLOAD: u64 = 64 * 1024;

/// Where a call goes.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// Below `/v2/PATH/` of the repository's registry.
    Below(String),
    /// An address that the registry gave.
    At(Url),
    /// `/v2/` itself, which tells whether somebody is known.
    Root,
}

/// One request. Bodies are cheap to clone, so that every call can be made again.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// What is being done, with the repository: the start of every error message.
    pub(crate) operation: String,
    /// The repository, whose registry is asked.
    pub(crate) repo: Repo,
    pub(crate) method: Method,
    pub(crate) target: Target,
    /// Headers; all of them may be shown to whatever host the registry redirects to.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// What a token must allow, such as `repository:app:pull`; sorted.
    pub(crate) scopes: Vec<String>,
    /// Statuses besides 2xx that the caller wants to see.
    pub(crate) expected: &'static [StatusCode],
    /// How long the registry may take to begin its answer once it has the body.
    pub(crate) patience: Duration,
}

impl Call {
    /// A call below `/v2/PATH/`; `operation` is what is being done, such as ``read manifest `v1` of``.
    ///
    /// # Errors
    /// When the repository cannot be one of a registry.
    pub(crate) fn new(method: Method, repo: &Repo, tail: &str, operation: &str) -> Result<Self, RegistryError> {
        let operation = format!("{operation} {repo}");
        check_repo(repo).map_err(|why| RegistryError::Refused(format!("{operation}: {why}")))?;
        let actions = match method {
            Method::GET | Method::HEAD => "pull",
            Method::DELETE => "delete",
            _ => "pull,push",
        };
        Ok(Self {
            operation,
            repo: repo.clone(),
            method,
            target: Target::Below(tail.to_owned()),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            scopes: vec![format!("repository:{}:{actions}", repo.path)],
            expected: &[],
            patience: IDLE,
        })
    }

    /// A call of the registry's root, which needs no right but to be known.
    pub(crate) fn root(host: &str) -> Result<Self, RegistryError> {
        let repo = Repo { host: host.to_owned(), path: "any".to_owned() };
        let mut call = Self::new(Method::GET, &repo, "", "")?;
        call.operation = format!("log in to {host}");
        call.target = Target::Root;
        call.scopes.clear();
        Ok(call)
    }

    /// The same call to an address that the registry gave.
    pub(crate) fn at(mut self, url: &Url) -> Self {
        self.target = Target::At(url.clone());
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }

    /// Statuses besides 2xx that the caller wants to see.
    pub(crate) fn expect(mut self, expected: &'static [StatusCode]) -> Self {
        self.expected = expected;
        self
    }

    /// Asks for a token that allows `actions` on `path`, besides what this call itself needs.
    pub(crate) fn also_on(mut self, path: &str, actions: &str) -> Self {
        self.scopes.push(format!("repository:{path}:{actions}"));
        self.scopes.sort();
        self.scopes.dedup();
        self
    }

    /// The same call with a token that allows pushing: some registries show uploads to nobody else.
    pub(crate) fn for_push(mut self) -> Self {
        self.scopes = vec![format!("repository:{}:pull,push", self.repo.path)];
        self
    }

    pub(crate) fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The registry, as its credentials are filed.
    pub(crate) fn host(&self) -> &str {
        &self.repo.host
    }

    /// How long one try may take until the answer begins.
    pub(crate) fn time_limit(&self) -> Duration {
        self.patience + self.upload_limit()
    }

    /// The same at a host that has never answered, of which no more patience than this is due.
    pub(crate) fn first_limit(&self, patience: Duration) -> Duration {
        self.patience.min(patience) + self.upload_limit()
    }

    fn upload_limit(&self) -> Duration {
        let size = u64::try_from(self.body.len()).unwrap_or(u64::MAX);
        Duration::from_secs(size / SLOWEST_UPLOAD)
    }

    /// An error of this call: what was being done, then `what`.
    pub(crate) fn say(&self, what: impl std::fmt::Display) -> String {
        format!("{}: {what}", self.operation)
    }
}

/// The root of a registry, `scheme://host/`.
pub(crate) fn root(scheme: &str, host: &str) -> Result<Url, String> {
    let url = Url::parse(&format!("{scheme}://{}/", api_host(host)));
    url.map_err(|error| format!("`{host}` is no registry host ({error})"))
}

/// Whether `selector` may stand in the address of a manifest: a tag or a digest.
pub(crate) fn check_selector(selector: &str) -> Result<Option<BlobDigest>, String> {
    if selector.contains(':') {
        return selector.parse().map(Some).map_err(|error: slipway_oci::DigestError| error.to_string());
    }
    if is_tag(selector) {
        Ok(None)
    } else {
        let shown: String = selector.chars().take(100).collect();
        Err(format!("`{shown}` is no tag: letters, digits, `_`, `.` and `-`, at most 128, beginning with none of `.-`"))
    }
}

/// Whether a text has the form of a tag.
pub(crate) fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

fn check_repo(repo: &Repo) -> Result<(), String> {
    if repo.host.is_empty() {
        return Err("this names no registry; write HOST/PATH".to_owned());
    }
    let host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if !repo.host.bytes().all(host_byte) {
        return Err(format!("`{}` is no registry host", repo.host.escape_debug()));
    }
    let path_byte = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/".contains(&byte);
    let dots = |part: &str| part.is_empty() || part.bytes().all(|byte| byte == b'.');
    if repo.path.len() > 255 || !repo.path.bytes().all(path_byte) || repo.path.split('/').any(dots) {
        return Err(format!("`{}` is no path of a repository", repo.path.escape_debug()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo(host: &str, path: &str) -> Repo {
        Repo { host: host.to_owned(), path: path.to_owned() }
    }

    #[test]
    fn only_registry_repositories_are_called() {
        for (host, path) in [("r.example:5000", "a/b-c_d.e"), ("127.0.0.1:5000", "app"), ("[::1]:5000", "app")] {
            assert!(Call::new(Method::GET, &repo(host, path), "x", "read").is_ok(), "{host} {path}");
        }
        for (host, path) in [
            ("", "app"),
            ("r.example", ""),
            ("r.example", "a//b"),
            ("r.example", "../a"),
            ("r.example", "a/../b"),
            ("r.example", "a?x"),
            ("r.example", "a%2fb"),
            ("user@r.example", "a"),
            ("r.example/x", "a"),
        ] {
            let error = Call::new(Method::GET, &repo(host, path), "x", "read").unwrap_err();
            assert!(matches!(error, RegistryError::Refused(_)), "{host} {path}: {error}");
        }
    }

    #[test]
    fn selectors_are_tags_or_digests() {
        let digest = BlobDigest::of(b"x");
        assert_eq!(check_selector(digest.as_str()), Ok(Some(digest)));
        for tag in ["latest", "_", "v1.2-3", "1", &"x".repeat(128)] {
            assert_eq!(check_selector(tag), Ok(None), "{tag}");
        }
        for wrong in ["", ".a", "-a", "a/b", "a?b", "ä", "sha256:12", &"x".repeat(129)] {
            assert!(check_selector(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_call_asks_for_what_it_needs() {
        let call = |method: Method| Call::new(method, &repo("r.example", "a"), "x", "do").unwrap();
        assert_eq!(call(Method::GET).scopes, ["repository:a:pull"]);
        assert_eq!(call(Method::PATCH).scopes, ["repository:a:pull,push"]);
        assert_eq!(call(Method::DELETE).scopes, ["repository:a:delete"]);
        let mount = call(Method::POST).also_on("0/base", "pull");
        assert_eq!(mount.scopes, ["repository:0/base:pull", "repository:a:pull,push"]);
    }

    #[test]
    fn large_bodies_get_more_time() {
        let call = Call::new(Method::PUT, &repo("r.example", "a"), "x", "do").unwrap();
        assert_eq!(call.time_limit(), IDLE);
        let large = call.body(Bytes::from(vec![0; 16 << 20]));
        assert_eq!(large.time_limit(), IDLE + Duration::from_secs(256));
    }
}
