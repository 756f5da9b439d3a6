//! The cluster mode: coordinators decide, workers build, this process submits and follows.
//!
//! Nothing that it loses on the way is lost: connections and coordinators may go, and the build goes on.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use slipway_client::{Client, ClientError, Events, Told};
use slipway_digest::CommitId;
use slipway_git::{GitError, GitView as _, Remote, Repository};
use slipway_paths::{PathFilter, Scope};
use slipway_process::Tasks;
use slipway_protocol::{BuildEvent, BuildName, BuildSummary, MissingRequest, SubmitRequest};
use slipway_stages::build::BuildFailure;
use tokio_util::sync::CancellationToken;

use crate::{
    outcome::{BuildError, BuildOutcome},
    output::events::DisplayEvent,
};

/// How long coordinators may be away before a build is no longer followed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);
/// How long a build that is given up may take to end.
const ENDING: Duration = Duration::from_secs(60);
/// How often a push is tried: each time to whichever coordinator leads then.
const PUSHES: usize = 5;
/// How many changes of leader are followed in the middle of a submit.
const CHANGES: usize = 10;
/// Wait between pushes.
const BETWEEN: Duration = Duration::from_secs(1);

/// A build that is ready to be submitted: everything was read and checked.
pub(crate) struct ClusterRequest {
    /// Speaks to the coordinators.
    pub(crate) client: Client,
    /// What the build is called: of our choice, so that a submit can be repeated.
    pub(crate) name: BuildName,
    /// What is to be built.
    pub(crate) submit: SubmitRequest,
    /// The repository that its commits are in.
    pub(crate) repository: Repository,
    /// Cancelled when the user gives up: the build is then cancelled.
    pub(crate) interrupted: CancellationToken,
}

/// Submits a build and follows it to its end.
///
/// # Errors
/// [`BuildError`] when it did not finish, or when it could not be submitted or followed.
pub(crate) async fn build(
    request: &ClusterRequest,
    mut tell: impl FnMut(DisplayEvent),
) -> Result<BuildOutcome, BuildError> {
    tokio::select! {
        submitted = submit(request) => submitted.map_err(BuildError::Setup)?,
        () = request.interrupted.cancelled() => {
            // It may have arrived all the same.
            let _ = tokio::time::timeout(BETWEEN, request.client.cancel(&request.name)).await;
            return Err(BuildError::Build(BuildFailure::Cancelled));
        }
    }
    let mut events = request.client.events(request.name.clone(), PATIENCE);
    let ended = tokio::select! {
        ended = follow(request, &mut events, &mut tell) => return ended,
        () = request.interrupted.cancelled() => {
            let cancelled = request.client.cancel(&request.name).await;
            cancelled.context("the build goes on").map_err(BuildError::Setup)?;
            tokio::time::timeout(ENDING, follow(request, &mut events, &mut tell)).await
        }
    };
    ended.unwrap_or(Err(BuildError::Build(BuildFailure::Cancelled)))
}

/// Passes events on until the build is over.
async fn follow(
    request: &ClusterRequest,
    events: &mut Events,
    tell: &mut impl FnMut(DisplayEvent),
) -> Result<BuildOutcome, BuildError> {
    loop {
        match next(events, &request.name).await? {
            Told::Event(BuildEvent::Finished(Ok(images))) => return Ok(BuildOutcome { images }),
            Told::Event(BuildEvent::Finished(Err(failure))) => return Err(BuildError::Build(failure)),
            Told::Event(event) => {
                if let Some(event) = DisplayEvent::told(event) {
                    tell(event);
                }
            }
            Told::Lost(why) => {
                tracing::info!("the connection to the coordinator was lost ({why}); connecting again");
                // Whoever leads now may lack the commits, and what it was told of the build.
                let again = submit(request).await.with_context(|| goes_on(&request.name));
                again.map_err(BuildError::Setup)?;
            }
        }
    }
}

/// Waits for what a build tells next.
///
/// # Errors
/// [`BuildError::Setup`] when it can no longer be followed.
pub(crate) async fn next(events: &mut Events, name: &BuildName) -> Result<Told, BuildError> {
    let told = events.next().await;
    told.map_err(|error| {
        let is_away = matches!(error, ClientError::Away { .. });
        let error = anyhow::Error::new(error);
        BuildError::Setup(if is_away { error.context(goes_on(name)) } else { error })
    })
}

fn goes_on(name: &BuildName) -> String {
    format!("the build {name} is no longer followed and may go on; `slipway attach {name}` follows it again")
}

