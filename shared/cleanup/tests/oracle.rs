//! What stays, held against brute force that shares no code with it: over the output of `git log` for a large history,
//! and over all that can be reached for five hundred small ones.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    io::Write as _,
    path::Path,
    process::Stdio,
    time::Duration,
};

use slipway_cleanup::{Commit, History, ImageHistory, Policies, Reference};
use slipway_config::{Cleanup, KeepLimit, KeepPolicy, KeepReferences, Operator, ReferenceKind};
use slipway_digest::{Checksum, CommitId, Millis, StageDigest, StageId};
use slipway_parts::{Part, require};
use slipway_process::child::command;

const NOW: i64 = 1_700_000_000;

/// Numbers that look random, and are the same whenever they are drawn from the same seed.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn one_in(&mut self, number: u64) -> bool {
        self.below(number) == 0
    }
}

/// A history with references, policies and records.
#[derive(Default)]
struct World {
    commits: HashMap<CommitId, Commit>,
    references: Vec<Reference>,
    policies: Vec<KeepPolicy>,
    images: Vec<ImageHistory>,
}

/// What stays: image, commit and stage of a record.
type Kept = BTreeSet<(usize, CommitId, StageId)>;

impl World {
    fn kept(&self) -> Kept {
        let cleanup = Cleanup {
            disable: false,
            disable_kubernetes_policy: false,
            disable_git_history_policy: false,
            disable_built_within_policy: false,
            keep_built_within_hours: 0,
            keep_policies: Some(self.policies.clone()),
        };
        let chosen = Policies::new(Some(&cleanup)).unwrap().choose(&self.references, NOW);
        let mut look = |id: CommitId| Ok::<_, Infallible>(self.commits[&id].clone());
        let Ok(hits) = History::default().hits(&chosen, &self.images, NOW, &mut look);
        hits.into_keys().map(|hit| (hit.image, hit.commit, hit.stage)).collect()
    }

    /// The same by brute force; `log` answers the commits of a reference in the order of `git log`.
    fn expected(&self, log: impl Fn(&Reference) -> Vec<(CommitId, i64)>) -> Kept {
        let mut followed: BTreeMap<usize, &KeepPolicy> = BTreeMap::new();
        for policy in &self.policies {
            for at in taken(policy, &self.references) {
                followed.insert(at, policy);
            }
        }
        let mut kept = Kept::new();
        for (at, policy) in followed {
            let reference = &self.references[at];
            let mut commits = log(reference);
            if reference.kind == ReferenceKind::Tag {
                commits.truncate(1);
            }
            for image in 0..self.images.len() {
                self.keep(image, policy, &commits, &mut kept);
            }
        }
        kept
    }

    fn keep(&self, image: usize, policy: &KeepPolicy, commits: &[(CommitId, i64)], kept: &mut Kept) {
        let limit = policy.images.unwrap_or(KeepLimit { last: None, within: None, operator: Operator::And });
        let (mut met, mut number) = (BTreeSet::new(), 0);
        for (commit, time) in commits {
            let here: Vec<StageId> = self.images[image].at.get(commit).into_iter().flatten().copied().collect();
            let new: Vec<StageId> = here.into_iter().filter(|stage| !met.contains(stage)).collect();
            if new.is_empty() {
                continue;
            }
            met.extend(new.iter().copied());
            let last = limit.last.unwrap_or(1);
            let by_number = last == -1 || number < last;
            let stays = match limit.within {
                None => by_number,
                Some(within) => {
                    let by_age = NOW - time <= within.as_secs() as i64;
                    if limit.operator == Operator::And { by_number && by_age } else { by_number || by_age }
                }
            };
            if stays {
                kept.extend(new.into_iter().map(|stage| (image, *commit, stage)));
            }
            number += 1;
        }
    }

    /// All that a commit leads to, the newest first.
    fn reachable(&self, head: CommitId) -> Vec<(CommitId, i64)> {
        let (mut found, mut next) = (BTreeSet::new(), vec![head]);
        while let Some(id) = next.pop() {
            if found.insert((-self.commits[&id].time, id)) {
                next.extend(&self.commits[&id].parents);
            }
        }
        found.into_iter().map(|(time, id)| (id, -time)).collect()
    }
}

