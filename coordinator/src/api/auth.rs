//! Who calls: bearer tokens and their roles.
//!
//! The file holds checksums of tokens, never tokens. It is read again when it has changed.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use slipway_oci::Repo;
use slipway_process::Clock;

/// Largest file that is read, in bytes.
const LARGEST_FILE: u64 = 1 << 20;
/// Longest token that is looked at, in bytes.
const LONGEST_TOKEN: usize = 4096;
/// How often the file is looked at for changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a caller may do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Push commits; submit, follow, list, explain and cancel builds.
    Submit,
    /// Fetch commits; take jobs and report on them.
    Worker,
    /// Clean repositories up whose records a coordinator keeps.
    Cleanup,
    /// Everything.
    Admin,
}

impl Role {
    fn read(text: &str) -> Option<Self> {
        match text {
            "submit" => Some(Self::Submit),
            "worker" => Some(Self::Worker),
            "cleanup" => Some(Self::Cleanup),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }

    /// Its name in the file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Worker => "worker",
            Self::Cleanup => "cleanup",
            Self::Admin => "admin",
        }
    }

    /// Whether somebody of this role may do what is for `wanted`.
    pub(crate) fn covers(self, wanted: Self) -> bool {
        self == Self::Admin || self == wanted
    }
}

/// Why tokens cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file cannot be read.
    #[error("read the tokens file {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A line is none.
    #[error(
        "{}:{line}: {why}; a line is ROLE:NAME:SHA256, where ROLE is submit, worker, cleanup or admin, and SHA256 that of \
         the token in hexadecimal (`printf %s TOKEN | sha256sum`); that of a submit or cleanup token may end with \
         :repos=REPO,REPO/*,…",
        path.display()
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is nothing in it.
    #[error("the tokens file {} holds no token: nobody could call", .0.display())]
    Empty(PathBuf),
    /// There is too much in it.
    #[error("the tokens file {} has more than {LARGEST_FILE} bytes", .0.display())]
    Large(PathBuf),
}

/// Somebody who may call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Caller {
    /// What he may do.
    pub(crate) role: Role,
    /// What the file calls him; for logs.
    pub(crate) name: Arc<str>,
    /// Where the stages of his builds may go, and what he may clean up; `None` = anywhere.
    pub(crate) repos: Option<Arc<[Allowed]>>,
}

impl Caller {
    /// Who has no name.
    pub(crate) fn anybody(role: Role) -> Self {
        Self { role, name: "anybody".into(), repos: None }
    }

    /// Whether builds to a repository are any business of his.
    pub(crate) fn may_use(&self, repo: &Repo) -> bool {
        self.repos.as_ref().is_none_or(|repos| repos.iter().any(|allowed| allowed.covers(repo)))
    }
}

/// Repositories that a token is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Allowed {
    /// This one.
    One(Repo),
    /// All whose path is longer than this one's and begins with it.
    Below(Repo),
}

impl Allowed {
    fn read(text: &str) -> Option<Self> {
        match text.strip_suffix("/*") {
            Some(above) => above.parse().ok().map(Self::Below),
            None => text.parse().ok().map(Self::One),
        }
    }

    fn covers(&self, repo: &Repo) -> bool {
        match self {
            Self::One(one) => one == repo,
            Self::Below(above) => {
                let rest = repo.path.strip_prefix(&above.path);
                above.host == repo.host && rest.is_some_and(|rest| rest.starts_with('/'))
            }
        }
    }
}

#[derive(Clone)]
struct Line {
    caller: Caller,
    checksum: [u8; 32],
}

/// Who may call.
pub struct Guard(Option<Tokens>);

struct Tokens {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    /// A lock for look-ups, never held over an await.
    known: Mutex<Known>,
}

struct Known {
    lines: Vec<Line>,
    modified: Option<SystemTime>,
    looked: Duration,
}

impl Guard {
    /// Everybody may do everything. Only for a server that nobody else can reach.
    pub fn open() -> Self {
        Self(None)
    }

