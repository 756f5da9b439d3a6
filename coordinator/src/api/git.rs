//! Git's smart HTTP, spoken by git's own program.
//!
//! A push may only write `refs/slipway/*`, is checked object by object and runs no hook: the mirror's configuration
//! says so. Bodies stream through; they have limits of size and time, so that nobody who is slow keeps a program for long.

use std::{io, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use futures::{StreamExt as _, stream};
use http::{HeaderName, HeaderValue, StatusCode, header, request::Parts};
use slipway_process::Tasks;
use slipway_protocol::{Code, Refusal};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout},
    sync::{
        OwnedSemaphorePermit,
        mpsc::{self, error::SendTimeoutError},
    },
};

use crate::{
    api::{
        answer::refuse,
        auth::{Caller, Role},
        route::Call,
    },
    mirrors::{Git, Mirrors, NoMirror},
};

/// Longest request of a fetch, in bytes: it lists commits.
const MAX_FETCH: u64 = 16 << 20;
/// The same when it is compressed: git expands it, to at most a thousand times as much.
const MAX_COMPRESSED: u64 = 64 << 10;
/// How long git may think about what it was sent.
const THINKING: Duration = Duration::from_secs(300);
/// Pieces of git's answer that wait for whoever reads it.
const PIECES: usize = 4;
/// Longest head of git's answer, in bytes.
const MAX_HEAD: u64 = 16 * 1024;
/// How much of git's answer is read at once.
const PIECE: usize = 32 * 1024;

/// Answers a call of git. `pushed` is called when a push has been taken.
///
/// # Errors
/// When it is refused.
pub(crate) async fn answer(
    request: Request<'_>,
    body: Body,
    pushed: impl FnOnce() + Send + 'static,
) -> Result<Response, Refusal> {
    let service = service(&request)?;
    let Request { mirrors, project, parts, tasks, .. } = request;
    Mirrors::check_name(project).map_err(|error| refuse(Code::Invalid, error.to_string()))?;
    let limit = limit(service, parts, mirrors.limits().push)?;
    if service == PUSH {
        mirrors.ensure(project, &request.caller.name).await.map_err(no_mirror)?;
    } else if !mirrors.has(project) {
        return Err(refuse(Code::NotFound, format!("nothing of the project {project} was pushed here")));
    }
    let (pause, total) = (mirrors.limits().git_pause, mirrors.limits().git_total);
    let busy = |_| refuse(Code::Busy, "too many pushes and fetches are under way here; try again later");
    let permit = tokio::time::timeout(pause, mirrors.permit()).await.map_err(busy)?;
    let mut child = program(mirrors, project, parts).start().map_err(unable)?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(refuse(Code::Internal, "git was started without pipes"));
    };
    // Git may answer while the body comes: both are served at once. It answers a push only after all of it.
    let feeding = tasks.spawn(async move {
        let late = |_| Err(refuse(Code::Invalid, "the body took too long to come"));
        tokio::time::timeout(total, feed(body, stdin, limit, pause)).await.unwrap_or_else(late)
    });
    let mut output = BufReader::with_capacity(PIECE, stdout);
    let head = tokio::time::timeout(THINKING, head(&mut output)).await;
    let head = head.map_err(|_| refuse(Code::Unavailable, "git takes too long to answer"))??;
    if parts.method == http::Method::POST && service == PUSH {
        let fed = feeding.await.ok().flatten();
        fed.unwrap_or_else(|| Err(refuse(Code::Unavailable, "the coordinator is ending")))?;
    }
    let running = Running { child, output, _permit: permit, done: Some(pushed) };
    let (pieces, taken) = mpsc::channel(PIECES);
    let who = (project.to_owned(), Arc::clone(&request.caller.name));
    tasks.spawn(async move {
        let ended = tokio::time::timeout(total, running.hand_over(&pieces, pause)).await;
        if !ended.unwrap_or(false) {
            tracing::warn!(project = who.0, caller = %who.1, "a git program was ended: nobody took its answer in time");
        }
    });
    Ok(respond(head, taken))
}

