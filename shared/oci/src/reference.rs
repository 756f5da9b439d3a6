//! Names of repositories and images, with the shorthands that Docker's users write.
//!
//! `alpine` means `docker.io/library/alpine:latest`. What stands before the first `/` is a host when it holds a `.`
//! or a `:`, is `localhost`, or has an upper-case letter (no path may have one). Everything is printed in full.

use std::{fmt, str::FromStr};

use crate::BlobDigest;

/// Host that a name without one lies on.
const DEFAULT_HOST: &str = "docker.io";
/// Another spelling of [`DEFAULT_HOST`] that old clients used.
const LEGACY_HOST: &str = "index.docker.io";
/// Directory of the images without one on [`DEFAULT_HOST`].
const OFFICIAL: &str = "library";
/// Tag that is meant when neither tag nor digest is given.
const DEFAULT_TAG: &str = "latest";
/// How paths of repositories begin that a process serves for itself. No user can name one: parts of a path begin with a
/// letter or a digit.
const PASSING: &str = "_passing/";
/// Longest path, in bytes.
const PATH_LIMIT: usize = 255;
/// Longest host, in bytes, without its port.
const HOST_LIMIT: usize = 253;
/// Longest tag, in bytes.
const TAG_LIMIT: usize = 128;
/// Longest text that can be a reference: all of the above, the digest and the separators.
const TEXT_LIMIT: usize = 1024;

/// A text that names no image or repository.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is no image reference: {why}")]
pub struct ReferenceError {
    text: String,
    why: &'static str,
}

impl ReferenceError {
    pub(crate) fn new(text: &str, why: &'static str) -> Self {
        Self { text: text.chars().take(200).collect(), why }
    }

    /// What is wrong with the text.
    pub fn why(&self) -> &'static str {
        self.why
    }
}

/// A repository: registry host and path, without tag or digest. For local storages, the project's name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
pub struct Repo {
    /// Host and optional port; `docker.io` when the text names none; empty for a local storage.
    pub host: String,
    /// Path below the host.
    pub path: String,
}

/// An image in a place: a repository and the digest of a manifest in it (of a config, in a local storage).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
pub struct ImageAt {
    /// Where.
    pub repo: Repo,
    /// What.
    pub digest: BlobDigest,
}

/// An image reference as a user writes it: `[HOST/]PATH[:TAG][@DIGEST]`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Reference {
    /// Host and path.
    pub repo: Repo,
    /// Tag; `latest` when neither tag nor digest is given.
    pub tag: Option<String>,
    /// Manifest digest.
    pub digest: Option<BlobDigest>,
}

impl Repo {
    /// Whether the registry runs on this machine: `localhost` or `127.0.0.0/8`, with any port. Such a registry may
    /// be spoken to without TLS.
    pub fn is_loopback(&self) -> bool {
        let name = self.host.split(':').next().unwrap_or_default();
        let address: Option<std::net::Ipv4Addr> = name.parse().ok();
        name.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback())
    }

    /// Whether it is served by a process for itself and gone with it: what is known of it is of no use to others.
    pub fn is_passing(&self) -> bool {
        self.path.starts_with(PASSING)
    }

    /// A repository that a process serves for itself at `host`, under a `name` that nobody guesses.
    #[must_use]
    pub fn passing(host: String, name: &str) -> Self {
        Self { host, path: format!("{PASSING}{name}") }
    }

    /// The image in this repository that carries `tag`.
    ///
    /// # Errors
    /// [`ReferenceError`] when `tag` is no tag.
    pub fn tagged(&self, tag: &str) -> Result<Reference, ReferenceError> {
        check_tag(tag).map_err(|why| ReferenceError::new(tag, why))?;
        Ok(Reference { repo: self.clone(), tag: Some(tag.to_owned()), digest: None })
    }

    /// The image in this repository whose manifest is `digest`.
    #[must_use]
    pub fn at(&self, digest: BlobDigest) -> ImageAt {
        ImageAt { repo: self.clone(), digest }
    }

    /// Reads `[HOST/]PATH`; the error is the reason alone.
    fn read(text: &str) -> Result<Self, &'static str> {
        let (host, path) = match text.split_once('/') {
            Some((first, rest)) if is_host(first) => (first, rest),
            Some(_) | None => (DEFAULT_HOST, text),
        };
        check_host(host)?;
        let host = if host == LEGACY_HOST { DEFAULT_HOST } else { host };
        let path = if host == DEFAULT_HOST && !path.contains('/') && !path.is_empty() {
            format!("{OFFICIAL}/{path}")
        } else {
            path.to_owned()
        };
        check_path(&path)?;
        Ok(Self { host: host.to_owned(), path })
    }
}

