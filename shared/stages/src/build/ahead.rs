//! Stages that are built upon before others see them.
//!
//! Their timestamps are settled, so what stands on them can be built; it is not published, and the build does not end, before they
//! are visible. One that does not become so is taken away with all that stands on it.

use slipway_oci::ImageAt;

use super::{Build, BuildFailure, Fall, StageFailure, State, Wish};
use crate::plan::StageRecord;

/// The stages that nobody else sees yet.
#[derive(Debug, Default)]
pub(super) struct Ahead(Vec<ImageAt>);

impl Ahead {
    /// A job has stored a stage.
    pub(super) fn note(&mut self, record: &StageRecord, stands: bool) {
        if !stands && !self.0.contains(&record.at) {
            self.0.push(record.at.clone());
        }
    }

    /// A stage is visible now.
    pub(super) fn stands(&mut self, at: &ImageAt) {
        self.0.retain(|ahead| ahead != at);
    }

    /// Whether all stored stages are visible.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Build {
    /// A stage is not the stored one after all.
    pub(super) fn fell(&mut self, at: &ImageAt, fall: Fall, wishes: &mut Vec<Wish>) {
        self.ahead.stands(at);
        let Some((node, record)) = self.record_of(at) else { return };
        let failure = match fall {
            Fall::Again(_) if self.lost.note(at) => {
                self.cut_all(record.id, wishes);
                return self.call_off_users(wishes);
            }
            Fall::Again(why) => StageFailure::of(why),
            Fall::Failed(failure) => failure,
        };
        let placed = self.nodes[node].conveyor.placed().iter().find(|placed| placed.record.at == *at);
        let Some(kind) = placed.map(|placed| placed.kind) else { return };
        self.end(Err(BuildFailure::Stage { image: self.name(node), kind, failure }), wishes);
    }

    /// What is being built of files of an image that is not done any more would not be published.
    fn call_off_users(&mut self, wishes: &mut Vec<Wish>) {
        for node in 0..self.nodes.len() {
            let under_way = matches!(self.nodes[node].state, State::Asking | State::InJob(..));
            if under_way && !self.turns.has_its_needs(node) {
                self.call_off(node, wishes);
            }
        }
    }
}
