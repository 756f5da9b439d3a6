//! Dockerfile builds by the engine, with its own layer cache.

mod failure;
mod hosts;
mod progress;

use std::{collections::HashMap, sync::Arc};

use bollard::query_parameters::{BuildImageOptions, BuilderVersion};
use futures::{StreamExt as _, TryStreamExt as _};
use slipway_backend::{BackendError, ByteStream, DockerfileBuild, ImageLink, LocalImage, Logs};
use slipway_process::random_id;
use tokio_util::io::ReaderStream;

use crate::{
    BuilderChoice,
    context::{Context, spool},
    engine::Engine,
    error::{failed, is_missing},
    images::{self, Pulls, cache_tag},
};
use failure::{explain, secret_mount};
use hosts::with_hosts;
use progress::Progress;

/// What a Dockerfile build needs of the backend.
pub(crate) struct Builder<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) pulls: &'a Pulls,
    pub(crate) link: &'a Arc<dyn ImageLink>,
    pub(crate) spool: &'a std::path::Path,
    pub(crate) choice: BuilderChoice,
}

impl Builder<'_> {
    /// Builds; output goes to `logs`.
    pub(crate) async fn build(
        &self,
        mut build: DockerfileBuild,
        context: ByteStream,
        logs: Logs,
    ) -> Result<LocalImage, BackendError> {
        // The engine would run the command without them, and say nothing.
        if let Some((line, kind)) = secret_mount(&build.text) {
            return Err(BackendError::Refused(format!(
                "the Dockerfile cannot be built (line {line}): not supported yet: RUN --mount=type={kind} with the Docker \
                 engine; `secrets` and ssh agents are for Stapel images"
            )));
        }
        build.text = self.prepare_bases(&build).await?;
        let (directory, text) = (self.spool.to_owned(), build.text.clone());
        let context = self.engine.cleanups.blocking(move || spool(&directory, context, &text)).await?;
        let buildkit = match self.choice {
            BuilderChoice::Auto => self.engine.has_buildkit(),
            BuilderChoice::Classic => false,
            BuilderChoice::BuildKit => true,
        };
        // BuildKit reads no ignore file out of an archive: an added Dockerfile would get into the image.
        let version =
            if buildkit && !context.added { BuilderVersion::BuilderBuildKit } else { BuilderVersion::BuilderV1 };
        self.send(&build, context, version, logs).await
    }

    /// Makes sure that the engine has the bases under the names that the Dockerfile uses. A name with a digest cannot
    /// be given to an image, so the text is changed to name the image that was pulled.
    async fn prepare_bases(&self, build: &DockerfileBuild) -> Result<String, BackendError> {
        let mut text = build.text.clone();
        for (name, at) in &build.bases {
            let Some(at) = at else { continue };
            if images::inspect(self.engine, name).await?.is_some() {
                continue;
            }
            let image = images::pull(self.engine, self.pulls, self.link.as_ref(), at).await?;
            if name.contains('@') {
                text = text.replace(name.as_str(), &cache_tag(&at.digest));
            } else {
                let (repo, tag) = images::split_tag(name);
                images::tag(self.engine, &image, repo, tag).await?;
            }
        }
        Ok(text)
    }

    async fn send(
        &self,
        build: &DockerfileBuild,
        context: Context,
        version: BuilderVersion,
        logs: Logs,
    ) -> Result<LocalImage, BackendError> {
        let buildkit = matches!(version, BuilderVersion::BuilderBuildKit);
        let options = BuildImageOptions {
            dockerfile: context.dockerfile,
            rm: true,
            forcerm: true,
            buildargs: Some(build.args.clone().into_iter().collect::<HashMap<_, _>>()),
            labels: Some(build.labels.clone().into_iter().collect::<HashMap<_, _>>()),
            networkmode: build.network.clone(),
            platform: self.engine.foreign(&build.platform),
            target: build.target.clone().unwrap_or_default(),
            version,
            session: buildkit.then(random_id),
            ..BuildImageOptions::default()
        };
        let body = ReaderStream::with_capacity(tokio::fs::File::from_std(context.file), 1 << 17);
        let body = bollard::body_try_stream(body.map_err(std::io::Error::from));
        let docker = with_hosts(&self.engine.docker, &build.add_hosts);
        let mut answers = docker.build_image(options, None, Some(body)).boxed();
        let mut progress = Progress::new(logs);
        let mut broken = None;
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(info) => progress.take(info).await,
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
        }
        let ended = progress.finish().await;
        match (broken, ended.image.clone()) {
            (Some(error), _) => Err(explain(error, &build.text, ended)),
            (None, Some(image)) => self.found(&image).await,
            (None, None) => Err(BackendError::Engine("build a Dockerfile: the engine named no image".to_owned())),
        }
    }

    async fn found(&self, image: &str) -> Result<LocalImage, BackendError> {
        match self.engine.docker.inspect_image(image).await {
            Ok(found) => images::local(&found),
            Err(error) if is_missing(&error) => Err(BackendError::Gone(image.to_owned())),
            Err(error) => Err(failed("look at the image of a Dockerfile", error)),
        }
    }
}
