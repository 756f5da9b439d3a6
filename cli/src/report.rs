//! The build report: what was built, for the programs that come after, and for later commands that [`read`] it.

mod read;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use slipway_oci::Repo;
use slipway_process::random_id;
use slipway_stages::{
    StageKind, StageRecord,
    build::{BuiltImage, BuiltStage, Source},
};

pub(crate) use read::read;

use crate::flags::report::{ReportFlags, ReportFormat};

/// A report that is to be written, its place checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ReportFile {
    path: PathBuf,
    format: ReportFormat,
}

impl ReportFile {
    /// The report that the flags want, below the current directory `here`.
    ///
    /// # Errors
    /// When there can be no such file.
    pub(crate) fn new(flags: &ReportFlags, here: &Path) -> anyhow::Result<Self> {
        let path = here.join(&flags.path);
        let parent = path.parent().unwrap_or(here);
        if !parent.is_dir() {
            bail!("write the build report {}: the directory {} does not exist", flags.path, parent.display());
        }
        if path.is_dir() {
            bail!("write the build report {}: it is a directory", flags.path);
        }
        Ok(Self { path, format: flags.format })
    }

    /// Writes the report: whole, or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self, images: &[BuiltImage], commit: &str) -> anyhow::Result<()> {
        let text = match self.format {
            ReportFormat::Json => json(images, commit),
            ReportFormat::Env => env(images),
        };
        replace(&self.path, text.as_bytes()).with_context(|| format!("write the build report {}", self.path.display()))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    images: BTreeMap<String, Image>,
    images_by_platform: BTreeMap<String, BTreeMap<String, Image>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    werf_image_name: String,
    #[serde(flatten)]
    place: Place,
    config_type: &'static str,
    target_platform: String,
    rebuilt: bool,
    #[serde(rename = "Final")]
    is_final: bool,
    size: u64,
    build_time: String,
    commit: String,
    stages: Vec<Stage>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Stage {
    name: &'static str,
    #[serde(flatten)]
    place: Place,
    created_at: u64,
    size: u64,
    source_type: &'static str,
    base_image_pulled: bool,
    rebuilt: bool,
    build_time: String,
    commit: String,
}

/// Where an image is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The repository; of a local storage the project.
    #[serde(rename = "DockerRepo")]
    pub(crate) repo: String,
    /// The tag.
    #[serde(rename = "DockerTag")]
    pub(crate) tag: String,
    /// Digest of the config.
    #[serde(rename = "DockerImageID", default)]
    pub(crate) image_id: String,
    /// Digest of the manifest; empty for an image of a local storage.
    #[serde(rename = "DockerImageDigest", default)]
    pub(crate) image_digest: String,
    /// Both together.
    #[serde(rename = "DockerImageName", default)]
    pub(crate) image_name: String,
}

impl Place {
    /// `REPO:TAG`
    pub(crate) fn name(&self) -> String {
        format!("{}:{}", self.repo, self.tag)
    }

    /// Where an image is that was built; `None` for one without stages, which is none.
    pub(crate) fn of_image(image: &BuiltImage) -> Option<Self> {
        Some(Self::of(&image.last()?.record, image.repo()?))
    }

    fn of(record: &StageRecord, repo: &Repo) -> Self {
        let (repo, tag) = (repo.to_string(), record.id.to_string());
        // An image of a local storage has no manifest.
        let local = record.at.repo.host.is_empty();
        Self {
            image_name: format!("{repo}:{tag}"),
            image_id: record.image_id.to_string(),
            image_digest: if local { String::new() } else { record.at.digest.to_string() },
            repo,
            tag,
        }
    }
}

/// The report as JSON: images under each of their names, artifacts left out.
fn json(images: &[BuiltImage], commit: &str) -> String {
    let mut report = Report { images: BTreeMap::new(), images_by_platform: BTreeMap::new() };
    for image in images.iter().filter(|image| !image.artifact) {
        for name in &image.names {
            if let Some(entry) = entry(image, &name.0, commit) {
                report.images.insert(name.0.clone(), entry);
            }
        }
    }
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    report.serialize(&mut serializer).expect("texts, numbers and maps with text keys are JSON");
    bytes.push(b'\n');
    String::from_utf8(bytes).expect("JSON of texts is UTF-8")
}

/// `None` for an image without stages, which is none.
fn entry(image: &BuiltImage, name: &str, commit: &str) -> Option<Image> {
    let last = image.last()?;
    let dockerfile = image.stages.iter().any(|stage| stage.kind == StageKind::Dockerfile);
    Some(Image {
        werf_image_name: name.to_owned(),
        place: Place::of_image(image)?,
        config_type: if dockerfile { "dockerfile" } else { "stapel" },
        target_platform: last.record.platform.to_string(),
        rebuilt: image.rebuilt(),
        is_final: image.is_final,
        size: last.record.size,
        build_time: seconds(image.stages.iter().map(|stage| stage.took).sum()),
        commit: commit.to_owned(),
        stages: image.stages.iter().map(stage).collect(),
    })
}

fn stage(stage: &BuiltStage) -> Stage {
    let record = &stage.record;
    Stage {
        name: stage.kind.name(),
        place: Place::of(record, &record.at.repo),
        created_at: record.id.stamp.0.saturating_mul(1_000_000),
        size: record.size,
        source_type: match stage.source {
            Source::Reused => "repo",
            Source::Copied(origin) => origin.name(),
            Source::Built => "",
        },
        base_image_pulled: false,
        rebuilt: stage.source == Source::Built,
        build_time: seconds(stage.took),
        commit: record.commits.values().next().map(ToString::to_string).unwrap_or_default(),
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.2}", took.as_secs_f64())
}

/// The report as variables: `WERF_<NAME>_DOCKER_IMAGE_NAME=REPO:TAG`, sorted by name.
fn env(images: &[BuiltImage]) -> String {
    let mut lines = BTreeMap::new();
    for image in images.iter().filter(|image| !image.artifact) {
        let Some(place) = Place::of_image(image) else { continue };
        for name in &image.names {
            lines.insert(variable(&name.0), place.name());
        }
    }
    lines.into_iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

/// The variable that names an image.
pub(crate) fn variable(name: &str) -> String {
    if name.is_empty() {
        return "WERF_DOCKER_IMAGE_NAME".to_owned();
    }
    format!("WERF_{}_DOCKER_IMAGE_NAME", name.to_uppercase().replace(['/', '-', '.'], "_"))
}

/// Writes beside `path` and renames: readers see the old file or the new one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", random_id()));
    let aside = path.with_file_name(name);
    let write = || {
        let mut file = File::create_new(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&aside, path)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&aside)))
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
