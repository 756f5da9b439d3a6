//! A stage job: base, body, config, upload.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use slipway_backend::{
    BackendError, ByteStream, DockerfileBuild, HostMount, LocalImage, Script, Secrets, Setup, SshAgent, Workspace,
};
use slipway_digest::StageId;
use slipway_git::ArchiveOptions;
use slipway_oci::{ImageAt, Reference, Repo, Respec};
use slipway_process::failpoint::failpoint;
use slipway_protocol::{Assignment, Failure, Uploaded};
use slipway_stages::{
    DockerfileInput, GitInput, Place, PlanBase, ShellCommand, SourceId, StageBody, StageKind, StagePlan, TaskInput,
};

use super::{
    AGENT_DIRECTORY, Runner, covered::Covered, failure, git, imports, instruction, logs::LogPipe, shell, stored,
    stored::Stored, upload,
};
use crate::{
    agents::{AGENT_SOCKET, LentAgent},
    archive,
    mounts::Held,
    progress::Progress,
    traces,
};

/// Builds a stage and stores it, untagged.
pub(super) async fn build(
    runner: &Runner,
    assignment: &Assignment,
    plan: &StagePlan,
    started: Duration,
    progress: &Progress,
) -> Result<Uploaded, Failure> {
    failpoint("worker.start");
    let span = runner.traces.begin("run", assignment);
    let attempt = assignment.attempt.clone();
    let logs = LogPipe::open(&runner.tasks, runner.link.clone(), attempt, progress.clone());
    let built = match &plan.body {
        StageBody::Copy(original) => Ok(Made::of(LocalImage { id: original.record.image_id.clone() })),
        StageBody::Dockerfile(input) => dockerfile(runner, assignment, plan, input, &logs).await.map(Made::of),
        StageBody::Instruction(input) => instruction::build(runner, assignment, plan, input, &logs).await,
        StageBody::Respec(spec) => respec(runner, assignment, plan, spec).await,
        StageBody::Nothing | StageBody::Git(_) | StageBody::Shell { .. } | StageBody::Imports(_) => {
            workspace(runner, assignment, plan, &logs, progress).await
        }
    };
    logs.close().await;
    traces::end(span, built.as_ref().err());
    let Made { image, base_pulled } = built?;
    failpoint("worker.built");
    progress.step();
    let span = runner.traces.begin("upload", assignment);
    let uploaded = store(runner, assignment, plan, &image, started).await;
    traces::end(span, uploaded.as_ref().err());
    let uploaded = uploaded?;
    failpoint("worker.uploaded");
    Ok(Uploaded { base_pulled, ..uploaded })
}

/// What the body of a stage has made.
pub(super) struct Made {
    pub(super) image: LocalImage,
    /// Whether what it stands on had to be fetched.
    pub(super) base_pulled: bool,
}

impl Made {
    fn of(image: LocalImage) -> Self {
        Self { image, base_pulled: false }
    }
}

/// Stores what an earlier attempt has built once more, as this attempt.
pub(super) async fn upload_again(
    runner: &Runner,
    assignment: &Assignment,
    plan: &StagePlan,
    result: &Uploaded,
) -> Result<Uploaded, Failure> {
    tracing::info!(attempt = %assignment.attempt, digest = %plan.digest, "uploading a result again");
    let image = LocalImage { id: result.image_id.clone() };
    let span = runner.traces.begin("upload", assignment);
    let stored = store(runner, assignment, plan, &image, runner.clock.monotonic()).await;
    traces::end(span, stored.as_ref().err());
    // Whatever stops it, the next try builds: the image may be what is wrong.
    let uploaded = stored.map_err(|failure| Failure { retryable: true, ..failure })?;
    Ok(Uploaded { took: result.took + uploaded.took, base_pulled: result.base_pulled, ..uploaded })
}

