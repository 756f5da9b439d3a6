//! What a request path asks for.

use slipway_oci::BlobDigest;

/// Longest tag, as registries have it.
const TAG_LIMIT: usize = 128;

/// A place below `/v2/`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Route<'a> {
    /// `/v2/`: is there a registry?
    Ping,
    /// A place behind a door.
    Door {
        /// First component: the door's token.
        token: &'a str,
        /// The rest of the repository name.
        name: &'a str,
        /// What in it.
        place: Place<'a>,
    },
}

/// A place in a repository.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place<'a> {
    /// `manifests/TAG`.
    Tag(&'a str),
    /// `manifests/DIGEST`.
    Manifest(BlobDigest),
    /// `blobs/DIGEST`.
    Blob(BlobDigest),
    /// `blobs/uploads/`.
    Uploads,
    /// `blobs/uploads/ID`.
    Upload(&'a str),
}

/// Reads a path; `None` when nothing of ours is spelt so.
pub(crate) fn parse(path: &str) -> Option<Route<'_>> {
    let rest = path.strip_prefix("/v2")?;
    if rest.is_empty() || rest == "/" {
        return Some(Route::Ping);
    }
    let (token, rest) = rest.strip_prefix('/')?.split_once('/')?;
    let (name, place) = split_place(rest)?;
    (!token.is_empty() && !name.is_empty()).then_some(Route::Door { token, name, place })
}

/// Splits from the right, for a name may have any components.
fn split_place(rest: &str) -> Option<(&str, Place<'_>)> {
    let (before, last) = rest.rsplit_once('/')?;
    if let Some(name) = before.strip_suffix("/blobs/uploads") {
        return Some((name, if last.is_empty() { Place::Uploads } else { Place::Upload(last) }));
    }
    if let Some(name) = before.strip_suffix("/blobs") {
        return if last == "uploads" { Some((name, Place::Uploads)) } else { Some((name, Place::Blob(digest(last)?))) };
    }
    let name = before.strip_suffix("/manifests")?;
    if last.contains(':') || last.contains('%') {
        return Some((name, Place::Manifest(digest(last)?)));
    }
    let plain = last.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    (plain && !last.is_empty() && last.len() <= TAG_LIMIT).then_some((name, Place::Tag(last)))
}

fn digest(text: &str) -> Option<BlobDigest> {
    // Some clients escape the colon.
    text.replacen("%3A", ":", 1).replacen("%3a", ":", 1).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let digest = BlobDigest::of(b"x");
        let escaped = digest.as_str().replace(':', "%3A");
        let door = |name: &'static str, place| Some(Route::Door { token: "t", name, place });
        let table = [
            ("/v2".to_owned(), Some(Route::Ping)),
            ("/v2/".to_owned(), Some(Route::Ping)),
            ("/v2/t/n/manifests/latest".to_owned(), door("n", Place::Tag("latest"))),
            (format!("/v2/t/n/manifests/{digest}"), door("n", Place::Manifest(digest.clone()))),
            (format!("/v2/t/a/b/blobs/{digest}"), door("a/b", Place::Blob(digest.clone()))),
            (format!("/v2/t/n/blobs/{escaped}"), door("n", Place::Blob(digest.clone()))),
            ("/v2/t/n/blobs/uploads".to_owned(), door("n", Place::Uploads)),
            ("/v2/t/n/blobs/uploads/".to_owned(), door("n", Place::Uploads)),
            ("/v2/t/n/blobs/uploads/id".to_owned(), door("n", Place::Upload("id"))),
            ("/v2/t/blobs/blobs/uploads/id".to_owned(), door("blobs", Place::Upload("id"))),
            ("/v2/t/blobs/uploads/id".to_owned(), None),
            ("/v2/t/n/blobs/sha256:00".to_owned(), None),
            ("/v2/t/n/manifests/".to_owned(), None),
            ("/v2/t/n/manifests/a b".to_owned(), None),
            (format!("/v2/t/n/manifests/{}", "a".repeat(129)), None),
            ("/v2/t/n/tags/list".to_owned(), None),
            ("/v2/_catalog".to_owned(), None),
            ("/v2//n/manifests/latest".to_owned(), None),
            ("/v1/t/n/manifests/latest".to_owned(), None),
            ("/".to_owned(), None),
            (String::new(), None),
        ];
        for (path, expected) in table {
            assert_eq!(parse(&path), expected, "{path}");
        }
    }
}
