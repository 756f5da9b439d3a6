//! Stored stages that turn out to be lost: they, and what stands on them, are wished for again.
//!
//! The record of a lost stage is rejected first; nothing is started until that is done, else the broken stage would be
//! found once more.

use std::{collections::BTreeSet, sync::Arc};

use slipway_digest::StageId;
use slipway_oci::ImageAt;

use super::{Build, BuildFailure, JobKey, JobState, StageFailure, State, Wish};
use crate::{
    facts::{Answer, Question},
    kind::StageKind,
    plan::StageRecord,
};

/// How many lost stages a build puts up with: more of them is no accident but a broken storage.
const MOST: usize = 3;

/// What was lost so far.
#[derive(Debug, Default)]
pub(super) struct Lost {
    images: Vec<ImageAt>,
    /// What could not be copied from elsewhere: it is built, which needs no counting.
    passed_over: Vec<ImageAt>,
    /// Those whose records are being rejected.
    pending: Vec<ImageAt>,
    /// How the build ends once they are: too much is lost. What was noticed is rejected all the same, so that the next
    /// build gets further.
    giving_up: Option<BuildFailure>,
}

impl Lost {
    /// Whether a record is being rejected.
    pub(super) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// An answer without what is lost: it may have been given before the record was rejected.
    pub(super) fn without(&self, answer: Answer) -> Answer {
        let is_there =
            |record: &StageRecord| !self.images.contains(&record.at) && !self.passed_over.contains(&record.at);
        match answer {
            Answer::Stored(mut records) => {
                records.retain(is_there);
                Answer::Stored(records)
            }
            Answer::Foreseen(mut foreseen) => {
                foreseen.stored.iter_mut().for_each(|(_, records)| records.retain(is_there));
                Answer::Foreseen(foreseen)
            }
            other @ (Answer::File(_)
            | Answer::Tree(_)
            | Answer::Changes(_)
            | Answer::Ancestor(_)
            | Answer::Base(_)
            | Answer::Imported(_)) => other,
        }
    }

    /// Counts a loss; whether it can be put up with.
    pub(super) fn note(&mut self, at: &ImageAt) -> bool {
        if !self.images.contains(at) {
            self.images.push(at.clone());
        }
        self.images.len() <= MOST
    }
}

impl Build {
    /// A job ended because a stage that it needs is lost.
    pub(super) fn job_lost(
        &mut self,
        key: &JobKey,
        job: JobState,
        at: &ImageAt,
        failure: StageFailure,
        wishes: &mut Vec<Wish>,
    ) {
        // Only in the place that it was to be copied from: there is no record to reject.
        let is_elsewhere = job.copy_of.as_ref().is_some_and(|(original, _)| original == at);
        let bearable = is_elsewhere || self.lost.note(at);
        if self.record_of(at).is_none() && !is_elsewhere {
            return self.job_failed(key, &job, failure, wishes);
        }
        let waiting = job.waiting.iter().filter_map(|node| Some((*node, self.kind_in(*node, key)?)));
        let waiting: Vec<(usize, StageKind)> = waiting.collect();
        if let (false, Some((node, kind))) = (bearable, waiting.first()) {
            let (image, kind, failure) = (self.name(*node), *kind, failure.clone());
            self.lost.giving_up.get_or_insert(BuildFailure::Stage { image, kind, failure });
        }
        for (node, _) in waiting {
            self.set_state(node, State::Waiting);
        }
        self.facts.forget_image(at);
        if is_elsewhere {
            return self.lost.passed_over.push(at.clone());
        }
        self.take_away(at, &failure.why, wishes);
    }