/// How many bytes a request may have.
fn limit(service: &str, parts: &Parts, push: u64) -> Result<u64, Refusal> {
    let is_compressed = parts.headers.contains_key(header::CONTENT_ENCODING);
    let limit = match (service == PUSH, is_compressed) {
        // Git never does that, and what git expands of a push before its objects begin has no other limit.
        (true, true) => return Err(refuse(Code::Invalid, "a push is not taken with a `Content-Encoding`")),
        (true, false) => push,
        (false, true) => MAX_COMPRESSED,
        (false, false) => MAX_FETCH,
    };
    let length = header_text(parts, header::CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    Ok(limit)
}

/// A call of git.
pub(crate) struct Request<'r> {
    /// Which of them.
    pub(crate) call: Call,
    /// Who calls.
    pub(crate) caller: &'r Caller,
    /// All mirrors.
    pub(crate) mirrors: &'r Mirrors,
    /// Whose mirror.
    pub(crate) project: &'r str,
    /// Method, query and headers.
    pub(crate) parts: &'r Parts,
    /// Where the body is read.
    pub(crate) tasks: &'r Tasks,
}

const PUSH: &str = "git-receive-pack";
const FETCH: &str = "git-upload-pack";

/// The service that is asked for, if the caller may use it.
fn service(request: &Request<'_>) -> Result<&'static str, Refusal> {
    let service = match (request.call, request.parts.uri.query()) {
        (Call::GitPush, _) | (Call::GitRefs, Some("service=git-receive-pack")) => PUSH,
        (Call::GitFetch, _) | (Call::GitRefs, Some("service=git-upload-pack")) => FETCH,
        _ => return Err(refuse(Code::Invalid, "only git's smart protocol is spoken here: use git 1.6.6 or later")),
    };
    let needed = if service == PUSH { Role::Submit } else { Role::Worker };
    if request.caller.role.covers(needed) {
        return Ok(service);
    }
    Err(refuse(Code::Forbidden, format!("the token's role may not use {service}")))
}

fn program(mirrors: &Mirrors, project: &str, parts: &Parts) -> Git {
    let path = parts.uri.path().split_once("/git/").map_or("", |(_, rest)| rest);
    let mut git = Git::new(mirrors, mirrors.root(), "serve git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", mirrors.root())
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", format!("/{project}.git/{path}"))
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        // Who may push was decided before; git only asks whether there is somebody.
        .env("REMOTE_USER", "slipway");
    // Not how long the body is: told that, git waits without rest for the end of a body that breaks off.
    for (name, variable) in [
        (header::CONTENT_TYPE, "CONTENT_TYPE"),
        (header::CONTENT_ENCODING, "HTTP_CONTENT_ENCODING"),
        (HeaderName::from_static("git-protocol"), "GIT_PROTOCOL"),
    ] {
        if let Some(value) = header_text(parts, name) {
            git = git.env(variable, value);
        }
    }
    git
}

fn header_text(parts: &Parts, name: HeaderName) -> Option<&str> {
    parts.headers.get(name)?.to_str().ok()
}

/// Passes a body on to git.
async fn feed(body: Body, mut stdin: ChildStdin, limit: u64, pause: Duration) -> Result<(), Refusal> {
    let mut pieces = body.into_data_stream();
    let mut left = limit;
    loop {
        let piece = tokio::time::timeout(pause, pieces.next()).await;
        let piece = match piece.map_err(|_| refuse(Code::Invalid, "the body stopped coming"))? {
            None => break,
            Some(piece) => piece.map_err(|error| refuse(Code::Invalid, format!("the body broke off: {error}")))?,
        };
        left = left.checked_sub(piece.len() as u64).ok_or_else(|| too_large(limit))?;
        match stdin.write_all(&piece).await {
            Ok(()) => {}
            // Git has heard enough: it says why itself.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(refuse(Code::Internal, format!("hand the body to git: {error}"))),
        }
    }
    // What cannot be closed is closed with the child.
    let _ = stdin.shutdown().await;
    Ok(())
}

/// Status and headers of git's answer.
async fn head(output: &mut BufReader<ChildStdout>) -> Result<(StatusCode, Vec<(String, String)>), Refusal> {
    let broken = || refuse(Code::Internal, "git ended without an answer");
    let mut status = StatusCode::OK;
    let mut headers = Vec::new();
    let mut limited = output.take(MAX_HEAD);
    loop {
        let mut line = String::new();
        let read = limited.read_line(&mut line).await.map_err(|_| broken())?;
        let line = line.trim_end();
        if read == 0 {
            return Err(broken());
        }
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line.split_once(':').ok_or_else(broken)?;
        if name.eq_ignore_ascii_case("status") {
            let code = value.trim().split(' ').next().unwrap_or_default();
            status = code.parse().map_err(|_| broken())?;
        } else {
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }
}

/// A git program whose answer is on its way.
struct Running<D> {
    child: Child,
    output: BufReader<ChildStdout>,
    _permit: OwnedSemaphorePermit,
    /// What is done when it has ended well.
    done: Option<D>,
}

/// A piece of git's answer; `None` is its end.
type Piece = Option<Bytes>;

fn respond(head: (StatusCode, Vec<(String, String)>), taken: mpsc::Receiver<Piece>) -> Response {
    let pieces = stream::unfold(Some(taken), |taken| async {
        let mut taken = taken?;
        match taken.recv().await {
            Some(Some(piece)) => Some((Ok(piece), Some(taken))),
            Some(None) => None,
            // Whoever reads must not take what came so far for all of it.
            None => Some((Err(io::Error::other("the answer of git breaks off")), None)),
        }
    });
    let mut answer = Response::new(Body::from_stream(pieces));
    let (status, headers) = head;
    *answer.status_mut() = status;
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            answer.headers_mut().append(name, value);
        }
    }
    answer
}

