//! Files as an archive lists them: what an image holds, and what git says that a commit holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::Read as _,
    path::Path,
};

use anyhow::{Result, ensure};
use slipway_parts::docker;
use slipway_process::child;
use tar::EntryType;

use crate::engine;

/// What stands at a path.
#[derive(Clone, PartialEq, Eq)]
pub struct Found {
    /// `d`, `f` or `l`.
    pub kind: char,
    /// Permissions.
    pub mode: u32,
    /// The owner's number.
    pub owner: u64,
    /// Content, or where a link leads.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(60)]);
        write!(f, "{} {:o} {} {} bytes {shown:?}", self.kind, self.mode, self.owner, self.bytes.len())
    }
}

/// Files by their paths.
pub type Contents = BTreeMap<Vec<u8>, Found>;

/// The contents of an archive, the directory itself left out.
///
/// # Errors
/// When it is none, or holds something else than directories, files and symbolic links.
pub fn of_archive(bytes: &[u8]) -> Result<Contents> {
    let mut contents = Contents::new();
    for entry in tar::Archive::new(bytes).entries()? {
        let mut entry = entry?;
        let kind = match entry.header().entry_type() {
            EntryType::Directory => 'd',
            EntryType::Symlink => 'l',
            EntryType::Regular => 'f',
            // The comment that `git archive` begins with.
            EntryType::XGlobalHeader => continue,
            other => anyhow::bail!("an entry of the kind {other:?}"),
        };
        let path = entry.path_bytes().trim_ascii_end().to_vec();
        let path = path.strip_prefix(b"./").unwrap_or(&path);
        let path = path.strip_suffix(b"/").unwrap_or(path).to_vec();
        let mut bytes = entry.link_name_bytes().map(|target| target.into_owned()).unwrap_or_default();
        if kind == 'f' {
            entry.read_to_end(&mut bytes)?;
        }
        if !path.is_empty() && path != b"." {
            let (mode, owner) = (entry.header().mode()? & 0o7777, entry.header().uid()?);
            contents.insert(path, Found { kind, mode, owner, bytes });
        }
    }
    Ok(contents)
}

/// What git says that a commit, or `COMMIT:DIRECTORY`, holds, with the modes and owners that mappings give.
///
/// # Errors
/// When git fails.
pub fn of_commit(repository: &Path, commit: &str, owner: impl Fn(&[u8]) -> u64) -> Result<Contents> {
    let mut git = child::command("git");
    // Attributes of the host and its umask have no say.
    git.arg("-C").arg(repository).args(["-c", "tar.umask=0022", "archive", "--format=tar", commit]);
    let output = git.output()?;
    ensure!(output.status.success(), "git archive {commit}: {}", String::from_utf8_lossy(&output.stderr));
    let mut contents = of_archive(&output.stdout)?;
    for (path, found) in &mut contents {
        found.owner = owner(path);
        if found.kind == 'l' {
            found.mode = 0o777;
        }
    }
    Ok(contents)
}

/// What a local image holds below an absolute directory.
///
/// # Errors
/// When the engine does not have it.
pub fn of_image(image: &str, directory: &str) -> Result<Contents> {
    let container = engine::run(&["create", "--network=none", "--entrypoint=/x", image])?.trim().to_owned();
    let copied = child::command(docker()).args(["cp", &format!("{container}:{directory}/."), "-"]).output()?;
    engine::run(&["rm", "--force", &container])?;
    ensure!(copied.status.success(), "docker cp {directory}: {}", String::from_utf8_lossy(&copied.stderr));
    of_archive(&copied.stdout)
}

/// The differences in words; nothing when there are none.
pub fn differences(expected: &Contents, seen: &Contents) -> Vec<String> {
    let paths: BTreeSet<&Vec<u8>> = expected.keys().chain(seen.keys()).collect();
    let differ = paths.into_iter().filter(|path| expected.get(*path) != seen.get(*path));
    differ.map(|path| format!("{}: {:?} is {:?}", path.escape_ascii(), expected.get(path), seen.get(path))).collect()
}