/// A stage of a Stapel image: a container on top of the stage below.
async fn workspace(
    runner: &Runner,
    assignment: &Assignment,
    plan: &StagePlan,
    logs: &LogPipe,
    progress: &Progress,
) -> Result<Made, Failure> {
    let (base, base_pulled) = base(runner, &assignment.caches, plan).await?;
    failpoint("worker.pulled");
    progress.step();
    // In `from` their places are made: nothing is mounted yet.
    let is_run = matches!(plan.body, StageBody::Shell { .. });
    let held = if is_run { Some(hold(runner, assignment, plan).await?) } else { None };
    let agent = if is_run { lend(runner, assignment).await? } else { None };
    let setup = setup(assignment, plan, held.as_ref(), agent.as_ref());
    let setup = setup.map_err(|error| failure::backend("start a build container", error))?;
    let mut workspace = open(runner, plan, base.as_ref(), setup.clone()).await?;
    if plan.kind == StageKind::From && !plan.mounts.is_empty() {
        workspace.clear(&plan.mounts, logs.logs()).await?;
    }
    progress.step();
    match &plan.body {
        StageBody::Git(inputs) => {
            for input in inputs {
                git::put(runner, &plan.project, workspace.as_mut(), input).await?;
                progress.step();
            }
        }
        StageBody::Imports(inputs) => {
            for input in inputs {
                imports::put(runner, &assignment.caches, workspace.as_mut(), input).await?;
                progress.step();
            }
        }
        StageBody::Shell { patch, commands, tasks, variables } => {
            bring(runner, plan, workspace.as_mut(), patch, progress).await?;
            let (doing, script) =
                script(runner, (commands, tasks), with_agent(variables, agent.as_ref()), logs).await?;
            let variables = script.variables.clone();
            say_network(plan.network.as_deref(), logs).await;
            if let Err(error) = workspace.run(script, logs.logs()).await {
                let state = shell::State { base: base.as_ref(), setup, patch, variables: &variables };
                shell::offer(runner, plan, workspace.as_mut(), state, &error).await;
                return Err(failure::backend(doing, error));
            }
        }
        StageBody::Nothing
        | StageBody::Respec(_)
        | StageBody::Dockerfile(_)
        | StageBody::Instruction(_)
        | StageBody::Copy(_) => {}
    }
    if let Some(held) = held {
        // What is shared is measured when it is given back.
        runner.tasks.blocking(move || drop(held)).await;
    }
    failpoint("worker.ran");
    progress.step();
    let committed = workspace.commit(plan.change.clone()).await;
    let image = committed.map_err(|error| failure::backend("save the build container as an image", error))?;
    Ok(Made { image, base_pulled })
}

/// How the container of a stage is set up: with what only its commands see.
fn setup(
    assignment: &Assignment,
    plan: &StagePlan,
    held: Option<&Held>,
    agent: Option<&LentAgent>,
) -> Result<Setup, BackendError> {
    let mut setup = Setup::new(assignment.attempt.id.clone(), plan.platform.clone());
    setup.to.clone_from(&assignment.push_to);
    setup.network.clone_from(&plan.network);
    setup.mounts.extend(held.iter().flat_map(|held| held.mounts.iter().cloned()));
    setup.secrets = secrets(assignment, plan)?;
    if let Some(agent) = agent {
        let (source, target) = (agent.directory.clone(), AGENT_DIRECTORY.to_owned());
        setup.mounts.push(HostMount { source, target, read_only: true });
    }
    Ok(setup)
}

/// Says which network commands have.
pub(super) async fn say_network(network: Option<&str>, logs: &LogPipe) {
    let network = network.filter(|network| !network.is_empty()).unwrap_or("default");
    // Nobody who reads on is missed when the build is being given up.
    let _ = logs.logs().send(format!("network: {network}").into_bytes()).await;
}

/// What the commands of a stage may read.
fn secrets(assignment: &Assignment, plan: &StagePlan) -> Result<Secrets, BackendError> {
    let mut secrets = Secrets::none();
    for used in &plan.secrets {
        let Some(secret) = assignment.secrets.iter().find(|secret| secret.id == used.id) else {
            return Err(BackendError::Refused(format!("the secret `{}` was not handed over", used.id)));
        };
        secrets.add(&secret.id, secret.content.reveal().to_vec());
    }
    Ok(secrets)
}

/// Starts a workspace.
pub(super) async fn open(
    runner: &Runner,
    plan: &StagePlan,
    base: Option<&LocalImage>,
    setup: Setup,
) -> Result<Box<Covered>, Failure> {
    let opened = runner.backend.open(base, setup).await;
    let opened = opened.map_err(|error| failure::backend("start a build container", error))?;
    Ok(Box::new(Covered::new(opened, &plan.mounts)))
}

/// Brings the sources of a stage up to date.
pub(super) async fn bring(
    runner: &Runner,
    plan: &StagePlan,
    workspace: &mut dyn Workspace,
    patch: &[GitInput],
    progress: &Progress,
) -> Result<(), Failure> {
    for input in patch {
        git::put(runner, &plan.project, workspace, input).await?;
        progress.step();
    }
    Ok(())
}

