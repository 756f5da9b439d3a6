//! Shells inside stages, on the terminal of the command.

use std::sync::Arc;

use anyhow::anyhow;
use async_trait::async_trait;
use slipway_backend::{BackendError, ContainerBackend, LocalImage, Setup, Terminal};
use slipway_process::{Environment, Tasks, random_id};
use slipway_stages::{
    Graph, StageRecord,
    build::{BuiltImage, BuiltTarget},
};
use slipway_worker::{Introspect, Moment};

use crate::{
    flags::introspect::{INTROSPECT_BEFORE, INTROSPECT_STAGE, IntrospectFlags, Place},
    output::Printer,
    terminal,
};

/// Lends the terminal to shells, one at a time.
pub(crate) struct Introspector {
    flags: IntrospectFlags,
    printer: Arc<Printer>,
    /// `TERM`.
    kind: String,
    tasks: Tasks,
    /// Who asks for the terminal waits here for its turn.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Introspector {
    /// As the flags want it; `None` = they want no shell.
    ///
    /// # Errors
    /// When there is no terminal, or a stage is named of an image that is not built.
    pub(crate) fn new(
        flags: IntrospectFlags,
        graph: &Graph,
        environment: &Environment,
        printer: &Arc<Printer>,
    ) -> anyhow::Result<Option<Self>> {
        if !flags.wants_any() {
            return Ok(None);
        }
        let stages = flags.stages.iter().map(|place| (&INTROSPECT_STAGE, place));
        for (flag, place) in stages.chain(flags.before.iter().map(|place| (&INTROSPECT_BEFORE, place))) {
            let Some(wanted) = &place.image else { continue };
            if !graph.images().iter().any(|image| image.names.iter().any(|name| name.to_string() == *wanted)) {
                return Err(anyhow!("--{} {place}: this build has no image `{wanted}`", flag.name));
            }
        }
        if !terminal::is_there() {
            return Err(anyhow!(
                "{} opens a shell, and standard input and standard error are no terminal: run the build on one, or leave \
                 the flag out",
                flags.spelling
            ));
        }
        let kind = environment.non_empty("TERM").unwrap_or("dumb").to_owned();
        Ok(Some(Self { flags, printer: Arc::clone(printer), kind, tasks: Tasks::new(), turn: Arc::default() }))
    }

    /// Opens shells in the stages that flags name, one after the other, now that they are stored.
    ///
    /// # Errors
    /// When a shell cannot be opened.
    pub(crate) async fn visit(&self, backend: &dyn ContainerBackend, images: &[BuiltImage]) -> anyhow::Result<()> {
        for image in images {
            for target in &image.platforms {
                self.visit_one(backend, image, target).await?;
            }
        }
        Ok(())
    }

    async fn visit_one(
        &self,
        backend: &dyn ContainerBackend,
        image: &BuiltImage,
        target: &BuiltTarget,
    ) -> anyhow::Result<()> {
        for (at, stage) in target.stages.iter().enumerate() {
            let wanted = |places: &[Place]| {
                let names = |name: &String| image.names.iter().any(|own| own.to_string() == *name);
                places.iter().any(|place| place.kind == stage.kind && place.image.as_ref().is_none_or(names))
            };
            let name = image.names.first().map(ToString::to_string).unwrap_or_default();
            let name = format!("{name}/{}", stage.kind);
            if wanted(&self.flags.before) {
                match at.checked_sub(1).and_then(|below| target.stages.get(below)) {
                    Some(below) => {
                        let what = format!("what stage {name} was built on");
                        self.shell(backend, (&what, &name), &below.record).await?;
                    }
                    None => self.printer.warn(&format!("no shell is opened: {name} is the first stage of its image")),
                }
            }
            if wanted(&self.flags.stages) {
                self.shell(backend, (&format!("stage {name}"), &name), &stage.record).await?;
            }
        }
        Ok(())
    }

    async fn shell(
        &self,
        backend: &dyn ContainerBackend,
        (what, prompt): (&str, &str),
        record: &StageRecord,
    ) -> anyhow::Result<()> {
        let local = LocalImage { id: record.image_id.clone() };
        let local = if backend.config(&local).await.is_ok() { local } else { backend.pull(&record.at).await? };
        let setup = Setup::new(random_id(), record.platform.clone());
        let mut workspace = backend.open(Some(&local), setup).await?;
        let said = format!("A shell in {what}. What it changes is thrown away; `exit` ends it.");
        if let Some(terminal) = self.lend(&said, prompt).await {
            workspace.shell(&Default::default(), terminal).await.map_err(broken)?;
        }
        Ok(())
    }

    /// Waits until the terminal is the command's own again.
    pub(crate) async fn ended(&self) {
        self.tasks.wait().await;
    }
}

fn broken(error: BackendError) -> anyhow::Error {
    anyhow::Error::new(error).context("open a shell in a stage")
}

#[async_trait]
impl Introspect for Introspector {
    fn on_error(&self) -> Option<Moment> {
        self.flags.on_error
    }

    async fn lend(&self, said: &str, prompt: &str) -> Option<Terminal> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        self.printer.info(said);
        match terminal::lend(&self.printer, &self.tasks, (self.kind.clone(), prompt), turn) {
            Ok(terminal) => Some(terminal),
            Err(error) => {
                self.printer.warn(&format!("no shell is opened: the terminal cannot be used: {error}"));
                None
            }
        }
    }
}
