//! How long jobs take, learned from those that ended well.

mod kept;

use std::{collections::HashMap, time::Duration};

/// What a job is like: jobs of one class take about the same time. Three names without a meaning here, from the widest
/// to the narrowest; to the engine they are a project, an image and a kind of stage.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Class {
    /// The project.
    pub project: String,
    /// The image.
    pub image: String,
    /// The kind of stage.
    pub kind: String,
}

/// What is said of all images, of all kinds, or of everything.
const ALL: &str = "";

/// Weight of the newest duration in the mean.
const WEIGHT: f64 = 0.3;
/// How many durations of a class are remembered.
const REMEMBERED: usize = 32;
/// With fewer durations than this nothing is said about the slowest of them.
const ENOUGH: usize = 3;
/// What a job is thought to take when nothing is known.
const UNKNOWN: Duration = Duration::from_secs(1);
/// How many classes are remembered; those that were not met for the longest time go first.
const CLASSES: usize = 20_000;

/// The durations of a class.
#[derive(Clone, Debug)]
struct Known {
    /// Seconds, exponentially weighted.
    mean: f64,
    /// Milliseconds, oldest first.
    latest: Vec<u32>,
    /// Grows with every duration of any class.
    touched: u64,
}

impl Known {
    fn quantile(&self, of_hundred: usize) -> Option<Duration> {
        let mut sorted = self.latest.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * of_hundred).div_ceil(100).max(1);
        sorted.get(rank - 1).map(|millis| Duration::from_millis(u64::from(*millis)))
    }
}

/// By image, by project; under [`ALL`] stands what is known of all of them together. There are many images and few kinds
/// of each: those are a list that is no longer than it must be.
type ByProject = HashMap<Box<str>, HashMap<Box<str>, Vec<(Box<str>, Known)>>>;

/// So much of what was learned is remembered one by one, for whoever keeps it.
const FRESH: usize = 10_000;

/// Durations by class.
#[derive(Clone, Debug, Default)]
pub struct Estimates {
    known: ByProject,
    fresh: Vec<(Class, Duration)>,
    count: usize,
    counter: u64,
}

impl Estimates {
    /// A job of a class has ended well after this time.
    pub fn learn(&mut self, class: &Class, took: Duration) {
        if self.fresh.len() < FRESH {
            self.fresh.push((class.clone(), took));
        }
        let (project, image, kind) = (class.project.as_str(), class.image.as_str(), class.kind.as_str());
        let mut circles = [[project, image, kind], [project, ALL, kind], [project, ALL, ALL], [ALL, ALL, ALL]].to_vec();
        circles.dedup();
        circles.into_iter().for_each(|circle| self.note(circle, took));
        if self.count > CLASSES {
            self.forget_oldest();
        }
    }

    /// What was learned since this was last asked.
    pub fn take_fresh(&mut self) -> Vec<(Class, Duration)> {
        std::mem::take(&mut self.fresh)
    }

    /// How long a job is expected to take; of a class not met before, what jobs like it take.
    pub fn mean(&self, project: &str, image: &str, kind: &str) -> Duration {
        let circles = [[project, image, kind], [project, ALL, kind], [project, ALL, ALL], [ALL, ALL, ALL]];
        let known = circles.into_iter().find_map(|circle| self.known(circle));
        known.map_or(UNKNOWN, |known| Duration::from_secs_f64(known.mean))
    }

    /// The time within which 95 of 100 jobs of the class ended; `None` when too few are known.
    pub fn slowest(&self, class: &Class) -> Option<Duration> {
        let known = self.known([&class.project, &class.image, &class.kind])?;
        if known.latest.len() < ENOUGH { None } else { known.quantile(95) }
    }

    /// The time within which half of the project's jobs ended.
    pub fn usual(&self, project: &str) -> Option<Duration> {
        self.known([project, ALL, ALL])?.quantile(50)
    }

