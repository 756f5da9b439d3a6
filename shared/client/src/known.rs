//! What a follower was told already.
//!
//! Another leader tells a build from its beginning again, as far as it knows it. So an event is not known by its id but
//! by what it says, and how often: the second start of a stage within one telling is news, the first one of a second
//! telling is not.

use std::collections::HashMap;

use slipway_config::ImageName;
use slipway_protocol::{BuildEvent, EventId, TimedEvent};
use slipway_stages::{Progress, StageKind};

/// What an event is about, without what may differ when it is told again.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Matter {
    ImageStarted(ImageName),
    StageFound(ImageName, StageKind),
    StageStarted(ImageName, StageKind),
    /// With its tag: a stage that was lost is stored again, under another.
    StageStored(ImageName, StageKind, String),
    BeginsAnew(ImageName, StageKind),
    ImageDone(ImageName),
    Notice(String),
}

/// The events of one build as far as they were passed on.
#[derive(Debug, Default)]
pub(crate) struct Known {
    last: EventId,
    /// How often each matter was passed on.
    passed: HashMap<Matter, u32>,
    /// How often each was told by the leader that tells now.
    told: HashMap<Matter, u32>,
    /// The next line of each attempt, for each stage that shows it.
    lines: HashMap<(ImageName, StageKind, String), u64>,
}

impl Known {
    /// The place of the last event that came; `None` before the first.
    pub(crate) fn last(&self) -> Option<EventId> {
        (self.last != EventId::default()).then_some(self.last)
    }

    /// Takes an event; `None` when it says nothing new.
    pub(crate) fn take(&mut self, timed: TimedEvent) -> Option<BuildEvent> {
        let TimedEvent { id, event } = timed;
        if id <= self.last {
            return None;
        }
        if id.term != self.last.term {
            self.told.clear();
        }
        self.last = id;
        if let BuildEvent::Log { image, kind, attempt, offset, .. } = &event {
            let next = self.lines.entry((image.clone(), *kind, attempt.clone())).or_default();
            let is_new = *offset >= *next;
            *next = (*next).max(offset + 1);
            return is_new.then_some(event);
        }
        let Some(matter) = matter(&event) else { return Some(event) };
        let told = self.told.entry(matter.clone()).or_default();
        *told += 1;
        let passed = self.passed.entry(matter).or_default();
        if *told <= *passed {
            return None;
        }
        *passed = *told;
        if self.was_stored(&event) { None } else { Some(event) }
    }

    /// What one leader has seen stored, the next one finds.
    fn was_stored(&self, event: &BuildEvent) -> bool {
        let BuildEvent::Progress(Progress::StageFound { image, kind, record }) = event else { return false };
        self.passed.contains_key(&Matter::StageStored(image.clone(), *kind, record.id.to_string()))
    }
}

fn matter(event: &BuildEvent) -> Option<Matter> {
    Some(match event {
        BuildEvent::Progress(Progress::ImageStarted(image)) => Matter::ImageStarted(image.clone()),
        BuildEvent::Progress(Progress::StageFound { image, kind, .. }) => Matter::StageFound(image.clone(), *kind),
        BuildEvent::Progress(Progress::StageStarted { image, kind, .. }) => Matter::StageStarted(image.clone(), *kind),
        BuildEvent::Progress(Progress::StageStored { image, kind, record, .. }) => {
            Matter::StageStored(image.clone(), *kind, record.id.to_string())
        }
        BuildEvent::Progress(Progress::BeginsAnew { image, kind, .. }) => Matter::BeginsAnew(image.clone(), *kind),
        BuildEvent::Progress(Progress::ImageDone(image)) => Matter::ImageDone(image.clone()),
        BuildEvent::Notice(text) => Matter::Notice(text.clone()),
        BuildEvent::Log { .. } | BuildEvent::Finished(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use slipway_stages::build::JobKey;

    use super::*;

    fn app() -> ImageName {
        ImageName("app".to_owned())
    }

    fn started() -> BuildEvent {
        let key = JobKey("k".into());
        BuildEvent::Progress(Progress::StageStarted { image: app(), kind: StageKind::Install, key, copy: false })
    }

    fn line(attempt: &str, offset: u64) -> BuildEvent {
        let (attempt, line) = (attempt.to_owned(), format!("{attempt} {offset}"));
        BuildEvent::Log { image: app(), kind: StageKind::Install, attempt, offset, line }
    }

    /// What comes through of `(term, number, event)`, by index.
    fn through(events: Vec<(u64, u64, BuildEvent)>) -> Vec<usize> {
        let mut known = Known::default();
        let passed = events.into_iter().enumerate().filter_map(|(index, (term, number, event))| {
            known.take(TimedEvent { id: EventId { term, number }, event }).map(|_| index)
        });
        passed.collect()
    }

    #[test]
    fn what_one_leader_tells_twice_counts_twice() {
        assert_eq!(through(vec![(1, 1, started()), (1, 2, started()), (1, 2, started())]), [0, 1]);
    }

    #[test]
    fn what_another_leader_tells_again_is_passed_over() {
        let notice = BuildEvent::Notice("a worker was lost".to_owned());
        let events = vec![
            (1, 1, started()),
            (1, 2, line("a", 0)),
            (1, 3, notice.clone()),
            (2, 1, started()),
            (2, 2, line("a", 0)),
            (2, 3, line("a", 1)),
            (2, 4, notice),
            // Tried again under the second leader: news.
            (2, 5, started()),
            (2, 6, line("b", 0)),
        ];
        assert_eq!(through(events), [0, 1, 2, 5, 7, 8]);
    }

    #[test]
    fn what_comes_late_of_an_earlier_leader_is_passed_over() {
        assert_eq!(through(vec![(2, 1, started()), (1, 9, line("a", 0))]), [0]);
    }
}
