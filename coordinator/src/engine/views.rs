//! What people and graphs want to know of an engine.

use slipway_config::ImageName;
use slipway_stages::StageKind;

use super::{BuildId, Event, Owner, Subscriber};
use crate::scheduler::{self, Explanation, Snapshot};

/// Why a job of a build runs where it runs, or waits.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct JobView {
    /// Of which image, and which stage; `None` for a job that only answers a question.
    pub stage: Option<(ImageName, StageKind)>,
    /// Why.
    pub explanation: Explanation,
}

/// An engine in numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EngineSnapshot {
    /// Builds under way.
    pub builds: usize,
    /// Stages that were found stored.
    pub cached: u64,
    /// Jobs and workers.
    pub scheduler: Snapshot,
}

impl Owner {
    pub(super) fn explain(&self, build: BuildId) -> Vec<JobView> {
        let key = |subscriber: &Subscriber| match subscriber {
            Subscriber::Build(by, key) if *by == build => Some(self.builds.scheduler_key(build, key)),
            Subscriber::Question(by, question) if *by == build => {
                Some(self.builds.scheduler_key(build, &super::jobs::checksum_key(question)?))
            }
            Subscriber::Delivery(by, key, _) if *by == build => Some(self.builds.scheduler_key(build, key)),
            Subscriber::Build(..) | Subscriber::Question(..) | Subscriber::Delivery(..) => None,
        };
        let now = self.clock.monotonic();
        let explained = |key: scheduler::Key| {
            let stage = self.builds.stage(build, &key);
            Some(JobView { stage, explanation: self.scheduler.explain(&key, now)? })
        };
        let mut views: Vec<JobView> = self.subscribers.values().filter_map(key).filter_map(explained).collect();
        views.sort_by(|one, other| one.explanation.key.cmp(&other.explanation.key));
        views
    }

    pub(super) fn snapshot(&self) -> EngineSnapshot {
        EngineSnapshot {
            builds: self.builds.count(),
            cached: self.builds.cached(),
            scheduler: self.scheduler.snapshot(self.clock.monotonic()),
        }
    }

    /// Tells something to the builds behind subscribers, each once.
    pub(super) fn notice(&mut self, subscribers: &[scheduler::Subscriber], text: &str) {
        for number in subscribers {
            if let Some(Subscriber::Build(build, _) | Subscriber::Question(build, _)) = self.subscribers.get(number)
                && self.builds.is_new(*build, text)
            {
                self.builds.tell(*build, Event::Notice(text.to_owned()));
            }
        }
    }
}