/// The places of the references that a policy takes. Patterns are names, or `/PREFIX.*/`.
fn taken(policy: &KeepPolicy, references: &[Reference]) -> Vec<usize> {
    let pattern = policy.references.pattern.as_str();
    let is_like = |name: &str| match pattern.strip_prefix('/') {
        Some(rest) => name.starts_with(rest.trim_end_matches(".*/")),
        None => name == pattern,
    };
    let like: Vec<usize> = (0..references.len())
        .filter(|at| references[*at].kind == policy.references.kind && is_like(&references[*at].name))
        .collect();
    let newer = |at: usize| {
        let key = |at: usize| (-references[at].time, references[at].name.clone());
        like.iter().filter(|other| key(**other) < key(at)).count() as i64
    };
    let stays = |at: &usize| match policy.references.limit {
        None => true,
        Some(limit) => {
            let by_number = limit.last.map(|last| last == -1 || newer(*at) < last);
            let by_age = limit.within.map(|within| NOW - references[*at].time <= within.as_secs() as i64);
            match (by_number, by_age, limit.operator) {
                (None, None, _) => true,
                (Some(one), None, _) | (None, Some(one), _) => one,
                (Some(one), Some(other), Operator::And) => one && other,
                (Some(one), Some(other), Operator::Or) => one || other,
            }
        }
    };
    like.iter().copied().filter(stays).collect()
}

fn stage(number: u64) -> StageId {
    let mut bytes = [0; 28];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    StageId { digest: StageDigest(Checksum::from_bytes(bytes)), stamp: Millis(1_600_000_000_000 + number) }
}

fn limit(dice: &mut Dice) -> Option<KeepLimit> {
    if dice.one_in(3) {
        return None;
    }
    let last = (!dice.one_in(3)).then(|| dice.below(6).cast_signed() - 1);
    let within = dice.one_in(2).then(|| Duration::from_secs(dice.below(60) * 3600));
    Some(KeepLimit { last, within, operator: if dice.one_in(2) { Operator::And } else { Operator::Or } })
}

fn policies(dice: &mut Dice) -> Vec<KeepPolicy> {
    let patterns = ["/.*/", "main", "/b1.*/", "/b.*/", "b3"];
    let number = 1 + dice.below(4);
    (0..number)
        .map(|_| {
            let pattern = patterns[dice.below(patterns.len() as u64) as usize].to_owned();
            let kind = if dice.one_in(4) { ReferenceKind::Tag } else { ReferenceKind::Branch };
            KeepPolicy { references: KeepReferences { kind, pattern, limit: limit(dice) }, images: limit(dice) }
        })
        .collect()
}

fn records(dice: &mut Dice, commits: &[CommitId], images: u64, stages: u64) -> Vec<ImageHistory> {
    let mut made: Vec<ImageHistory> = (0..images).map(|image| ImageHistory::new(format!("image{image}"))).collect();
    for number in 0..stages {
        let image = dice.below(images) as usize;
        // A stage is recorded at one commit, or at some.
        for _ in 0..=dice.below(3) {
            made[image].add(commits[dice.below(commits.len() as u64) as usize], stage(number));
        }
    }
    made
}

/// A small history; every commit has a time of its own, later than its parents'.
fn small(seed: u64) -> World {
    let mut dice = Dice::new(seed + 1);
    let number = 1 + dice.below(30);
    let mut ids: Vec<CommitId> = Vec::new();
    let mut commits = HashMap::new();
    for at in 0..number {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&dice.below(u64::MAX).to_be_bytes());
        bytes[19] = at as u8;
        let mut parents = BTreeSet::new();
        for _ in 0..[1, 1, 1, 2, 3][dice.below(5) as usize] {
            if !ids.is_empty() && !dice.one_in(15) {
                parents.insert(ids[dice.below(ids.len() as u64) as usize]);
            }
        }
        let time = NOW - (number - at) as i64 * 3600 * 3 + dice.below(3600) as i64;
        commits.insert(CommitId(bytes), Commit { time, parents: parents.into_iter().collect() });
        ids.push(CommitId(bytes));
    }
    let mut references = Vec::new();
    for at in 0..1 + dice.below(6) {
        let head = ids[dice.below(number) as usize];
        let kind = if dice.one_in(4) { ReferenceKind::Tag } else { ReferenceKind::Branch };
        let name = if at == 0 { "main".to_owned() } else { format!("b{at}") };
        references.push(Reference { kind, name, head, time: commits[&head].time });
    }
    let (images, stages) = (1 + dice.below(3), dice.below(25));
    let images = records(&mut dice, &ids, images, stages);
    World { commits, references, policies: policies(&mut dice), images }
}