/// Sees to it that the coordinator has the commits and the build. Doing it again changes nothing.
///
/// # Errors
/// When it cannot be done.
pub(crate) async fn submit(request: &ClusterRequest) -> anyhow::Result<()> {
    let leader = || request.client.addresses().current();
    for _ in 0..CHANGES {
        push(request).await?;
        let pushed_to = leader();
        let submitted = request.client.submit(&request.name, &request.submit).await;
        if leader() == pushed_to {
            return Ok(submitted.map(drop)?);
        }
        // Another one has answered, which lacks the commits.
        tracing::info!("the leader has changed to {}", leader());
    }
    anyhow::bail!("submit the build: the coordinators change who leads too often; try again later")
}

/// Pushes the commits that the coordinator lacks.
async fn push(request: &ClusterRequest) -> anyhow::Result<()> {
    let submit = &request.submit;
    let upstreams = submit.upstreams.iter().map(|upstream| upstream.commit);
    let own = submit.context_commits.values().copied().chain([submit.commit]);
    let mut commits: Vec<CommitId> = own.chain(upstreams).chain(submit.submodules.iter().copied()).collect();
    commits.sort();
    commits.dedup();
    let asked = MissingRequest { commits };
    let mut tries = 0;
    loop {
        let missing = request.client.missing(&submit.project, &asked).await?.missing;
        if missing.is_empty() {
            return Ok(());
        }
        tries += 1;
        tracing::info!("pushing {} of {} commits to the coordinator", missing.len(), asked.commits.len());
        match push_once(request, missing).await {
            // That they have arrived is seen by asking again.
            Ok(()) if tries < PUSHES => {}
            Ok(()) => anyhow::bail!("push the commit to the coordinator: it arrives there and is not found"),
            Err(error @ GitError::Program(_)) if tries < PUSHES => {
                tracing::debug!("{error}");
                tokio::time::sleep(BETWEEN).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn push_once(request: &ClusterRequest, commits: Vec<CommitId>) -> Result<(), GitError> {
    push_from(&request.repository, &request.client, &request.submit.project, commits).await
}

/// Pushes what a build waits for that somebody else has submitted, as far as the repository around `here`, its submodules
/// and the copies of other repositories below `home` have it.
pub(crate) async fn bring(client: &Client, name: &BuildName, here: &Path, home: &Path) {
    let Ok(BuildSummary { project, waits_for, .. }) = client.build(name).await else { return };
    if waits_for.is_empty() {
        return;
    }
    let number = waits_for.len();
    let (here, home) = (here.to_owned(), home.to_owned());
    let looked = move || having(&here, &home, waits_for);
    let pushed = match Tasks::new().blocking(looked).await {
        Ok((repository, commits)) => push_from(&repository, client, &project, commits).await,
        Err(error) => Err(error),
    };
    match pushed {
        Ok(()) => tracing::info!("pushed {number} commits that the build waits for"),
        Err(error) => tracing::warn!("{error}; the build waits for it: attach in a clone of the project"),
    }
}

/// A repository that has as many of `commits` as can be, and those that it has; all of them, when it has none.
fn having(here: &Path, home: &Path, commits: Vec<CommitId>) -> Result<(Repository, Vec<CommitId>), GitError> {
    let store = home.join("snapshots");
    let copies = slipway_git::upstream::copies(home);
    let mut repository = Repository::open(here)?.with_commits_of(&store, &copies.iter().collect::<Vec<_>>())?;
    let everything = Scope::Filter(PathFilter::default());
    for commit in &commits {
        if repository.commit(*commit).is_ok() {
            let submodules = repository.submodules(*commit, &everything)?;
            repository = repository.with_submodules(&store, &submodules)?;
        }
    }
    let (here, absent): (Vec<_>, Vec<_>) = commits.into_iter().partition(|commit| repository.commit(*commit).is_ok());
    // The error that names a commit comes from pushing it.
    Ok(if here.is_empty() { (repository, absent) } else { (repository, here) })
}

async fn push_from(
    repository: &Repository,
    client: &Client,
    project: &str,
    commits: Vec<CommitId>,
) -> Result<(), GitError> {
    let (remote, repository) = (remote(client, project), repository.clone());
    Tasks::new().blocking(move || repository.push(&remote, &commits)).await
}

/// The git repository of a project at the coordinator that is believed to lead.
pub(crate) fn remote(client: &Client, project: &str) -> Remote {
    Remote {
        url: client.git_url(project),
        authorization: client.token().map(slipway_client::Token::authorization),
        is_here: client.addresses().are_here(),
    }
}
