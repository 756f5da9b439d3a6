//! Repositories beside the primary one: what they may be used for, and nothing else.
//!
//! Reading order: [`secondary`] (only read), [`cache`] (read and written, never needed), [`final_repo`] (what runs),
//! [`copy`] (an image from one repository to another), [`indexes`] (several platforms under one name), [`custom_tags`]
//! (further tags of what runs).

pub mod cache;
pub mod copy;
pub mod custom_tags;
pub mod final_repo;
pub mod indexes;
pub mod secondary;

use std::sync::Arc;

pub use cache::CacheRepo;
pub use custom_tags::CustomTags;
pub use final_repo::FinalRepo;
pub use indexes::Indexes;
pub use secondary::SecondaryRepo;

/// The repositories beside the primary one that a build uses, each kind in the order in which they were named.
#[derive(Clone, Default, Debug)]
pub struct Beside {
    /// Near the builder.
    pub caches: Vec<Arc<CacheRepo>>,
    /// Of others.
    pub secondaries: Vec<Arc<SecondaryRepo>>,
    /// Where the images go that run; `None` = they run from the primary one.
    pub final_repo: Option<FinalRepo>,
    /// What leads to images for several platforms; `None` = stages are in no repository.
    pub indexes: Option<Indexes>,
}