#[test]
fn nothing_that_can_be_reached_goes_in_five_hundred_histories() {
    let mut some = 0;
    for seed in 0..500 {
        let world = small(seed);
        let kept = world.kept();
        let expected = world.expected(|reference| world.reachable(reference.head));
        assert_eq!(kept, expected, "seed {seed}");
        some += usize::from(!kept.is_empty());
        // Where all of a branch is to stay, no stage of any of its commits goes.
        let all = KeepLimit { last: Some(-1), within: None, operator: Operator::And };
        let branches = KeepReferences { kind: ReferenceKind::Branch, pattern: "/.*/".to_owned(), limit: None };
        let whole = World { policies: vec![KeepPolicy { references: branches, images: Some(all) }], ..world };
        let stages: BTreeSet<StageId> = whole.kept().into_iter().map(|(_, _, stage)| stage).collect();
        for branch in whole.references.iter().filter(|it| it.kind == ReferenceKind::Branch) {
            for (commit, _) in whole.reachable(branch.head) {
                for stage in whole.images.iter().filter_map(|image| image.at.get(&commit)).flatten() {
                    assert!(stages.contains(stage), "seed {seed}: {stage} of {commit} on {}", branch.name);
                }
            }
        }
    }
    assert!(some > 200, "most histories keep nothing: {some}");
}

/// A history of 2,000 commits, made by git: clocks of committers differ, and many commits are of one second.
fn large(directory: &Path, dice: &mut Dice) -> World {
    let git = |arguments: &[&str]| {
        let mut git = command("git");
        git.arg("-C").arg(directory).args(arguments);
        git
    };
    assert!(git(&["init", "--quiet", "--bare"]).status().unwrap().success());
    let mut script = String::new();
    for at in 1..=2000_u64 {
        let time = NOW - 2_000_000 + (at as i64 / 2) * 2000 + dice.below(20_000) as i64 - 10_000;
        script += &format!("commit refs/all/{at}\nmark :{at}\ncommitter T <t@x> {time} +0000\ndata 0\n");
        if at > 1 {
            script += &format!("from :{}\n", at - 1 - dice.below((at - 1).min(20)));
            if dice.one_in(5) && at > 30 {
                script += &format!("merge :{}\n", at - 21 - dice.below(9));
            }
        }
        script += "\n";
    }
    for branch in 0..200 {
        let name = if branch == 0 { "main".to_owned() } else { format!("b{branch}") };
        let kind = if branch % 7 == 3 { "tags" } else { "heads" };
        script += &format!("reset refs/{kind}/{name}\nfrom :{}\n\n", 2000 - dice.below(1900));
    }
    let mut import = git(&["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().unwrap();
    import.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
    let said = |arguments: &[&str]| String::from_utf8(git(arguments).output().unwrap().stdout).unwrap();

    let mut world = World::default();
    for line in said(&["log", "--glob=refs/all/*", "--format=%H %ct %P"]).lines() {
        let mut words = line.split(' ').filter(|word| !word.is_empty());
        let id: CommitId = words.next().unwrap().parse().unwrap();
        let time = words.next().unwrap().parse().unwrap();
        let parents = words.map(|word| word.parse().unwrap()).collect();
        world.commits.insert(id, Commit { time, parents });
    }
    for line in said(&["for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags"]).lines() {
        let (name, head) = line.split_once(' ').unwrap();
        let head: CommitId = head.parse().unwrap();
        let kind = if name.starts_with("refs/tags/") { ReferenceKind::Tag } else { ReferenceKind::Branch };
        let name = name.rsplit('/').next().unwrap().to_owned();
        world.references.push(Reference { kind, name, head, time: world.commits[&head].time });
    }
    let mut ids: Vec<CommitId> = world.commits.keys().copied().collect();
    ids.sort();
    world.images = records(dice, &ids, 10, 5000);
    world
}

#[test]
fn a_large_history_is_judged_as_by_git_log() {
    if !require(&[Part::Git]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut dice = Dice::new(7);
    let mut world = large(directory.path(), &mut dice);
    assert_eq!((world.commits.len(), world.references.len()), (2000, 200));
    let mut logs: HashMap<CommitId, Vec<(CommitId, i64)>> = HashMap::new();
    for reference in &world.references {
        let head = reference.head.to_string();
        let log = command("git").arg("-C").arg(directory.path()).args(["log", "--format=%H %ct", &head]).output();
        let line = |line: &str| {
            let (id, time) = line.split_once(' ').unwrap();
            (id.parse().unwrap(), time.parse().unwrap())
        };
        logs.insert(reference.head, String::from_utf8(log.unwrap().stdout).unwrap().lines().map(line).collect());
    }
    for _ in 0..20 {
        world.policies = policies(&mut dice);
        let expected = world.expected(|reference| logs[&reference.head].clone());
        assert_eq!(world.kept(), expected, "{:?}", world.policies);
    }
}
