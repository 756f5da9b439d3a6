//! How far a stage has come.

use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
};

use slipway_backend::dockerfile::Draft;
use slipway_layers::Layer;
use slipway_oci::{BlobDigest, ImageConfig, Platform};

/// A stage under way; when it has ended, what others stand on.
#[derive(Clone)]
pub(super) struct Cursor {
    /// What its config is to be.
    pub(super) draft: Draft,
    /// The layers so far, lowest first.
    pub(super) layers: Vec<Layer>,
    /// What its commands are of.
    pub(super) platform: Platform,
}

impl Deref for Cursor {
    type Target = Draft;

    fn deref(&self) -> &Draft {
        &self.draft
    }
}

impl DerefMut for Cursor {
    fn deref_mut(&mut self) -> &mut Draft {
        &mut self.draft
    }
}

impl Cursor {
    /// What names the files so far.
    pub(super) fn chain(&self) -> &str {
        self.layers.last().map_or("", |layer| layer.chain.hex())
    }

    /// Takes what an instruction has made; `None` = it changed nothing.
    pub(super) fn add(&mut self, layer: Option<Layer>, created: &str, by: &str) {
        self.draft.add(layer.is_some(), created, by);
        if let Some(layer) = layer {
            self.config.rootfs.diff_ids.push(layer.about.diff_id.to_string());
            self.layers.push(layer);
        }
    }

    /// The diffIDs of its layers.
    pub(super) fn diff_ids(&self) -> impl Iterator<Item = &BlobDigest> {
        self.layers.iter().map(|layer| &layer.about.diff_id)
    }

    /// The config of the finished image, with more labels; `now` = when nothing in it says when it was made.
    pub(super) fn image(&self, labels: &BTreeMap<String, String>, now: &str) -> ImageConfig {
        self.draft.image(self.diff_ids().map(ToString::to_string).collect(), labels, now)
    }
}
