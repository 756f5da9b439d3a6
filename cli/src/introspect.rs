//! Shells inside stages, on the terminal of the command.

use std::sync::Arc;

use anyhow::anyhow;
use async_trait::async_trait;
use slipway_backend::{BackendError, ContainerBackend, LocalImage, Setup, Terminal};
use slipway_process::{Environment, Tasks, random_id};
use slipway_stages::{Graph, StageKind, StageRecord, build::BuiltImage};
use slipway_worker::{Introspect, Moment};

use crate::{
    flags::introspect::{IntrospectFlags, Place},
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
        for place in &flags.stages {
            let Some(wanted) = &place.image else { continue };
            if !graph.images().iter().any(|image| image.names.iter().any(|name| name.to_string() == *wanted)) {
                return Err(anyhow!("--introspect-stage {place}: this build has no image `{wanted}`"));
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
            for stage in &image.stages {
                let wanted = |place: &Place| {
                    place.kind == stage.kind
                        && place
                            .image
                            .as_ref()
                            .is_none_or(|name| image.names.iter().any(|own| own.to_string() == *name))
                };
                if self.flags.stages.iter().any(wanted) {
                    let name = image.names.first().map(ToString::to_string).unwrap_or_default();
                    self.shell(backend, &name, stage.kind, &stage.record).await?;
                }
            }
        }
        Ok(())
    }

    async fn shell(
        &self,
        backend: &dyn ContainerBackend,
        image: &str,
        kind: StageKind,
        record: &StageRecord,
    ) -> anyhow::Result<()> {
        let name = format!("{image}/{kind}");
        let local = LocalImage { id: record.image_id.clone() };
        let local = if backend.config(&local).await.is_ok() { local } else { backend.pull(&record.at).await? };
        let setup = Setup::new(random_id(), record.platform.clone());
        let mut workspace = backend.open(Some(&local), setup).await?;
        let said = format!("A shell in stage {name}. What it changes is thrown away; `exit` ends it.");
        if let Some(terminal) = self.lend(&said, &name).await {
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
