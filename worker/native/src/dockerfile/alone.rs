//! One instruction as a build of its own: what it stands on and what it reads are images that were made before.

use std::sync::Arc;

use slipway_backend::{
    BackendError, ByteStream, InstructionBuild, LocalImage, Logs,
    dockerfile::{
        Follows, Postponed, follows, has_command, head_text, not_built, platform_of, variables_before, wrong,
    },
};
use slipway_dockerfile::{Origin, Variables};

use super::{Build, base, cursor::Cursor, finish, open, step, step::Place};
use crate::Shared;

/// Does the instruction; output goes to `logs`.
pub(crate) async fn instruct(
    shared: &Arc<Shared>,
    order: InstructionBuild,
    context: ByteStream,
    logs: Logs,
) -> Result<LocalImage, BackendError> {
    let InstructionBuild { file, stage, number, base, stages, beginning } = order;
    let mut build = open(shared, file, context, logs).await?;
    build.sending.carry(stage);
    let follows = follows(&build.program, stage, number, base.as_ref())?;
    let alone = Alone { build: &build, stage, beginning };
    for (position, image) in &stages {
        let cursor = alone.finished(*position, image, follows.is_none()).await?;
        build.stages.know(*position, cursor);
    }
    let done = async {
        match &follows {
            None => alone.begin().await,
            Some(follows) => alone.go_on(follows).await,
        }
    };
    let cursor = tokio::select! {
        done = done => done?,
        lacking = build.stages.lacking() => return Err(not_built(&build.program, lacking)),
    };
    finish(&build, &cursor).await
}

/// An instruction of a stage.
struct Alone<'b> {
    build: &'b Build,
    stage: usize,
    beginning: Option<LocalImage>,
}

impl Alone<'_> {
    /// The beginning of the stage, with what its base has postponed.
    async fn begin(&self) -> Result<Cursor, BackendError> {
        let Self { build, stage, .. } = self;
        let head = build.program.head(*stage).map_err(wrong)?;
        build.say(&head_text(&build.program, &head)).await;
        let (mut cursor, postponed) = base::begin(build, *stage, &head).await?;
        let steps = build.program.triggers(*stage, &postponed).map_err(wrong)?;
        for written in &steps {
            step::one(build, &mut cursor, &Place { stage: *stage, written, title: written.text.clone() }).await?;
        }
        if matches!(head.base, Origin::Image(_)) {
            // What follows is done by others.
            Postponed::note(&mut cursor.draft, &steps);
        }
        Ok(cursor)
    }

    /// The instruction at a place behind the `FROM`.
    async fn go_on(&self, follows: &Follows) -> Result<Cursor, BackendError> {
        let Self { build, stage, .. } = self;
        let Follows { index, written, base } = follows;
        let mut cursor = self.on(*stage, base).await?;
        cursor.variables = self.variables(*stage, Some(*index), &cursor).await?;
        cursor.has_command = has_command(&build.program, (*stage, *index), &cursor.config).map_err(wrong)?;
        let place = Place { stage: *stage, written, title: written.text.clone() };
        if !written.makes_files() {
            build.say(&place.title).await;
        }
        step::one(build, &mut cursor, &place).await?;
        Ok(cursor)
    }

    /// A stage of which all is done. Its variables go on in a stage that begins with it.
    async fn finished(&self, position: usize, image: &LocalImage, begins: bool) -> Result<Cursor, BackendError> {
        let mut cursor = self.on(position, image).await?;
        if begins {
            cursor.variables = self.variables(position, None, &cursor).await?;
        }
        Ok(cursor)
    }

    async fn on(&self, stage: usize, image: &LocalImage) -> Result<Cursor, BackendError> {
        let (config, layers) = self.build.shared.image(image).await?;
        let head = self.build.program.lowest(stage).map_err(wrong)?;
        let platform = platform_of(&head, &self.build.order.platform)?;
        Ok(base::on(self.build, config, (layers, platform)))
    }

    /// The variables in force before the instruction at a place of a stage, or at its end. Arguments had their values when they
    /// were declared, so everything that sets a variable is done once more.
    async fn variables(&self, stage: usize, index: Option<usize>, cursor: &Cursor) -> Result<Variables, BackendError> {
        let beginning = match &self.beginning {
            Some(image) => Some(self.build.shared.image(image).await?.0),
            None => None,
        };
        variables_before(&self.build.program, (stage, index), &cursor.config, beginning.as_ref()).map_err(wrong)
    }
}