    /// How many classes are known.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn known(&self, [project, image, kind]: [&str; 3]) -> Option<&Known> {
        let kinds = self.known.get(project)?.get(image)?;
        kinds.iter().find_map(|(own, known)| (**own == *kind).then_some(known))
    }

    fn place(&mut self, [project, image, kind]: [&str; 3], fresh: impl FnOnce() -> Known) -> &mut Known {
        let images = entry(&mut self.known, project);
        let kinds = entry(images, image);
        let at = kinds.iter().position(|(own, _)| **own == *kind).unwrap_or_else(|| {
            self.count += 1;
            kinds.reserve_exact(1);
            kinds.push((kind.into(), fresh()));
            kinds.len() - 1
        });
        &mut kinds[at].1
    }

    fn note(&mut self, circle: [&str; 3], took: Duration) {
        self.counter += 1;
        let (seconds, touched) = (took.as_secs_f64(), self.counter);
        let known = self.place(circle, || Known { mean: seconds, latest: Vec::with_capacity(1), touched });
        known.mean += WEIGHT * (seconds - known.mean);
        known.touched = touched;
        if known.latest.len() == REMEMBERED {
            known.latest.remove(0);
        }
        known.latest.push(u32::try_from(took.as_millis()).unwrap_or(u32::MAX));
    }

    fn all(&self) -> impl Iterator<Item = ([&str; 3], &Known)> {
        self.known.iter().flat_map(|(project, images)| {
            images.iter().flat_map(move |(image, kinds)| {
                kinds.iter().map(move |(kind, known)| ([&**project, &**image, &**kind], known))
            })
        })
    }

    /// Many at once, so that it is seldom done.
    fn forget_oldest(&mut self) {
        let mut touched: Vec<u64> = self.all().map(|(_, known)| known.touched).collect();
        let (_, limit, _) = touched.select_nth_unstable(CLASSES / 10);
        let limit = *limit;
        self.known.retain(|_, images| {
            images.retain(|_, kinds| {
                kinds.retain(|(_, known)| known.touched > limit);
                !kinds.is_empty()
            });
            !images.is_empty()
        });
        self.count = self.all().count();
    }
}

/// The place of a name; the name is only copied when it is new.
fn entry<'a, T: Default>(map: &'a mut HashMap<Box<str>, T>, name: &str) -> &'a mut T {
    if !map.contains_key(name) {
        map.insert(name.into(), T::default());
    }
    map.get_mut(name).expect("it was put there")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(project: &str, image: &str, kind: &str) -> Class {
        Class { project: project.to_owned(), image: image.to_owned(), kind: kind.to_owned() }
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_not_known_is_thought_to_be_like_what_is_near() {
        let mut estimates = Estimates::default();
        assert_eq!(estimates.mean("p", "a", "setup"), UNKNOWN);
        estimates.learn(&class("p", "a", "setup"), seconds(10));
        estimates.learn(&class("p", "a", "install"), seconds(20));
        let table = [
            (["p", "a", "setup"], 10.0, "known"),
            (["p", "b", "setup"], 10.0, "the same kind in the project"),
            (["p", "b", "from"], 13.0, "the project"),
            (["q", "b", "from"], 13.0, "everything"),
        ];
        for ([project, image, kind], expected, why) in table {
            assert!((estimates.mean(project, image, kind).as_secs_f64() - expected).abs() < 1e-6, "{why}");
        }
    }

    #[test]
    fn the_mean_follows_and_the_slowest_are_known_once_there_are_enough() {
        let mut estimates = Estimates::default();
        let app = class("p", "a", "setup");
        for took in [10, 10] {
            estimates.learn(&app, seconds(took));
        }
        assert_eq!(estimates.slowest(&app), None);
        estimates.learn(&app, seconds(100));
        assert_eq!(estimates.slowest(&app), Some(seconds(100)));
        assert_eq!(estimates.usual("p"), Some(seconds(10)));
        for _ in 0..40 {
            estimates.learn(&app, seconds(20));
        }
        assert_eq!(estimates.slowest(&app), Some(seconds(20)), "what is long ago is forgotten");
        assert!((estimates.mean("p", "a", "setup").as_secs_f64() - 20.0).abs() < 0.1);
    }

    #[test]
    fn only_so_many_classes_are_remembered() {
        let mut estimates = Estimates::default();
        for number in 0..CLASSES * 2 {
            estimates.learn(&class("p", &number.to_string(), "setup"), seconds(1));
        }
        assert!(estimates.len() <= CLASSES, "{}", estimates.len());
        assert!(estimates.slowest(&class("p", "", "")).is_some(), "what is met again and again stays");
    }
}
