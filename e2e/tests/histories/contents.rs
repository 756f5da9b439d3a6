//! Files as an archive lists them.

use std::{collections::BTreeMap, fmt, io::Read as _, path::Path};

use anyhow::{Result, ensure};
use slipway_process::child;
use tar::EntryType;

/// What stands at a path.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// `d`, `f` or `l`.
    pub(crate) kind: char,
    pub(crate) mode: u32,
    /// The owner's number.
    pub(crate) owner: u64,
    /// Content, or where a link leads.
    pub(crate) bytes: Vec<u8>,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(60)]);
        write!(f, "{} {:o} {} {} bytes {shown:?}", self.kind, self.mode, self.owner, self.bytes.len())
    }
}

/// Files by their paths.
pub(crate) type Contents = BTreeMap<Vec<u8>, Found>;

/// The contents of an archive, the directory itself left out.
pub(crate) fn of_archive(bytes: &[u8]) -> Result<Contents> {
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

/// What git says that a commit holds, with the modes and owners that mappings give.
pub(crate) fn of_commit(repository: &Path, commit: &str, owner: impl Fn(&[u8]) -> u64) -> Result<Contents> {
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

/// The differences in words; nothing when there are none.
pub(crate) fn differences(expected: &Contents, seen: &Contents) -> Vec<String> {
    let paths: std::collections::BTreeSet<&Vec<u8>> = expected.keys().chain(seen.keys()).collect();
    let differ = paths.into_iter().filter(|path| expected.get(*path) != seen.get(*path));
    differ.map(|path| format!("{}: {:?} is {:?}", path.escape_ascii(), expected.get(path), seen.get(path))).collect()
}
