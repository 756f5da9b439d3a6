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
    /// Set by set: none before all of the earlier sets are done. For comparison.
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
    pub(super) fn new(graph: &Graph, schedule: Schedule) -> Self {
        let count = graph.images().len();
        let mut users = vec![Vec::new(); count];
        let needs = |image: usize| graph.needs(image);
        (0..count).for_each(|image| needs(image).iter().for_each(|need| users[*need].push(image)));
        let sets = match schedule {
            Schedule::Ready => vec![0; count],
            Schedule::Sets => graph.levels(),
        };
        let mut left = vec![0; sets.iter().max().map_or(0, |last| last + 1)];
        sets.iter().for_each(|set| left[*set] += 1);
        let mut turns = Self {
            users,
            missing: (0..count).map(|image| needs(image).len()).collect(),
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
