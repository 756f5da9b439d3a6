//! Sources that are made: texts of the Dockerfile, files of the web, git repositories.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use futures::FutureExt as _;
use slipway_backend::BackendError;
use slipway_dockerfile::Files;
use slipway_fetch::{FetchError, Fetcher, Limits};
use slipway_git::{Address, GitError, Speech};
use slipway_layers::{
    codec::Digesting,
    entry::Time,
    root::{Dir, Root},
};
use slipway_paths::TreePath;
use slipway_process::Environment;

use super::{
    Item, Place, find,
    word::{Git, Word},
};
use crate::{Shared, allowance::Allowance, error};

/// What a file of the web is called when its address does not say.
const UNNAMED: &str = "__unnamed__";

/// Makes a source in the new directory `place`, which is number `number` of the step.
pub(super) async fn make(
    (shared, allowance): (&Arc<Shared>, &Arc<Mutex<Allowance>>),
    step: &Files,
    word: Word,
    place: &Path,
    number: usize,
) -> Result<Item, BackendError> {
    let doing = "make a directory for a source";
    fs::create_dir(place).map_err(|error| error::system(doing, error))?;
    let here = TreePath::root().join(number.to_string().as_bytes());
    let item = |path: TreePath, name: &str, time: Time, known: Option<String>| Item {
        place: Place::Made,
        path,
        name: name.as_bytes().to_vec(),
        include: None,
        unpack: false,
        time: Some(time),
        known,
    };
    match word {
        Word::Text { name, text } => {
            let name = plain(&name)?;
            write(&place.join(&name), &text).map_err(|error| error::system("write a here-document", error))?;
            Ok(item(here.join(name.as_bytes()), &name, Time::default(), None))
        }
        Word::Url(url) => {
            let name = name_of(&url)?;
            let time = fetch((shared, allowance), &url, &place.join(&name), step.checksum.as_deref()).await?;
            let unpack = step.unpack == Some(true);
            Ok(Item { unpack, ..item(here.join(name.as_bytes()), &name, time, None) })
        }
        Word::Git(git) => {
            let out = checkout((shared, allowance), &git, place, step).await?;
            let known = format!("{}:{}:{}", out.id, git.subdir.as_deref().unwrap_or(""), step.keep_git_dir);
            let time = Time { seconds: out.time, nanos: 0 };
            let subdir = subdir(place, &git).map_err(BackendError::Refused)?;
            Ok(item(here.join(subdir.as_bytes()), "", time, Some(known)))
        }
        Word::Path(path) => Err(BackendError::Engine(format!("`{path}` is no source that is made"))),
    }
}

/// A name of a file without anything that leads elsewhere.
fn plain(name: &str) -> Result<String, BackendError> {
    if name.is_empty() || name.contains(['/', '\0']) || matches!(name, "." | "..") || name.len() > 255 {
        let shown: String = name.chars().take(100).collect();
        return Err(BackendError::Refused(format!("`{}` cannot be the name of a file", shown.escape_debug())));
    }
    Ok(name.to_owned())
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

/// The last part of an address's path, decoded.
fn name_of(url: &str) -> Result<String, BackendError> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once('/').map_or("", |(_, path)| path);
    let name = decoded(path.trim_end_matches('/'));
    match name.rsplit('/').next().unwrap_or_default() {
        "" => Ok(UNNAMED.to_owned()),
        name => plain(name),
    }
}

/// `%XX` as what they stand for.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn fetcher(shared: &Shared) -> Result<Fetcher, BackendError> {
    Fetcher::new(shared.addresses, Limits::default(), &Environment::from_process()).map_err(told)
}

/// Fetches a file; answers its time.
async fn fetch(
    (shared, allowance): (&Arc<Shared>, &Arc<Mutex<Allowance>>),
    url: &str,
    to: &Path,
    checksum: Option<&str>,
) -> Result<Time, BackendError> {
    let mut admit = |bytes| {
        let (shared, allowance) = (Arc::clone(shared), Arc::clone(allowance));
        let admitted = async move {
            if allowance.lock().unwrap_or_else(PoisonError::into_inner).has(bytes) {
                return Ok(());
            }
            let take = move || allowance.lock().unwrap_or_else(PoisonError::into_inner).take(bytes);
            shared.tasks.blocking(take).await.map_err(io::Error::other)
        };
        admitted.boxed()
    };
    let fetched = fetcher(shared)?.fetch(url, to, &mut admit).await.map_err(told)?;
    if let Some(expected) = checksum {
        let path = to.to_owned();
        let digest = shared.tasks.blocking(move || -> io::Result<String> {
            let mut reader = Digesting::new(File::open(path)?);
            io::copy(&mut reader, &mut io::sink())?;
            Ok(reader.finish().1.to_string())
        });
        let digest = digest.await.map_err(|error| error::system("read what was fetched", error))?;
        if digest != expected {
            let why = format!("what was fetched has the checksum {digest}, and --checksum says {expected}");
            return Err(BackendError::Refused(why));
        }
    }
    Ok(Time { seconds: fetched.modified.unwrap_or(0), nanos: 0 })
}

