//! How a build ended, wherever it ran.

use slipway_stages::build::{BuildFailure, BuiltImage};

/// A finished build.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct BuildOutcome {
    /// The images of the graph, in the order of declaration.
    pub(crate) images: Vec<BuiltImage>,
}

/// Why a build did not finish.
#[derive(Debug)]
pub(crate) enum BuildError {
    /// The engine says why.
    Build(BuildFailure),
    /// Something around it could not be set up: what was being done and what went wrong.
    Setup(anyhow::Error),
}