impl<D: FnOnce()> Running<D> {
    /// Hands git's answer over as it is taken; `false` when a piece was not taken in time. The program ends with this.
    async fn hand_over(mut self, pieces: &mpsc::Sender<Piece>, pause: Duration) -> bool {
        loop {
            let mut piece = vec![0; PIECE];
            let piece = match self.output.read(&mut piece).await {
                Ok(0) => None,
                Ok(read) => {
                    piece.truncate(read);
                    Some(Bytes::from(piece))
                }
                Err(error) => {
                    tracing::debug!("read the answer of git: {error}");
                    return true;
                }
            };
            if piece.is_none() {
                self.end().await;
            }
            let is_last = piece.is_none();
            match pieces.send_timeout(piece, pause).await {
                Ok(()) if is_last => return true,
                Ok(()) => {}
                // Whoever asked is gone.
                Err(SendTimeoutError::Closed(_)) => return true,
                Err(SendTimeoutError::Timeout(_)) => return false,
            }
        }
    }

    async fn end(&mut self) {
        let ended = tokio::time::timeout(THINKING, self.child.wait()).await;
        if ended.is_ok_and(|status| status.is_ok_and(|status| status.success()))
            && let Some(done) = self.done.take()
        {
            done();
        }
    }
}

fn too_large(limit: u64) -> Refusal {
    refuse(Code::TooLarge, format!("the request is larger than {limit} bytes, the most that is taken here"))
}

fn no_mirror(error: NoMirror) -> Refusal {
    match error {
        NoMirror::TooMany(why) => refuse(Code::Forbidden, why),
        NoMirror::Git(error) => unable(error),
    }
}

fn unable(error: crate::mirrors::GitFailure) -> Refusal {
    tracing::error!("{error}");
    refuse(Code::Unavailable, "the coordinator's mirror of the project cannot be used; its log says why")
}
