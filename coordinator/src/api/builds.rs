//! Builds: submit, list, follow, cancel.

use std::{io, sync::Arc};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use futures::stream;
use slipway_oci::Repo;
use slipway_protocol::{
    BuildEvent, BuildName, Code, EventId, MissingAnswer, MissingRequest, Refusal, SubmitRequest, TimedEvent,
};
use tokio::sync::OwnedSemaphorePermit;

use super::{Api, Request, answer, answer::refuse};
use crate::{
    mirrors::Mirrors,
    reign::{Entry, Reign},
    spool::Follower,
};

/// Longest request for missing commits, in bytes.
const MISSING: usize = 1 << 20;
/// Most commits that are asked for at once.
const COMMITS: usize = 10_000;
/// Builds that are listed when nobody says how many.
const LISTED: usize = 1000;
const EVENTS: &str = "application/x-ndjson";

impl Api {
    pub(super) async fn missing(&self, request: &Request<'_>, body: Body) -> Result<Response, Refusal> {
        let reign = self.reign()?;
        Mirrors::check_name(request.name).map_err(|error| refuse(Code::Invalid, error.to_string()))?;
        let MissingRequest { commits } = answer::read(body, MISSING).await?;
        if commits.len() > COMMITS {
            return Err(refuse(Code::TooLarge, format!("more than {COMMITS} commits are asked for")));
        }
        let missing = reign.mirrors().missing(request.name, &commits).await.map_err(|error| {
            tracing::error!("{error}");
            refuse(Code::Unavailable, "the coordinator's mirror of the project cannot be used; its log says why")
        })?;
        Ok(answer::json(&MissingAnswer { missing }))
    }

    pub(super) async fn submit(&self, request: &Request<'_>, body: Body) -> Result<Response, Refusal> {
        let reign = self.reign()?;
        let name = name(request)?;
        let submitted: SubmitRequest = answer::read(body, self.limits.submit).await?;
        let refused = |repo: &&Repo| !request.caller.may_use(repo);
        if let Some(refused) = std::iter::once(&submitted.repo).chain(submitted.others.written()).find(refused) {
            let why = format!("the token `{}` may not build to {refused}", request.caller.name);
            return Err(refuse(Code::Forbidden, format!("{why}; `repos=` in the file of tokens says where it may")));
        }
        let project = submitted.project.clone();
        let summary = reign.submit(&name, submitted).await?;
        tracing::info!(build = %name, project, caller = %request.caller.name, "a build is submitted");
        Ok(answer::json(&summary))
    }

    pub(super) fn list(&self, request: &Request<'_>) -> Result<Response, Refusal> {
        let limit = match parameter(request, "limit") {
            None => LISTED,
            Some(text) => {
                text.parse().map_err(|_| refuse(Code::Invalid, format!("`limit={text}` is no number of builds")))?
            }
        };
        let mut all = self.reign()?.list();
        all.retain(|summary| request.caller.may_use(&summary.repo));
        all.truncate(limit);
        Ok(answer::json(&all))
    }

    pub(super) fn show(&self, request: &Request<'_>) -> Result<Response, Refusal> {
        Ok(answer::json(&find(&*self.reign()?, request)?.summary()))
    }

    pub(super) async fn explain(&self, request: &Request<'_>) -> Result<Response, Refusal> {
        let reign = self.reign()?;
        let entry = find(&reign, request)?;
        Ok(answer::json(&reign.explain(&entry).await))
    }

    pub(super) async fn cancel(&self, request: &Request<'_>) -> Result<Response, Refusal> {
        let reign = self.reign()?;
        let entry = find(&reign, request)?;
        let summary = reign.cancel(entry.name()).await?;
        tracing::info!(build = %entry.name(), caller = %request.caller.name, "a build is cancelled");
        Ok(answer::json(&summary))
    }

