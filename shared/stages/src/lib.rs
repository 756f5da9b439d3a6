//! Images to stages: the graph and its sets, conveyors, digests, selection, labels.
//!
//! Pure: what a conveyor must know it asks as [`facts::Question`]s, and it is stepped again when they are answered.

pub mod facts;
pub mod kind;
pub mod plan;

pub use facts::{Answer, Asked, Facts, Need, Question};
pub use kind::StageKind;
pub use plan::*;
