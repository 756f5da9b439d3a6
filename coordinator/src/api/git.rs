//! Git's smart HTTP, spoken by git's own program.
//!
//! A push may only write `refs/slipway/*`, is checked object by object and runs no hook: the mirror's configuration
//! says so. Bodies stream through; a push has a limit.

use std::{io, time::Duration};

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
    sync::OwnedSemaphorePermit,
};

use crate::{
    api::{
        answer::refuse,
        auth::{Caller, Role},
        route::Call,
    },
    mirrors::{Git, Mirrors},
};

/// Longest request of a fetch, in bytes: it lists commits.
const MAX_FETCH: u64 = 16 << 20;
/// How long a body may pause, and how long git may think about it.
const PAUSE: Duration = Duration::from_secs(300);
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
    mirrors.ensure(project).await.map_err(unable)?;
    let limit = if service == PUSH { mirrors.max_push() } else { MAX_FETCH };
    let length = header_text(parts, header::CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let permit = mirrors.permit().await;
    let mut child = program(mirrors, project, parts).start().map_err(unable)?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(refuse(Code::Internal, "git was started without pipes"));
    };
    // Git may answer while the body comes: both are served at once. It answers a push only after all of it.
    let feeding = tasks.spawn(feed(body, stdin, limit));
    let mut output = BufReader::with_capacity(PIECE, stdout);
    let head = tokio::time::timeout(PAUSE, head(&mut output)).await;
    let head = head.map_err(|_| refuse(Code::Unavailable, "git takes too long to answer"))??;
    if parts.method == http::Method::POST && service == PUSH {
        let fed = feeding.await.ok().flatten();
        fed.unwrap_or_else(|| Err(refuse(Code::Unavailable, "the coordinator is ending")))?;
    }
    let running = Running { child, output, _permit: permit, done: Some(pushed) };
    Ok(respond(head, running))
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
    for (name, variable) in [
        (header::CONTENT_TYPE, "CONTENT_TYPE"),
        (header::CONTENT_LENGTH, "CONTENT_LENGTH"),
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
async fn feed(body: Body, mut stdin: ChildStdin, limit: u64) -> Result<(), Refusal> {
    let mut pieces = body.into_data_stream();
    let mut left = limit;
    loop {
        let piece = tokio::time::timeout(PAUSE, pieces.next()).await;
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

fn respond<D: FnOnce() + Send + 'static>(head: (StatusCode, Vec<(String, String)>), running: Running<D>) -> Response {
    let pieces = stream::unfold(Some(running), |running| async {
        let mut running = running?;
        let mut piece = vec![0; PIECE];
        match running.output.read(&mut piece).await {
            Ok(0) => {
                running.end().await;
                None
            }
            Ok(read) => {
                piece.truncate(read);
                Some((Ok(Bytes::from(piece)), Some(running)))
            }
            Err(error) => Some((Err(error), None)),
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
    async fn end(&mut self) {
        let ended = tokio::time::timeout(PAUSE, self.child.wait()).await;
        if ended.is_ok_and(|status| status.is_ok_and(|status| status.success()))
            && let Some(done) = self.done.take()
        {
            done();
        }
    }
}

fn too_large(limit: u64) -> Refusal {
    refuse(Code::TooLarge, format!("the push is larger than {limit} bytes, the most that is taken here"))
}

fn unable(error: crate::mirrors::GitFailure) -> Refusal {
    tracing::error!("{error}");
    refuse(Code::Unavailable, "the coordinator's mirror of the project cannot be used; its log says why")
}
