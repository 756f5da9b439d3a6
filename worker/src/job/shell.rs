//! A shell for the user in a stage whose commands failed.

use std::collections::BTreeMap;

use slipway_backend::{BackendError, LocalImage, Setup, Workspace};
use slipway_process::random_id;
use slipway_protocol::Failure;
use slipway_stages::{GitInput, StagePlan};

use super::{Runner, stage};
use crate::{introspect::Moment, progress::Progress};

/// What a stage was made from.
pub(super) struct State<'s> {
    pub(super) base: Option<&'s LocalImage>,
    pub(super) setup: Setup,
    /// Sources that were brought up to date.
    pub(super) patch: &'s [GitInput],
    pub(super) variables: &'s BTreeMap<String, String>,
}

/// Variables that a static bash complains of when it begins: it has no locales.
const LOCALES: [&str; 2] = ["LANG", "LC_ALL"];

/// Opens a shell, if one is wanted, in `workspace` as its commands left it or as it was before. What is wrong with the
/// shell is said, and no other failure of the stage.
pub(super) async fn offer(
    runner: &Runner,
    plan: &StagePlan,
    workspace: &mut dyn Workspace,
    state: State<'_>,
    error: &BackendError,
) {
    let BackendError::Command { tail, .. } = error else { return };
    let Some((introspect, moment)) = runner.introspect.as_ref().and_then(|lender| Some((lender, lender.on_error()?)))
    else {
        return;
    };
    let mut variables = state.variables.clone();
    variables.retain(|name, _| !LOCALES.contains(&name.as_str()));
    let state = State { variables: &variables, ..state };
    let mut said = tail.clone();
    let which = match moment {
        Moment::After => "as the commands left it",
        Moment::Before => "as it was before the commands",
    };
    said.push(format!("Stage {}: {error}. A shell in it, {which}; `exit` ends it, and the build fails.", plan.kind));
    let opened = match moment {
        Moment::After => match introspect.lend(&said.join("\n"), plan.kind.name()).await {
            Some(terminal) => workspace.shell(state.variables, terminal).await.map_err(|error| error.to_string()),
            None => Ok(()),
        },
        Moment::Before => before(runner, plan, &state, &said.join("\n")).await,
    };
    if let Err(why) = opened {
        tracing::warn!("the shell in stage {} is not opened: {why}", plan.kind);
    }
}

/// The state that is lost is made once more.
async fn before(runner: &Runner, plan: &StagePlan, state: &State<'_>, said: &str) -> Result<(), String> {
    let why = |failure: Failure| failure.why;
    let attempt = format!("{}-before-{}", state.setup.attempt, &random_id()[..8]);
    let mut workspace =
        stage::open(runner, plan, state.base, Setup { attempt, ..state.setup.clone() }).await.map_err(why)?;
    stage::bring(runner, plan, workspace.as_mut(), state.patch, &Progress::default()).await.map_err(why)?;
    let lent = match &runner.introspect {
        Some(introspect) => introspect.lend(said, plan.kind.name()).await,
        None => None,
    };
    let Some(terminal) = lent else { return Ok(()) };
    workspace.shell(state.variables, terminal).await.map_err(|error| error.to_string())
}
