//! Images to stages: the graph and its sets, conveyors, digests, selection, labels.
//!
//! Pure: what a conveyor must know it asks as [`facts::Question`]s, and it is stepped again when they are answered.
//!
//! Reading order: [`kind`], [`plan`] and [`facts`] (the vocabulary), [`platforms`] (what images are built for), [`graph`] (what needs what),
//! [`conveyor`] (one image) and `key` (how what is expected of it is found at once), `rules/` (one file per stage kind),
//! [`digest`] and [`select`] (identity and choice),
//! [`labels`] (what is written on a stage), [`build`] (all images of one build).

pub mod build;
pub mod conveyor;
pub mod digest;
pub mod facts;
pub mod graph;
mod key;
pub mod kind;
pub mod labels;
pub mod plan;
pub mod platforms;
mod rules;
mod scene;
pub mod select;
pub mod settings;

pub use build::{Build, BuildEvent, BuildOptions, Progress, Wish};
pub use facts::{Answer, Facts, Invalid, Question};
pub use graph::{Graph, PartsError, PlatformMissing, Target};
pub use kind::{Keyword, StageKind};
pub use plan::*;
pub use platforms::Platforms;
pub use scene::{Finished, FinishedImage, Placed};
pub use settings::{Settings, VirtualMerge};
