//! What an image can be built on: nothing, an image of a registry, or one in an archive beside the configuration.

use std::{fmt, str::FromStr};

use crate::{BlobDigest, Reference, ReferenceError};

/// The name of the base that holds nothing.
pub const SCRATCH: &str = "scratch";
/// Longest name of a base in an archive, in bytes.
const TEXT_LIMIT: usize = 2048;

/// A base as a user writes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BaseName {
    /// `scratch`: nothing.
    Scratch,
    /// An image of a registry, or of an engine.
    Registry(Reference),
    /// An image in an archive.
    Archive(ArchiveName),
}

/// An image in an archive: `oci-layout://PATH[:TAG|@DIGEST]` or `docker-archive://PATH[:REFERENCE]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArchiveName {
    /// Form of the archive.
    pub form: ArchiveForm,
    /// Path from the project directory; it never leads out of it by `..`.
    pub path: String,
    /// Which of its images.
    pub which: Which,
}

/// How an archive is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArchiveForm {
    /// A directory in the form of the OCI's image layout.
    OciLayout,
    /// A tar file as `docker save` writes it.
    DockerArchive,
}

/// Which image of an archive is meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Which {
    /// The only one.
    Only,
    /// The one of this name: a tag of a layout, `NAME[:TAG]` of a Docker archive.
    Named(String),
    /// The one whose manifest or index has this digest. Layouts alone have digests.
    Digest(BlobDigest),
}

impl ArchiveForm {
    /// How names of its images begin.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::OciLayout => "oci-layout://",
            Self::DockerArchive => "docker-archive://",
        }
    }
}

impl ArchiveName {
    /// Whether `text` is meant to name an image in an archive, rightly spelt or not.
    pub fn is_meant(text: &str) -> bool {
        form_of(text).is_some()
    }

    fn read(form: ArchiveForm, rest: &str) -> Result<Self, &'static str> {
        if rest.len() > TEXT_LIMIT {
            return Err("it is too long");
        }
        if rest.bytes().any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control()) {
            return Err("it holds white space or a control character");
        }
        let at = rest.find([':', '@']).unwrap_or(rest.len());
        let path = check_path(&rest[..at])?;
        let which = match (form, rest[at..].chars().next()) {
            (_, None) => Which::Only,
            (_, Some(_)) if rest.len() == at + 1 => return Err("nothing stands after the last `:` or `@`"),
            (ArchiveForm::OciLayout, Some('@')) => {
                let digest = rest[at + 1..].parse();
                Which::Digest(digest.map_err(
                    |_| "after `@` a digest is expected: `sha256:` and 64 lower-case hexadecimal characters",
                )?)
            }
            (ArchiveForm::OciLayout, Some(_)) => {
                let tag = &rest[at + 1..];
                if tag.contains('@') {
                    return Err("a tag and a digest cannot stand together: the digest is enough");
                }
                Which::Named(tag.to_owned())
            }
            (ArchiveForm::DockerArchive, Some('@')) => {
                return Err(
                    "images of a Docker archive have no digests; write `:NAME:TAG`, or nothing for the only one",
                );
            }
            (ArchiveForm::DockerArchive, Some(_)) => {
                let name: Reference = rest[at + 1..].parse().map_err(|error: ReferenceError| error.why())?;
                if name.digest.is_some() {
                    return Err("images of a Docker archive have no digests; write `:NAME:TAG`");
                }
                Which::Named(rest[at + 1..].to_owned())
            }
        };
        Ok(Self { form, path, which })
    }
}

impl FromStr for BaseName {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text == SCRATCH {
            return Ok(Self::Scratch);
        }
        match form_of(text) {
            Some((form, rest)) => {
                let read = ArchiveName::read(form, rest);
                read.map(Self::Archive).map_err(|why| ReferenceError::new(text, why))
            }
            None => text.parse().map(Self::Registry),
        }
    }
}

impl fmt::Display for ArchiveName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.form.prefix(), self.path)?;
        match &self.which {
            Which::Only => Ok(()),
            Which::Named(name) => write!(f, ":{name}"),
            Which::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

fn form_of(text: &str) -> Option<(ArchiveForm, &str)> {
    [ArchiveForm::OciLayout, ArchiveForm::DockerArchive]
        .into_iter()
        .find_map(|form| Some((form, text.strip_prefix(form.prefix())?)))
}

/// The path without `.` and doubled slashes.
fn check_path(path: &str) -> Result<String, &'static str> {
    if path.starts_with('/') {
        return Err("its path is absolute; write it from the project directory on");
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err("its path leads out of a directory by `..`; keep the archive in the project directory");
    }
    if parts.is_empty() {
        return Err("the path of the archive is missing");
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_are_told_apart() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let archive = |form, path: &str, which| BaseName::Archive(ArchiveName { form, path: path.to_owned(), which });
        let (layout, docker) = (ArchiveForm::OciLayout, ArchiveForm::DockerArchive);
        let named = |name: &str| Which::Named(name.to_owned());
        let cases = [
            ("scratch", BaseName::Scratch),
            ("alpine:3.20", BaseName::Registry("docker.io/library/alpine:3.20".parse().unwrap())),
            ("oci-layout://base", archive(layout, "base", Which::Only)),
            ("oci-layout://./images//base/:v1", archive(layout, "images/base", named("v1"))),
            (&format!("oci-layout://base@{digest}"), archive(layout, "base", Which::Digest(digest.parse().unwrap()))),
            ("docker-archive://base.tar", archive(docker, "base.tar", Which::Only)),
            ("docker-archive://a/base.tar:app", archive(docker, "a/base.tar", named("app"))),
            (
                "docker-archive://base.tar:localhost:5000/app:1",
                archive(docker, "base.tar", named("localhost:5000/app:1")),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<BaseName>().unwrap(), expected, "{text}");
        }
        assert_eq!(archive_text("oci-layout://a//b:v1"), "oci-layout://a/b:v1");
        assert_eq!(archive_text("docker-archive://./b.tar"), "docker-archive://b.tar");
    }

    fn archive_text(text: &str) -> String {
        match text.parse() {
            Ok(BaseName::Archive(name)) => name.to_string(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn paths_stay_in_the_project() {
        let cases = [
            ("oci-layout:///srv/base", "absolute"),
            ("oci-layout://../base", "`..`"),
            ("docker-archive://a/../../b.tar", "`..`"),
            ("oci-layout://", "missing"),
            ("oci-layout://./:v1", "missing"),
            ("oci-layout://base:", "nothing stands after"),
            ("oci-layout://base@", "nothing stands after"),
            ("oci-layout://base@sha256:12", "a digest is expected"),
            ("oci-layout://base:v1@sha256:12", "cannot stand together"),
            ("docker-archive://b.tar@sha256:12", "no digests"),
            ("docker-archive://b.tar:A B", "white space"),
            ("docker-archive://b.tar:UPPER/Case", "lower case"),
            ("dir://base", "another scheme"),
        ];
        for (text, part) in cases {
            let error = text.parse::<BaseName>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
