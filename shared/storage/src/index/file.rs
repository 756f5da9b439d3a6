//! A listing on the disk: a line that says what it is, the sorted tags, and behind them what was added since.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use slipway_digest::Millis;
use slipway_oci::BlobDigest;
use slipway_process::random_id;

use super::sorted::SortedTags;

/// The form of the file. One of another form is not read.
const FORM: u32 = 1;
/// A larger file is not read.
const LARGEST: u64 = 256 * 1024 * 1024;

/// What the first line says.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Header {
    form: u32,
    /// Whose tags these are.
    repo: String,
    /// The marker as it was before the listing began.
    pub(crate) mark: BlobDigest,
    /// When that was.
    pub(crate) listed: Millis,
    /// Length of the sorted tags, in bytes.
    bytes: usize,
}

impl Header {
    /// The header of a listing.
    pub(crate) fn new(repo: String, mark: BlobDigest, listed: Millis) -> Self {
        Self { form: FORM, repo, mark, listed, bytes: 0 }
    }
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) header: Header,
    pub(crate) tags: SortedTags,
    /// What was added since the listing, by builds of this host.
    pub(crate) added: BTreeSet<String>,
}

/// The file of one repository.
#[derive(Debug)]
pub(crate) struct IndexFile {
    path: PathBuf,
    /// The file that was read or written last; another process may have replaced it since.
    open: Mutex<Option<File>>,
}

impl IndexFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, open: Mutex::default() }
    }

    /// Reads it; `None` when there is none, or it is not whole.
    pub(crate) fn load(&self, repo: &str) -> Option<Loaded> {
        let file = OpenOptions::new().read(true).append(true).open(&self.path).ok()?;
        if file.metadata().ok()?.len() > LARGEST {
            return None;
        }
        let text = io::read_to_string(&file).ok()?;
        let (first, rest) = text.split_once('\n')?;
        let header: Header = serde_json::from_str(first).ok()?;
        if header.form != FORM || header.repo != repo {
            return None;
        }
        let (tags, added) = rest.split_at_checked(header.bytes)?;
        // What has no line end was cut off by a crash.
        let added = added.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned);
        let loaded = Loaded { added: added.collect(), tags: SortedTags::from_text(tags.to_owned()), header };
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Some(loaded)
    }

    /// Replaces it by another listing.
    pub(crate) fn save(&self, mut header: Header, tags: &SortedTags) -> io::Result<()> {
        header.bytes = tags.text().len();
        let directory = self.path.parent().unwrap_or(&self.path);
        fs::create_dir_all(directory)?;
        let new = directory.join(format!("new-{}", random_id()));
        let written = self.write(&new, &header, tags);
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    }

    fn write(&self, new: &PathBuf, header: &Header, tags: &SortedTags) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create_new(true).open(new)?;
        file.write_all(serde_json::to_string(header)?.as_bytes())?;
        file.write_all(b"\n")?;
        file.write_all(tags.text().as_bytes())?;
        // Not synced: after a crash of the machine it is not whole or not there, and the tags are listed again.
        fs::rename(new, &self.path)?;
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(())
    }

    /// Adds a tag behind the listing. That it is not kept costs writing a record once more.
    pub(crate) fn append(&self, tag: &str) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.as_mut()
            && file.write_all(format!("{tag}\n").as_bytes()).is_err()
        {
            *open = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(repo: &str) -> Header {
        Header::new(repo.to_owned(), BlobDigest::of(b"mark"), Millis(7))
    }

    #[test]
    fn a_listing_is_read_back_with_what_was_added() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/x.tags");
        let tags = SortedTags::new(vec!["b".to_owned(), "a".to_owned()]);
        let file = IndexFile::new(path.clone());
        assert!(file.load("r/a").is_none());
        file.append("lost");
        file.save(header("r/a"), &tags).unwrap();
        file.append("c");
        let other = IndexFile::new(path.clone());
        let loaded = other.load("r/a").unwrap();
        assert_eq!((loaded.tags.text(), loaded.header.listed), ("a\nb\n", Millis(7)));
        assert_eq!(loaded.header.mark, BlobDigest::of(b"mark"));
        other.append("d");
        file.append("e");
        let added = IndexFile::new(path.clone()).load("r/a").unwrap().added;
        assert_eq!(added, BTreeSet::from(["c", "d", "e"].map(str::to_owned)));
        assert!(file.load("r/b").is_none(), "it is of another repository");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left there");
    }

    #[test]
    fn what_is_cut_off_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.tags");
        let file = IndexFile::new(path.clone());
        file.save(header("r/a"), &SortedTags::new(vec!["a".to_owned(), "b".to_owned()])).unwrap();
        file.append("c");
        let whole = fs::read(&path).unwrap();
        let listed = whole.len() - 2;
        for length in 0..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let loaded = IndexFile::new(path.clone()).load("r/a");
            assert_eq!(loaded.is_some(), length >= listed, "{length} of {}", whole.len());
            let added = loaded.map(|loaded| loaded.added.len()).unwrap_or_default();
            assert_eq!(added, usize::from(length == whole.len()), "{length} of {}", whole.len());
        }
    }
}
