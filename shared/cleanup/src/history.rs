//! Which stages the branches and tags lead to.
//!
//! The history of a reference is walked from its head to the past, the newest commit first, as `git log` does. At a commit
//! that is recorded for an image, the image's stages are *hit*, unless a newer commit has hit them already; the stages that
//! one commit hits count as one. The policy says how many of these are kept. Of a kept stage, the record of the commit that
//! hit it stays, and no other: so records do not grow with every commit that reuses a stage.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use slipway_config::{Operator, ReferenceKind};
use slipway_digest::{CommitId, StageId};

use crate::{
    policies::{Chosen, ImagesLimit, is_young, together},
    reason::Reason,
};

/// A commit, as far as history is concerned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// Committer time, in seconds since the Unix epoch.
    pub time: i64,
    /// Parents, in order.
    pub parents: Vec<CommitId>,
}

/// Which stages an image had, by commit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ImageHistory {
    /// The image's name.
    pub name: String,
    /// Its stages at commits.
    pub at: BTreeMap<CommitId, BTreeSet<StageId>>,
}

impl ImageHistory {
    /// An image of this name without records.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), at: BTreeMap::new() }
    }

    /// At `commit`, `stage` was a last stage of the image.
    pub fn add(&mut self, commit: CommitId, stage: StageId) {
        self.at.entry(commit).or_default().insert(stage);
    }
}

/// A record that stays, and thereby its stage.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Hit {
    /// The place of the image in what was given.
    pub image: usize,
    /// The commit of the record.
    pub commit: CommitId,
    /// Its stage.
    pub stage: StageId,
}

/// The commits that were looked at, each looked up once.
#[derive(Debug, Default)]
pub struct History(HashMap<CommitId, Commit>);

impl History {
    /// What the references lead to, and why it stays. `look` finds a commit; `now` is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// What `look` says.
    pub fn hits<E>(
        &mut self,
        chosen: &[Chosen],
        images: &[ImageHistory],
        now: i64,
        look: &mut impl FnMut(CommitId) -> Result<Commit, E>,
    ) -> Result<BTreeMap<Hit, Reason>, E> {
        let recorded = Recorded::new(images);
        let mut hits = BTreeMap::new();
        for one in chosen {
            let mut count = Count::new(&recorded, images.len(), one.images, now);
            if one.reference.kind == ReferenceKind::Tag {
                let time = self.commit(one.reference.head, look)?.time;
                count.visit(one.reference.head, time);
            } else {
                self.walk(one.reference.head, look, |id, time| count.visit(id, time))?;
            }
            let name: Arc<str> = one.reference.name.as_str().into();
            for hit in count.kept {
                let (kind, image) = (one.reference.kind, Arc::clone(&recorded.names[hit.image]));
                let reason = Reason::Reference { kind, name: Arc::clone(&name), image, commit: hit.commit };
                // Of several references, the newest speaks.
                hits.insert(hit, reason);
            }
        }
        Ok(hits)
    }

    /// Walks from a commit to the past, the newest first, of equally new ones the one that was met first; ends when
    /// `visit` says that it has seen enough.
    fn walk<E>(
        &mut self,
        head: CommitId,
        look: &mut impl FnMut(CommitId) -> Result<Commit, E>,
        mut visit: impl FnMut(CommitId, i64) -> bool,
    ) -> Result<(), E> {
        let mut met = HashSet::from([head]);
        let mut queue = BinaryHeap::from([(self.commit(head, look)?.time, Reverse(0_usize), head)]);
        while let Some((time, _, id)) = queue.pop() {
            if !visit(id, time) {
                return Ok(());
            }
            for parent in self.commit(id, look)?.parents.clone() {
                if met.insert(parent) {
                    queue.push((self.commit(parent, look)?.time, Reverse(met.len()), parent));
                }
            }
        }
        Ok(())
    }

    fn commit<E>(&mut self, id: CommitId, look: &mut impl FnMut(CommitId) -> Result<Commit, E>) -> Result<&Commit, E> {
        Ok(match self.0.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(look(id)?),
        })
    }
}

/// What is recorded, by commit.
struct Recorded {
    at: HashMap<CommitId, Vec<(usize, Vec<StageId>)>>,
    names: Vec<Arc<str>>,
    /// Images that are recorded at all.
    images: usize,
}

impl Recorded {
    fn new(images: &[ImageHistory]) -> Self {
        let mut at: HashMap<CommitId, Vec<(usize, Vec<StageId>)>> = HashMap::new();
        for (image, history) in images.iter().enumerate() {
            for (commit, stages) in &history.at {
                at.entry(*commit).or_default().push((image, stages.iter().copied().collect()));
            }
        }
        let names = images.iter().map(|image| image.name.as_str().into()).collect();
        Self { at, names, images: images.iter().filter(|image| !image.at.is_empty()).count() }
    }
}

/// What one reference has hit so far.
struct Count<'r> {
    recorded: &'r Recorded,
    limit: ImagesLimit,
    now: i64,
    hit: HashSet<(usize, StageId)>,
    /// By image, how many commits have hit something.
    groups: Vec<u64>,
    /// Images of which nothing more can be kept.
    done: usize,
    /// Recorded commits that were not met yet.
    left: usize,
    kept: Vec<Hit>,
}

impl<'r> Count<'r> {
    fn new(recorded: &'r Recorded, images: usize, limit: ImagesLimit, now: i64) -> Self {
        let (groups, left) = (vec![0; images], recorded.at.len());
        Self { recorded, limit, now, hit: HashSet::new(), groups, done: 0, left, kept: Vec::new() }
    }

    /// Meets a commit; whether to go on.
    fn visit(&mut self, commit: CommitId, time: i64) -> bool {
        let Some(images) = self.recorded.at.get(&commit) else { return self.goes_on() };
        self.left -= 1;
        for (image, stages) in images {
            let new: Vec<StageId> = stages.iter().copied().filter(|stage| self.hit.insert((*image, *stage))).collect();
            if new.is_empty() {
                continue;
            }
            let newest = self.limit.last.is_none_or(|last| self.groups[*image] < last);
            let young = self.limit.within.map(|within| is_young(time, within, self.now));
            if together(self.limit.operator, Some(newest), young) {
                self.kept.extend(new.into_iter().map(|stage| Hit { image: *image, commit, stage }));
            }
            self.groups[*image] += 1;
            self.done += usize::from(self.limit.last == Some(self.groups[*image]));
        }
        self.goes_on()
    }

    fn goes_on(&self) -> bool {
        // Older commits may be young enough: clocks of committers differ.
        let by_number = self.limit.within.is_none() || self.limit.operator == Operator::And;
        let none = self.limit.last == Some(0) && by_number;
        let full = by_number && self.done == self.recorded.images;
        !(none || full || self.left == 0)
    }
}

#[cfg(test)]
mod tests;
