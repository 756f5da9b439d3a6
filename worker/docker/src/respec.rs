//! An image with another config over the same layers.
//!
//! A commit can only add: the engine merges the config of the base into every one that it is given. So the image is
//! loaded instead, from an archive that holds nothing but the new config: an engine that has the layers takes them from
//! its own store.

use std::collections::BTreeMap;

use bollard::{models::ImageHistoryResponseItem, query_parameters::ImportImageOptions};
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use slipway_backend::{BackendError, LocalImage};
use slipway_oci::{BlobDigest, ImageConfig, Respec, respec};

use crate::{engine::Engine, error::failed, images};

/// What the engine stores in a history entry of its own when a build step only changed the config.
const NO_OPERATION: &str = "#(nop)";
/// Instructions that never make a layer.
const CONFIG_ONLY: [&str; 13] = [
    "ENV",
    "LABEL",
    "CMD",
    "ENTRYPOINT",
    "EXPOSE",
    "VOLUME",
    "USER",
    "ARG",
    "STOPSIGNAL",
    "HEALTHCHECK",
    "SHELL",
    "ONBUILD",
    "MAINTAINER",
];

/// Makes the image that `respec` makes of `base`; `labels` are kept whatever it removes.
pub(crate) async fn make(
    engine: &Engine,
    base: &LocalImage,
    respec: &Respec,
    labels: &BTreeMap<String, String>,
) -> Result<LocalImage, BackendError> {
    let document = respec::apply(&document(engine, base).await?, respec, labels);
    let bytes = document.to_bytes();
    let image = LocalImage { id: BlobDigest::of(&bytes) };
    let doing = "rewrite the config of an image";
    let archive = archive(&image, &document, &bytes);
    let archive = archive.map_err(|error| BackendError::Engine(format!("{doing}: {error}")))?;
    let options = ImportImageOptions { quiet: true, platform: None };
    let loaded = engine.docker.import_image(options, bollard::body_full(archive.into()), None);
    loaded.try_for_each(|_| async { Ok(()) }).await.map_err(|error| failed(doing, error))?;
    match images::inspect(engine, image.id.as_str()).await? {
        Some(_) => {
            engine.uses.note(&image.id);
            Ok(image)
        }
        None => Err(BackendError::Refused(format!(
            "{doing}: not supported yet by an engine that keeps images in containerd; switch its `containerd-snapshotter` off"
        ))),
    }
}

/// The whole config document of an image, as far as the engine tells it.
async fn document(engine: &Engine, image: &LocalImage) -> Result<ImageConfig, BackendError> {
    let found = images::inspect(engine, image.id.as_str()).await?;
    let found = found.ok_or_else(|| BackendError::Gone(image.id.to_string()))?;
    let author = found.author.clone().filter(|author| !author.is_empty());
    let mut document = images::image_config(found);
    let doing = format!("look at the history of {}", image.id);
    let entries = engine.docker.image_history(image.id.as_str()).await.map_err(|error| failed(&doing, error))?;
    document.other.extend(author.map(|author| ("author".to_owned(), Value::from(author))));
    let history = history(entries, document.rootfs.diff_ids.len());
    document.other.extend(history.map(|history| ("history".to_owned(), Value::from(history))));
    Ok(document)
}

/// The history as a config document holds it, oldest entry first. The engine does not tell which entries have a layer:
/// those with content have, those of instructions for the config have none, and what is left is shared out from the
/// oldest on. `None` = that does not come out even; an image does not need a history.
fn history(mut entries: Vec<ImageHistoryResponseItem>, layers: usize) -> Option<Vec<Value>> {
    entries.reverse();
    let filled = entries.iter().filter(|entry| entry.size > 0).count();
    let mut left = layers.checked_sub(filled)?;
    let mut history = Vec::with_capacity(entries.len());
    for entry in entries {
        let mut empty = entry.size <= 0;
        if empty && left > 0 && !is_config_only(&entry.created_by) {
            left -= 1;
            empty = false;
        }
        let created = jiff::Timestamp::from_second(entry.created).unwrap_or_default();
        let mut item = json!({ "created": created.to_string(), "created_by": entry.created_by });
        if !entry.comment.is_empty() {
            item["comment"] = Value::from(entry.comment);
        }
        if empty {
            item["empty_layer"] = Value::from(true);
        }
        history.push(item);
    }
    (left == 0).then_some(history)
}

fn is_config_only(step: &str) -> bool {
    let instruction = step.split_once(NO_OPERATION).map_or(step, |(_, rest)| rest).trim_start();
    CONFIG_ONLY.iter().any(|name| instruction.split(' ').next() == Some(name))
}

/// What `docker load` takes, without the layers.
fn archive(image: &LocalImage, document: &ImageConfig, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let config = format!("{}.json", image.id.as_str().trim_start_matches("sha256:"));
    let layers = document.rootfs.diff_ids.iter().map(|id| format!("{}/layer.tar", id.trim_start_matches("sha256:")));
    let manifest = json!([{ "Config": config, "RepoTags": null, "Layers": layers.collect::<Vec<_>>() }]).to_string();
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in [(config.as_str(), bytes), ("manifest.json", manifest.as_bytes())] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content)?;
    }
    builder.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(created_by: &str, size: i64) -> ImageHistoryResponseItem {
        ImageHistoryResponseItem { created_by: created_by.to_owned(), size, ..ImageHistoryResponseItem::default() }
    }

    /// Youngest first, as the engine answers.
    fn entries() -> Vec<ImageHistoryResponseItem> {
        let steps = [
            ("ENV A=b", 0),
            ("WORKDIR /app", 0),
            ("/bin/sh -c #(nop)  CMD [\"sh\"]", 0),
            ("/bin/sh -c #(nop) ADD file:1 in / ", 5),
        ];
        steps.map(|(step, size)| entry(step, size)).to_vec()
    }

    #[test]
    fn layers_are_shared_out() {
        for (layers, empty) in [(2, [false, true, false, true]), (1, [false, true, true, true])] {
            let history = history(entries(), layers).expect("a history");
            let found: Vec<bool> = history.iter().map(|item| item["empty_layer"] == true).collect();
            assert_eq!(found, empty, "{layers}");
            assert_eq!(history[0]["created"], "1970-01-01T00:00:00Z");
        }
        assert_eq!(history(entries(), 3), None);
        assert_eq!(history(entries(), 0), None);
    }
}
