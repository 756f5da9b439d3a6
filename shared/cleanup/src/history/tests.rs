use std::{collections::HashMap, convert::Infallible, time::Duration};

use slipway_digest::{Checksum, Millis, StageDigest};

use super::*;
use crate::policies::Reference;

const NOW: i64 = 1_000_000;

fn commit(number: u8) -> CommitId {
    CommitId([number; 20])
}

fn stage(number: u8) -> StageId {
    StageId { digest: StageDigest(Checksum::from_bytes([number; 28])), stamp: Millis(u64::from(number)) }
}

/// A line of commits, 1 the oldest, one a second, the last one at [`NOW`].
fn line(length: u8) -> HashMap<CommitId, Commit> {
    let at = |number: u8| Commit {
        time: NOW - i64::from(length - number),
        parents: if number > 1 { vec![commit(number - 1)] } else { Vec::new() },
    };
    (1..=length).map(|number| (commit(number), at(number))).collect()
}

fn chosen(kind: ReferenceKind, head: u8, last: Option<u64>, within: Option<u64>, operator: Operator) -> Chosen {
    let reference = Reference { kind, name: format!("r{head}"), head: commit(head), time: NOW };
    let images = ImagesLimit { last, within: within.map(Duration::from_secs), operator };
    Chosen { reference, images, policy: 1 }
}

fn branch(head: u8, last: u64) -> Chosen {
    chosen(ReferenceKind::Branch, head, Some(last), None, Operator::And)
}

fn image(records: &[(u8, u8)]) -> ImageHistory {
    let mut image = ImageHistory::new("app");
    records.iter().for_each(|(at, what)| image.add(commit(*at), stage(*what)));
    image
}

/// The (commit, stage) pairs that stay, in the order of the commits.
fn hits(commits: &HashMap<CommitId, Commit>, chosen: &[Chosen], images: &[ImageHistory]) -> Vec<(u8, u8)> {
    let mut look = |id: CommitId| Ok::<_, Infallible>(commits[&id].clone());
    let Ok(hits) = History::default().hits(chosen, images, NOW, &mut look);
    hits.keys().map(|hit| (hit.commit.0[0], u8::try_from(hit.stage.stamp.0).unwrap())).collect()
}

#[test]
fn the_newest_images_of_a_branch_stay() {
    let (commits, images) = (line(9), [image(&[(2, 1), (4, 2), (6, 3), (8, 4)])]);
    assert_eq!(hits(&commits, &[branch(9, 1)], &images), [(8, 4)]);
    assert_eq!(hits(&commits, &[branch(9, 2)], &images), [(6, 3), (8, 4)]);
    assert_eq!(hits(&commits, &[branch(5, 1)], &images), [(4, 2)]);
    assert_eq!(hits(&commits, &[branch(1, 9)], &images), []);
    assert_eq!(hits(&commits, &[branch(9, 0)], &images), []);
    let all = chosen(ReferenceKind::Branch, 9, None, None, Operator::And);
    assert_eq!(hits(&commits, &[all], &images).len(), 4);
}

#[test]
fn a_tag_is_one_commit() {
    let (commits, images) = (line(9), [image(&[(2, 1), (4, 2)])]);
    let tag = |head| chosen(ReferenceKind::Tag, head, Some(1), None, Operator::And);
    assert_eq!(hits(&commits, &[tag(4)], &images), [(4, 2)]);
    assert_eq!(hits(&commits, &[tag(5)], &images), []);
}

/// Metadata of one stage at three commits of one branch: the newest one's stays; on three branches: all three.
#[test]
fn fixture_72_the_record_of_the_newest_commit_stays() {
    let (commits, images) = (line(3), [image(&[(1, 7), (2, 7), (3, 7)])]);
    assert_eq!(hits(&commits, &[branch(3, 5)], &images), [(3, 7)]);
    let three = [branch(1, 5), branch(2, 5), branch(3, 5)];
    assert_eq!(hits(&commits, &three, &images), [(1, 7), (2, 7), (3, 7)]);
}

#[test]
fn stages_of_one_commit_count_as_one_and_a_reused_stage_once() {
    let commits = line(9);
    let images = [image(&[(2, 1), (4, 2), (4, 3), (6, 4), (8, 4)])];
    assert_eq!(hits(&commits, &[branch(9, 2)], &images), [(4, 2), (4, 3), (8, 4)]);
}

#[test]
fn images_are_counted_each_for_itself() {
    let commits = line(9);
    let images = [image(&[(8, 1), (7, 2)]), image(&[(2, 3)]), image(&[])];
    assert_eq!(hits(&commits, &[branch(9, 1)], &images), [(8, 1), (2, 3)]);
}

#[test]
fn limits_of_images_go_together_as_the_operator_says() {
    let (commits, images) = (line(9), [image(&[(2, 1), (4, 2), (6, 3), (8, 4)])]);
    let with = |last, within, operator| {
        hits(&commits, &[chosen(ReferenceKind::Branch, 9, last, within, operator)], &images).len()
    };
    // Commits 8 and 6 are 1 s and 3 s old.
    assert_eq!(with(Some(3), Some(3), Operator::And), 2);
    assert_eq!(with(Some(1), Some(3), Operator::And), 1);
    assert_eq!(with(Some(1), Some(3), Operator::Or), 2);
    assert_eq!(with(Some(3), Some(3), Operator::Or), 3);
    assert_eq!(with(Some(0), Some(3), Operator::Or), 2);
    assert_eq!(with(Some(0), Some(3), Operator::And), 0);
    assert_eq!(with(None, Some(5), Operator::And), 3);
}

#[test]
fn both_sides_of_a_merge_are_walked_the_newest_first() {
    let mut commits = line(4);
    // 9 merges 4 and 8; 8 forks off 1 and is newer than 3.
    commits.insert(commit(8), Commit { time: commits[&commit(3)].time, parents: vec![commit(1)] });
    commits.insert(commit(9), Commit { time: NOW + 5, parents: vec![commit(4), commit(8)] });
    let images = [image(&[(8, 1), (2, 2), (1, 3)])];
    assert_eq!(hits(&commits, &[branch(9, 1)], &images), [(8, 1)]);
    assert_eq!(hits(&commits, &[branch(9, 3)], &images).len(), 3);
}

#[test]
fn a_walk_ends_when_enough_was_met() {
    let (commits, images) = (line(200), [image(&[(199, 1), (198, 2), (2, 3)])]);
    let mut looked = 0;
    let mut look = |id: CommitId| {
        looked += 1;
        Ok::<_, Infallible>(commits[&id].clone())
    };
    let Ok(found) = History::default().hits(&[branch(200, 2)], &images, NOW, &mut look);
    assert_eq!(found.len(), 2);
    assert!(looked < 12, "{looked} commits were looked up");
}

#[test]
fn what_cannot_be_looked_up_ends_it() {
    let images = [image(&[(1, 1)])];
    let mut look = |id: CommitId| Err::<Commit, _>(id);
    let failed = History::default().hits(&[branch(3, 1)], &images, NOW, &mut look);
    assert_eq!(failed, Err(commit(3)));
}
