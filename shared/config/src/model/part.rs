//! Parts of a staged Dockerfile: each of its stages is an image for itself.

use std::{collections::BTreeMap, sync::Arc};

use super::{Image, ImageKind, ImageName};

/// What stands between two `FROM` of a staged Dockerfile. The part that is the target goes by the names of its image, any
/// other one by `IMAGE/stage/NAME`. No configuration has parts: they are made of it and the text of the Dockerfile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DockerfilePart {
    /// The image whose Dockerfile it is part of.
    pub of: ImageName,
    /// Its position in the Dockerfile, from 0.
    pub position: usize,
    /// The number and the name of each of its instructions, `ARG` left out; numbers count from 1.
    pub instructions: Vec<(u16, String)>,
    /// The part that its `FROM` names.
    pub base: Option<ImageName>,
    /// The parts that its instructions read files of.
    pub reads: Vec<ImageName>,
    /// All parts of the Dockerfile, by position.
    pub parts: Arc<BTreeMap<usize, ImageName>>,
}

impl Image {
    /// Which part of a staged Dockerfile it is, if it is one.
    pub fn part(&self) -> Option<&DockerfilePart> {
        match &self.kind {
            ImageKind::Dockerfile(dockerfile) => dockerfile.part.as_deref(),
            ImageKind::Stapel(_) => None,
        }
    }

    /// Whether it is a part of a staged Dockerfile that is not the image itself.
    pub fn is_inner(&self) -> bool {
        self.part().is_some_and(|part| part.of != *self.name())
    }
}