    /// A question was not answered because a stage is lost.
    pub(super) fn source_lost(&mut self, question: &Question, at: &ImageAt, why: String, wishes: &mut Vec<Wish>) {
        let bearable = self.lost.note(at);
        let Some((node, _)) = self.record_of(at) else { return self.unanswered(question, why, wishes) };
        if !bearable {
            let failure = BuildFailure::Unanswered { image: self.name(node), why: why.clone() };
            self.lost.giving_up.get_or_insert(failure);
        }
        for node in self.no_longer_asked(question) {
            if self.nodes[node].state == State::Asking {
                self.set_state(node, State::Waiting);
            }
        }
        self.take_away(at, &why, wishes);
    }

    /// The record of a lost stage was rejected.
    pub(super) fn rejected(&mut self, at: &ImageAt, result: Result<(), String>, wishes: &mut Vec<Wish>) {
        self.lost.pending.retain(|pending| pending != at);
        if let Err(why) = result {
            let image = self.nodes.iter().position(|node| node.state != State::Done).unwrap_or_default();
            let image = self.name(image);
            return self.end(Err(BuildFailure::Unanswered { image, why }), wishes);
        }
        if !self.lost.is_pending()
            && let Some(failure) = self.lost.giving_up.take()
        {
            self.end(Err(failure), wishes);
        }
    }

    /// The record of a placed stage, and the first image that has it.
    pub(super) fn record_of(&self, at: &ImageAt) -> Option<(usize, Arc<StageRecord>)> {
        self.nodes.iter().enumerate().find_map(|(node, state)| {
            let found = state.conveyor.placed().iter().find(|placed| placed.record.at == *at)?;
            Some((node, Arc::clone(&found.record)))
        })
    }

    /// Takes a lost stage away from every image that has it, with all that stands on it.
    fn take_away(&mut self, at: &ImageAt, why: &str, wishes: &mut Vec<Wish>) {
        let Some((node, record)) = self.record_of(at) else { return };
        self.cut_all(record.id, wishes);
        self.lost.pending.push(at.clone());
        let image = self.name(node);
        wishes.push(Wish::Reject { image, record, why: why.to_owned() });
    }

    /// Takes a stage away from every image that has it, with all that stands on it.
    pub(super) fn cut_all(&mut self, stage: StageId, wishes: &mut Vec<Wish>) {
        let mut gone = BTreeSet::from([stage]);
        while let Some((node, place)) = self.standing_on(&gone) {
            let removed = self.nodes[node].conveyor.placed()[place..].iter().map(|placed| placed.record.id);
            gone.extend(removed);
            self.cut(node, place, wishes);
        }
        gone.iter().for_each(|id| self.facts.forget_stored(id.digest));
    }

    /// An image and its lowest stage that is gone or stands on one that is.
    fn standing_on(&self, gone: &BTreeSet<StageId>) -> Option<(usize, usize)> {
        self.nodes.iter().enumerate().find_map(|(node, state)| {
            let stands = |record: &StageRecord| record.parent.is_some_and(|parent| gone.contains(&parent));
            let mut placed = state.conveyor.placed().iter();
            let place = placed.position(|placed| gone.contains(&placed.record.id) || stands(&placed.record))?;
            Some((node, place))
        })
    }

    /// Takes the stages of an image from `place` on away.
    fn cut(&mut self, node: usize, place: usize, wishes: &mut Vec<Wish>) {
        self.nodes[node].conveyor.truncate(place);
        self.nodes[node].stages.truncate(place);
        if let Some(finished) = self.finished.get_mut(&self.nodes[node].platform) {
            for name in &self.graph.image(node).names {
                finished.remove(name);
            }
        }
        self.call_off(node, wishes);
    }

    /// Whatever an image waits for, it starts anew when it may.
    pub(super) fn call_off(&mut self, node: usize, wishes: &mut Vec<Wish>) {
        if let State::InJob(key, _) = self.set_state(node, State::Waiting)
            && let Some(job) = self.jobs.get_mut(&key)
        {
            job.waiting.retain(|waiting| *waiting != node);
            if job.waiting.is_empty() {
                self.jobs.remove(&key);
                wishes.push(Wish::Drop(key));
            }
        }
    }
}
