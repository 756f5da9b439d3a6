//! Commits: names, parents, ancestry.

use std::collections::{BinaryHeap, HashMap, HashSet, hash_map::Entry};

use gix::ObjectId;
use slipway_digest::CommitId;

use crate::{Authored, CommitInfo, GitError};

/// The commit that `name` stands for.
pub(crate) fn resolve(repository: &gix::Repository, name: &str) -> Result<CommitId, GitError> {
    let reading_head = |error| GitError::broken("read HEAD", &error);
    if matches!(name, "HEAD" | "@") && repository.head().map_err(reading_head)?.is_unborn() {
        return Err(GitError::Unusable(format!(
            "the git repository at {} has no commits yet; make the first one: `git add . && git commit`",
            repository.workdir().unwrap_or(repository.git_dir()).display()
        )));
    }
    let commit = repository
        .rev_parse_single(name)
        .and_then(|id| id.object())
        .and_then(gix::Object::peel_to_commit)
        .map_err(|_| GitError::Missing(format!("`{name}`")))?;
    Ok(commit_id(commit.id))
}

/// A commit's own data.
pub(crate) fn commit(repository: &gix::Repository, id: CommitId) -> Result<CommitInfo, GitError> {
    let broken = |error| GitError::broken(format_args!("read the commit {id}"), &error);
    let object = repository
        .try_find_object(ObjectId::Sha1(id.0))
        .map_err(broken)?
        .ok_or_else(|| GitError::Missing(format!("the commit {id}")))?;
    let commit = object.peel_to_commit().map_err(broken)?;
    let time = commit.time().map_err(broken)?.seconds;
    let author = commit.author().map_err(broken)?.time().map_err(broken)?;
    let authored = Authored { time: author.seconds, offset: author.offset };
    let parents = commit.parent_ids().map(|parent| commit_id(parent.detach())).collect();
    Ok(CommitInfo { id: commit_id(commit.id), time, authored, parents })
}

/// Whether `old` is `new` or an ancestor of it. `home` knows where a shallow history ends, `objects` has the commits.
pub(crate) fn is_ancestor(
    home: &gix::Repository,
    objects: &gix::Repository,
    old: CommitId,
    new: CommitId,
) -> Result<bool, GitError> {
    let broken = |error| GitError::broken("follow the history", &error);
    let shallow = home.shallow_commits().map_err(broken)?;
    let cut: HashSet<ObjectId> = shallow.iter().flat_map(|commits| commits.iter().copied()).collect();
    let (old, new) = (ObjectId::Sha1(old.0), ObjectId::Sha1(new.0));
    if !objects.has_object(new) {
        return Err(GitError::Missing(format!("the commit {new}")));
    }
    if old == new {
        return Ok(true);
    }
    if !objects.has_object(old) {
        // Every ancestor of a commit is there, unless the history is cut off.
        return if cut.is_empty() { Ok(false) } else { Err(GitError::Shallow(old.to_string())) };
    }
    let cache = home.commit_graph_if_enabled().map_err(broken)?;
    let graph = objects.revision_graph(cache.as_ref().filter(|_| cut.is_empty()));
    Walk { graph, cut, seen: HashMap::new(), queue: BinaryHeap::new(), waiting: 0 }.run(old, new)
}

/// Reachable from the newer commit.
const NEW: u8 = 1;
/// Reachable from the older one, which therefore cannot be an ancestor of it.
const OLD: u8 = 2;

/// A walk from both commits towards the past, latest first. What is reachable from the older commit cannot lead to it,
/// so the walk ends when nothing else is left on the newer one's side: it costs the distance, not the history.
struct Walk<'r, 'c> {
    graph: gix::revwalk::Graph<'r, 'c, ()>,
    /// Commits whose parents were cut off.
    cut: HashSet<ObjectId>,
    seen: HashMap<ObjectId, Seen>,
    /// Time and id of commits whose parents are still to be looked at.
    queue: BinaryHeap<(i64, ObjectId)>,
    /// How many commits of the queue are on the newer side alone.
    waiting: usize,
}

/// What is known of a commit.
struct Seen {
    /// From which sides it is reachable.
    sides: u8,
    queued: bool,
    time: i64,
    parents: Vec<ObjectId>,
}

impl Walk<'_, '_> {
    fn run(mut self, old: ObjectId, new: ObjectId) -> Result<bool, GitError> {
        self.reach(old, OLD)?;
        self.reach(new, NEW)?;
        let mut ends: Vec<ObjectId> = Vec::new();
        // Where the newer side was cut off matters only while the older side does not reach that place as well.
        while self.waiting > 0 || self.any_on_newer_side(&ends) {
            let Some((_, id)) = self.queue.pop() else { break };
            let Some(seen) = self.seen.get_mut(&id) else { continue };
            seen.queued = false;
            let (sides, parents) = (seen.sides, seen.parents.clone());
            self.waiting -= usize::from(sides == NEW);
            if self.cut.contains(&id) {
                ends.push(id);
                continue;
            }
            if sides & NEW != 0 && parents.contains(&old) {
                return Ok(true);
            }
            for parent in parents {
                self.reach(parent, sides)?;
            }
        }
        if self.any_on_newer_side(&ends) { Err(GitError::Shallow(old.to_string())) } else { Ok(false) }
    }

    fn any_on_newer_side(&self, commits: &[ObjectId]) -> bool {
        commits.iter().any(|id| self.seen.get(id).is_some_and(|seen| seen.sides == NEW))
    }

    /// Marks a commit as reachable from `sides`; its parents are looked at when that is news.
    fn reach(&mut self, id: ObjectId, sides: u8) -> Result<(), GitError> {
        let seen = match self.seen.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(look_up(&mut self.graph, id)?),
        };
        let before = seen.sides;
        seen.sides |= sides;
        if seen.sides == before {
            return Ok(());
        }
        self.waiting -= usize::from(seen.queued && before == NEW);
        self.waiting += usize::from(seen.sides == NEW);
        if !seen.queued {
            seen.queued = true;
            self.queue.push((seen.time, id));
        }
        Ok(())
    }
}

fn look_up(graph: &mut gix::revwalk::Graph<'_, '_, ()>, id: ObjectId) -> Result<Seen, GitError> {
    let broken = |error| GitError::broken(format_args!("read the commit {id}"), &error);
    let commit = graph.try_lookup(&id).map_err(broken)?;
    let commit = commit.ok_or_else(|| GitError::Missing(format!("the commit {id}")))?;
    let time = commit.committer_timestamp().map_err(broken)?;
    let parents = commit.iter_parents().collect::<Result<_, _>>().map_err(broken)?;
    Ok(Seen { sides: 0, queued: false, time, parents })
}

pub(crate) fn commit_id(id: ObjectId) -> CommitId {
    let mut bytes = [0; 20];
    bytes.copy_from_slice(id.as_bytes());
    CommitId(bytes)
}
