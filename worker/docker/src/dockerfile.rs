//! Dockerfile builds by the engine, with its own layer cache.

mod failure;
mod progress;
mod query;
mod session;

use std::{collections::HashMap, pin::pin, sync::Arc};

use bollard::query_parameters::BuildImageOptions;
use futures::{StreamExt as _, TryStreamExt as _};
use slipway_backend::{
    BackendError, ByteStream, DockerfileBuild, ImageLink, LocalImage, Logs, dockerfile::refused, pulls::Pulls,
};
use tokio_util::io::ReaderStream;

use crate::{
    BuilderChoice,
    context::{Context, spool},
    engine::Engine,
    error::{failed, is_missing},
    images::{self, cache_tag},
};
use failure::{explain, secret_mount};
use progress::Progress;
use query::with_query;
use session::{Directories, Files, Session};

/// Name of a Dockerfile that is sent apart from its context.
const DOCKERFILE: &str = "Dockerfile";
/// Where the engine finds a context that is not in the request.
const IN_SESSION: &str = "client-session";

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
        let buildkit = match self.choice {
            BuilderChoice::Auto => self.engine.has_buildkit(),
            BuilderChoice::Classic => false,
            BuilderChoice::BuildKit => true,
        };
        if let Some((line, kind)) = secret_mount(&build.text).filter(|_| !buildkit) {
            let why = format!(
                "RUN --mount=type={kind} needs BuildKit, and the classic builder of the Docker engine builds \
                 (DOCKER_BUILDKIT=0, or an engine before 18.09)"
            );
            return Err(refused(Some(line), why));
        }
        build.text = self.prepare_bases(&build).await?;
        let (directory, text) = (self.spool.to_owned(), build.text.clone());
        let context = self.engine.cleanups.blocking(move || spool(&directory, context, &text, buildkit)).await?;
        if !buildkit {
            return self.send(&build, context, None, logs).await;
        }
        let directories = self.directories(&build, &context).await?;
        let session = Session::open(&self.engine.address, &build.secrets, build.agent.as_ref(), directories).await?;
        let id = session.id().to_owned();
        let mut built = pin!(self.send(&build, context, Some(&id), logs));
        tokio::select! {
            built = &mut built => built,
            () = session.serve() => built.await,
        }
    }

    /// A context without its Dockerfile, and that: BuildKit would take an added one for a part of the context.
    async fn directories(
        &self,
        build: &DockerfileBuild,
        context: &Context,
    ) -> Result<Option<Directories>, BackendError> {
        if context.dockerfile.is_some() {
            return Ok(None);
        }
        let archive = context.file.try_clone();
        let archive = archive.map_err(|error| BackendError::Engine(format!("read the build context: {error}")))?;
        let (directory, text, tasks) = (self.spool.to_owned(), build.text.clone(), self.engine.cleanups.clone());
        let list = move || {
            let dockerfile = Files::one(&directory, DOCKERFILE, &text)?;
            Ok(Some(Directories::new(Files::of_archive(archive)?, dockerfile, tasks)))
        };
        self.engine.cleanups.blocking(list).await
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

    /// Sends a build, to BuildKit when there is a session.
    async fn send(
        &self,
        build: &DockerfileBuild,
        context: Context,
        session: Option<&str>,
        logs: Logs,
    ) -> Result<LocalImage, BackendError> {
        let options = BuildImageOptions {
            remote: context.dockerfile.is_none().then(|| IN_SESSION.to_owned()),
            dockerfile: context.dockerfile.clone().unwrap_or_else(|| DOCKERFILE.to_owned()),
            rm: true,
            forcerm: true,
            buildargs: Some(build.args.clone().into_iter().collect::<HashMap<_, _>>()),
            labels: Some(build.labels.clone().into_iter().collect::<HashMap<_, _>>()),
            networkmode: build.network.clone(),
            platform: self.engine.foreign(&build.platform),
            target: build.target.clone().unwrap_or_default(),
            ..BuildImageOptions::default()
        };
        let body = match context.dockerfile {
            None => bollard::body_full(Vec::new().into()),
            Some(_) => {
                let body = ReaderStream::with_capacity(tokio::fs::File::from_std(context.file), 1 << 17);
                bollard::body_try_stream(body.map_err(std::io::Error::from))
            }
        };
        let docker = with_query(&self.engine.docker, &build.add_hosts, session);
        let mut answers = docker.build_image(options, None, Some(body)).boxed();
        let mut progress = Progress::new(logs, &build.secrets);
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
            Ok(found) => {
                let found = images::local(&found)?;
                self.engine.uses.note(&found.id);
                Ok(found)
            }
            Err(error) if is_missing(&error) => Err(BackendError::Gone(image.to_owned())),
            Err(error) => Err(failed("look at the image of a Dockerfile", error)),
        }
    }
}
