//! The tags of a repository, listed once and kept up by what this process adds.
//!
//! A listing is the dearest request there is: a repository may have 100,000 tags. So it happens on first need, and
//! after that only for who asks for fresh news; all who ask while one listing runs share the next one. Where listings are
//! kept between builds ([`index`](crate::index)), one that is still true is used instead: to know that is one request.

use std::{
    collections::{BTreeSet, HashSet},
    ops::Bound,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use slipway_digest::{Millis, StageDigest, StageId};
use slipway_oci::{BlobDigest, Repo};
use slipway_registry::{Client, RegistryError};
use tokio::sync::Mutex;

use crate::{
    index::{KeptIndex, marker::Marker, sorted::SortedTags},
    names,
};

/// The tags of one repository as far as this process knows them.
#[derive(Debug)]
pub struct TagIndex {
    client: Client,
    repo: Repo,
    marker: Marker,
    /// What is kept between builds, and whether this process may make a marker.
    kept: Option<(Arc<KeptIndex>, bool)>,
    /// Held while a look runs.
    looking: Mutex<()>,
    /// How many looks were started.
    started: AtomicU64,
    known: RwLock<Known>,
    /// The stages that records of commits name, once somebody asked.
    recorded: OnceLock<HashSet<StageId>>,
    /// Whether this process was the first to keep a listing, and nobody asked yet.
    first: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    /// Number of the newest look that is in here; 0 = there was none.
    look: u64,
    /// Where the marker was before the listing; `None` = nothing says whether the listing is still true.
    mark: Option<BlobDigest>,
    /// Where this process has moved it since: a listing that begins now is true as long as it stays there.
    moved: Option<BlobDigest>,
    tags: Arc<SortedTags>,
    /// What this process, or this host since the listing, has added. A registry may list a tag later than it serves it, so
    /// these are kept until they are listed.
    own: BTreeSet<String>,
    /// Stages that were listed and turned out not to be there.
    vanished: BTreeSet<StageId>,
    /// An earlier listing, which is not true any more: what it has and `tags` has not was deleted.
    before: Option<SortedTags>,
}

impl TagIndex {
    /// An index that knows nothing yet, and forgets all.
    pub fn new(client: Client, repo: Repo) -> Self {
        Self {
            marker: Marker::new(client.clone(), repo.clone()),
            client,
            repo,
            kept: None,
            looking: Mutex::new(()),
            started: AtomicU64::new(0),
            known: RwLock::default(),
            recorded: OnceLock::new(),
            first: AtomicBool::new(false),
        }
    }

    /// The same, with what is kept between builds; `writes` = the repository may be written.
    pub(crate) fn keeping(client: Client, repo: Repo, kept: Arc<KeptIndex>, writes: bool) -> Self {
        Self { kept: Some((kept, writes)), ..Self::new(client, repo) }
    }

    /// Learns the tags if that never happened; with `fresh`, whenever no look was started after this call was.
    ///
    /// # Errors
    /// As the registry has them.
    pub async fn refresh(&self, fresh: bool) -> Result<(), RegistryError> {
        let enough = if fresh { self.started.load(Ordering::SeqCst) } else { 0 };
        if self.newest_look() > enough {
            return Ok(());
        }
        let _turn = self.looking.lock().await;
        if self.newest_look() > enough {
            return Ok(());
        }
        let number = self.started.fetch_add(1, Ordering::SeqCst) + 1;
        let Some((kept, writes)) = &self.kept else { return self.list(number, None).await };
        let moved = self.write().moved.take();
        if moved.is_some() {
            return self.list(number, moved).await;
        }
        // The marker first: what is tagged while the tags are listed moves it away from here.
        let mut mark = self.marker.look().await?;
        if self.is_true(kept, number, mark.as_ref()).await {
            return Ok(());
        }
        let mut made = false;
        if mark.is_none() && *writes {
            mark = self.marker.make().await;
            made = mark.is_some();
        }
        self.list(number, mark).await?;
        self.first.fetch_or(made, Ordering::SeqCst);
        Ok(())
    }

    /// Whether nobody has kept a listing of the repository before this process. It is said once.
    pub(crate) fn is_first_seen(&self) -> bool {
        self.first.swap(false, Ordering::SeqCst)
    }

    /// Whether what is known or kept is true, for the marker is where it was.
    async fn is_true(&self, kept: &KeptIndex, number: u64, mark: Option<&BlobDigest>) -> bool {
        if self.newest_look() > 0 {
            let mut known = self.write();
            let same = mark.is_some() && known.mark.as_ref() == mark;
            if same {
                known.look = number;
            }
            return same;
        }
        let Some(loaded) = kept.load().await else { return false };
        let mut known = self.write();
        if mark == Some(&loaded.header.mark) && kept.is_young(&loaded) {
            known.look = number;
            known.mark = Some(loaded.header.mark);
            known.tags = Arc::new(loaded.tags);
            known.own.extend(loaded.added);
            return true;
        }
        known.before = Some(loaded.tags);
        false
    }

    async fn list(&self, number: u64, mark: Option<BlobDigest>) -> Result<(), RegistryError> {
        let listed = Arc::new(SortedTags::new(self.client.tags(&self.repo).await?));
        {
            let mut known = self.write();
            let earlier = std::mem::replace(&mut known.tags, Arc::clone(&listed));
            if known.look > 0 {
                known.before = Arc::into_inner(earlier).or(known.before.take());
            }
            known.look = number;
            known.mark.clone_from(&mark);
            known.own.retain(|tag| !listed.contains(tag));
            known.vanished.retain(|id| !listed.contains(&id.to_string()));
        }
        if let (Some((kept, _)), Some(mark)) = (&self.kept, mark) {
            kept.save(mark, &listed).await;
            self.read().own.iter().for_each(|tag| kept.added(tag));
        }
        Ok(())
    }

    /// The stages of a digest, oldest first, without the rejected ones.
    pub fn stages(&self, digest: StageDigest) -> Vec<StageId> {
        let known = self.read();
        let ids = known.ids(digest);
        ids.into_iter().filter(|id| !known.has(&names::rejected(*id))).collect()
    }

    /// The latest timestamp of a digest, rejected stages included.
    pub fn latest(&self, digest: StageDigest) -> Option<Millis> {
        self.read().ids(digest).last().map(|id| id.stamp)
    }

    /// Whether a stage is marked as rejected.
    pub fn is_rejected(&self, id: StageId) -> bool {
        self.read().has(&names::rejected(id))
    }

    /// Whether there is a record (not a stage) with this tag.
    pub fn has_record(&self, tag: &str) -> bool {
        self.read().has(tag)
    }

    /// Stages in the repository; some may be rejected.
    pub(crate) fn all_stages(&self) -> Vec<StageId> {
        let known = self.read();
        let listed = known.tags.with_prefix("").chain(known.own.iter().map(String::as_str));
        listed.filter_map(|tag| tag.parse().ok()).collect()
    }

    /// A stage of a digest that was stored once and is not there any more, though nobody has rejected it.
    pub(crate) fn deleted(&self, digest: StageDigest) -> Option<StageId> {
        let known = self.read();
        let here: BTreeSet<StageId> = known.ids(digest).into_iter().collect();
        let prefix = format!("{digest}-");
        let before = known.before.iter().flat_map(|tags| tags.with_prefix(&prefix));
        let before = before.filter_map(|tag| tag.parse::<StageId>().ok());
        let vanished = known.vanished.iter().copied().filter(|id| id.digest == digest);
        let is_gone = |id: &StageId| !here.contains(id) && !known.has(&names::rejected(*id));
        // Where repositories are cleaned up as they ought to be, stages that were there go. Their records go first.
        let found = before.chain(vanished).find(is_gone).filter(|_| !known.has(names::CLEANUP));
        if found.is_some() || !here.is_empty() {
            return found;
        }
        // To go through all records takes time: only when nothing is there, and once.
        let recorded = self.recorded.get_or_init(|| known.recorded());
        recorded.iter().copied().filter(|id| id.digest == digest).find(is_gone)
    }

    /// A tag was added by this process.
    pub fn added(&self, tag: &str) {
        if self.write().own.insert(tag.to_owned())
            && let Some((kept, _)) = &self.kept
        {
            kept.added(tag);
        }
    }

    /// Tells other builds that stages have changed. To be called after that, and before anybody uses them.
    ///
    /// # Errors
    /// As the registry has them.
    pub async fn announce(&self) -> Result<(), RegistryError> {
        let known = self.read().mark.is_some();
        let moved = self.marker.announce(known).await?;
        self.write().moved = moved;
        Ok(())
    }

    /// A tag is not there any more.
    pub fn vanished(&self, id: &StageId) {
        let mut known = self.write();
        known.own.remove(&id.to_string());
        known.vanished.insert(*id);
    }

    fn newest_look(&self) -> u64 {
        self.read().look
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn has(&self, tag: &str) -> bool {
        self.own.contains(tag) || self.tags.contains(tag)
    }

    /// The stages of a digest, oldest first.
    fn ids(&self, digest: StageDigest) -> Vec<StageId> {
        let prefix = format!("{digest}-");
        let own = self.own.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
        let own = own.map(String::as_str).take_while(|tag| tag.starts_with(&prefix));
        let ids = self.tags.with_prefix(&prefix).chain(own).filter_map(|tag| tag.parse::<StageId>().ok());
        let ids: BTreeSet<StageId> = ids.filter(|id| !self.vanished.contains(id)).collect();
        ids.into_iter().collect()
    }

    /// The stages that images had at commits, by their records.
    fn recorded(&self) -> HashSet<StageId> {
        let stage = |tag: &str| tag.rsplit_once('_')?.1.parse().ok();
        self.tags.with_prefix(names::COMMIT).filter_map(stage).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "9f3a82975136d66d04ebcb9ce90b14428077099417b6c170e2ef2fef";

    fn known(tags: &[&str], own: &[&str]) -> Known {
        Known {
            tags: Arc::new(SortedTags::new(tags.iter().map(|tag| (*tag).to_owned()).collect())),
            own: own.iter().map(|tag| (*tag).to_owned()).collect(),
            ..Known::default()
        }
    }

    #[test]
    fn tags_are_sorted_into_what_they_mean() {
        let stage = |millis: u64| format!("{DIGEST}-{millis}");
        let rejected = format!("{}-rejected", stage(1_589_786_063_773));
        let odd = format!("{}-rejected-too", stage(1_589_786_063_774));
        let (first, second, own) = (stage(1_589_786_063_773), stage(1_589_786_063_775), stage(1_589_786_063_774));
        let listed = [&second, &first, &rejected, &odd, "latest", DIGEST, "managed-image-app"];
        let known = known(&listed, &[&own, "x"]);
        let digest: StageDigest = DIGEST.parse().unwrap();
        let ids: Vec<String> = known.ids(digest).iter().map(ToString::to_string).collect();
        assert_eq!(ids, [first, own, second]);
        assert!(known.has("managed-image-app") && known.has("x") && known.has(&rejected) && !known.has("managed"));
    }

    #[test]
    fn a_stage_that_is_recorded_and_not_there_was_deleted() {
        let digest: StageDigest = DIGEST.parse().unwrap();
        let (here, gone, bad) = ("1589786063771", "1589786063772", "1589786063773");
        let commit = "ab".repeat(20);
        let meta = |stamp: &str| format!("meta-798e6f97_{commit}_{DIGEST}-{stamp}");
        let listed = [meta(bad), format!("{DIGEST}-{bad}-rejected")];
        let listed: Vec<&str> = listed.iter().map(String::as_str).collect();
        let index = |tags: &[&str], before: &[&str]| {
            let client = Client::new(slipway_registry::Options::default()).unwrap();
            let index = TagIndex::new(client, Repo { host: "r.example".to_owned(), path: "a".to_owned() });
            let before = known(before, &[]).tags;
            *index.write() = Known { before: Arc::into_inner(before), ..known(tags, &[]) };
            index
        };
        assert_eq!(index(&listed, &[]).deleted(digest), None);
        let lost = meta(gone);
        let more: Vec<&str> = listed.iter().copied().chain([lost.as_str()]).collect();
        let found = index(&more, &[]).deleted(digest).unwrap();
        assert_eq!(found.stamp.0.to_string(), gone);
        let before = format!("{DIGEST}-{gone}");
        assert_eq!(index(&listed, &[&before]).deleted(digest), Some(found));
        let id: StageId = format!("{DIGEST}-{here}").parse().unwrap();
        let index = index(&[&id.to_string(), &meta(here)], &[]);
        assert_eq!(index.deleted(digest), None);
        index.vanished(&id);
        assert_eq!(index.deleted(digest), Some(id));
    }
}