/// The ssh agent of the commands of a job, as long as it is held.
pub(super) async fn lend(runner: &Runner, assignment: &Assignment) -> Result<Option<LentAgent>, Failure> {
    let lent = runner.agents.lend(&assignment.ssh_keys).await;
    lent.map_err(|error| failure::backend("prepare to run the commands of the stage", error))
}

/// The variables of commands, with where the ssh agent is.
fn with_agent(variables: &BTreeMap<String, String>, agent: Option<&LentAgent>) -> BTreeMap<String, String> {
    let mut variables = variables.clone();
    if agent.is_some() {
        variables.insert("SSH_AUTH_SOCK".to_owned(), format!("{AGENT_DIRECTORY}/{AGENT_SOCKET}"));
    }
    variables
}

/// What is run in a user stage, and how that is called.
async fn script(
    runner: &Runner,
    (commands, tasks): (&[ShellCommand], &[TaskInput]),
    variables: BTreeMap<String, String>,
    logs: &LogPipe,
) -> Result<(&'static str, Script), Failure> {
    if tasks.is_empty() {
        let commands = commands.iter().map(|command| (command.line, command.text.clone())).collect();
        return Ok(("run the commands of the stage", Script { commands, variables, tools: None }));
    }
    let script = runner.ansible.script(tasks, variables, &logs.logs()).await;
    let script = script.map_err(|error| failure::backend("prepare to run the tasks of the stage", error))?;
    Ok(("run the tasks of the stage", script))
}

/// The directories of the host that a stage's commands see.
async fn hold(runner: &Runner, assignment: &Assignment, plan: &StagePlan) -> Result<Held, Failure> {
    let (mounts, wanted) = (Arc::clone(&runner.mounts), plan.mounts.clone());
    let (project, repo) = (plan.project.clone(), assignment.push_to.clone());
    let held = runner.tasks.blocking(move || mounts.hold(&wanted, &project, repo.as_ref())).await;
    held.map_err(|error| {
        let refused = BackendError::Refused(error.to_string());
        failure::backend("get the directories that are mounted", refused)
    })
}

/// The image below with another config.
async fn respec(runner: &Runner, assignment: &Assignment, plan: &StagePlan, spec: &Respec) -> Result<Made, Failure> {
    let doing = "rewrite the config of the image as `imageSpec` says";
    let (base, base_pulled) = base(runner, &assignment.caches, plan).await?;
    let Some(base) = base else {
        let nothing = BackendError::Refused("there is no stage below".to_owned());
        return Err(failure::backend(doing, nothing));
    };
    let made = runner.backend.respec(&base, spec, &plan.change.labels).await;
    let image = made.map_err(|error| failure::backend(doing, error))?;
    Ok(Made { image, base_pulled })
}

/// The image that a stage stands on, and whether it had to be fetched.
pub(super) async fn base(
    runner: &Runner,
    caches: &[Repo],
    plan: &StagePlan,
) -> Result<(Option<LocalImage>, bool), Failure> {
    match &plan.base {
        PlanBase::None => Ok((None, false)),
        PlanBase::Stage { id, at, image_id } => {
            let found = stored::have(runner, caches, Stored { id: *id, at, image_id }).await;
            let (image, pulled) = found.map_err(|error| failure::stage("fetch the stage below", at, error))?;
            Ok((Some(image), pulled))
        }
        PlanBase::External(image) => {
            let doing = format!("fetch the base image `{}`", image.reference);
            // Of an image of the engine alone there is nothing to fetch.
            let pulled = match &image.at {
                Some(at) => !runner.backend.has(at).await,
                None => false,
            };
            let found = imports::external(runner, image, &plan.platform).await;
            Ok((Some(found.map_err(|error| failure::backend(&doing, error))?), pulled))
        }
    }
}

async fn dockerfile(
    runner: &Runner,
    assignment: &Assignment,
    plan: &StagePlan,
    input: &DockerfileInput,
    logs: &LogPipe,
) -> Result<LocalImage, Failure> {
    let doing = format!("build `{}`", input.path);
    let agent = lend(runner, assignment).await?;
    let context = context(runner, plan, input, &doing).await?;
    let build = order(runner, assignment, plan, (input, agent.as_ref())).await;
    let build = build.map_err(|error| failure::backend(&doing, error))?;
    say_network(input.network.as_deref(), logs).await;
    let built = runner.backend.dockerfile(build, context, logs.logs()).await;
    built.map_err(|error| match lost_base(assignment, input, &error) {
        Some(at) => failure::stage(&doing, at, error),
        None => failure::backend(&doing, error),
    })
}

