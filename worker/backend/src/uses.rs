//! When images of an engine were used last: engines do not say.
//!
//! A file per image, named by the digits of its id, whose time is that of the last use. What has none was never used by
//! builds of this home directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use slipway_oci::BlobDigest;

/// The notes of one home directory about one kind of engine.
#[derive(Clone, Debug)]
pub struct Uses {
    directory: PathBuf,
}

impl Uses {
    /// Notes in `directory`, which is made when it is missing.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Says that an image is used now. Where that cannot be written, the image only seems to be unused.
    pub fn note(&self, image: &BlobDigest) {
        let write = || fs::write(self.path(image), b"\n");
        match write() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                drop(fs::create_dir_all(&self.directory).and_then(|()| write()));
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// When an image was used last; `None` = never by builds of this home directory.
    pub fn last(&self, image: &BlobDigest) -> Option<SystemTime> {
        fs::metadata(self.path(image)).and_then(|found| found.modified()).ok()
    }

    /// Forgets images that are not `there` any more, unless they were used at or after `since`: those may be newer than the
    /// list.
    ///
    /// # Errors
    /// When the notes cannot be listed.
    pub fn forget_others(&self, there: impl Fn(&str) -> bool, since: SystemTime) -> io::Result<()> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let is_there = entry.file_name().to_str().is_some_and(&there);
            let is_old = entry.metadata().and_then(|found| found.modified()).is_ok_and(|used| used < since);
            if !is_there && is_old {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    fn path(&self, image: &BlobDigest) -> PathBuf {
        Path::join(&self.directory, image.as_str().trim_start_matches("sha256:"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_use_is_known_and_what_is_gone_is_forgotten() {
        let home = tempfile::tempdir().expect("a directory");
        let uses = Uses::new(home.path().join("used"));
        let (one, other) = (BlobDigest::of(b"one"), BlobDigest::of(b"other"));
        assert_eq!(uses.last(&one), None);
        uses.forget_others(|_| false, SystemTime::UNIX_EPOCH).expect("nothing is there yet");
        uses.note(&one);
        let past = fs::FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
        fs::File::options().write(true).open(uses.path(&one)).and_then(|file| file.set_times(past)).expect("a time");
        assert_eq!(uses.last(&one), Some(SystemTime::UNIX_EPOCH));
        uses.note(&one);
        let used = uses.last(&one).expect("a time");
        assert!(used > SystemTime::UNIX_EPOCH);
        uses.note(&other);
        let later = used + Duration::from_secs(3600);
        uses.forget_others(|name| one.as_str().ends_with(name), later).expect("a listing");
        assert!(uses.last(&one).is_some() && uses.last(&other).is_none());
        uses.forget_others(|_| false, used).expect("a listing");
        assert!(uses.last(&one).is_some(), "it may be newer than the list");
    }
}
