//! Workers that wait for news.
//!
//! What is news is decided by what a worker *has*, never by what it was told: an answer may be lost on its way, because
//! a worker that has something to report gives up the sync under way.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use slipway_protocol::{AttemptId, Desired};
use tokio::sync::oneshot;

/// A held sync.
struct Waiting {
    /// The attempts that the worker said it holds.
    held: Vec<AttemptId>,
    desired: Desired,
    reply: oneshot::Sender<Desired>,
    /// When it is answered even without news.
    until: Duration,
}

/// Held syncs, at most one per worker: a sync is answered when there is news, or when it was held long enough.
#[derive(Default)]
pub(super) struct Desk {
    waiting: HashMap<String, Waiting>,
    /// The same, by the time at which they are answered.
    by_time: BTreeSet<(Duration, String)>,
}

impl Desk {
    /// A worker that holds these attempts asks. It is answered at once when it should be doing something else, and at
    /// `until` otherwise.
    pub(super) fn sync(
        &mut self,
        worker: String,
        held: Vec<AttemptId>,
        desired: Desired,
        reply: oneshot::Sender<Desired>,
        until: Duration,
    ) {
        // An earlier sync of the same worker has been given up.
        self.remove(&worker);
        if is_news(&held, &desired) {
            return say(desired, reply);
        }
        self.by_time.insert((until, worker.clone()));
        self.waiting.insert(worker, Waiting { held, desired, reply, until });
    }

    /// Whether a sync of the worker is held.
    pub(super) fn holds(&self, worker: &str) -> bool {
        self.waiting.contains_key(worker)
    }

    /// A worker's orders may have changed.
    pub(super) fn news(&mut self, worker: &str, desired: Desired) {
        let Some(waiting) = self.waiting.get_mut(worker) else { return };
        waiting.desired = desired;
        if is_news(&waiting.held, &waiting.desired)
            && let Some(Waiting { desired, reply, .. }) = self.remove(worker)
        {
            say(desired, reply);
        }
    }

    /// When the next sync is to be answered.
    pub(super) fn next(&self) -> Option<Duration> {
        self.by_time.first().map(|(until, _)| *until)
    }

    /// Answers everyone who has waited long enough.
    pub(super) fn release(&mut self, now: Duration) {
        while let Some((_, worker)) = self.by_time.first().filter(|(until, _)| *until <= now).cloned() {
            if let Some(Waiting { desired, reply, .. }) = self.remove(&worker) {
                say(desired, reply);
            }
        }
    }

    fn remove(&mut self, worker: &str) -> Option<Waiting> {
        let waiting = self.waiting.remove(worker)?;
        self.by_time.remove(&(waiting.until, worker.to_owned()));
        Some(waiting)
    }
}

fn say(desired: Desired, reply: oneshot::Sender<Desired>) {
    // Who gave the sync up asks again.
    let _ = reply.send(desired);
}

/// Whether a worker that holds these attempts has something to do: to start, to stop, to forget, or to end.
fn is_news(held: &[AttemptId], desired: &Desired) -> bool {
    let starts = desired.run.iter().any(|assignment| !held.contains(&assignment.attempt));
    let is_wanted = |attempt: &AttemptId| {
        desired.keep.contains(attempt) || desired.run.iter().any(|assignment| assignment.attempt == *attempt)
    };
    let stops = held.iter().any(|attempt| !is_wanted(attempt));
    starts || stops || !desired.settled.is_empty() || (desired.drain && held.is_empty())
}

#[cfg(test)]
mod tests {
    use slipway_digest::{Encoder, Millis, StageDigest, StageId};
    use slipway_oci::{BlobDigest, ImageAt, Repo};
    use slipway_protocol::{Assignment, Job, Outcome};
    use slipway_stages::{ImportInput, ImportedImage};

    use super::*;

    fn attempt(number: u32) -> AttemptId {
        AttemptId { job: "k".to_owned(), number, id: format!("s-{number}") }
    }

