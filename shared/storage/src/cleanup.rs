//! Cleaning up a repository: what is there, what of it goes, and how that is deleted.
//!
//! Reading order: [`listed`] (what the tags say), [`place`] (a repository, and what its images say), [`judge`] (what goes,
//! by what must stay), [`plan`] (that, as a value), [`remover`] (how one tag is deleted without its siblings), [`work`] (all
//! that goes, in an order that may be interrupted anywhere), [`second`] (whether any of it came back).

pub mod judge;
pub mod listed;
pub mod place;
pub mod plan;
mod read;
pub mod remover;
pub mod second;
pub mod work;

pub use judge::{InUse, Wanted, judge};
pub use listed::Listed;
pub use place::Place;
pub use plan::{Going, Kind, Plan, Side};
pub use second::second_look;
pub use work::{Done, work};

/// How far something has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// So many images and records were read.
    Read(usize),
    /// So many of so many tags were dealt with.
    Removed {
        /// So many.
        done: usize,
        /// Of so many.
        of: usize,
    },
}
