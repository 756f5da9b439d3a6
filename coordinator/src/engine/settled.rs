//! Jobs that have just ended with a stored stage.
//!
//! A build may have looked for the stage a moment before it was stored, and wish for its job a moment after that has
//! ended: the job is not done again for it.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use slipway_oci::ImageAt;
use slipway_stages::StageRecord;

use crate::scheduler::Key;

/// How long an answer can be on its way.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How many are remembered; the oldest go first.
const MANY: usize = 4_000;

/// The stages of jobs that have just ended, by job.
#[derive(Debug, Default)]
pub(super) struct Settled {
    stages: HashMap<Key, (Arc<StageRecord>, Duration)>,
    order: VecDeque<(Duration, Key)>,
}

impl Settled {
    /// A job has ended with a stage.
    pub(super) fn note(&mut self, key: &Key, record: &Arc<StageRecord>, now: Duration) {
        self.stages.insert(key.clone(), (Arc::clone(record), now));
        self.order.push_back((now, key.clone()));
        while let Some((since, _)) = self.order.front()
            && (self.order.len() > MANY || now.saturating_sub(*since) > REMEMBERED)
        {
            let Some((since, key)) = self.order.pop_front() else { return };
            // It may have ended once more since.
            if self.stages.get(&key).is_some_and(|(_, noted)| *noted == since) {
                self.stages.remove(&key);
            }
        }
    }

    /// The stage that a job has just ended with.
    pub(super) fn find(&self, key: &Key, now: Duration) -> Option<&Arc<StageRecord>> {
        let (record, since) = self.stages.get(key)?;
        (now.saturating_sub(*since) <= REMEMBERED).then_some(record)
    }

    /// A stored image is lost: its stage must be built again.
    pub(super) fn lose(&mut self, at: &ImageAt) {
        self.stages.retain(|_, (record, _)| record.at != *at);
    }
}