    /// Who has a token of the file.
    ///
    /// # Errors
    /// When the file cannot be read or holds no tokens.
    pub fn tokens(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, TokensError> {
        let known = Known { modified: modified(path), lines: read(path)?, looked: clock.monotonic() };
        Ok(Self(Some(Tokens { path: path.to_owned(), clock, known: Mutex::new(known) })))
    }

    /// Reads the file again, whether it seems to have changed or not. What cannot be read changes nothing.
    pub fn reload(&self) {
        if let Some(tokens) = &self.0 {
            tokens.reload(&mut tokens.lock());
        }
    }

    /// Who calls; `None` when he has no token, or an unknown one.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        let Some(tokens) = &self.0 else {
            return is_meant_for_loopback(headers).then(|| Caller::anybody(Role::Admin));
        };
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (given.next(), given.next()) else { return None };
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        let token = token.trim();
        if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.len() > LONGEST_TOKEN {
            return None;
        }
        tokens.find(token)
    }
}

/// Whether a call was made to a loopback address, and by no page from elsewhere: a browser on this machine can be led to
/// call it under a name that its attacker owns.
fn is_meant_for_loopback(headers: &HeaderMap) -> bool {
    let named = [header::HOST, header::ORIGIN].into_iter().flat_map(|name| headers.get_all(name));
    named.into_iter().all(|value| value.to_str().is_ok_and(is_loopback))
}

/// Whether `[SCHEME://]HOST[:PORT]` names this machine.
fn is_loopback(text: &str) -> bool {
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

impl Tokens {
    fn find(&self, token: &str) -> Option<Caller> {
        let checksum: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut known = self.lock();
        self.look(&mut known);
        // Every line is compared in full: how long it takes says nothing.
        let fitting = known.lines.iter().filter(|line| is_equal(&line.checksum, &checksum));
        fitting.fold(None, |found, line| found.or_else(|| Some(line.caller.clone())))
    }

    fn look(&self, known: &mut Known) {
        let now = self.clock.monotonic();
        if now.saturating_sub(known.looked) < LOOK_EVERY {
            return;
        }
        known.looked = now;
        if modified(&self.path) != known.modified {
            self.reload(known);
        }
    }

    fn reload(&self, known: &mut Known) {
        let modified = modified(&self.path);
        match read(&self.path) {
            Ok(lines) => {
                tracing::info!("the tokens file was read again: {} tokens", lines.len());
                known.lines = lines;
            }
            Err(error) => {
                let why = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
                tracing::error!("{error}{why}; the tokens of before stay in force");
            }
        }
        known.modified = modified;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn is_equal(one: &[u8; 32], other: &[u8; 32]) -> bool {
    std::hint::black_box(one.iter().zip(other).fold(0_u8, |differences, (a, b)| differences | (a ^ b))) == 0
}

fn read(path: &Path) -> Result<Vec<Line>, TokensError> {
    let unreadable = |error| TokensError::Read(path.to_owned(), error);
    if fs::metadata(path).map_err(unreadable)?.len() > LARGEST_FILE {
        return Err(TokensError::Large(path.to_owned()));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let mut lines = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let text = text.trim();
        if !text.is_empty() && !text.starts_with('#') {
            let bad = |why| TokensError::Line { path: path.to_owned(), line: index + 1, why };
            lines.push(line(text).map_err(bad)?);
        }
    }
    if lines.is_empty() { Err(TokensError::Empty(path.to_owned())) } else { Ok(lines) }
}

fn line(text: &str) -> Result<Line, &'static str> {
    let mut parts = text.splitn(4, ':');
    let (Some(role), Some(name), Some(checksum)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("it has fewer than three parts");
    };
    let role = Role::read(role).ok_or("its role is unknown")?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
        return Err("its name is not of 1 to 64 letters, digits and `-_.@`");
    }
    let mut bytes = [0; 32];
    hex::decode_to_slice(checksum, &mut bytes).map_err(|_| "its checksum is not of 64 hexadecimal digits")?;
    let repos = parts.next().map(repos).transpose()?;
    if repos.is_some() && !matches!(role, Role::Submit | Role::Cleanup) {
        return Err("only a submit or cleanup token can be for some repositories only");
    }
    Ok(Line { caller: Caller { role, name: name.into(), repos }, checksum: bytes })
}

fn repos(text: &str) -> Result<Arc<[Allowed]>, &'static str> {
    let list = text.strip_prefix("repos=").ok_or("what follows its checksum is not `repos=`")?;
    let read =
        |one| Allowed::read(one).ok_or("its `repos=` names what is no repository: write REPO, or REPO/* for all below");
    list.split(',').map(read).collect()
}

