//! The native backend, asked for every case.

use std::path::{Path, PathBuf};

use futures::TryStreamExt as _;
use slipway_backend::{
    BackendError, DockerfileBuild, ImageBuilder as _, ImageStore as _,
    conformance::{Harness, build_of, collect},
};
use tokio::sync::mpsc;

use crate::{
    context,
    judge::Answer,
    listing,
    parts::Native,
    table::{Case, Kind, Table},
};

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
    pub(crate) async fn answers(&self, table: &Table) -> Vec<(String, Answer)> {
        let harness = Harness::new(&self.native.backend, &self.native.base);
        let mut answers = Vec::new();
        for case in &table.cases {
            answers.push((case.name.clone(), self.answer(table, case, harness.attempt()).await));
        }
        answers
    }

    async fn answer(&self, table: &Table, case: &Case, attempt: String) -> Answer {
        let (text, target) = table.build(case);
        let build = DockerfileBuild { target, args: case.args(), ..build_of(attempt, &text) };
        let ignore = if case.kind == Kind::Ignore { case.text.as_str() } else { "" };
        let (logs, lines) = mpsc::channel(16);
        let making = self.native.backend.dockerfile(build, context::archive(&self.context, ignore), logs);
        let (made, said) = tokio::join!(making, collect(lines));
        let image = match made {
            Ok(image) => image,
            Err(error) => {
                let refused = matches!(error, BackendError::Refused(_) | BackendError::Command { .. });
                return Answer::Failed { why: format!("{error}: {said:?}"), refused };
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
}