    fn running(attempts: &[u32]) -> Desired {
        let digest = BlobDigest::of(b"image");
        let input = Box::new(ImportInput {
            image: ImportedImage::Stage {
                id: StageId { digest: StageDigest(Encoder::new("stage").finish()), stamp: Millis(1) },
                at: ImageAt { repo: Repo { host: String::new(), path: "p".to_owned() }, digest: digest.clone() },
                image_id: digest,
            },
            add: "/".to_owned(),
            include: Vec::new(),
            exclude: Vec::new(),
            to: "/".to_owned(),
            owner: None,
            group: None,
        });
        let assignment = |number: &u32| Assignment {
            attempt: attempt(*number),
            job: Job::Checksum(input.clone()),
            push_to: None,
            deadline: None,
            again: None,
            traceparent: None,
            secrets: Vec::new(),
            ssh_keys: Vec::new(),
            caches: Vec::new(),
        };
        Desired { run: attempts.iter().map(assignment).collect(), ..Desired::default() }
    }

    fn ask(desk: &mut Desk, held: &[u32], desired: Desired) -> oneshot::Receiver<Desired> {
        let (reply, answer) = oneshot::channel();
        let held = held.iter().copied().map(attempt).collect();
        desk.sync("w".to_owned(), held, desired, reply, Duration::from_secs(20));
        answer
    }

    #[test]
    fn a_sync_is_answered_at_once_when_there_is_something_to_do() {
        let settled = Desired { settled: vec![(attempt(1), Outcome::Dropped)], ..Desired::default() };
        let kept = Desired { keep: vec![attempt(1)], ..Desired::default() };
        let drained = Desired { drain: true, ..Desired::default() };
        let table: [(&str, &[u32], Desired, bool); 8] = [
            ("nothing to do", &[], running(&[]), false),
            ("something to start", &[], running(&[1]), true),
            ("it runs already", &[1], running(&[1]), false),
            ("something to stop", &[1], running(&[]), true),
            ("something to go on with", &[1], kept, false),
            ("something to forget", &[1], settled, true),
            ("no more work", &[], drained.clone(), true),
            ("no more work, but some left", &[1], Desired { run: running(&[1]).run, ..drained }, false),
        ];
        for (case, held, desired, at_once) in table {
            let mut desk = Desk::default();
            let mut answer = ask(&mut desk, held, desired.clone());
            assert_eq!(answer.try_recv().ok(), at_once.then_some(desired), "{case}");
        }
    }

    #[test]
    fn news_answer_a_held_sync_and_no_news_do_not() {
        let mut desk = Desk::default();
        let mut answer = ask(&mut desk, &[1], running(&[1]));
        desk.news("w", running(&[1]));
        assert!(answer.try_recv().is_err());
        desk.news("w", running(&[1, 2]));
        assert_eq!(answer.try_recv(), Ok(running(&[1, 2])));
    }

    /// The worker's own news won the race against the answer, which nobody read.
    #[test]
    fn an_answer_that_was_lost_is_given_again() {
        let mut desk = Desk::default();
        let lost = ask(&mut desk, &[], running(&[]));
        desk.news("w", running(&[1]));
        drop(lost);
        assert_eq!(ask(&mut desk, &[], running(&[1])).try_recv(), Ok(running(&[1])));
    }

    #[test]
    fn a_sync_that_was_given_up_makes_room_for_the_next() {
        let mut desk = Desk::default();
        drop(ask(&mut desk, &[], running(&[])));
        let mut second = ask(&mut desk, &[], running(&[]));
        assert_eq!(desk.next(), Some(Duration::from_secs(20)));
        desk.release(Duration::from_secs(19));
        assert!(second.try_recv().is_err(), "it may be held a little longer");
        desk.release(Duration::from_secs(20));
        assert_eq!(second.try_recv(), Ok(running(&[])));
        assert!(desk.waiting.is_empty() && desk.next().is_none(), "nothing is kept of what was answered");
    }
}
