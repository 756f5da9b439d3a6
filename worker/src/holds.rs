//! Images that a worker has at hand, by the digests under which jobs name them: what starts from one starts sooner here.
//!
//! A hint, never a promise: the engine may lose an image at any time.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use slipway_oci::BlobDigest;

/// Images that are remembered; the one that was used longest ago goes first.
const MANY: usize = 256;

/// An image as jobs name it, and as the engine does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Image {
    named: BlobDigest,
    /// By its config.
    pub(crate) id: BlobDigest,
}

/// What is at hand. Kept in a file over the life of the process, if there is one.
pub(crate) struct Holds {
    file: Option<PathBuf>,
    /// The one that was used last is last. A lock for look-ups, never held over an await.
    images: Mutex<VecDeque<Image>>,
    writing: tokio::sync::Mutex<()>,
}

impl Holds {
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        Self { file, images: Mutex::default(), writing: tokio::sync::Mutex::default() }
    }

    /// What an earlier process noted, the one that was used last last.
    pub(crate) async fn noted(&self) -> Vec<Image> {
        let Some(file) = &self.file else { return Vec::new() };
        // Without the file it is learned anew.
        let text = tokio::fs::read_to_string(file).await.unwrap_or_default();
        let image = |line: &str| {
            let (named, id) = line.split_once(' ')?;
            Some(Image { named: named.parse().ok()?, id: id.parse().ok()? })
        };
        let mut images: Vec<Image> = text.lines().rev().filter_map(image).take(MANY).collect();
        images.reverse();
        images
    }

    /// Takes up what of that is still there.
    pub(crate) fn take_up(&self, found: Vec<Image>) {
        let mut images = self.images();
        let known: Vec<Image> = images.drain(..).collect();
        let older = found.into_iter().filter(|image| !known.iter().any(|known| known.named == image.named));
        images.extend(older.collect::<Vec<_>>());
        images.extend(known);
    }

    /// An image has been used.
    pub(crate) async fn note(&self, named: &BlobDigest, id: &BlobDigest) {
        let image = Image { named: named.clone(), id: id.clone() };
        {
            let mut images = self.images();
            if images.back() == Some(&image) {
                return;
            }
            images.retain(|known| known.named != image.named);
            images.push_back(image);
            if images.len() > MANY {
                images.pop_front();
            }
        }
        self.keep().await;
    }

    /// An image was removed.
    pub(crate) async fn forget(&self, id: &BlobDigest) {
        self.images().retain(|known| known.id != *id);
        self.keep().await;
    }

    /// All of them, as jobs name them.
    pub(crate) fn list(&self) -> Vec<BlobDigest> {
        self.images().iter().map(|image| image.named.clone()).collect()
    }

    async fn keep(&self) {
        let Some(file) = &self.file else { return };
        let _turn = self.writing.lock().await;
        let text: String = self.images().iter().map(|image| format!("{} {}\n", image.named, image.id)).collect();
        let fresh = file.with_extension("new");
        let written = async {
            tokio::fs::write(&fresh, text).await?;
            tokio::fs::rename(&fresh, file).await
        };
        if let Err(error) = written.await {
            tracing::debug!("keep which images are at hand in {}: {error}", file.display());
        }
    }

    fn images(&self) -> MutexGuard<'_, VecDeque<Image>> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: usize) -> BlobDigest {
        BlobDigest::of(number.to_string().as_bytes())
    }

    #[tokio::test]
    async fn what_was_used_last_is_kept_and_what_the_engine_lost_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("holds");
        let holds = Holds::new(Some(file.clone()));
        for number in 0..MANY + 2 {
            holds.note(&digest(number), &digest(number + 1000)).await;
        }
        holds.note(&digest(5), &digest(1005)).await;
        holds.forget(&digest(1007)).await;
        let all = holds.list();
        assert_eq!((all.len(), all.last()), (MANY - 1, Some(&digest(5))));
        assert!(![0, 1, 7].iter().any(|number| all.contains(&digest(*number))));
        let again = Holds::new(Some(file.clone()));
        let noted = again.noted().await;
        again.take_up(noted.into_iter().filter(|image| image.id != digest(1010)).collect());
        let kept: Vec<BlobDigest> = all.into_iter().filter(|named| *named != digest(10)).collect();
        assert_eq!(again.list(), kept);
        std::fs::write(&file, "nonsense\nsha256:x y\n").expect("it is written");
        assert!(Holds::new(Some(file)).noted().await.is_empty());
    }
}
