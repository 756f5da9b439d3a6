//! One instruction of a Dockerfile as a stage.

use slipway_backend::{InstructionBuild, LocalImage};
use slipway_protocol::{Assignment, Failure};
use slipway_stages::{InstructionInput, StagePlan, StoredStage};

use super::{
    Runner, failure,
    logs::LogPipe,
    stage::{Made, base, context, lend, lost_base, order, say_network},
    stored::{self, Stored},
};

/// Does the instruction on what those before it have made.
pub(super) async fn build(
    runner: &Runner,
    assignment: &Assignment,
    plan: &StagePlan,
    input: &InstructionInput,
    logs: &LogPipe,
) -> Result<Made, Failure> {
    let file = &input.file;
    let doing = format!("build `{}`", file.path);
    // What a `FROM` stands on is one of the parts, or an image from elsewhere that it finds by its name.
    let (below, base_pulled) =
        if input.number == 0 { (None, false) } else { base(runner, &assignment.caches, plan).await? };
    let mut stages = Vec::with_capacity(input.parts.len());
    for (position, stage) in &input.parts {
        stages.push((*position, have(runner, assignment, stage).await?));
    }
    let beginning = match &input.beginning {
        Some(stage) => Some(have(runner, assignment, stage).await?),
        None => None,
    };
    let agent = if input.has_commands { lend(runner, assignment).await? } else { None };
    let ordered = order(runner, assignment, plan, (file, agent.as_ref())).await;
    let build = InstructionBuild {
        file: ordered.map_err(|error| failure::backend(&doing, error))?,
        stage: input.position,
        number: usize::from(input.number),
        base: below,
        stages,
        beginning,
    };
    let context = context(runner, plan, file, &doing).await?;
    // What a base has postponed seldom is a command.
    if input.has_commands && input.number > 0 {
        say_network(file.network.as_deref(), logs).await;
    }
    let built = runner.backend.instruction(build, context, logs.logs()).await;
    let image = built.map_err(|error| match lost_base(assignment, file, &error) {
        Some(at) => failure::stage(&doing, at, error),
        None => failure::backend(&doing, error),
    })?;
    Ok(Made { image, base_pulled })
}

/// A stage that the instruction reads, on this host.
async fn have(runner: &Runner, assignment: &Assignment, stage: &StoredStage) -> Result<LocalImage, Failure> {
    let StoredStage { id, at, image_id } = stage;
    let found = stored::have(runner, &assignment.caches, Stored { id: *id, at, image_id }).await;
    let (image, _) = found.map_err(|error| failure::stage("fetch a stage of the same Dockerfile", at, error))?;
    Ok(image)
}
