//! How far a stage has come.

use std::collections::BTreeMap;

use serde_json::Value;
use slipway_dockerfile::Variables;
use slipway_layers::Layer;
use slipway_oci::{BlobDigest, ImageConfig, Platform};

use super::history;

/// Field of a config with the shell.
const SHELL: &str = "Shell";
/// The shell of an image that names none.
const USUAL_SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// A stage under way; when it has ended, what others stand on.
#[derive(Clone)]
pub(super) struct Cursor {
    /// The config so far.
    pub(super) config: ImageConfig,
    /// The layers so far, lowest first.
    pub(super) layers: Vec<Layer>,
    /// What its commands are of.
    pub(super) platform: Platform,
    /// The variables in force.
    pub(super) variables: Variables,
    /// When the last layer was made.
    pub(super) created: Option<String>,
    /// Whether this stage has set `CMD`.
    pub(super) has_command: bool,
    /// What has happened, oldest first.
    pub(super) history: Vec<Value>,
}

impl Cursor {
    /// The shell of commands.
    pub(super) fn shell(&self) -> Vec<String> {
        let named = self.config.config.other.get(SHELL);
        let named: Option<Vec<String>> = named.and_then(|value| serde_json::from_value(value.clone()).ok());
        let named = named.filter(|shell| !shell.is_empty());
        named.unwrap_or_else(|| USUAL_SHELL.map(str::to_owned).to_vec())
    }

    /// Names another shell.
    pub(super) fn set_shell(&mut self, shell: &[String]) {
        self.config.config.other.insert(SHELL.to_owned(), Value::from(shell.to_vec()));
    }

    /// Where commands start, and what relative paths are relative to.
    pub(super) fn directory(&self) -> &str {
        match self.config.config.working_dir.as_str() {
            "" => "/",
            directory => directory,
        }
    }

    /// What names the files so far.
    pub(super) fn chain(&self) -> &str {
        self.layers.last().map_or("", |layer| layer.chain.hex())
    }

    /// Notes an instruction that changed the config alone.
    pub(super) fn note(&mut self, by: &str) {
        self.history.push(history::entry(self.created.as_deref(), by, true));
    }

    /// Takes what an instruction has made; `None` = it changed nothing.
    pub(super) fn add(&mut self, layer: Option<Layer>, created: &str, by: &str) {
        self.created = Some(created.to_owned());
        self.history.push(history::entry(Some(created), by, layer.is_none()));
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
        let mut image = self.config.clone();
        let created = self.created.as_deref().unwrap_or(now);
        image.rootfs.kind = "layers".to_owned();
        image.rootfs.diff_ids = self.diff_ids().map(ToString::to_string).collect();
        image.created = Some(created.to_owned());
        if !labels.is_empty() {
            image.config.labels.get_or_insert_default().extend(labels.clone());
        }
        let history = self.history.iter().cloned().map(|entry| history::dated(entry, created));
        image.other.insert("history".to_owned(), history.collect());
        image
    }
}
