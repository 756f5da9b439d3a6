//! Connections and dispatch.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Method, Request, StatusCode, header, request::Parts};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use slipway_backend::STEADY_HOST;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;

use crate::{
    answer,
    gateway::{Inside, Shared},
    route::{self, Route},
};

/// Most bytes of a request's line and headers.
const HEADERS_LIMIT: usize = 64 * 1024;
/// How long they may take to come; also how long a connection may rest between two requests.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause after the system refused a connection (no descriptors left, for one).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes connections until told to stop.
pub(crate) async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    connections: Arc<Semaphore>,
    stop: CancellationToken,
) {
    loop {
        let permit = stop.run_until_cancelled(Arc::clone(&connections).acquire_owned()).await;
        let Some(Ok(permit)) = permit else { return };
        let Some((stream, peer)) = stop.run_until_cancelled(accept(&listener)).await else {
            // In this order: who waits for all permits finds the port closed.
            drop(listener);
            drop(permit);
            return;
        };
        if peer.ip().is_loopback() {
            drop(shared.tasks.spawn(connection(stream, Arc::clone(&shared), permit, stop.clone())));
        }
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "the gateway cannot take a connection of the container engine");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, permit: OwnedSemaphorePermit, stop: CancellationToken) {
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move {
            let (parts, body) = request.into_parts();
            Ok::<_, Infallible>(respond(&shared, parts, Body::new(body)).await)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .max_buf_size(HEADERS_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection of the container engine broke");
    }
    drop(permit);
}

async fn respond(shared: &Shared, parts: Parts, body: Body) -> Response {
    let mut answer = dispatch(shared, &parts, body).await;
    answer::set(&mut answer, "docker-distribution-api-version", "registry/2.0");
    if parts.method == Method::HEAD {
        *answer.body_mut() = Body::empty();
    }
    tracing::trace!(method = %parts.method, status = answer.status().as_u16(), "answered a container engine");
    answer
}

async fn dispatch(shared: &Shared, parts: &Parts, body: Body) -> Response {
    let own = match asked_host(shared, parts) {
        Some(Host::Address) => None,
        // A name that never changes has the token elsewhere.
        Some(Host::Steady) => token_of_proxy(parts),
        None => return answer::nothing_here(),
    };
    match route::parse(parts.uri.path()) {
        None => answer::nothing_here(),
        Some(Route::Ping) if matches!(parts.method, Method::GET | Method::HEAD) => answer::empty(StatusCode::OK),
        Some(Route::Ping) => answer::wrong_method(),
        Some(Route::Door { token, name, place }) => {
            // Through a proxy there is this one door, whatever the engine remembers of others.
            let door = match &own {
                Some(token) => shared.door(token),
                None => shared.door(token).filter(|door| door.name == name),
            };
            let Some(door) = door else { return answer::nothing_here() };
            let answered = async {
                match door.inside {
                    // Large futures: kept off the connection's own.
                    Inside::Push(push) => Box::pin(push.answer(parts, place, body)).await,
                    Inside::Pull(pull) => Box::pin(pull.answer(parts, place)).await,
                }
            };
            door.closed.run_until_cancelled(answered).await.unwrap_or_else(answer::nothing_here)
        }
    }
}

/// How an engine calls this gateway.
enum Host {
    /// By its address.
    Address,
    /// By the name of all gateways, as their proxy.
    Steady,
}

/// A page in a browser can send requests here under a name of its own; engines use the address they were given, or a name
/// that no page can have.
fn asked_host(shared: &Shared, parts: &Parts) -> Option<Host> {
    let host = parts.headers.get(header::HOST)?.to_str().ok()?;
    if host == STEADY_HOST {
        return Some(Host::Steady);
    }
    (host.parse() == Ok(shared.address)).then_some(Host::Address)
}

/// The door's token as the user of a proxy.
fn token_of_proxy(parts: &Parts) -> Option<String> {
    let given = parts.headers.get(header::PROXY_AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(given).ok()?).ok()?;
    text.split_once(':').map(|(user, _)| user.to_owned())
}