    /// The events of a build after some event, as they come, until it is over.
    pub(super) async fn events(&self, request: &Request<'_>) -> Result<Response, Refusal> {
        let reign = self.reign()?;
        let entry = find(&reign, request)?;
        let after = match parameter(request, "after").filter(|text| !text.is_empty()) {
            None => EventId::default(),
            Some(text) => text.parse().map_err(|error| refuse(Code::Invalid, format!("after: {error}")))?,
        };
        let permit = reign.follow()?;
        let Some(spool) = entry.spool() else { return last_event(&reign, &entry, after).await };
        // Another leader told the build from its beginning: so does this one.
        let after = if after.term == reign.term() { after.number } else { 0 };
        if after > spool.written().events {
            let why = format!("after: the build has no event {}.{after} yet", reign.term());
            return Err(refuse(Code::Invalid, why));
        }
        let following = Following {
            follower: Follower::new(spool, after),
            heartbeat: self.limits.heartbeat,
            at_line: true,
            reign,
            _permit: permit,
        };
        Ok(answer::typed(EVENTS, Body::from_stream(following.stream())))
    }
}

/// A build that was over before this term: all that is known of it is how it ended.
async fn last_event(reign: &Reign, entry: &Entry, after: EventId) -> Result<Response, Refusal> {
    let id = EventId { term: reign.term(), number: 1 };
    if after >= id && after.term == id.term {
        return Ok(answer::typed(EVENTS, Body::empty()));
    }
    let missing = || refuse(Code::Internal, "how the build ended is not stored");
    let text = reign.result(entry).await?.ok_or_else(missing)?;
    let ending = serde_json::from_str(&text).map_err(|_| missing())?;
    let event = TimedEvent { id, event: BuildEvent::Finished(ending) };
    let mut line = serde_json::to_vec(&event).map_err(|_| missing())?;
    line.push(b'\n');
    Ok(answer::typed(EVENTS, Body::from(line)))
}

/// A stream of events under way.
struct Following {
    follower: Follower,
    heartbeat: std::time::Duration,
    /// Whether what was sent ends with a line.
    at_line: bool,
    reign: Arc<Reign>,
    _permit: OwnedSemaphorePermit,
}

impl Following {
    fn stream(self) -> impl futures::Stream<Item = io::Result<Bytes>> + Send {
        stream::unfold(Some(self), |following| async {
            let mut following = following?;
            match following.next().await {
                Ok(Some(piece)) => Some((Ok(piece), Some(following))),
                Ok(None) => None,
                Err(error) => {
                    tracing::error!("read the events of a build: {error}");
                    Some((Err(error), None))
                }
            }
        })
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let over = Arc::clone(&self.reign);
        let waiting = self.follower.is_at_end() && self.at_line;
        tokio::select! {
            biased;
            piece = self.follower.next() => {
                let piece = piece?;
                if let Some(last) = piece.as_ref().and_then(|piece| piece.last()) {
                    self.at_line = *last == b'\n';
                }
                Ok(piece)
            }
            // The next leader tells the rest.
            () = over.over() => Ok(None),
            // An empty line says that somebody is there.
            () = tokio::time::sleep(self.heartbeat), if waiting => Ok(Some(Bytes::from_static(b"\n"))),
        }
    }
}

/// The build of a call, if it is any business of the caller's.
fn find(reign: &Reign, request: &Request<'_>) -> Result<Arc<Entry>, Refusal> {
    let name = name(request)?;
    let entry = reign.find(&name)?;
    if request.caller.may_use(&entry.summary().repo) { Ok(entry) } else { Err(Reign::unknown(&name)) }
}

fn name(request: &Request<'_>) -> Result<BuildName, Refusal> {
    request.name.parse().map_err(|error| refuse(Code::Invalid, format!("{error}")))
}

/// The value of a parameter of the query. Values here need no escapes.
fn parameter<'r>(request: &Request<'r>, name: &str) -> Option<&'r str> {
    let mut pairs = request.parts.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(key, value)| (key == name).then_some(value))
}
