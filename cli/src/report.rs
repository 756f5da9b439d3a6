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
use slipway_oci::{Platform, Repo};
use slipway_process::random_id;
use slipway_stages::{
    StageRecord,
    build::{BuiltImage, BuiltStage, BuiltTarget, Source},
};

pub(crate) use read::{Reported, read};

use crate::flags::report::{ReportFlags, ReportFormat};

/// A report that is to be written, its place checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ReportFile {
    path: PathBuf,
    format: ReportFormat,
    /// Whether images are listed by platform, too.
    by_platform: bool,
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
        Ok(Self { path, format: flags.format, by_platform: flags.by_platform })
    }

    /// Writes the report: whole, or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self, images: &[BuiltImage], commit: &str) -> anyhow::Result<()> {
        let text = match self.format {
            ReportFormat::Json => json(images, commit, self.by_platform),
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

    /// Where an image is that was built: its index, or the only image that it is, or where no index can be the one for
    /// this host. `None` for one without stages, which is none.
    pub(crate) fn of_image(image: &BuiltImage) -> Option<Self> {
        let repo = image.repo()?;
        if let Some(index) = &image.index {
            let (repo, tag) = (repo.to_string(), index.tag.clone());
            let (image_name, image_digest) = (format!("{repo}:{tag}"), index.at.digest.to_string());
            return Some(Self { repo, tag, image_id: String::new(), image_digest, image_name });
        }
        Some(Self::of(&for_this_host(image)?.last()?.record, repo))
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

/// The image for the platform that this host is; another one where there is none.
fn for_this_host(image: &BuiltImage) -> Option<&BuiltTarget> {
    let host = Platform::host();
    image.platforms.iter().find(|target| target.platform == host).or(image.platforms.first())
}

/// The report as JSON: images under each of their names, artifacts left out; each by platform, when that is wanted.
fn json(images: &[BuiltImage], commit: &str, by_platform: bool) -> String {
    let mut report = Report { images: BTreeMap::new(), images_by_platform: BTreeMap::new() };
    for image in images.iter().filter(|image| !image.artifact) {
        for name in &image.names {
            if let Some(entry) = entry(image, &name.0, commit) {
                report.images.insert(name.0.clone(), entry);
            }
            for target in image.platforms.iter().filter(|_| by_platform) {
                if let Some(entry) = of_target(image, target, &name.0, commit) {
                    let each = report.images_by_platform.entry(name.0.clone()).or_default();
                    each.insert(target.platform.to_string(), entry);
                }
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

/// `None` for an image without stages, which is none. Of an image for several platforms all of them are told together.
fn entry(image: &BuiltImage, name: &str, commit: &str) -> Option<Image> {
    let platforms: Vec<String> = image.platforms.iter().map(|target| target.platform.to_string()).collect();
    Some(Image {
        place: Place::of_image(image)?,
        target_platform: platforms.join(","),
        rebuilt: image.rebuilt(),
        size: image.lasts().map(|last| last.record.size).sum(),
        build_time: seconds(image.stages().map(|stage| stage.took).sum()),
        stages: image.stages().map(stage).collect(),
        ..of_target(image, image.platforms.first()?, name, commit)?
    })
}

/// The image for one platform.
fn of_target(image: &BuiltImage, target: &BuiltTarget, name: &str, commit: &str) -> Option<Image> {
    let last = target.last()?;
    let dockerfile = target.stages.iter().any(|stage| stage.kind.is_of_dockerfile());
    // What the final repository has of it has no tag of its own there.
    let repo = if image.index.is_some() { &last.record.at.repo } else { image.repo()? };
    Some(Image {
        werf_image_name: name.to_owned(),
        place: Place::of(&last.record, repo),
        config_type: if dockerfile { "dockerfile" } else { "stapel" },
        target_platform: target.platform.to_string(),
        rebuilt: target.stages.iter().any(|stage| stage.source == Source::Built),
        is_final: image.is_final,
        size: last.record.size,
        build_time: seconds(target.stages.iter().map(|stage| stage.took).sum()),
        commit: commit.to_owned(),
        stages: target.stages.iter().map(stage).collect(),
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
        base_image_pulled: stage.base_pulled,
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
    for image in images.iter().filter(|image| !image.is_within()) {
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
