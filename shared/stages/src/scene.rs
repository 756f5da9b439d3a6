//! What a stage rule sees.

use std::{collections::HashMap, sync::Arc};

use slipway_config::{GitMapping, Image, ImageName, StapelImage, UserStage};
use slipway_digest::CommitId;
use slipway_paths::{PathFilter, Scope};

use crate::{
    digest,
    facts::{Asked, Facts, Invalid, Stop},
    kind::StageKind,
    plan::{Commits, GitInput, SourceId, StageRecord},
    settings::Settings,
};

/// A stage of this conveyor that is stored.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Which step.
    pub kind: StageKind,
    /// What is stored.
    pub record: Arc<StageRecord>,
}

/// An image that is done.
#[derive(Clone, Debug)]
pub struct FinishedImage {
    /// Its last stage.
    pub last: Arc<StageRecord>,
    /// All of its stages, the lowest first.
    pub stages: Vec<Placed>,
}

/// The images that are done.
pub type Finished = HashMap<ImageName, Arc<FinishedImage>>;

/// What a rule may look at: the image, what of it is placed, what is known, and which other images are done.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub settings: &'a Settings,
    pub image: &'a Image,
    pub placed: &'a [Placed],
    pub finished: &'a Finished,
    pub facts: &'a Facts,
}

/// A git mapping with its key.
pub(crate) struct Mapping<'a> {
    pub key: String,
    pub mapping: &'a GitMapping,
    /// The commit that its files come from.
    pub commit: CommitId,
}

impl<'a> Scene<'a> {
    /// Stops with something the user must mend.
    pub(crate) fn invalid<T>(&self, line: u32, message: impl Into<String>) -> Asked<T> {
        Err(Stop::Invalid(Invalid { message: message.into(), line: (line > 0).then_some(line) }))
    }

    /// The last stage of an image that this one needs. The conveyor is stepped only when all of them are done.
    pub(crate) fn needed(&self, name: &ImageName) -> Asked<&'a StageRecord> {
        Ok(&self.image_of(name)?.last)
    }

    /// The stage of `kind` of an image that this one needs.
    pub(crate) fn needed_stage(&self, name: &ImageName, kind: StageKind) -> Asked<Option<&'a StageRecord>> {
        let mut stages = self.image_of(name)?.stages.iter();
        Ok(stages.find(|placed| placed.kind == kind).map(|placed| placed.record.as_ref()))
    }

    fn image_of(&self, name: &ImageName) -> Asked<&'a FinishedImage> {
        match self.finished.get(name) {
            Some(image) => Ok(image.as_ref()),
            None => self.invalid(self.image.position.line, format!("image `{name}` was to be built before")),
        }
    }

    /// The commits that the sources are at before the next stage: those of the last stage that holds sources.
    pub(crate) fn commits_below(&self) -> Commits {
        let holds_sources = self.placed.iter().rev().find(|placed| placed.kind.is_git());
        holds_sources.map(|placed| placed.record.commits.clone()).unwrap_or_default()
    }
}

/// The git mappings of an image, in order. Those of other repositories are at the commits that were looked up for them.
pub(crate) fn mappings<'a>(scene: Scene<'_>, stapel: &'a StapelImage) -> Asked<Vec<Mapping<'a>>> {
    let at = |mapping: &'a GitMapping| {
        let commit = match &mapping.remote {
            None => scene.settings.commit,
            Some(remote) => match remote.commit.as_deref().and_then(|commit| commit.parse().ok()) {
                Some(commit) => commit,
                None => {
                    return scene
                        .invalid(remote.position.line, "nobody has looked up at which commit the repository is");
                }
            },
        };
        Ok(Mapping { key: digest::mapping_key(mapping), mapping, commit })
    };
    stapel.git.iter().map(at).collect()
}

impl Mapping<'_> {
    /// The files of the mapping.
    pub(crate) fn scope(&self) -> Scope {
        Scope::Filter(PathFilter {
            base: self.mapping.add.clone(),
            include: self.mapping.include.clone(),
            exclude: self.mapping.exclude.clone(),
            within: Vec::new(),
        })
    }

    /// The files of the mapping that a user stage depends on; `None` when it names none.
    pub(crate) fn stage_scope(&self, stage: UserStage) -> Option<Scope> {
        let globs = self.mapping.stage_dependencies.get(&stage).filter(|globs| !globs.is_empty())?;
        Some(Scope::Filter(PathFilter {
            base: self.mapping.add.clone(),
            include: self.mapping.include.clone(),
            exclude: self.mapping.exclude.clone(),
            within: globs.clone(),
        }))
    }

    /// What a worker is given to bring the mapping to its commit.
    pub(crate) fn input(&self, from: Option<CommitId>, file: bool) -> GitInput {
        GitInput {
            source: SourceId::own(),
            commit: self.commit,
            from,
            scope: self.scope(),
            file,
            to: self.mapping.to.clone(),
            owner: self.mapping.owner.clone(),
            group: self.mapping.group.clone(),
        }
    }
}
