//! What is kept of a repository when it is cleaned up, and why. Nothing here asks or deletes anything.
//!
//! Reading order: [`policies`] (which branches and tags count, and how many images of each), [`history`] (which stages
//! those lead to), [`keeping`] (what these are made of stays, too), [`reason`] (why, as a value).

pub mod history;
pub mod keeping;
pub mod policies;
pub mod reason;

pub use history::{Commit, History, Hit, ImageHistory};
pub use keeping::{Keeping, MadeOf};
pub use policies::{Chosen, ImagesLimit, Policies, PolicyError, Reference};
pub use reason::{Reason, Verdict, Why};