#[cfg(test)]
mod tests {
    use slipway_process::SystemClock;

    use super::*;

    fn checksum(token: &str) -> String {
        hex::encode(Sha256::digest(token))
    }

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().expect("a value"))])
    }

    #[test]
    fn a_token_is_known_by_its_checksum() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tokens");
        let text = format!("# fleet\n\nworker:fleet:{}\nsubmit:ci:{}\n", checksum("w"), checksum("s"));
        fs::write(&path, text).expect("the file");
        let guard = Guard::tokens(&path, Arc::new(SystemClock::new(None))).expect("tokens");
        let role = |value: &str| guard.caller(&headers(value)).map(|caller| caller.role);
        assert_eq!(role("Bearer w"), Some(Role::Worker));
        assert_eq!(role("bearer s"), Some(Role::Submit));
        assert_eq!(role("Basic s"), None);
        assert_eq!(role("Bearer "), None);
        assert_eq!(role("Bearer x"), None);
        assert_eq!(role(&format!("Bearer {}", checksum("s"))), None, "the checksum is no token");
        assert_eq!(guard.caller(&HeaderMap::new()), None);
        fs::write(&path, format!("admin:me:{}\n", checksum("a"))).expect("the file");
        guard.reload();
        assert_eq!(role("Bearer a"), Some(Role::Admin));
        assert_eq!(role("Bearer w"), None);
        fs::write(&path, "nonsense").expect("the file");
        guard.reload();
        assert_eq!(role("Bearer a"), Some(Role::Admin), "a broken file changes nothing");
    }

    #[test]
    fn without_tokens_only_calls_to_loopback_are_taken() {
        let called = |pairs: &[(header::HeaderName, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value")));
            Guard::open().caller(&HeaderMap::from_iter(pairs)).is_some()
        };
        for host in ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:8080", "127.8.9.1"] {
            assert!(called(&[(header::HOST, host)]), "{host}");
        }
        for host in ["evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1:8080", ""] {
            assert!(!called(&[(header::HOST, host)]), "{host}");
        }
        let origin = |origin| called(&[(header::HOST, "127.0.0.1:8080"), (header::ORIGIN, origin)]);
        assert!(origin("http://localhost:3000"));
        assert!(!origin("https://evil.example") && !origin("null"));
    }

    #[test]
    fn what_is_no_line_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tokens");
        for (text, expected) in [
            ("submit:ci".to_owned(), ":1: it has fewer than three parts"),
            (format!("# x\nroot:ci:{}", checksum("a")), ":2: its role is unknown"),
            (format!("submit::{}", checksum("a")), "its name is not"),
            ("submit:ci:abc".to_owned(), "its checksum is not"),
            (format!("submit:ci:{}:shop", checksum("a")), "is not `repos=`"),
            (format!("submit:ci:{}:repos=r.example/a,", checksum("a")), "names what is no repository"),
            (format!("submit:ci:{}:repos=", checksum("a")), "names what is no repository"),
            (format!("worker:w:{}:repos=r.example/a", checksum("a")), "only a submit or cleanup token"),
            ("# nothing".to_owned(), "holds no token"),
        ] {
            fs::write(&path, &text).expect("the file");
            let error = Guard::tokens(&path, Arc::new(SystemClock::new(None))).err().expect("no tokens");
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_token_may_be_for_some_repositories_only() {
        let line = format!("submit:ci:{}:repos=r.example:5000/team/*,r.example/shop", checksum("s"));
        let caller = line_of(&line);
        let may = |repo: &str| caller.may_use(&repo.parse().expect("a repository"));
        for repo in ["r.example:5000/team/a", "r.example:5000/team/a/b", "r.example/shop"] {
            assert!(may(repo), "{repo}");
        }
        for repo in
            ["r.example:5000/team", "r.example:5000/teams/a", "r.example/team/a", "r.example/shop/a", "r.example/sho"]
        {
            assert!(!may(repo), "{repo}");
        }
        let anywhere = line_of(&format!("submit:ci:{}", checksum("s")));
        assert!(anywhere.may_use(&"r.example/any".parse().expect("a repository")));
    }

    fn line_of(text: &str) -> Caller {
        line(text).expect("a line").caller
    }
}
