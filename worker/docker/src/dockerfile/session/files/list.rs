//! Files of an archive, in the order that BuildKit wants them in.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileExt as _,
    sync::Arc,
};

use bollard::fsutil::types::Stat;
use slipway_backend::BackendError;
use tar::EntryType;

use crate::error::archive_failed;

/// Kinds of files as Go writes them into modes.
const DIRECTORY: u32 = 1 << 31;
const LINK: u32 = 1 << 27;
/// Permissions of directories that an archive does not name.
const OPEN: u32 = 0o755;

/// A file, and where its content begins.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) stat: Stat,
    pub(super) at: u64,
}

/// Files, parents first, and what has their contents. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Files {
    listed: Arc<Vec<Listed>>,
    archive: Option<Arc<File>>,
}

impl Files {
    /// None.
    pub(super) fn none() -> Self {
        Self { listed: Arc::default(), archive: None }
    }

    /// One file with this text, kept unnamed in a directory. Blocks.
    pub(crate) fn one(directory: &std::path::Path, name: &str, text: &str) -> Result<Self, BackendError> {
        let kept = || -> io::Result<File> {
            let mut file = tempfile::tempfile_in(directory)?;
            file.write_all(text.as_bytes())?;
            Ok(file)
        };
        let file = kept().map_err(|error| archive_failed("keep the Dockerfile", &error))?;
        let stat = Stat { size: size(text.len() as u64), ..stat(name.to_owned(), 0o644) };
        Ok(Self { listed: Arc::new(vec![Listed { stat, at: 0 }]), archive: Some(Arc::new(file)) })
    }

    /// Those of a tar archive. Blocks.
    ///
    /// # Errors
    /// When it cannot be read, or holds what a context cannot.
    pub(crate) fn of_archive(mut archive: File) -> Result<Self, BackendError> {
        let doing = "read the build context";
        archive.seek(SeekFrom::Start(0)).map_err(|error| archive_failed(doing, &error))?;
        let mut found: BTreeMap<Vec<String>, Listed> = BTreeMap::new();
        let mut read = tar::Archive::new(io::BufReader::new(&archive));
        for entry in read.entries().map_err(|error| archive_failed(doing, &error))? {
            let entry = entry.map_err(|error| archive_failed(doing, &error))?;
            let listed = listed(&entry).map_err(|why| BackendError::Refused(format!("{doing}: {why}")))?;
            if !listed.stat.path.is_empty() {
                found.insert(listed.stat.path.split('/').map(str::to_owned).collect(), listed);
            }
        }
        drop(read);
        for parent in parents(&found) {
            let stat = stat(parent.join("/"), DIRECTORY | OPEN);
            found.entry(parent).or_insert(Listed { stat, at: 0 });
        }
        Ok(Self { listed: Arc::new(found.into_values().collect()), archive: Some(Arc::new(archive)) })
    }

    pub(super) fn listed(&self) -> &[Listed] {
        &self.listed
    }

    /// Reads a piece of the contents. Blocks.
    pub(super) fn piece(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut piece = vec![0; length];
        if let Some(archive) = &self.archive {
            archive.read_exact_at(&mut piece, at)?;
        }
        Ok(piece)
    }
}

/// Every directory above what was found.
fn parents(found: &BTreeMap<Vec<String>, Listed>) -> Vec<Vec<String>> {
    found.keys().flat_map(|path| (1..path.len()).map(|length| path[..length].to_vec())).collect()
}

fn listed(entry: &tar::Entry<'_, impl io::Read>) -> Result<Listed, String> {
    let path = String::from_utf8(entry.path_bytes().into_owned());
    let path = path.map_err(|error| format!("BuildKit takes no such name: {:?}", error.to_string()))?;
    let name = path.trim_start_matches("./").trim_end_matches('/').to_owned();
    let header = entry.header();
    let mode = header.mode().map_err(|error| error.to_string())? & 0o777;
    let modified = header.mtime().map_err(|error| error.to_string())?;
    let mut stat = stat(name, mode);
    stat.mod_time = i64::try_from(modified).ok().and_then(|seconds| seconds.checked_mul(1_000_000_000)).unwrap_or(0);
    match header.entry_type() {
        EntryType::Directory => stat.mode |= DIRECTORY,
        EntryType::Symlink => {
            stat.mode = LINK | 0o777;
            let target = entry.link_name_bytes().map(|target| target.into_owned()).unwrap_or_default();
            stat.linkname = String::from_utf8(target).map_err(|_| format!("the target of `{path}` is no text"))?;
        }
        EntryType::Regular => stat.size = size(entry.size()),
        kind => return Err(format!("`{path}` is of the kind {kind:?}, which no context holds")),
    }
    Ok(Listed { stat, at: entry.raw_file_position() })
}

fn stat(path: String, mode: u32) -> Stat {
    Stat { path, mode, ..Stat::default() }
}

fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_listed_with_their_parents_in_the_order_of_their_names() {
        let mut builder = tar::Builder::new(tempfile::tempfile().expect("a file"));
        let mut put = |path: &str, kind, mode, text: &str| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_mtime(7);
            header.set_size(if kind == EntryType::Regular { text.len() as u64 } else { 0 });
            match kind {
                EntryType::Symlink => builder.append_link(&mut header, path, text),
                _ => builder.append_data(&mut header, path, text.as_bytes()),
            }
            .expect("an entry");
        };
        put("a.b", EntryType::Regular, 0o644, "dot");
        put("z", EntryType::Symlink, 0o777, "a/x");
        put("a/x", EntryType::Regular, 0o755, "deep");
        put("d/", EntryType::Directory, 0o700, "");
        let files = Files::of_archive(builder.into_inner().expect("an archive")).expect("a list");
        let seen: Vec<(&str, u32)> =
            files.listed().iter().map(|listed| (listed.stat.path.as_str(), listed.stat.mode)).collect();
        let directory = 1 << 31;
        assert_eq!(
            seen,
            [
                ("a", directory | 0o755),
                ("a/x", 0o755),
                ("a.b", 0o644),
                ("d", directory | 0o700),
                ("z", 1 << 27 | 0o777)
            ]
        );
        let deep = &files.listed()[1];
        assert_eq!((deep.stat.size, deep.stat.mod_time), (4, 7_000_000_000));
        assert_eq!(files.piece(deep.at, 4).expect("a piece"), b"deep");
        assert_eq!(files.listed()[4].stat.linkname, "a/x");
    }
}
