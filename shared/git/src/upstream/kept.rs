//! Copies that lie below a home directory: when each was used last, and how one goes.
//!
//! Beside a copy lies a file `NAME.used`, whose time is that of the last use. Whoever is about to use the copy holds a lock on
//! it together with others until he knows that the copy is there; whoever moves the copy away holds it alone. So a copy that
//! was found stays at least until somebody judges its last use anew.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// A copy of another repository, as it lies there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// The bare repository.
    pub path: PathBuf,
    /// When it was used last.
    pub used: SystemTime,
}

/// All copies below `home`. Blocks.
pub fn kept(home: &Path) -> Vec<Kept> {
    let entries = fs::read_dir(home.join("git")).into_iter().flatten().flatten();
    let copies = entries.map(|entry| entry.path()).filter(|path| path.join("HEAD").is_file());
    copies.map(|path| Kept { used: last_use(&path), path }).collect()
}

/// Moves a copy to `aside` unless it was used at or after `since`, or is being written; whether it went. Blocks, but not for
/// long.
///
/// # Errors
/// When it cannot be moved.
pub fn put_aside(copy: &Path, since: SystemTime, aside: &Path) -> io::Result<bool> {
    let open = |suffix| File::options().create(true).truncate(false).write(true).open(beside(copy, suffix));
    let (used, writing) = (open(".used")?, open(".lock")?);
    if used.try_lock().is_err() || writing.try_lock().is_err() {
        return Ok(false);
    }
    if last_use(copy) >= since {
        return Ok(false);
    }
    fs::rename(copy, aside).map(|()| true)
}

/// Says that a copy is used now; to be held until it is known whether the copy is there. `None` = a copy that cannot be
/// written, which nobody moves.
pub(super) fn using(copy: &Path) -> Option<File> {
    let path = beside(copy, ".used");
    let open = || File::options().create(true).truncate(false).write(true).open(&path);
    let mut file = match open() {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent()?).ok()?;
            open().ok()?
        }
        Err(_) => return None,
    };
    file.lock_shared().ok()?;
    // It is the time of the file that matters.
    file.write_all(b"\n").ok()?;
    Some(file)
}

fn last_use(copy: &Path) -> SystemTime {
    let look = |path: &Path| fs::metadata(path).ok();
    // An empty one was made by somebody who wanted to move the copy, and is from no use.
    let noted = look(&beside(copy, ".used")).filter(|used| used.len() > 0);
    let time = noted.or_else(|| look(copy)).and_then(|found| found.modified().ok());
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A file beside a copy.
fn beside(copy: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(copy);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn copy(home: &Path) -> PathBuf {
        let copy = home.join("git/one");
        fs::create_dir_all(&copy).expect("a directory");
        fs::write(copy.join("HEAD"), "ref: refs/heads/none").expect("a file");
        copy
    }

    #[test]
    fn a_copy_goes_when_it_was_not_used_since() {
        let home = tempfile::tempdir().expect("a directory");
        let (copy, aside) = (copy(home.path()), home.path().join("aside"));
        let used = using(&copy).expect("a lock");
        let found = kept(home.path());
        assert_eq!(found.len(), 1);
        let later = found[0].used + Duration::from_secs(1);
        assert!(!put_aside(&copy, later, &aside).expect("a look"), "somebody is looking at it");
        drop(used);
        assert!(!put_aside(&copy, found[0].used, &aside).expect("a look"), "it was used since");
        let writing = File::create(beside(&copy, ".lock")).expect("a file");
        writing.lock().expect("a lock");
        assert!(!put_aside(&copy, later, &aside).expect("a look"), "somebody writes it");
        drop(writing);
        assert!(put_aside(&copy, later, &aside).expect("it goes"));
        assert!(aside.join("HEAD").is_file() && !copy.exists());
        assert!(kept(home.path()).is_empty());
    }

    /// Copies of before uses were noted count by their own time.
    #[test]
    fn a_copy_without_a_note_is_as_old_as_itself() {
        let home = tempfile::tempdir().expect("a directory");
        let (copy, aside) = (copy(home.path()), home.path().join("aside"));
        let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let times = fs::FileTimes::new().set_modified(past);
        File::open(&copy).and_then(|file| file.set_times(times)).expect("a time");
        assert_eq!(kept(home.path())[0].used, past);
        assert!(!put_aside(&copy, past, &aside).expect("a look"));
        assert!(put_aside(&copy, past + Duration::from_secs(1), &aside).expect("it goes"));
    }
}
