//! What the disk may not have yet.

use std::{
    fs, io,
    time::{Duration, SystemTime},
};

use super::Store;
use crate::LayerError;

/// How long what has appeared may wait to be flushed together with what appears later.
const PATIENCE: Duration = Duration::from_secs(60);

/// The file that all marks are names of.
const FIRST: &str = "first";

/// A kind of thing that appears in the store; its name is that of its directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Thing {
    Layer,
    Image,
    Known,
    Stage,
}

impl Thing {
    const ALL: [Self; 4] = [Self::Layer, Self::Image, Self::Known, Self::Stage];

    pub(super) fn directory(self) -> &'static str {
        match self {
            Self::Layer => "layers",
            Self::Image => "images",
            Self::Known => "known",
            Self::Stage => "stages",
        }
    }
}

impl Store {
    /// Says that something is about to appear. Stages are named by a path, of which `:` stands for the `/`.
    ///
    /// All marks are names of one empty file, whose time is that of the first of them: file systems look long for a place
    /// for a new file when many were deleted lately.
    pub(super) fn announce(&self, thing: Thing, name: &str) -> io::Result<()> {
        let directory = self.path("unsettled").join(&self.0.boot);
        let (first, mark) = (directory.join(FIRST), directory.join(format!("{}-{name}", thing.directory())));
        let linked = match fs::hard_link(&first, &mark) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&directory)?;
                fs::write(&first, b"")?;
                fs::hard_link(&first, &mark)
            }
            linked => linked,
        };
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // A file can have so many names, and in some file systems but one.
            Err(_) => fs::write(&mark, b""),
            Ok(()) => Ok(()),
        }
    }

    /// Settles when something has been waiting for it for more than a minute. A flush takes longer than many a stage
    /// to build, and as long as others are writing; what it comes too late for is thrown away and built again.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn settle_in_time(&self) -> Result<(), LayerError> {
        let doing = |error: io::Error| LayerError::io("look for what the disk may not have yet", error);
        let marks = match fs::read_dir(self.path("unsettled").join(&self.0.boot)) {
            Ok(marks) => marks,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(doing(error)),
        };
        let now = self.now().map_err(doing)?;
        let is_due = |mark: fs::DirEntry| {
            let since = mark.metadata().and_then(|about| about.modified()).unwrap_or(now);
            now.duration_since(since).is_ok_and(|age| age > PATIENCE)
        };
        if marks.flatten().any(is_due) { self.settle() } else { Ok(()) }
    }

    /// Now, by the clock that files have their times from.
    pub(super) fn now(&self) -> io::Result<SystemTime> {
        let clock = self.path("clock");
        fs::write(&clock, b"")?;
        fs::metadata(&clock)?.modified()
    }

    /// Brings everything to the disk that has appeared so far. What was settled survives a stop of the machine.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn settle(&self) -> Result<(), LayerError> {
        let doing = |error: io::Error| LayerError::io("bring the store of layers to the disk", error);
        let directory = self.path("unsettled").join(&self.0.boot);
        let marks = match fs::read_dir(&directory) {
            Ok(marks) => marks.collect::<Result<Vec<_>, _>>().map_err(doing)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(doing(error)),
        };
        if marks.iter().all(|mark| mark.file_name() == FIRST) {
            return Ok(());
        }
        let root = fs::File::open(&self.0.root).map_err(doing)?;
        rustix::fs::syncfs(&root).map_err(|error| doing(error.into()))?;
        for mark in marks {
            // Another process may have settled it too.
            let _ = fs::remove_file(mark.path());
        }
        Ok(())
    }

    /// Removes what had appeared and was not settled when the machine stopped.
    pub(super) fn drop_unsettled(&self) -> Result<(), LayerError> {
        let doing = |error: io::Error| LayerError::io("look for what the last stop of the machine spoiled", error);
        for boot in fs::read_dir(self.path("unsettled")).map_err(doing)? {
            let boot = boot.map_err(doing)?;
            if boot.file_name().to_str() == Some(&self.0.boot) {
                continue;
            }
            for mark in fs::read_dir(boot.path()).map_err(doing)? {
                let name = mark.map_err(doing)?.file_name();
                self.drop_thing(&name.to_string_lossy()).map_err(doing)?;
            }
            fs::remove_dir_all(boot.path()).map_err(doing)?;
        }
        Ok(())
    }

    fn drop_thing(&self, mark: &str) -> io::Result<()> {
        let found = Thing::ALL.into_iter().find_map(|thing| {
            let name = mark.strip_prefix(thing.directory())?.strip_prefix('-')?;
            Some((thing, name))
        });
        let Some((thing, name)) = found else { return Ok(()) };
        let path = self.path(thing.directory()).join(name.replace(':', "/"));
        let gone = if thing == Thing::Layer { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        match gone {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// What tells one run of the kernel from the next.
pub(super) fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let plain: String = text.trim().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    if plain.is_empty() { "unknown".to_owned() } else { plain }
}
