//! What is kept stays whole: with a stage, the stages that it is made of.
//!
//! What a stage is made of is known to who reads its labels. So [`Keeping`] says what it does not know, is told, and asks
//! on until nothing is left.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Bound,
    sync::Arc,
};

use slipway_digest::{Millis, StageDigest, StageId};

use crate::reason::{Reason, Verdict, Why};

/// What a stage is made of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MadeOf {
    /// The stage below it.
    pub parent: Option<StageId>,
    /// Stages whose files it has.
    pub imports: Vec<StageId>,
    /// Last stages of the images that it depends on.
    pub dependencies: Vec<StageId>,
}

/// The stages of a repository, and which of them stay.
#[derive(Debug)]
pub struct Keeping {
    all: BTreeSet<StageId>,
    rejected: HashSet<StageId>,
    kept: BTreeMap<StageId, Reason>,
    /// Kept, and nobody has said what they are made of.
    unread: Vec<StageId>,
    /// Sources of imports whose files are the same.
    same: HashMap<StageId, Arc<[StageId]>>,
}

impl Keeping {
    /// These stages, of which some were rejected: no reference keeps those.
    pub fn new(all: impl IntoIterator<Item = StageId>, rejected: impl IntoIterator<Item = StageId>) -> Self {
        Self {
            all: all.into_iter().collect(),
            rejected: rejected.into_iter().collect(),
            kept: BTreeMap::new(),
            unread: Vec::new(),
            same: HashMap::new(),
        }
    }

    /// Files of these stages were imported, and are the same: while one of them is a source of what stays, all are.
    pub fn same_imports(&mut self, sources: impl IntoIterator<Item = StageId>) {
        let sources: Arc<[StageId]> = sources.into_iter().filter(|source| self.all.contains(source)).collect();
        for source in sources.iter() {
            self.same.insert(*source, Arc::clone(&sources));
        }
    }

    /// Keeps a stage, if it is there; the first reason stands.
    pub fn keep(&mut self, stage: StageId, reason: Reason) {
        let refused = matches!(reason, Reason::Reference { .. }) && self.rejected.contains(&stage);
        if refused || !self.all.contains(&stage) || self.kept.contains_key(&stage) {
            return;
        }
        self.kept.insert(stage, reason);
        self.unread.push(stage);
    }

    /// Keeps all stages of a digest.
    pub fn keep_all_of(&mut self, digest: StageDigest, reason: &Reason) {
        for stage in self.of(digest) {
            self.keep(stage, reason.clone());
        }
    }

    /// Of those that do not stay yet, keeps the ones that are not older than `hours`. At `now`.
    pub fn keep_young(&mut self, hours: u64, now: Millis) {
        let oldest = now.0.saturating_sub(hours.saturating_mul(3_600_000));
        let young: Vec<StageId> = self.all.iter().copied().filter(|stage| stage.stamp.0 >= oldest).collect();
        for stage in young {
            self.keep(stage, Reason::BuiltWithin(hours));
        }
    }

    /// Stages of which it must be said what they are made of, at most so many, each once.
    pub fn ask(&mut self, most: usize) -> Vec<StageId> {
        let from = self.unread.len().saturating_sub(most);
        self.unread.split_off(from)
    }

    /// A stage is made of these. One that is not there by its name was stored elsewhere, and copied: then all of its digest
    /// stay.
    pub fn tell(&mut self, stage: StageId, made_of: &MadeOf) {
        if let Some(parent) = made_of.parent {
            self.keep_like(parent, Reason::Parent(stage));
        }
        for dependency in &made_of.dependencies {
            self.keep_like(*dependency, Reason::Dependency(stage));
        }
        for source in &made_of.imports {
            for found in self.keep_like(*source, Reason::Import(stage)) {
                for twin in self.same.get(&found).cloned().iter().flat_map(|same| same.iter()) {
                    self.keep(*twin, Reason::SameImport(found));
                }
            }
        }
    }

    /// Keeps a stage, or those of its digest; answers which.
    fn keep_like(&mut self, stage: StageId, reason: Reason) -> Vec<StageId> {
        let found = if self.all.contains(&stage) { vec![stage] } else { self.of(stage.digest) };
        for one in &found {
            self.keep(*one, reason.clone());
        }
        found
    }

    fn of(&self, digest: StageDigest) -> Vec<StageId> {
        let bound = |stamp| Bound::Included(StageId { digest, stamp: Millis(stamp) });
        self.all.range((bound(0), bound(u64::MAX))).copied().collect()
    }

    /// Whether a stage is there.
    pub fn has(&self, stage: StageId) -> bool {
        self.all.contains(&stage)
    }

    /// Why a stage stays; `None` when it goes, or is not there.
    pub fn reason(&self, stage: StageId) -> Option<&Reason> {
        self.kept.get(&stage)
    }

    /// The stages that stay.
    pub fn kept(&self) -> impl Iterator<Item = (&StageId, &Reason)> {
        self.kept.iter()
    }

