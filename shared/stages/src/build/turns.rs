//! Whose turn it is: images that may start, in the order in which they should.

use std::{cmp::Reverse, collections::BTreeSet, time::Duration};

use super::ranks::Ranks;
use crate::graph::Graph;

/// In which order the images of a build are started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// As soon as an image's own needs are done; that with the longest path of users first.
    #[default]
    Ready,
    /// Set by set: none before all of the earlier sets are done. With a limit, the images of a set are shared out evenly
    /// before it starts, in the order of declaration, and each share is built one after another, as werf 2 does. For
    /// comparison.
    Sets,
}

/// What an image is about, as far as turns are concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// It is to start.
    Waits,
    /// It is under way.
    Runs,
    /// It is done.
    Done,
}

/// The set, the path of users, and the order of declaration.
type Turn = (usize, Reverse<Duration>, usize);

/// Counts what is needed to know whose turn it is. Every change costs the logarithm of the number of images, and one
/// step for each user of an image that is done.
#[derive(Debug)]
pub(super) struct Turns {
    users: Vec<Vec<usize>>,
    /// How many of its needs an image still lacks.
    missing: Vec<usize>,
    parts: Vec<Part>,
    /// Sets of images; all in one when they make no difference.
    sets: Vec<usize>,
    /// How many images of each set are not done.
    left: Vec<usize>,
    ranks: Vec<Duration>,
    ready: BTreeSet<Turn>,
    running: usize,
    done: usize,
}

impl Turns {
    /// Of all images of `graph`, at most so many at once when there is a limit.
    pub(super) fn new(graph: &Graph, schedule: Schedule, limit: Option<usize>) -> Self {
        let count = graph.targets().len();
        let mut needs: Vec<Vec<usize>> = (0..count).map(|image| graph.needs(image).to_vec()).collect();
        if let (Schedule::Sets, Some(limit)) = (schedule, limit) {
            share_out(&graph.levels(), limit, &mut needs);
        }
        let mut users = vec![Vec::new(); count];
        needs.iter().enumerate().for_each(|(image, needs)| needs.iter().for_each(|need| users[*need].push(image)));
        let sets = match schedule {
            Schedule::Ready => vec![0; count],
            Schedule::Sets => graph.levels(),
        };
        let mut left = vec![0; sets.iter().max().map_or(0, |last| last + 1)];
        sets.iter().for_each(|set| left[*set] += 1);
        let mut turns = Self {
            users,
            missing: needs.iter().map(Vec::len).collect(),
            parts: vec![Part::Waits; count],
            sets,
            left,
            ranks: vec![Duration::ZERO; count],
            ready: BTreeSet::new(),
            running: 0,
            done: 0,
        };
        (0..count).for_each(|image| turns.queue(image));
        turns
    }

    /// Orders images by the longest path of their users.
    pub(super) fn rank(&mut self, ranks: &Ranks) {
        self.ready.clear();
        self.ranks = (0..self.parts.len()).map(|image| ranks.image(image)).collect();
        (0..self.parts.len()).for_each(|image| self.queue(image));
    }

    /// The image whose turn it is.
    pub(super) fn next(&self) -> Option<usize> {
        let (set, _, image) = *self.ready.first()?;
        let earlier = self.left[..set].iter().any(|left| *left > 0);
        (!earlier).then_some(image)
    }

    /// How many images are under way.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// Whether every image is done.
    pub(super) fn all_done(&self) -> bool {
        self.done == self.parts.len()
    }

    /// Whether all that an image needs is done.
    pub(super) fn has_its_needs(&self, image: usize) -> bool {
        self.missing[image] == 0
    }

    /// Notes what an image is about from now on.
    pub(super) fn set(&mut self, image: usize, part: Part) {
        let before = std::mem::replace(&mut self.parts[image], part);
        if before == part {
            return;
        }
        match before {
            Part::Waits => drop(self.ready.remove(&self.turn(image))),
            Part::Runs => self.running -= 1,
            Part::Done => self.undone(image),
        }
        match part {
            Part::Waits => self.queue(image),
            Part::Runs => self.running += 1,
            Part::Done => self.is_done(image),
        }
    }

    fn turn(&self, image: usize) -> Turn {
        (self.sets[image], Reverse(self.ranks[image]), image)
    }

    fn queue(&mut self, image: usize) {
        if self.parts[image] == Part::Waits && self.missing[image] == 0 {
            self.ready.insert(self.turn(image));
        }
    }

    fn is_done(&mut self, image: usize) {
        self.done += 1;
        self.left[self.sets[image]] -= 1;
        for user in self.users[image].clone() {
            self.missing[user] -= 1;
            self.queue(user);
        }
    }

    /// An image is lost that was done.
    fn undone(&mut self, image: usize) {
        self.done -= 1;
        self.left[self.sets[image]] += 1;
        for user in self.users[image].clone() {
            self.missing[user] += 1;
            let turn = self.turn(user);
            self.ready.remove(&turn);
        }
    }
}

/// Lets each image wait for the one before it in its share of its set.
fn share_out(sets: &[usize], limit: usize, needs: &mut [Vec<usize>]) {
    let mut members = vec![Vec::new(); sets.iter().max().map_or(0, |last| last + 1)];
    sets.iter().enumerate().for_each(|(image, set)| members[*set].push(image));
    for images in members {
        let shares = limit.clamp(1, images.len().max(1));
        let (each, more) = (images.len() / shares, images.len() % shares);
        let mut rest = images.as_slice();
        for share in 0..shares {
            let (mine, others) = rest.split_at(each + usize::from(share < more));
            mine.windows(2).for_each(|pair| needs[pair[1]].push(pair[0]));
            rest = others;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(schedule: Schedule, limit: Option<usize>) -> Turns {
        let text: String = (0..5).map(|image| format!("---\nimage: i{image}\nfrom: base:1\n")).collect();
        let text = format!("project: p\nconfigVersion: 1\n{text}---\nimage: i5\nfromImage: i0\n");
        let images = slipway_config::parse("werf.yaml", &text).expect("a valid configuration").images;
        Turns::new(&Graph::new(images), schedule, limit)
    }

    /// Starts all that may start.
    fn start(turns: &mut Turns) -> Vec<usize> {
        let mut started = Vec::new();
        while let Some(image) = turns.next() {
            turns.set(image, Part::Runs);
            started.push(image);
        }
        started
    }

    #[test]
    fn sets_with_a_limit_are_shared_out_beforehand() {
        let mut turns = turns(Schedule::Sets, Some(2));
        // Five images in two shares: 0, 1, 2 and 3, 4.
        assert_eq!(start(&mut turns), [0, 3]);
        turns.set(3, Part::Done);
        assert_eq!(start(&mut turns), [4], "a share does not take from another");
        turns.set(4, Part::Done);
        assert_eq!(start(&mut turns), [0; 0], "the next set waits");
        turns.set(0, Part::Done);
        assert_eq!(start(&mut turns), [1]);
        turns.set(1, Part::Done);
        turns.set(2, Part::Done);
        assert_eq!(start(&mut turns), [5]);
    }

    #[test]
    fn sets_without_a_limit_start_whole() {
        assert_eq!(start(&mut turns(Schedule::Sets, None)), [0, 1, 2, 3, 4]);
        let mut ready = turns(Schedule::Ready, Some(2));
        assert_eq!(start(&mut ready), [0, 1, 2, 3, 4], "the limit is for others to keep");
        ready.set(0, Part::Done);
        assert_eq!(start(&mut ready), [5]);
    }
}