impl Reference {
    fn read(text: &str) -> Result<Self, &'static str> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse::<BlobDigest>().map_err(|_| WRONG_DIGEST)?)),
            None => (text, None),
        };
        let (name, tag) = split_tag(name);
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        let repo = Repo::read(name)?;
        let tag = tag.or(if digest.is_none() { Some(DEFAULT_TAG) } else { None }).map(str::to_owned);
        Ok(Self { repo, tag, digest })
    }
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.is_empty() { f.write_str(&self.path) } else { write!(f, "{}/{}", self.host, self.path) }
    }
}

impl fmt::Display for ImageAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repo, self.digest)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repo)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

impl From<ImageAt> for Reference {
    fn from(image: ImageAt) -> Self {
        Self { repo: image.repo, tag: None, digest: Some(image.digest) }
    }
}

impl FromStr for Repo {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let read = || {
            check_text(text)?;
            if text.contains('@') {
                return Err("a repository is named without a digest");
            }
            if split_tag(text).1.is_some() {
                return Err("a repository is named without a tag, as HOST/PATH");
            }
            Self::read(text)
        };
        read().map_err(|why| ReferenceError::new(text, why))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        check_text(text).and_then(|()| Self::read(text)).map_err(|why| ReferenceError::new(text, why))
    }
}

const WRONG_DIGEST: &str = "after `@` a digest is expected: `sha256:` and 64 lower-case hexadecimal characters";

/// What can be said of a text before it is taken apart.
fn check_text(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > TEXT_LIMIT {
        return Err("it is too long");
    }
    if text.contains("://") {
        return Err("write it without `http://`, `https://` or another scheme");
    }
    if text.starts_with('[') {
        return Err("an IPv6 address cannot stand here; use a host name or an IPv4 address such as 127.0.0.1");
    }
    if text.bytes().any(|b| b.is_ascii_whitespace() || b.is_ascii_control()) {
        return Err("it holds white space or a control character");
    }
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Err("64 hexadecimal characters would be taken for an image id");
    }
    Ok(())
}

/// Takes the tag off: what follows the last `:` unless a `/` follows that.
fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        Some(_) | None => (name, None),
    }
}

/// Whether the part before the first `/` names a registry.
fn is_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase())
}

fn check_host(host: &str) -> Result<(), &'static str> {
    let (name, port) = match host.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    if name.is_empty() || name.len() > HOST_LIMIT {
        return Err("the registry's host name is empty or too long");
    }
    let plain = |label: &str| {
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        edge(label.bytes().next()) && edge(label.bytes().last()) && inner
    };
    if !name.split('.').all(plain) {
        return Err("the registry's host name may hold letters, digits, `-` and `.` only");
    }
    let number = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0);
    if port.is_some_and(|port| !number(port)) {
        return Err("the registry's port is no number from 1 to 65535");
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("the path of the image is missing");
    }
    if path.len() > PATH_LIMIT {
        return Err("the path is longer than 255 characters");
    }
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("the path must be in lower case");
    }
    if path.split('/').all(is_path_component) {
        return Ok(());
    }
    Err("each part of the path holds lower-case letters and digits, separated by `.`, `_`, `__` or `-`")
}

/// `[a-z0-9]+ ((. | _ | __ | -+) [a-z0-9]+)*`
fn is_path_component(part: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let separator = |run: &[u8]| run == b"." || run == b"_" || run == b"__" || run.iter().all(|b| *b == b'-');
    let bytes = part.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    let inner = bytes.split(|b| word(*b)).filter(|run| !run.is_empty()).all(separator);
    word(*first) && word(*last) && inner
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let Some(first) = tag.bytes().next() else { return Err("the tag after `:` is empty") };
    if tag.len() > TAG_LIMIT {
        return Err("the tag is longer than 128 characters");
    }
    if word(first) && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-') {
        return Ok(());
    }
    Err("a tag holds letters, digits, `_`, `.` and `-` only and starts with none of the last two")
}

#[cfg(test)]
mod tests;
