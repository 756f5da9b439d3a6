//! The ledger of many hosts: a record of every stage of a repository in a store that all of them share.
//!
//! `docs/reference/publish.md` says what is kept and why each condition is there. Reading order: [`keys`] and
//! [`value`] (what the store holds), [`fences`] (who may write), [`ledger`] (reading a digest), [`attach`] (how a
//! repository gets in), [`read_in`] (labels, on first need), [`attempts`], [`commit`] and [`changes`] (the
//! transactions), [`publish`] (the protocol), [`stages`] (look-ups), [`import`] (what others wrote), [`live`] (running
//! builds), [`condemn`] (how stages go).

pub mod attach;
pub mod attempts;
pub mod changes;
pub mod commit;
pub mod condemn;
pub mod fences;
pub mod import;
pub mod keys;
pub mod ledger;
pub mod live;
mod patience;
pub mod place;
pub mod publish;
pub mod read_in;
pub mod stages;
pub mod value;

pub use attach::Attached;
pub use attempts::{Attempts, Fence};
pub use commit::Commit;
pub use condemn::{TAG_TIME, Waiting};
pub use fences::Fences;
pub use import::Imported;
pub use ledger::{Digest, KvLedger};
pub use live::{LiveBuild, LiveBuilds};
pub use place::{Listing, Reading, StagePlace};
pub use publish::{FAILPOINTS, SharedPublisher};
pub use stages::SharedStages;
pub use value::{Kept, KeptState};
