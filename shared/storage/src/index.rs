//! What is kept of a repository's tags and stages between builds, so that a build need not list and read them again.
//!
//! All of it is derived, and can be deleted at any time: a listing makes it anew. Reading order: [`marker`] (how it is known
//! that a listing is still true), [`sorted`] (tags as they are searched), [`file`] (on the disk), [`notes`] (stages that were
//! read).

pub(crate) mod file;
pub(crate) mod marker;
pub(crate) mod notes;
pub(crate) mod sorted;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use slipway_digest::{Encoder, Millis};
use slipway_oci::{BlobDigest, Repo};
use slipway_process::{Clock, Tasks};

use file::{Header, IndexFile, Loaded};
use notes::Notes;
use sorted::SortedTags;

/// How long a listing is trusted, in milliseconds. What other programs delete or write announces nothing; after this
/// time it is seen all the same.
const TRUSTED: u64 = 24 * 3600 * 1000;

/// Where the indexes of repositories are kept, usually `HOME/service/index`.
#[derive(Clone)]
pub struct IndexDir {
    /// The directory; it is made when it is needed.
    pub directory: PathBuf,
    /// Tells how old a listing is.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for IndexDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("IndexDir").field(&self.directory).finish()
    }
}

/// What is kept of one repository.
#[derive(Debug)]
pub(crate) struct KeptIndex {
    repo: Repo,
    place: IndexDir,
    file: Arc<IndexFile>,
    notes: OnceLock<Notes>,
    tasks: Tasks,
}

impl KeptIndex {
    /// What `place` keeps of `repo`; nothing is read yet.
    pub(crate) fn new(repo: &Repo, place: &IndexDir) -> Self {
        let file = Arc::new(IndexFile::new(path(&place.directory, repo, "tags")));
        Self { repo: repo.clone(), place: place.clone(), file, notes: OnceLock::new(), tasks: Tasks::new() }
    }

    /// Reads what is kept. What cannot be read is as good as nothing.
    pub(crate) async fn load(&self) -> Option<Loaded> {
        let (file, repo) = (Arc::clone(&self.file), self.repo.to_string());
        let stages = path(&self.place.directory, &self.repo, "stages");
        let read = self.tasks.blocking(move || (file.load(&repo), Notes::load(stages)));
        let (loaded, notes) = read.await;
        let _ = self.notes.set(notes);
        loaded
    }

    /// Whether a listing is young enough to be trusted as long as nothing was announced.
    pub(crate) fn is_young(&self, loaded: &Loaded) -> bool {
        let (now, listed) = (self.place.clock.unix_millis(), loaded.header.listed.0);
        // One from the future was made by a clock that was wrong.
        listed <= now && now - listed < TRUSTED
    }

    /// Keeps a listing that was begun when the marker was `mark`.
    pub(crate) async fn save(&self, mark: BlobDigest, tags: &Arc<SortedTags>) {
        let (file, tags) = (Arc::clone(&self.file), Arc::clone(tags));
        let header = Header::new(self.repo.to_string(), mark, Millis(self.place.clock.unix_millis()));
        if let Err(error) = self.tasks.blocking(move || file.save(header, &tags)).await {
            tracing::debug!("keep the tags of {}: {error}", self.repo);
        }
    }

    /// A tag was added since the listing.
    pub(crate) fn added(&self, tag: &str) {
        self.file.append(tag);
    }

    /// Stages that were read.
    pub(crate) fn notes(&self) -> Option<&Notes> {
        self.notes.get()
    }
}

fn path(directory: &Path, repo: &Repo, extension: &str) -> PathBuf {
    directory.join(format!("{}.{extension}", Encoder::new("index").text(&repo.to_string()).finish()))
}
