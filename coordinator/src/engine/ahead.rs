//! Stages that are committed and that others do not see yet.
//!
//! The seconds of a chain are those of its stages one after the other: so the next one is built while the last one is still made
//! visible. It is not published before that stands; else a stage could stand above one that never did.

use std::{collections::HashMap, sync::Arc};

use slipway_digest::StageId;
use slipway_oci::ImageAt;
use slipway_protocol::{AttemptId, Outcome, Uploaded};
use slipway_stages::{
    BuildEvent, StagePlan, StageRecord,
    build::{Fall, StageFailure},
};

use super::{BuildId, Message, Owner};
use crate::{effect::Rising, scheduler};

/// The stages that do not stand yet.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// By image, with the builds that use them.
    rising: HashMap<ImageAt, (StageId, Vec<BuildId>)>,
    /// Results that are made of such stages.
    parked: Vec<(AttemptId, Uploaded)>,
}

impl Ahead {
    /// Whether all stages stand.
    pub(super) fn is_empty(&self) -> bool {
        self.rising.is_empty()
    }

    /// Whether a stage is made of one that does not stand yet.
    pub(super) fn is_below(&self, plan: &StagePlan) -> bool {
        !self.is_empty() && {
            let made_of = super::jobs::near(plan, 0);
            let is_used = |at: &ImageAt| made_of.iter().any(|near| near.image == at.digest);
            self.rising.iter().any(|(at, (stage, _))| plan.parent == Some(*stage) || is_used(at))
        }
    }

    /// A build uses a stage from now on; whether that stands already.
    pub(super) fn leans(&mut self, build: BuildId, at: &ImageAt) -> bool {
        let Some((_, builds)) = self.rising.get_mut(at) else { return true };
        builds.push(build);
        false
    }

    /// A result is published when what it is made of stands.
    pub(super) fn park(&mut self, attempt: AttemptId, uploaded: Uploaded) {
        self.parked.push((attempt, uploaded));
    }
}

impl Owner {
    /// An attempt's stage is committed.
    pub(super) fn committed(&mut self, attempt: AttemptId, record: Arc<StageRecord>, rising: Rising) {
        let (at, broken) = (record.at.clone(), record.at.clone());
        self.ahead.rising.entry(at.clone()).or_insert((record.id, Vec::new()));
        let work = async move { Message::Risen(at, rising.await) };
        self.later(work, move |why| Message::Risen(broken, Err(Fall::Failed(StageFailure::of(why)))));
        self.schedule(scheduler::Event::Settled(attempt, Outcome::Committed(record)));
    }

    /// A committed stage stands, or does not: the builds that use it are told before what is made of it is gone on with.
    pub(super) fn risen(&mut self, at: &ImageAt, risen: &Result<(), Fall>) {
        let builds = self.ahead.rising.remove(at).map(|(_, builds)| builds).unwrap_or_default();
        if let Err(fall) = risen {
            tracing::warn!("the stage {}@{} does not stand: {fall}", at.repo, at.digest);
            self.settled.lose(at);
        }
        for build in builds {
            let event = match risen {
                Ok(()) => BuildEvent::Stands(at.clone()),
                Err(fall) => BuildEvent::Fell(at.clone(), fall.clone()),
            };
            self.build(build, event);
        }
        for (attempt, uploaded) in std::mem::take(&mut self.ahead.parked) {
            self.commit(attempt, uploaded);
        }
    }
}
