//! Seeded graphs of images, and the shortest time in which they could be built.

use std::{fmt::Write as _, time::Duration};

/// Chance from a seed: the same numbers on every machine.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From 0 to `sides` - 1.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or_default() % sides.max(1)
    }

    /// Between 0 and 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normally distributed around 0, with deviation 1.
    fn normal(&mut self) -> f64 {
        let sum: f64 = (0..12).map(|_| self.fraction()).sum();
        sum - 6.0
    }

    /// Many short ones, a few long ones; 1 on average.
    fn lognormal(&mut self) -> f64 {
        (self.normal() - 0.5).exp()
    }
}

/// The stages that sleep.
const KINDS: [&str; 4] = ["beforeInstall", "install", "beforeSetup", "setup"];

/// One image.
pub(crate) struct ImageSpec {
    pub(crate) needs: Vec<usize>,
    /// How long each of its stages sleeps.
    pub(crate) stages: Vec<(&'static str, Duration)>,
}

impl ImageSpec {
    fn time(&self) -> Duration {
        self.stages.iter().map(|(_, time)| *time).sum()
    }
}

/// What a graph is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// Bases, toolchains, libraries, services, bundles.
    Monorepo,
    /// Each image needs some of those before it.
    Random,
    /// Long chains beside each other.
    Chains,
    /// Few bases, and everything on them.
    Wide,
}

impl Shape {
    pub(crate) const ALL: [Self; 4] = [Self::Monorepo, Self::Random, Self::Chains, Self::Wide];

    fn needs(self, image: usize, count: usize, dice: &mut Dice) -> Vec<usize> {
        let mut needs = match self {
            Self::Monorepo => {
                let level = |image: usize| match image * 100 / count {
                    0..=2 => 0,
                    3..=9 => 1,
                    10..=39 => 2,
                    40..=89 => 3,
                    _ => 4,
                };
                let own = level(image);
                let below: Vec<usize> = (0..image).filter(|other| level(*other) + 1 == own).collect();
                let most = [0, 1, 2, 3, 5][own].min(below.len());
                let some = if most == 0 { 0 } else { 1 + dice.roll(most) };
                (0..some).map(|_| below[dice.roll(below.len())]).collect()
            }
            Self::Random => {
                let some = dice.roll(3).min(image);
                (0..some).map(|_| dice.roll(image)).collect()
            }
            Self::Chains => image.checked_sub(30).into_iter().collect(),
            Self::Wide if image < 5 => Vec::new(),
            Self::Wide => vec![dice.roll(5)],
        };
        needs.sort_unstable();
        needs.dedup();
        needs
    }
}

/// Images that need each other.
pub(crate) struct Plan {
    pub(crate) images: Vec<ImageSpec>,
}

impl Plan {
    /// A graph of `count` images that take `mean` on average.
    pub(crate) fn new(shape: Shape, count: usize, mean: Duration, dice: &mut Dice) -> Self {
        let image = |image: usize| {
            let needs = shape.needs(image, count, dice);
            let time = mean.mul_f64(dice.lognormal());
            let stages = 1 + dice.roll(3);
            let part = time / u32::try_from(stages).unwrap_or(1);
            // What is too short to be slept is not worth a stage.
            let kinds = KINDS.iter().take(stages).map(|kind| (*kind, part.max(Duration::from_millis(1))));
            ImageSpec { needs, stages: kinds.collect() }
        };
        Self { images: (0..count).map(image).collect() }
    }

    /// No schedule is shorter: the longest path, or all the work shared out evenly.
    pub(crate) fn lower_bound(&self, workers: usize) -> Duration {
        let mut ends: Vec<Duration> = Vec::with_capacity(self.images.len());
        for image in &self.images {
            let start = image.needs.iter().map(|need| ends[*need]).max().unwrap_or_default();
            ends.push(start + image.time());
        }
        let work: Duration = self.images.iter().map(ImageSpec::time).sum();
        let path = ends.into_iter().max().unwrap_or_default();
        path.max(work / u32::try_from(workers).unwrap_or(u32::MAX))
    }

    /// The same as a configuration. A stage sleeps as long as its command says.
    pub(crate) fn config(&self) -> String {
        let mut text = "project: bench\nconfigVersion: 1\n".to_owned();
        for (number, image) in self.images.iter().enumerate() {
            let mut needs = image.needs.iter();
            let base = needs.next().map_or_else(|| "from: base:1".to_owned(), |need| format!("fromImage: i{need}"));
            let _ = write!(text, "---\nimage: i{number}\n{base}\nshell:\n");
            for (kind, time) in &image.stages {
                let _ = writeln!(text, "  {kind}: [\"sleep {} of {number}\"]", time.as_micros());
            }
            let others: Vec<String> = needs
                .map(|need| {
                    format!(
                        "{{image: i{need}, before: install, imports: [{{type: ImageName, targetEnv: NEED_{need}}}]}}"
                    )
                })
                .collect();
            if !others.is_empty() {
                let _ = writeln!(text, "dependencies: [{}]", others.join(", "));
            }
        }
        text
    }
}
