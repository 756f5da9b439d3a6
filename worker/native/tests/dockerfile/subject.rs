//! The native backend, asked for every case.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use futures::TryStreamExt as _;
use slipway_backend::{
    BackendError, DockerfileBuild, ImageBuilder as _, ImageStore as _, InstructionBuild, LocalImage, Logs,
    conformance::{Harness, build_of, collect},
};
use slipway_dockerfile::{Origin, Outline, OutlinedLine};
use tokio::sync::mpsc;

use crate::{
    context,
    judge::Answer,
    listing,
    parts::Native,
    table::{Case, Kind, Table},
};

/// How a Dockerfile is built.
#[derive(Clone, Copy)]
pub(crate) enum How {
    /// At once.
    Whole,
    /// One instruction after the other, each on the image that those before it have made.
    Staged,
}

/// The backend under test.
pub(crate) struct Subject {
    native: Native,
    context: PathBuf,
}

impl Subject {
    pub(crate) async fn start(context: &Path) -> Option<Self> {
        Some(Self { native: Native::start().await?, context: context.to_owned() })
    }

    pub(crate) async fn end(self) {
        self.native.end().await;
    }

    /// What comes of every case.
    pub(crate) async fn answers(&self, table: &Table, how: How) -> Vec<(String, Answer)> {
        let harness = Harness::new(&self.native.backend, &self.native.base);
        let mut answers = Vec::new();
        for case in &table.cases {
            answers.push((case.name.clone(), self.answer(table, case, (harness.attempt(), how)).await));
        }
        answers
    }

    async fn answer(&self, table: &Table, case: &Case, (attempt, how): (String, How)) -> Answer {
        let (text, target) = table.build(case);
        let build = DockerfileBuild { target, args: case.args(), ..build_of(attempt, &text) };
        let ignore = if case.kind == Kind::Ignore { case.text.as_str() } else { "" };
        let (logs, lines) = mpsc::channel(16);
        let making = async {
            match how {
                How::Whole => {
                    let context = context::archive(&self.context, ignore);
                    self.native.backend.dockerfile(build, context, logs).await
                }
                How::Staged => self.staged(build, ignore, logs).await,
            }
        };
        let (made, said) = tokio::join!(making, collect(lines));
        let image = match made {
            Ok(image) => image,
            Err(error) => {
                return Answer::Failed { why: format!("{error}: {said:?}"), refused: !error.is_retryable() };
            }
        };
        let mut lines = Vec::new();
        if case.kind != Kind::Config {
            let (_, stream) = self.native.backend.files(&image, "/").await.expect("files");
            let bytes: Vec<_> = stream.try_collect().await.expect("files");
            lines.extend(listing::trees(&bytes.concat(), Some("all")).remove("all").unwrap_or_default());
        }
        if matches!(case.kind, Kind::Config | Kind::Alone) {
            let config = self.native.backend.config(&image).await.expect("a configuration");
            let document = serde_json::from_slice::<serde_json::Value>(&config.to_bytes()).expect("JSON");
            lines.extend(listing::config(&document["config"]));
        }
        Answer::Made(lines)
    }

    async fn staged(&self, build: DockerfileBuild, ignore: &str, logs: Logs) -> Result<LocalImage, BackendError> {
        let platform = build.platform.to_string();
        let outline =
            slipway_dockerfile::outline("Dockerfile", &build.text, build.target.as_deref(), &build.args, &platform);
        let outline = outline.map_err(|error| BackendError::Refused(error.to_string()))?;
        let (mut done, mut begun) = (BTreeMap::new(), BTreeMap::new());
        let mut below = None;
        for stage in &outline.stages {
            below = None;
            let lowest = lowest(&outline, stage.position);
            let own = stage.instructions.iter().map(|own| (own.number, std::slice::from_ref(&own.text)));
            for (number, lines) in std::iter::once((0, stage.from.as_slice())).chain(own) {
                let has_arguments = lines.iter().any(|line| line.has_arguments);
                let alone = InstructionBuild {
                    file: DockerfileBuild {
                        attempt: format!("{}-{}-{number}", build.attempt, stage.position),
                        ..build.clone()
                    },
                    stage: stage.position,
                    number,
                    base: below.take(),
                    stages: read(lines).map(|position| (position, LocalImage::clone(&done[&position]))).collect(),
                    beginning: begun.get(&lowest).filter(|_| has_arguments).cloned(),
                };
                let context = context::archive(&self.context, ignore);
                let made = self.native.backend.instruction(alone, context, logs.clone()).await?;
                begun.entry(stage.position).or_insert_with(|| made.clone());
                below = Some(made);
            }
            done.extend(below.clone().map(|image| (stage.position, image)));
        }
        Ok(below.expect("every Dockerfile has a stage"))
    }
}

/// The stages that lines read, by position.
fn read(lines: &[OutlinedLine]) -> impl Iterator<Item = usize> {
    lines.iter().flat_map(|line| &line.origins).filter_map(|origin| match origin {
        Origin::Stage(position) => Some(*position),
        Origin::Scratch | Origin::Image(_) => None,
    })
}

/// The lowest stage that a stage stands on.
fn lowest(outline: &Outline, position: usize) -> usize {
    let stage = outline.stages.iter().find(|stage| stage.position == position).expect("a stage");
    match stage.base {
        Origin::Stage(below) => lowest(outline, below),
        Origin::Scratch | Origin::Image(_) => position,
    }
}
