//! The key of an image: what it is made of, as far as that can be told at once.
//!
//! A key only says where to look for what an earlier build noted. Two images with one key cost a look in vain, nothing else: every stage
//! is still found by its own digest, and chosen by its own commits. So it may take in the configuration as the program prints it.

use slipway_config::{Image, ImageKind, StapelImage};
use slipway_digest::{Checksum, Encoder};
use slipway_paths::Scope;

use crate::{
    facts::{Answer, Asked, Question},
    plan::SourceId,
    scene::{Mapping, Scene, mappings},
};

/// The key of the image of a scene; `None` when there is nothing to be gained.
pub(crate) fn of(scene: Scene<'_>) -> Asked<Option<Checksum>> {
    match &scene.image.kind {
        ImageKind::Stapel(stapel) if scene.settings.foresees => of_stapel(scene, stapel).map(Some),
        // A whole Dockerfile is one stage.
        ImageKind::Stapel(_) | ImageKind::Dockerfile(_) => Ok(None),
    }
}

/// The configuration, the images it needs, and what git has under the roots of its mappings.
fn of_stapel(scene: Scene<'_>, stapel: &StapelImage) -> Asked<Checksum> {
    let mappings = mappings(scene, stapel)?;
    let root = |mapping: &Mapping<'_>| Question::Tree {
        source: SourceId::own(),
        commit: mapping.commit,
        scope: Scope::Entry(mapping.mapping.add.clone()),
    };
    let roots: Vec<Question> = mappings.iter().map(root).collect();
    let roots = scene.facts.all(&roots)?;
    let mut needs = Vec::new();
    for need in scene.image.needs() {
        needs.push(scene.needed(need)?.id.to_string());
    }
    // Secrets are in no digest, so they are not in this one.
    let config = Image { secrets: Vec::new(), ..scene.image.clone() };
    let encoder = Encoder::new("image")
        .text(&scene.settings.platform.to_string())
        .text(&format!("{config:?}"))
        .texts(&needs)
        .list(roots.into_iter(), |encoder, root| match root {
            Answer::Tree(fact) => encoder.checksum(&fact.checksum),
            _ => encoder,
        });
    Ok(encoder.finish())
}
