//! How long everything that waits for a stage is expected to take.

use std::time::Duration;

use slipway_config::ImageName;

use crate::{graph::Graph, kind::StageKind, rules};

/// How long a stage of an image is expected to take.
pub type Durations<'a> = &'a dyn Fn(&ImageName, StageKind) -> Duration;

/// Expected times of one build.
#[derive(Clone, Debug)]
pub(super) struct Ranks {
    /// Of each image, the stages that it is expected to have, in order.
    stages: Vec<Vec<(StageKind, Duration)>>,
    /// Of each image, the longest path of images that wait for it, without itself.
    after: Vec<Duration>,
}

impl Ranks {
    pub(super) fn new(graph: &Graph, durations: Durations<'_>) -> Self {
        let stages: Vec<Vec<(StageKind, Duration)>> =
            (0..graph.targets().len()).map(|target| stages(graph, target, durations)).collect();
        let whole = |stages: &[(StageKind, Duration)]| stages.iter().map(|(_, duration)| *duration).sum::<Duration>();
        let mut after = vec![Duration::ZERO; stages.len()];
        for image in graph.topological().into_iter().rev() {
            let path = whole(&stages[image]) + after[image];
            graph.needs(image).iter().for_each(|need| after[*need] = after[*need].max(path));
        }
        Self { stages, after }
    }

    /// Of an image that has not begun, itself included.
    pub(super) fn image(&self, image: usize) -> Duration {
        self.stages[image].iter().map(|(_, duration)| *duration).sum::<Duration>() + self.after[image]
    }

    /// Of a stage, itself included.
    pub(super) fn stage(&self, image: usize, kind: StageKind) -> Duration {
        let rest = self.stages[image].iter().filter(|(own, _)| *own >= kind);
        rest.map(|(_, duration)| *duration).sum::<Duration>() + self.after[image]
    }
}

fn stages(graph: &Graph, target: usize, durations: Durations<'_>) -> Vec<(StageKind, Duration)> {
    let name = graph.shown(target);
    rules::expected(graph.image(target)).into_iter().map(|kind| (kind, durations(&name, kind))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "project: p\nconfigVersion: 1\n---\n\
        image: base\nfrom: a:1\nshell: {setup: [x], install: [y]}\n---\n\
        image: short\nfromImage: base\nshell: {install: [x]}\n---\n\
        image: long\nfromImage: base\nshell: {setup: [x]}\ndocker: {USER: u}\n";

    #[test]
    fn the_longest_path_counts() {
        let config = slipway_config::parse("werf.yaml", CONFIG).expect("a valid configuration");
        let graph = Graph::new(config.images);
        let durations = |image: &ImageName, kind: StageKind| match (image.0.as_str(), kind) {
            ("short", StageKind::Install) => Duration::from_secs(2),
            (_, StageKind::Setup) => Duration::from_secs(30),
            (_, StageKind::Install) => Duration::from_secs(10),
            _ => Duration::from_secs(1),
        };
        let ranks = Ranks::new(&graph, &durations);
        let images: Vec<u64> = (0..3).map(|image| ranks.image(image).as_secs()).collect();
        // `long` takes 1 + 30 + 1, `short` 1 + 2; `base` 1 + 10 + 30 and `long` after it.
        assert_eq!(images, [41 + 32, 3, 32]);
        assert_eq!(ranks.stage(0, StageKind::Setup).as_secs(), 30 + 32);
        assert_eq!(ranks.stage(2, StageKind::DockerInstructions).as_secs(), 1);
        // A stage that was not expected comes before those that are left.
        assert_eq!(ranks.stage(2, StageKind::GitCache).as_secs(), 1);
    }
}
