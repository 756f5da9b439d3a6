//! Which of the stored stages of a digest is taken.

use crate::{
    facts::{Answer, Asked, Facts, Question},
    plan::{Commits, SourceId, StageRecord},
};

/// The oldest of `candidates` whose commits are all ancestors of (or equal to) `wanted`. A candidate that lacks a
/// commit, or whose history is unknown here, is not taken. All ancestries are asked at once.
pub(crate) fn oldest_suitable<'a>(
    candidates: &'a [StageRecord],
    wanted: &Commits,
    facts: &Facts,
) -> Asked<Option<&'a StageRecord>> {
    let mut complete: Vec<&StageRecord> =
        candidates.iter().filter(|record| wanted.keys().all(|key| record.commits.contains_key(key))).collect();
    complete.sort_by_key(|record| record.id.stamp);
    let questions: Vec<Question> = complete.iter().flat_map(|record| ancestries(record, wanted)).collect();
    facts.all(&questions)?;
    for record in complete {
        let answers = facts.all(&ancestries(record, wanted))?;
        if answers.iter().all(|answer| matches!(answer, Answer::Ancestor(Some(true)))) {
            return Ok(Some(record));
        }
    }
    Ok(None)
}

/// What must be known of a stage's commits. Equal commits need no question.
pub fn ancestries(record: &StageRecord, wanted: &Commits) -> Vec<Question> {
    let differ = wanted.iter().filter_map(|(key, new)| {
        let old = record.commits.get(key).filter(|old| *old != new)?;
        Some(Question::Ancestor { source: SourceId::own(), old: *old, new: *new })
    });
    differ.collect()
}
