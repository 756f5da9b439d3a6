//! `slipway attach|cancel|logs|explain` and `slipway builds list|show`: builds that were submitted before.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::anyhow;
use clap::ArgMatches;
use slipway_client::{Client, Told};
use slipway_protocol::{BuildEvent, BuildName, BuildState, BuildSummary};

use super::{build, program::BUILD, session::Desk};
use crate::{
    cluster,
    failure::Failure,
    flags::cluster as cluster_flags,
    flags::{cluster::FOLLOW, project::HOME_DIR},
    home,
    outcome::{BuildError, BuildOutcome},
    output::{Display, escape, events::DisplayEvent, failure::Files, summary, timestamp},
};

/// How long `logs` without `--follow` waits for more of what was told already.
const QUIET: Duration = Duration::from_secs(1);

/// Follows a build to its end. An interrupt leaves it alone.
pub(crate) async fn attach(desk: Desk, matches: &ArgMatches) -> Result<(), Failure> {
    let (client, name) = (client(&desk)?, name(matches)?);
    let home = home::directory(desk.values.text(&HOME_DIR).as_deref(), &desk.world.environment)?;
    let start = desk.world.clock.monotonic();
    let summary = client.build(&name).await?;
    let commit = summary.commit;
    desk.printer.info(&format!("Build {name} of {} at commit {commit} for {}", summary.project, summary.repo));
    let display = Display::new(Arc::clone(&desk.printer), 0);
    let ended = tokio::select! {
        ended = follow(&client, &name, (&desk.here, &home), |event| display.show(&event)) => ended,
        () = desk.world.interrupted.cancelled() => {
            desk.printer.info(&format!("The build goes on; `slipway cancel {name}` gives it up"));
            return Err(Failure::interrupted());
        }
    };
    drop(display);
    let outcome = ended.map_err(|error| build::failed(&desk.printer, error, &Files::unknown()))?;
    let took = desk.world.clock.monotonic().saturating_sub(start);
    desk.printer.info(&summary::text(&outcome.images, took));
    Ok(())
}

async fn follow(
    client: &Client,
    name: &BuildName,
    (here, home): (&Path, &Path),
    mut tell: impl FnMut(DisplayEvent),
) -> Result<BuildOutcome, BuildError> {
    let mut events = client.events(name.clone(), cluster::PATIENCE);
    loop {
        match cluster::next(&mut events, name).await? {
            Told::Event(BuildEvent::Finished(Ok(images))) => return Ok(BuildOutcome { images }),
            Told::Event(BuildEvent::Finished(Err(failure))) => return Err(BuildError::Build(failure)),
            Told::Event(event) => {
                let is_notice = matches!(event, BuildEvent::Notice(_));
                DisplayEvent::told(event).into_iter().for_each(&mut tell);
                if is_notice {
                    // It may wait for commits that whoever submitted it cannot push any more.
                    cluster::bring(client, name, here, home).await;
                }
            }
            Told::Lost(why) => tracing::info!("the connection to the coordinator was lost ({why}); connecting again"),
        }
    }
}

/// Gives a build up.
pub(crate) async fn cancel(desk: Desk, matches: &ArgMatches) -> Result<(), Failure> {
    let summary = client(&desk)?.cancel(&name(matches)?).await?;
    desk.printer.info(&format!("Build {} is {}", summary.build, state(summary.state)));
    Ok(())
}

/// Prints the output of a build's commands: so far, or until its end.
pub(crate) async fn logs(desk: Desk, matches: &ArgMatches) -> Result<(), Failure> {
    let (client, name) = (client(&desk)?, name(matches)?);
    let goes_on = desk.values.switch(&FOLLOW);
    let is_over = client.build(&name).await?.state != BuildState::Running;
    let mut events = client.events(name.clone(), cluster::PATIENCE);
    loop {
        let next = cluster::next(&mut events, &name);
        let told = tokio::select! {
            told = next => told,
            () = tokio::time::sleep(QUIET), if !goes_on && !is_over => return Ok(()),
            () = desk.world.interrupted.cancelled() => return Err(Failure::interrupted()),
        };
        let told = told.map_err(|error| match error {
            BuildError::Setup(error) => Failure::from(error),
            BuildError::Build(failure) => Failure::from(anyhow!("{failure:?}")),
        })?;
        match told {
            Told::Event(BuildEvent::Log { image, kind, line, .. }) => {
                let line = escape::line(line.as_bytes(), desk.printer.palette.colors());
                desk.printer.data(format!("{image}/{kind} {line}\n").as_bytes())?;
            }
            Told::Event(BuildEvent::Finished(_)) => return Ok(()),
            Told::Event(BuildEvent::Progress(_) | BuildEvent::Notice(_)) | Told::Lost(_) => {}
        }
    }
}

