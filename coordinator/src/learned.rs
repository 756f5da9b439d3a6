//! How long jobs took, kept in a file between runs. It only makes builds faster: lost or broken, it is begun anew.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use slipway_process::random_id;

use crate::scheduler::estimates::{Class, Estimates};

/// A larger file is none of ours.
const LARGEST: u64 = 16 << 20;
/// The form of the file.
const VERSION: u32 = 1;

/// What is in the file; `T` is all that is known.
#[derive(serde::Serialize, serde::Deserialize)]
struct Content<T> {
    version: u32,
    known: T,
}

/// A file with what was learned.
#[derive(Clone, Debug)]
pub struct LearnedFile(PathBuf);

impl LearnedFile {
    /// The file at `path`, which need not exist.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// What the file says; nothing when it is not there or makes no sense.
    pub fn load(&self) -> Estimates {
        match self.read() {
            Ok(estimates) => estimates,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Estimates::default(),
            Err(error) => {
                tracing::warn!("read {}: {error}; how long stages take is learned anew", self.0.display());
                Estimates::default()
            }
        }
    }

    /// Adds what a run has learned to what is in the file by now: other runs may have added to it.
    ///
    /// # Errors
    /// When the file cannot be written; it is then as it was.
    pub fn add(&self, learned: &[(Class, Duration)]) -> io::Result<()> {
        let mut estimates = self.load();
        learned.iter().for_each(|(class, took)| estimates.learn(class, *took));
        if let Some(directory) = self.0.parent() {
            fs::create_dir_all(directory)?;
        }
        let new = self.0.with_extension(format!("{}.new", random_id()));
        let replaced =
            write(&new, &Content { version: VERSION, known: &estimates }).and_then(|()| fs::rename(&new, &self.0));
        if replaced.is_err() {
            // It may not be there.
            let _ = fs::remove_file(&new);
        }
        replaced
    }

    fn read(&self) -> io::Result<Estimates> {
        if fs::metadata(&self.0)?.len() > LARGEST {
            return Err(io::Error::other(format!("it is larger than {} MiB", LARGEST >> 20)));
        }
        let content: Content<Estimates> = serde_json::from_slice(&fs::read(&self.0)?)?;
        if content.version != VERSION {
            return Err(io::Error::other(format!("it has version {}, not {VERSION}", content.version)));
        }
        Ok(content.known)
    }
}

fn write(path: &Path, content: &Content<&Estimates>) -> io::Result<()> {
    let mut file = io::BufWriter::new(fs::File::create_new(path)?);
    serde_json::to_writer(&mut file, content)?;
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    // The name must not come to stand for half a file.
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(image: &str, seconds: u64) -> (Class, Duration) {
        let class = Class { project: "p".to_owned(), image: image.to_owned(), kind: "setup".to_owned() };
        (class, Duration::from_secs(seconds))
    }

    #[test]
    fn what_runs_have_learned_adds_up() {
        let home = tempfile::tempdir().expect("a directory");
        let file = LearnedFile::new(home.path().join("service/learned.json"));
        assert!(file.load().is_empty());
        file.add(&[learned("a", 10)]).expect("it can be written");
        // Another run knew nothing of the first.
        file.add(&[learned("b", 20)]).expect("it can be written");
        let estimates = file.load();
        assert_eq!(estimates.mean("p", "a", "setup"), Duration::from_secs(10));
        assert_eq!(estimates.mean("p", "b", "setup"), Duration::from_secs(20));
        let left: Vec<_> = fs::read_dir(home.path().join("service")).expect("it is there").collect();
        assert_eq!(left.len(), 1, "nothing is left beside it: {left:?}");
    }

    #[test]
    fn what_makes_no_sense_is_begun_anew() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("learned.json");
        let file = LearnedFile::new(path.clone());
        for broken in ["", "{", "[]", r#"{"version":2,"known":[]}"#, r#"{"version":1,"known":[{"mean":"x"}]}"#] {
            fs::write(&path, broken).expect("it can be written");
            assert!(file.load().is_empty(), "{broken}");
        }
        fs::File::create(&path).and_then(|file| file.set_len(LARGEST + 1)).expect("it can be written");
        assert!(file.load().is_empty());
        file.add(&[learned("a", 10)]).expect("it can be written");
        assert!(!file.load().is_empty());
    }
}