    /// The stages that go, the oldest first.
    pub fn gone(&self) -> Vec<StageId> {
        let mut gone: Vec<StageId> = self.all.iter().copied().filter(|stage| !self.kept.contains_key(stage)).collect();
        gone.sort_by_key(|stage| (stage.stamp, stage.digest));
        gone
    }

    /// What becomes of a stage.
    pub fn verdict(&self, stage: StageId) -> Verdict {
        match self.kept.get(&stage) {
            Some(reason) => Verdict::Keep(reason.clone()),
            None if self.rejected.contains(&stage) => Verdict::Go(Why::Rejected),
            None => Verdict::Go(Why::Unneeded),
        }
    }
}

#[cfg(test)]
mod tests {
    use slipway_digest::Checksum;

    use super::*;

    fn stage(number: u8, stamp: u64) -> StageId {
        StageId { digest: StageDigest(Checksum::from_bytes([number; 28])), stamp: Millis(stamp) }
    }

    fn in_use() -> Reason {
        Reason::InUse("test".into())
    }

    fn settle(keeping: &mut Keeping, made_of: &HashMap<StageId, MadeOf>) {
        loop {
            let asked = keeping.ask(2);
            if asked.is_empty() {
                return;
            }
            for stage in asked {
                keeping.tell(stage, &made_of.get(&stage).cloned().unwrap_or_default());
            }
        }
    }

    #[test]
    fn what_a_stage_is_made_of_stays_with_it() {
        let (top, mid, low, made, dep, free) =
            (stage(1, 6), stage(2, 5), stage(3, 4), stage(4, 3), stage(5, 2), stage(6, 1));
        let mut keeping = Keeping::new([top, mid, low, made, dep, free], []);
        let made_of = HashMap::from([
            (top, MadeOf { parent: Some(mid), ..MadeOf::default() }),
            (mid, MadeOf { parent: Some(low), imports: vec![made], dependencies: vec![dep] }),
        ]);
        keeping.keep(top, in_use());
        settle(&mut keeping, &made_of);
        assert_eq!(keeping.gone(), [free]);
        assert_eq!(keeping.reason(low), Some(&Reason::Parent(mid)));
        assert_eq!(keeping.reason(made), Some(&Reason::Import(mid)));
        assert_eq!(keeping.reason(dep), Some(&Reason::Dependency(mid)));
        assert_eq!(keeping.verdict(free), Verdict::Go(Why::Unneeded));
    }

    #[test]
    fn the_parent_of_a_copy_is_known_by_its_digest() {
        let (top, below, later) = (stage(1, 9), stage(2, 5), stage(2, 6));
        let mut keeping = Keeping::new([top, below, later], []);
        keeping.keep(top, in_use());
        // It was stored under another timestamp where it came from.
        let elsewhere = MadeOf { parent: Some(stage(2, 1)), ..MadeOf::default() };
        settle(&mut keeping, &HashMap::from([(top, elsewhere)]));
        assert!(keeping.gone().is_empty());
    }

    #[test]
    fn sources_with_the_same_files_stay_together() {
        let (user, one, two, below, other) = (stage(1, 9), stage(2, 1), stage(3, 2), stage(4, 1), stage(5, 1));
        let mut keeping = Keeping::new([user, one, two, below, other], []);
        keeping.same_imports([one, two, stage(9, 9)]);
        keeping.keep(user, in_use());
        let made_of = HashMap::from([
            (user, MadeOf { imports: vec![one], ..MadeOf::default() }),
            (two, MadeOf { parent: Some(below), ..MadeOf::default() }),
        ]);
        settle(&mut keeping, &made_of);
        assert_eq!(keeping.gone(), [other]);
        assert_eq!(keeping.reason(two), Some(&Reason::SameImport(one)));
    }

    #[test]
    fn no_reference_keeps_what_was_rejected() {
        let bad = stage(1, 1);
        let reference = Reason::Reference {
            kind: slipway_config::ReferenceKind::Branch,
            name: "main".into(),
            image: "app".into(),
            commit: slipway_digest::CommitId([0; 20]),
        };
        let mut keeping = Keeping::new([bad], [bad]);
        keeping.keep(bad, reference);
        assert_eq!(keeping.verdict(bad), Verdict::Go(Why::Rejected));
        keeping.keep(bad, in_use());
        assert!(matches!(keeping.verdict(bad), Verdict::Keep(_)), "what runs stays whatever it is");
    }

    #[test]
    fn what_is_new_stays() {
        let hour = 3_600_000;
        let now = Millis(1_700_000_000_000);
        let at = |number, ago: u64| stage(number, now.0 - ago);
        let (new, edge, old, future) = (at(1, 0), at(2, 2 * hour), at(3, 2 * hour + 1), stage(4, now.0 + hour));
        let mut keeping = Keeping::new([new, edge, old, future], []);
        keeping.keep_young(2, now);
        assert_eq!(keeping.gone(), [old]);
    }
}