/// Prints why each job runs where it runs, or waits.
pub(crate) async fn explain(desk: Desk, matches: &ArgMatches) -> Result<(), Failure> {
    let explained = client(&desk)?.explain(&name(matches)?).await?;
    let text = serde_json::to_string_pretty(&explained)?;
    Ok(desk.printer.data(format!("{text}\n").as_bytes())?)
}

/// Lists the builds of a cluster.
pub(crate) async fn list(desk: Desk) -> Result<(), Failure> {
    let builds = client(&desk)?.builds().await?;
    Ok(desk.printer.data(builds.iter().map(line).collect::<String>().as_bytes())?)
}

/// Shows one build.
pub(crate) async fn show(desk: Desk, matches: &ArgMatches) -> Result<(), Failure> {
    let build = client(&desk)?.build(&name(matches)?).await?;
    Ok(desk.printer.data(properties(&build).as_bytes())?)
}

fn client(desk: &Desk) -> Result<Client, Failure> {
    let world = &desk.world;
    let client = cluster_flags::client(&desk.values, &world.environment, &desk.here, &world.clock);
    let missing = || Failure::usage(anyhow!("say which cluster to ask: --coordinator URL"));
    client.map_err(Failure::usage)?.ok_or_else(missing)
}

fn name(matches: &ArgMatches) -> Result<BuildName, Failure> {
    let given: Option<&String> = matches.get_one(BUILD);
    given
        .map_or("", String::as_str)
        .parse()
        .map_err(|error: slipway_protocol::builds::BuildNameError| Failure::usage(error))
}

fn state(state: BuildState) -> &'static str {
    match state {
        BuildState::Running => "running",
        BuildState::Succeeded => "succeeded",
        BuildState::Failed => "failed",
        BuildState::Cancelled => "cancelled",
    }
}

/// A build on a line: name, state, when it was submitted, project, commit, repository.
fn line(build: &BuildSummary) -> String {
    let submitted = timestamp::iso(build.submitted);
    let (name, state, commit) = (&build.build, state(build.state), build.commit.to_string());
    format!("{name}  {state:9}  {submitted}  {}  {}  {}\n", harmless(&build.project), &commit[..12], build.repo)
}

fn properties(build: &BuildSummary) -> String {
    let mut properties = vec![
        ("build", build.build.to_string()),
        ("state", state(build.state).to_owned()),
        ("project", harmless(&build.project)),
        ("commit", build.commit.to_string()),
        ("repo", build.repo.to_string()),
        ("submitted", timestamp::iso(build.submitted)),
    ];
    properties.extend(build.ended.map(|ended| ("ended", timestamp::iso(ended))));
    properties.extend(build.failure.as_ref().map(|failure| ("failure", harmless(failure))));
    properties.into_iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
}

fn harmless(text: &str) -> String {
    escape::harmless(text, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_a_line_or_a_list_of_properties() {
        let mut build = BuildSummary {
            build: "build-0001".parse().expect("a name"),
            project: "shop\u{1b}[2J".to_owned(),
            repo: "r.example/shop".parse().expect("a repository"),
            commit: "0123456789abcdef0123456789abcdef01234567".parse().expect("a commit"),
            state: BuildState::Running,
            submitted: 1_589_786_063_772,
            ended: None,
            failure: None,
            waits_for: Vec::new(),
        };
        let expected = "build-0001  running    2020-05-18T07:14:23.772Z  shop  0123456789ab  r.example/shop\n";
        assert_eq!(line(&build), expected);
        (build.state, build.ended) = (BuildState::Failed, Some(1_589_786_064_772));
        build.failure = Some("app/setup: it broke".to_owned());
        assert_eq!(
            properties(&build),
            "build: build-0001\nstate: failed\nproject: shop\ncommit: 0123456789abcdef0123456789abcdef01234567\n\
             repo: r.example/shop\nsubmitted: 2020-05-18T07:14:23.772Z\nended: 2020-05-18T07:14:24.772Z\n\
             failure: app/setup: it broke\n"
        );
    }
}
