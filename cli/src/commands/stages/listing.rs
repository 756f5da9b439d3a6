//! `slipway stages list|show`: what a repository has, as its tags and images say it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, anyhow};
use clap::ArgMatches;
use serde::Serialize;
use slipway_digest::StageId;
use slipway_oci::{ImageConfig, Manifest, Repo};
use slipway_registry::Client;
use slipway_storage::names;

use super::{given, print, report::Report};
use crate::{
    commands::session::Desk,
    failure::Failure,
    flags::{stages::IMAGE, storage::StorageFlags},
    host::{RegistryOptions, client},
    output::timestamp,
};

/// Lists stages: all, or those that are named by tag, digest or image.
pub(crate) async fn list(desk: Desk, matches: &ArgMatches) -> Result<(), Failure> {
    let (client, repo) = open(&desk)?;
    let tags = client.tags(&repo).await?;
    let wanted: Vec<&String> = given(matches).collect();
    let images = desk.values.list(&IMAGE);
    let names: Vec<String> = tags.iter().filter_map(|tag| names::managed_name(tag)).collect();
    if let Some(unknown) = images.iter().find(|image| !names.contains(image)) {
        return Err(anyhow!("{repo} has no image `{unknown}`; `slipway managed-images ls` lists them").into());
    }
    let all: BTreeSet<StageId> = tags.iter().filter_map(|tag| tag.parse().ok()).collect();
    let mut stages: BTreeMap<StageId, Listed> = all.into_iter().map(|id| (id, Listed::new(id))).collect();
    for (tag, name) in tags.iter().flat_map(|tag| names.iter().map(move |name| (tag, name))) {
        let Some((_, id)) = names::commit_of(tag, name) else { continue };
        let Some(stage) = stages.get_mut(&id) else { continue };
        stage.images.insert(name.clone());
    }
    for id in tags.iter().filter_map(|tag| tag.strip_suffix(names::REJECTED_SUFFIX)?.parse().ok()) {
        stages.entry(id).or_insert_with(|| Listed::new(id)).rejected = true;
    }
    let by_name =
        |stage: &Listed| wanted.is_empty() || wanted.iter().any(|name| stage.stage.starts_with(name.as_str()));
    let by_image = |stage: &Listed| images.is_empty() || images.iter().any(|name| stage.images.contains(name));
    let mut stages: Vec<Listed> = stages.into_values().filter(|stage| by_name(stage) && by_image(stage)).collect();
    stages.sort_by_key(|stage| stage.created_at_millis);
    print(&desk, &Listing { repo: repo.to_string(), stages })
}

/// Shows one stage.
pub(crate) async fn show(desk: Desk, matches: &ArgMatches) -> Result<(), Failure> {
    let id: StageId = given(matches).next().map(|text| text.parse()).context("a stage")?.map_err(Failure::usage)?;
    let (client, repo) = open(&desk)?;
    let raw = client.manifest(&repo, &id.to_string()).await?;
    let raw = raw.with_context(|| format!("{repo} has no stage {id}"))?;
    let manifest = Manifest::parse(&raw.bytes).with_context(|| format!("read the manifest of {repo}:{id}"))?;
    let config = client.blob(&repo, &manifest.config.digest).await?;
    let config = ImageConfig::parse(&config).with_context(|| format!("read the config of {repo}:{id}"))?;
    let labels = config.labels().clone();
    let size = manifest.layers.iter().map(|layer| layer.size).sum();
    let layers = manifest.layers.iter().map(|layer| Layer { digest: layer.digest.to_string(), size: layer.size });
    let read = slipway_stages::labels::read_for(&id, &labels);
    let shown = Shown {
        stage: id.to_string(),
        repo: repo.to_string(),
        manifest: raw.digest.to_string(),
        image_id: manifest.config.digest.to_string(),
        created_at_millis: id.stamp.0,
        platform: config.platform().map(|platform| platform.to_string()),
        parent: read.as_ref().ok().and_then(|labels| labels.parent).map(|parent| parent.to_string()),
        unusable: read.err().map(|error| error.to_string()),
        size,
        layers: layers.collect(),
        labels,
    };
    print(&desk, &shown)
}

/// The repository that the flags name, without its records.
pub(super) fn open(desk: &Desk) -> Result<(Client, Repo), Failure> {
    let flags = StorageFlags::from_values(&desk.values).map_err(Failure::usage)?;
    let repo = flags.repo.clone().ok_or_else(|| Failure::usage(anyhow!("give --repo: whose stages?")))?;
    let repo: Repo = repo.parse().context("--repo").map_err(Failure::usage)?;
    Ok((client(&RegistryOptions::new(&flags, &desk.world.environment))?, repo))
}

#[derive(Serialize)]
struct Listing {
    repo: String,
    stages: Vec<Listed>,
}

/// A stage, as tags tell of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    stage: String,
    created_at_millis: u64,
    /// Images that it was at some commit.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    images: BTreeSet<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    rejected: bool,
}

impl Listed {
    fn new(id: StageId) -> Self {
        Self { stage: id.to_string(), created_at_millis: id.stamp.0, images: BTreeSet::new(), rejected: false }
    }
}

impl Report for Listing {
    fn text(&self) -> String {
        let line = |stage: &Listed| {
            let state = if stage.rejected { " rejected" } else { "" };
            let names: Vec<&str> =
                stage.images.iter().map(|name| if name.is_empty() { "~" } else { name.as_str() }).collect();
            let names = if names.is_empty() { String::new() } else { format!(" {}", names.join(",")) };
            format!("{} {}{state}{names}\n", stage.stage, timestamp::iso(stage.created_at_millis))
        };
        self.stages.iter().map(line).collect()
    }
}

/// A stage, as its image tells of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    stage: String,
    repo: String,
    manifest: String,
    image_id: String,
    created_at_millis: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    /// Why no build takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    unusable: Option<String>,
    size: u64,
    layers: Vec<Layer>,
    labels: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Layer {
    digest: String,
    size: u64,
}

impl Report for Shown {
    fn text(&self) -> String {
        let mut lines = vec![
            format!("stage: {}", self.stage),
            format!("name: {}:{}", self.repo, self.stage),
            format!("created: {}", timestamp::iso(self.created_at_millis)),
            format!("manifest: {}", self.manifest),
            format!("image: {}", self.image_id),
        ];
        lines.extend(self.platform.iter().map(|platform| format!("platform: {platform}")));
        lines.extend(self.parent.iter().map(|parent| format!("parent: {parent}")));
        lines.extend(self.unusable.iter().map(|why| format!("unusable: {why}")));
        lines.push(format!("size: {}", self.size));
        lines.push("layers:".to_owned());
        lines.extend(self.layers.iter().map(|layer| format!("  {} {}", layer.digest, layer.size)));
        lines.push("labels:".to_owned());
        lines.extend(self.labels.iter().map(|(name, value)| format!("  {name}: {value}")));
        lines.join("\n") + "\n"
    }
}
