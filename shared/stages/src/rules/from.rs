//! `from`: the base image with the project's labels.

use slipway_config::{Base, StapelImage};
use slipway_digest::{Checksum, Encoder};

use crate::{facts::Asked, scene::Scene};

/// The base by its reference (an external one) or its content (an image of this file), and the cache versions.
pub(super) fn dependencies(scene: Scene<'_>, stapel: &StapelImage) -> Asked<Checksum> {
    let encoder = Encoder::new("from")
        .optional(stapel.from_cache_version.as_deref(), Encoder::text)
        .optional(scene.image.cache_version.as_deref(), Encoder::text);
    let encoder = match &stapel.base {
        Base::Reference(reference) => encoder.text("reference").text(reference),
        Base::Image(name) => encoder.text("image").checksum(&scene.needed(name)?.content),
    };
    Ok(encoder.finish())
}