/// What an error of the network means.
fn told(error: FetchError) -> BackendError {
    match error {
        FetchError::Near(why) => BackendError::Refused(format!("{why}; --allow-near-addresses allows it")),
        FetchError::Refused(why) => BackendError::Refused(why),
        FetchError::Unavailable(why) => BackendError::Engine(why),
        FetchError::Disk { doing, error } => error::system(&doing, error),
    }
}

/// Checks a commit out below `place`.
async fn checkout(
    (shared, allowance): (&Arc<Shared>, &Arc<Mutex<Allowance>>),
    git: &Git,
    place: &Path,
    step: &Files,
) -> Result<slipway_git::CheckedOut, BackendError> {
    let address = Address::new(&git.address, true).map_err(|error| BackendError::Refused(error.to_string()))?;
    let pinned = match host(&git.address) {
        Some(host) => fetcher(shared)?.addresses_of(&host).await.map_err(told)?,
        None => return Err(BackendError::Refused(format!("the address `{address}` names no host"))),
    };
    let speech = Speech { pinned, ..Speech::default() };
    let (wanted, to, keep) = (git.wanted.clone(), place.to_owned(), step.keep_git_dir);
    let allowance = Arc::clone(allowance);
    let mut admit = move |bytes| {
        let admitted = allowance.lock().unwrap_or_else(PoisonError::into_inner).take(bytes);
        admitted.map_err(|error| GitError::Write(io::Error::other(error)))
    };
    let out = shared.tasks.blocking(move || -> Result<slipway_git::CheckedOut, GitError> {
        let out = slipway_git::checkout(&address, wanted.as_deref(), &to, &speech, &mut admit)?;
        if !keep {
            let gone = fs::remove_dir_all(to.join(".git"));
            gone.map_err(|error| GitError::Unusable(format!("remove {}: {error}", to.join(".git").display())))?;
        }
        Ok(out)
    });
    let out = out.await.map_err(|error| match error {
        // Of a host that is away nobody knows.
        GitError::Program(why) => BackendError::Engine(why),
        GitError::Write(error) => error::system("check out a git repository", error),
        other => BackendError::Refused(other.to_string()),
    })?;
    match &step.checksum {
        Some(expected) if *expected != out.id.to_string() => Err(BackendError::Refused(format!(
            "what was checked out is commit {}, and --checksum says {expected}",
            out.id
        ))),
        _ => Ok(out),
    }
}

/// The host of an address of git.
fn host(address: &str) -> Option<String> {
    let authority = match address.split_once("://") {
        Some((_, rest)) => rest.split('/').next()?,
        None => address.split_once(':')?.0,
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => host.split(':').next()?,
    };
    (!host.is_empty()).then(|| host.to_owned())
}

/// The directory of a checked out repository that is taken, links followed inside.
fn subdir(place: &Path, git: &Git) -> Result<TreePath, String> {
    let path = find::cleaned("/", git.subdir.as_deref().unwrap_or_default())?;
    let shown = path.clone();
    let is_directory = || -> io::Result<(TreePath, Option<Dir>)> {
        let root = Root::open(place)?;
        let real = find::real(&root, &path)?;
        let directory = root.directory(real.as_bytes()).ok();
        Ok((real, directory))
    };
    match is_directory() {
        Ok((real, Some(_))) => Ok(real),
        Ok((_, None)) => Err(format!("the repository has no directory `{shown}`")),
        Err(error) => Err(format!("look for `{shown}` in the repository: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_web_have_the_names_of_their_addresses() {
        for (url, name) in [
            ("http://h/a/b.txt", "b.txt"),
            ("http://h/a/b.txt?x=1/2#z", "b.txt"),
            ("http://h/a/", "a"),
            ("http://h/", UNNAMED),
            ("http://h", UNNAMED),
            ("http://h?x", UNNAMED),
            ("http://h/a%20b", "a b"),
            ("http://h/a%2Fb", "b"),
            ("http://h/100%", "100%"),
        ] {
            assert_eq!(name_of(url).expect(url), name);
        }
        for url in ["http://h/a/..", "http://h/%2e%2e", "http://h/a%00b", "http://h/."] {
            assert!(name_of(url).is_err(), "{url}");
        }
    }

    #[test]
    fn hosts_of_git_are_found() {
        for (address, name) in [
            ("https://me:x@h.example:8443/a.git", "h.example"),
            ("https://[::1]:80/a.git", "::1"),
            ("git@h:a/b", "h"),
            ("ssh://h/a", "h"),
        ] {
            assert_eq!(host(address).as_deref(), Some(name));
        }
        assert_eq!(host("file:///a"), None);
    }
}
