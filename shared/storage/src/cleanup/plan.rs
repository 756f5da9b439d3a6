//! What goes, as a value.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
};

use slipway_cleanup::{Keeping, Reason};
use slipway_digest::StageId;
use slipway_oci::BlobDigest;

use crate::names;

/// Which repository of two.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Side {
    /// Where stages are kept.
    Primary,
    /// Where images run from.
    Final,
}

/// What a tag is, in the order in which they go: first what leads to stages, so that nobody is led to what is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// The note of an image's stages.
    Note,
    /// The checksum of an import.
    Import,
    /// A tag of the user's choice.
    CustomTag,
    /// The record of one.
    CustomRecord,
    /// Which stage an image had at a commit.
    Commit,
    /// An image for several platforms.
    Index,
    /// A stage.
    Stage,
    /// That a stage was rejected.
    Rejected,
    /// That the project has or had an image.
    Image,
    /// What belongs to the repository as a whole.
    Own,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note of stages",
            Self::Import => "record of an import",
            Self::CustomTag => "custom tag",
            Self::CustomRecord => "record of a custom tag",
            Self::Commit => "record of a commit",
            Self::Index => "image for several platforms",
            Self::Stage => "stage",
            Self::Rejected => "record of a rejected stage",
            Self::Image => "record of an image",
            Self::Own => "record of the repository",
        })
    }
}

/// A tag that goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Going {
    /// Of which repository.
    pub side: Side,
    /// What it is.
    pub kind: Kind,
    /// The tag.
    pub tag: String,
    /// The manifest that it leads to, where that is known.
    pub digest: Option<BlobDigest>,
    /// Why.
    pub why: &'static str,
}

impl Going {
    /// The stage of the primary repository that it is.
    pub fn stage_of_primary(&self) -> Option<StageId> {
        self.tag.parse().ok().filter(|_| self.kind == Kind::Stage && self.side == Side::Primary)
    }
}

/// Manifests under tags that stay: they are not deleted, whatever else leads to them.
#[derive(Clone, Debug, Default)]
pub struct Guarded {
    of_stages: HashSet<(Side, BlobDigest)>,
    of_users: HashSet<(Side, BlobDigest)>,
}

impl Guarded {
    /// Guards the manifest of a stage, or of an image for several platforms.
    pub fn add_stage(&mut self, side: Side, digest: BlobDigest) {
        self.of_stages.insert((side, digest));
    }

    /// Guards the manifest that a user's tag leads to.
    pub fn add_users(&mut self, side: Side, digest: BlobDigest) {
        self.of_users.insert((side, digest));
    }

    /// Whether a manifest is guarded.
    pub fn has(&self, side: Side, digest: &BlobDigest) -> bool {
        let one = (side, digest.clone());
        self.of_stages.contains(&one) || self.of_users.contains(&one)
    }

    /// Whether a manifest is that of a stage that stays.
    pub fn has_stage(&self, side: Side, digest: &BlobDigest) -> bool {
        self.of_stages.contains(&(side, digest.clone()))
    }
}

/// What stays and what goes.
#[derive(Debug)]
pub struct Plan {
    /// The stages.
    pub keeping: Keeping,
    /// What goes, in the order in which it does.
    pub going: Vec<Going>,
    /// What must not go with it.
    pub guarded: Guarded,
    /// What could not be read, and is therefore left alone.
    pub warnings: Vec<String>,
    /// Whether the repository goes on to be used: it is noted then when it was cleaned up.
    pub stays: bool,
}

impl Plan {
    /// Spares stages that are wanted again, with what is recorded of them.
    pub fn spare(&mut self, wanted: &BTreeSet<StageId>) {
        let names = |tag: &str| {
            let stage = tag.strip_suffix(names::REJECTED_SUFFIX).unwrap_or(tag).parse::<StageId>().ok();
            stage.or_else(|| names::commit_record(tag).map(|(_, _, stage)| stage))
        };
        self.going.retain(|going| names(&going.tag).is_none_or(|stage| !wanted.contains(&stage)));
        wanted.iter().for_each(|stage| self.keeping.keep(*stage, Reason::Building));
    }

    /// The stages of the primary repository that go.
    pub fn stages(&self) -> BTreeSet<StageId> {
        self.going.iter().filter_map(Going::stage_of_primary).collect()
    }

    /// How many tags of a kind go.
    pub fn number(&self, kind: Kind) -> usize {
        self.going.iter().filter(|going| going.kind == kind).count()
    }
}