/// The build context of a Dockerfile.
pub(super) async fn context(
    runner: &Runner,
    plan: &StagePlan,
    input: &DockerfileInput,
    doing: &str,
) -> Result<ByteStream, Failure> {
    let view = runner.sources.at(&plan.project, &SourceId::own(), input.commit).await;
    let view = view.map_err(|error| failure::source(doing, &error))?;
    let (scope, commit) = (input.context.clone(), input.commit);
    let info = {
        let view = view.clone();
        runner.tasks.blocking(move || view.commit(commit)).await.map_err(|error| failure::git(doing, &error))?
    };
    let mtime = u64::try_from(info.time).unwrap_or(0);
    let options = ArchiveOptions { mtime, only: None, file_name: None, for_layer: false };
    Ok(archive::stream(&runner.tasks, view, commit, scope, options))
}

/// What a backend is told of a Dockerfile.
pub(super) async fn order(
    runner: &Runner,
    assignment: &Assignment,
    plan: &StagePlan,
    (input, agent): (&DockerfileInput, Option<&LentAgent>),
) -> Result<DockerfileBuild, BackendError> {
    Ok(DockerfileBuild {
        attempt: assignment.attempt.id.clone(),
        text: input.text.clone(),
        platform: plan.platform.clone(),
        target: input.target.clone(),
        args: input.args.clone(),
        add_hosts: input.add_hosts.clone(),
        network: input.network.clone(),
        labels: plan.change.labels.clone(),
        to: assignment.push_to.clone(),
        bases: bases(runner, assignment, input).await,
        secrets: secrets(assignment, plan)?,
        agent: agent.map(|agent| mountable(agent, input)),
    })
}

/// What `RUN --mount=type=ssh` of a Dockerfile reaches.
fn mountable(agent: &LentAgent, input: &DockerfileInput) -> SshAgent {
    let ids = ["default".to_owned()].into_iter().chain(input.ssh.clone()).collect();
    SshAgent { socket: agent.directory.join(AGENT_SOCKET), ids }
}

/// The stage of ours that a Dockerfile stands on and that `error` says is gone.
pub(super) fn lost_base<'a>(
    assignment: &Assignment,
    input: &'a DockerfileInput,
    error: &BackendError,
) -> Option<&'a ImageAt> {
    let BackendError::Gone(gone) = error else { return None };
    let stored = input.bases.iter().filter_map(|base| base.at.as_ref());
    let mut own = stored.filter(|at| assignment.push_to.as_ref() == Some(&at.repo));
    own.find(|at| at.to_string() == *gone)
}

/// The images that a Dockerfile stands on, stages of ours from where they are nearest.
async fn bases(runner: &Runner, assignment: &Assignment, input: &DockerfileInput) -> Vec<(String, Option<ImageAt>)> {
    let mut bases = Vec::new();
    for base in &input.bases {
        let own = base.at.as_ref().filter(|at| assignment.push_to.as_ref() == Some(&at.repo));
        let tag = base.reference.parse::<Reference>().ok().and_then(|reference| reference.tag);
        let at = match (own, tag.and_then(|tag| tag.parse::<StageId>().ok())) {
            (Some(at), Some(id)) if !assignment.caches.is_empty() => {
                Some(stored::nearest(runner, &assignment.caches, id, at).await)
            }
            _ => base.at.clone(),
        };
        bases.push((base.reference.clone(), at));
    }
    bases
}

/// Stores the result of a stage job where builds go.
async fn store(
    runner: &Runner,
    assignment: &Assignment,
    plan: &StagePlan,
    image: &LocalImage,
    started: Duration,
) -> Result<Uploaded, Failure> {
    match &plan.body {
        StageBody::Copy(original) if original.place != Place::Local => {
            upload::copied(runner, assignment, original, started).await
        }
        StageBody::Copy(_)
        | StageBody::Nothing
        | StageBody::Git(_)
        | StageBody::Shell { .. }
        | StageBody::Imports(_)
        | StageBody::Respec(_)
        | StageBody::Dockerfile(_)
        | StageBody::Instruction(_) => upload::built(runner, assignment, plan, image, started).await,
    }
}
