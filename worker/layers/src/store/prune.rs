//! Notes that nobody needs any more: they would only grow in number.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::MetadataExt as _,
    time::{Duration, SystemTime},
};

use super::{Store, steps::STEPS, work::MAKERS};

/// How long configs and notes of images are kept that no stage names; they are fetched again when they are needed.
const KEPT: Duration = Duration::from_secs(90 * 24 * 60 * 60);

impl Store {
    /// Removes old notes, and locks that nobody holds.
    pub(super) fn prune(&self) -> io::Result<()> {
        let now = self.now()?;
        for directory in ["known", "images", STEPS] {
            for found in fs::read_dir(self.path(directory))? {
                let path = found?.path();
                let Ok(about) = fs::metadata(&path) else { continue };
                let age = now.duration_since(about.modified().unwrap_or(SystemTime::UNIX_EPOCH)).unwrap_or_default();
                if age > KEPT && about.nlink() == 1 {
                    fs::remove_file(path)?;
                }
            }
        }
        for found in fs::read_dir(self.path("locks"))? {
            let found = found?;
            let Ok(lock) = OpenOptions::new().write(true).open(found.path()) else { continue };
            // Whoever waits for it looks, once it is his, whether it is still the one in this place.
            let lasting = found.file_name() == "room" || found.file_name() == MAKERS;
            if !lasting && lock.try_lock().is_ok() {
                fs::remove_file(found.path())?;
            }
        }
        Ok(())
    }
}
