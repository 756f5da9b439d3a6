//! Images for platforms on their way.

use std::{collections::HashMap, sync::Arc};

use slipway_oci::Platform;

use super::{BuiltStage, JobKey};
use crate::{
    conveyor::Conveyor,
    graph::{Graph, Target},
    kind::StageKind,
    settings::Settings,
};

/// How far an image is.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum State {
    /// Its needs are not done, or there is no room for it.
    Waiting,
    /// It waits for answers; how many are missing.
    Asking,
    /// It waits for a job.
    InJob(JobKey, StageKind),
    /// It is done.
    Done,
}

/// An image for a platform, on its way.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) conveyor: Conveyor,
    pub(super) platform: Platform,
    pub(super) state: State,
    /// How many questions it waits for.
    pub(super) asks: usize,
    pub(super) stages: Vec<BuiltStage>,
}

/// A node for every target of a graph.
pub(super) fn nodes(graph: &Graph, settings: &Arc<Settings>) -> Vec<Node> {
    let images = graph.shared();
    let mut by_platform: HashMap<Platform, Arc<Settings>> = HashMap::new();
    let mut node = |target: &Target| {
        let platform = target.platform.clone().unwrap_or_else(|| settings.platform.clone());
        let own = || Arc::new(Settings { platform: platform.clone(), ..settings.as_ref().clone() });
        let settings = Arc::clone(by_platform.entry(platform.clone()).or_insert_with(own));
        let conveyor = Conveyor::new(Arc::clone(&images), target.image, settings);
        Node { conveyor, platform, state: State::Waiting, asks: 0, stages: Vec::new() }
    };
    graph.targets().iter().map(&mut node).collect()
}
