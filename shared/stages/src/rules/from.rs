//! `from`: the base image with the project's labels.

use slipway_config::{Base, Position, StapelImage};
use slipway_digest::{Checksum, Encoder};
use slipway_oci::ArchiveName;

use super::mounts;
use crate::{
    facts::{Answer, Asked, Question},
    scene::Scene,
};

/// The base by its reference (an external one; with `fromLatest` also by what the registry has), by its manifest (one in an
/// archive), or by its content (an image of this file), the cache versions, and the mounts.
pub(super) fn dependencies(scene: Scene<'_>, stapel: &StapelImage) -> Asked<Checksum> {
    let encoder = Encoder::new("from")
        .optional(stapel.from_cache_version.as_deref(), Encoder::text)
        .optional(scene.image.cache_version.as_deref(), Encoder::text);
    let encoder = match &stapel.base {
        Base::Reference(reference) if ArchiveName::is_meant(reference) => {
            encoder.text("archive").text(&held(scene, reference)?)
        }
        Base::Reference(reference) => {
            let encoder = encoder.text("reference").text(reference);
            match stapel.from_latest {
                Some(position) => encoder.text("latest").text(&latest(scene, reference, position)?),
                None => encoder,
            }
        }
        Base::Image(name) => encoder.text("image").checksum(&scene.needed(name)?.content),
    };
    Ok(mounts::count(encoder, &stapel.mounts).finish())
}

/// What an archive holds now: the digest of the image's manifest. Where the archive lies does not count.
fn held(scene: Scene<'_>, reference: &str) -> Asked<String> {
    let question = Question::Base { reference: reference.to_owned(), platform: scene.settings.platform.clone() };
    if let Answer::Base(base) = scene.facts.one(question)?
        && let Some(at) = &base.at
    {
        return Ok(at.digest.to_string());
    }
    scene.invalid(scene.image.position.line, format!("the base `{reference}` was not read from its archive"))
}

/// What the registry has under the base's name now: the digest of its manifest.
fn latest(scene: Scene<'_>, reference: &str, position: Position) -> Asked<String> {
    let question = Question::Base { reference: reference.to_owned(), platform: scene.settings.platform.clone() };
    if let Answer::Base(base) = scene.facts.one(question)?
        && let Some(at) = &base.at
    {
        return Ok(at.digest.to_string());
    }
    let message = format!(
        "can not get base image id from registry ({reference}): `fromLatest` asks for what its registry has now, and the \
         registry did not answer; try again, or remove `fromLatest` to use the local image"
    );
    scene.invalid(position.line, message)
}
