//! One commit of another repository as files, without a history and without a copy that stays.

use std::{
    fs::{self, File},
    path::Path,
};

use slipway_digest::CommitId;

use super::{Address, Speech, call};
use crate::{GitError, GitView as _, Repository, program::Git};

const PURPOSE: &str = "check out another git repository";
/// Where the commit is kept.
const KEPT: &str = "refs/slipway/wanted";

/// A commit that was checked out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedOut {
    /// Its id.
    pub id: CommitId,
    /// When it was committed, in seconds since the epoch.
    pub time: i64,
}

/// Checks out what `wanted` names (a branch, a tag, a commit; the default branch when `None`) into the empty directory
/// `to`, with its `.git`. Blocks. Filters of the user's configuration are not run; submodules are refused. `admit` is asked for the bytes
/// of what was fetched, and for those of the files before they are written.
///
/// # Errors
/// What `admit` says, [`GitError::Missing`] when the repository does not have it, [`GitError::Program`] when `git` is
/// missing or is refused, [`GitError::Unusable`] when it has submodules, or `to` cannot be written.
pub fn checkout(
    address: &Address,
    wanted: Option<&str>,
    to: &Path,
    speech: &Speech,
    admit: &mut dyn FnMut(u64) -> Result<(), GitError>,
) -> Result<CheckedOut, GitError> {
    let directory = to.join(".git");
    let unusable = |error: std::io::Error| GitError::Unusable(format!("{PURPOSE}: write {}: {error}", to.display()));
    fs::create_dir(&directory).map_err(unusable)?;
    Git::bare(&directory, PURPOSE).args(["init", "--quiet", "--bare", "--template=", "."]).run(b"")?;
    fetch(&directory, address, wanted, speech)?;
    admit(size_of(&directory.join("objects")).map_err(unusable)?)?;
    let listed = Git::bare(&directory, PURPOSE).args(["ls-tree", "-r", "-l", "-z", KEPT]).run(b"")?;
    let has_submodules = || GitError::Unusable(format!("{address} has submodules: they are not supported yet here"));
    admit(size_of_files(&listed).ok_or_else(has_submodules)?)?;
    Git::bare(&directory, PURPOSE).args(["config", "core.bare", "false"]).run(b"")?;
    // Nothing but the files: no filters that speak to servers.
    let git = Git::new(&directory, to, PURPOSE).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    git.args(["checkout", "--quiet", "--force", "--detach", KEPT]).run(b"")?;
    let repository = Repository::open(&directory)?;
    let id = repository.resolve(&format!("{KEPT}^{{commit}}"))?;
    Ok(CheckedOut { id, time: repository.commit(id)?.time })
}

/// The bytes of all files of a directory and those below it.
fn size_of(directory: &Path) -> std::io::Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let data = entry.metadata()?;
        size += if data.is_dir() { size_of(&entry.path())? } else { data.len() };
    }
    Ok(size)
}

/// The bytes of all files of a listing by `ls-tree -l -z`; `None` = a submodule is among them.
fn size_of_files(listed: &[u8]) -> Option<u64> {
    let mut size: u64 = 0;
    for line in listed.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let before = line.split(|byte| *byte == b'\t').next().unwrap_or_default();
        let before = String::from_utf8_lossy(before);
        let mut words = before.split_whitespace();
        if words.next() == Some("160000") {
            return None;
        }
        size = size.saturating_add(words.nth(2).and_then(|word| word.parse().ok()).unwrap_or_default());
    }
    Some(size)
}

/// Fetches into [`KEPT`] what is wanted: a branch goes before a tag.
fn fetch(directory: &Path, address: &Address, wanted: Option<&str>, speech: &Speech) -> Result<(), GitError> {
    let speak = |depth: &[&str], refspec: &str| {
        let always = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--force"];
        let rest = ["--recurse-submodules=no", "--", "origin", refspec];
        let args: Vec<&str> = always.iter().chain(depth).chain(&rest).copied().collect();
        let nothing = File::open("/dev/null").map_err(|error| GitError::Unusable(format!("{PURPOSE}: {error}")))?;
        call::speak(directory, address, speech, nothing, &args)
    };
    let shallow = |from: &str| speak(&["--depth=1"], &format!("+{from}:{KEPT}"));
    let Some(name) = wanted else { return shallow("HEAD").map_err(|error| failed(address, error)) };
    let missing = || GitError::Missing(format!("`{name}` of {address}"));
    let refused = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\+".contains(c);
    if name.is_empty() || name.starts_with('-') || name.contains(refused) || name.contains("..") {
        return Err(missing());
    }
    if name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let id = name.to_ascii_lowercase();
        // Not every server gives single commits: then with all branches.
        return shallow(&id).or_else(|_| {
            speak(&[], "+refs/heads/*:refs/heads/*").map_err(|error| failed(address, error))?;
            let git = || Git::bare(directory, PURPOSE);
            git().args(["cat-file", "-e", &format!("{id}^{{commit}}")]).run(b"").map_err(|_| missing())?;
            git().args(["update-ref", KEPT, &id]).run(b"").map(drop)
        });
    }
    let names = match name.starts_with("refs/") {
        true => vec![name.to_owned()],
        false => vec![format!("refs/heads/{name}"), format!("refs/tags/{name}")],
    };
    for full in &names {
        match shallow(full) {
            Ok(()) => return Ok(()),
            Err(GitError::Program(said)) if said.contains("couldn't find remote ref") => {}
            Err(error) => return Err(failed(address, error)),
        }
    }
    Err(missing())
}

fn failed(address: &Address, error: GitError) -> GitError {
    match error {
        GitError::Program(said) => GitError::Program(format!("fetch from {address}: {said}")),
        other => other,
    }
}
