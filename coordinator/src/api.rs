//! The HTTP interface. What is said over it stands in `slipway-protocol`; which calls there are, in [`route`].
//!
//! Reading order: [`route`] (the calls), [`serve`] (connections), this file (from a request to an answer), [`auth`] (who
//! may), then a file per noun: `builds`, `workers`, `git`, `health`. [`answer`] reads and writes bodies, `openapi`
//! describes it all.

pub(crate) mod answer;
pub mod auth;
mod builds;
mod git;
mod health;
mod openapi;
mod route;
pub mod serve;
mod stages;
mod workers;

use std::sync::Arc;

use axum::{body::Body, response::Response};
use http::{HeaderValue, Method, header, request::Parts};
use slipway_kv::Counted;
use slipway_process::{Tasks, caught};
use slipway_protocol::{Code, Refusal};
use tokio::sync::watch;

use answer::{refuse, refused};
use auth::{Caller, Guard};
use route::{Access, Call, Found, Route};

use crate::{limits::Limits, metrics::Metrics, reign::Reign};

/// Who leads, as far as this coordinator knows.
#[derive(Clone)]
pub(crate) enum Standing {
    /// It does.
    Leading(Arc<Reign>),
    /// Another one does; where, when that is known.
    Led(Option<String>),
    /// Nobody knows; why.
    Away(String),
}

/// What answers calls.
pub(crate) struct Api {
    /// Who may call.
    pub(crate) guard: Arc<Guard>,
    /// Who leads.
    pub(crate) standing: watch::Receiver<Standing>,
    /// Limits.
    pub(crate) limits: Limits,
    /// Measurements.
    pub(crate) metrics: Arc<Metrics>,
    /// The shared store, for its numbers.
    pub(crate) store: Counted,
    /// Where bodies are read.
    pub(crate) tasks: Tasks,
}

/// A call that was found and is allowed.
struct Request<'r> {
    route: &'static Route,
    /// The name in the path.
    name: &'r str,
    caller: &'r Caller,
    parts: &'r Parts,
}

impl Api {
    /// Answers a request, whatever it is.
    pub(crate) async fn respond(self: &Arc<Self>, parts: Parts, body: Body) -> Response {
        let api = Arc::clone(self);
        let is_head = parts.method == Method::HEAD;
        let answered = caught(Box::pin(async move { api.dispatch(parts, body).await })).await;
        let (call, mut answer) = answered.unwrap_or_else(|panicked| {
            tracing::error!("answer a call: {panicked}");
            ("broken", refused(&refuse(Code::Internal, "the coordinator has a fault; its log says which")))
        });
        self.metrics.answered(call.to_owned(), answer.status().as_u16());
        if is_head {
            *answer.body_mut() = Body::empty();
        }
        answer
    }

    async fn dispatch(self: Arc<Self>, mut parts: Parts, body: Body) -> (&'static str, Response) {
        // Who may GET may ask how it would be answered.
        if parts.method == Method::HEAD {
            parts.method = Method::GET;
        }
        let path = parts.uri.path().to_owned();
        let (route, name) = match route::find(&parts.method, &path) {
            Found::Call(route, name) => (route, name),
            Found::OtherMethods(methods) => return ("unknown", wrong_method(&methods)),
            Found::Nothing => return ("unknown", refused(&refuse(Code::NotFound, "nothing is served at this path"))),
        };
        let result = match self.admit(route, &parts) {
            Ok(caller) => self.call(Request { route, name, caller: &caller, parts: &parts }, body).await,
            Err(refusal) => Err(refusal),
        };
        let answer = result.unwrap_or_else(|refusal| {
            tracing::debug!(path, code = ?refusal.code, "refused: {}", refusal.message);
            refused(&refusal)
        });
        (route.call.name(), answer)
    }

    /// Who calls, if he may.
    fn admit(&self, route: &Route, parts: &Parts) -> Result<Caller, Refusal> {
        let roles = match route.access {
            Access::Everybody => return Ok(Caller::anybody(auth::Role::Submit)),
            Access::Roles(roles) => roles,
        };
        let unknown = || {
            let how = "a call needs a token that is known here: `Authorization: Bearer TOKEN`; where no tokens are in use, \
                       it must be made to a loopback address";
            refuse(Code::Unauthenticated, how)
        };
        let caller = self.guard.caller(&parts.headers).ok_or_else(unknown)?;
        if roles.iter().any(|role| caller.role.covers(*role)) {
            return Ok(caller);
        }
        tracing::warn!(caller = %caller.name, call = route.call.name(), "a token's role does not allow a call");
        let wanted: Vec<&str> = roles.iter().map(|role| role.name()).chain(["admin"]).collect();
        let (own, wanted) = (caller.role.name(), wanted.join(" or "));
        Err(refuse(Code::Forbidden, format!("the token's role is {own}, and this call takes one of the role {wanted}")))
    }

    async fn call(&self, request: Request<'_>, body: Body) -> Result<Response, Refusal> {
        match request.route.call {
            Call::Live => Ok(health::live()),
            Call::Ready => Ok(self.ready()),
            Call::Metrics => Ok(self.measurements().await),
            Call::OpenApi => Ok(openapi::answer()),
            Call::Missing => self.missing(&request, body).await,
            Call::GitRefs | Call::GitFetch | Call::GitPush => self.git(&request, body).await,
            Call::Submit => self.submit(&request, body).await,
            Call::List => self.list(&request),
            Call::Show => self.show(&request),
            Call::Events => self.events(&request).await,
            Call::Explain => self.explain(&request).await,
            Call::Cancel => self.cancel(&request).await,
            Call::Sync => self.sync(&request, body).await,
            Call::Logs => self.logs(&request, body).await,
            Call::FindStages => self.find_stages(&request, body).await,
            Call::PublishStage => self.publish_stage(&request, body).await,
            Call::RejectStage => self.reject_stage(&request, body).await,
            Call::KeepBuild => self.keep_build(&request, body).await,
            Call::CleanStages => self.clean_stages(&request, body).await,
        }
    }

    /// The term that answers.
    fn reign(&self) -> Result<Arc<Reign>, Refusal> {
        match &*self.standing.borrow() {
            Standing::Leading(reign) if !reign.is_over() => Ok(Arc::clone(reign)),
            Standing::Leading(_) => Err(not_leader(None)),
            Standing::Led(url) => Err(not_leader(url.clone())),
            Standing::Away(_) => Err(refuse(Code::Unavailable, "the store by which a leader is found does not answer")),
        }
    }

    async fn git(&self, request: &Request<'_>, body: Body) -> Result<Response, Refusal> {
        let reign = self.reign()?;
        let mirrors = reign.mirrors().clone();
        let asked = git::Request {
            call: request.route.call,
            caller: request.caller,
            mirrors: &mirrors,
            project: request.name,
            parts: request.parts,
            tasks: &self.tasks,
        };
        git::answer(asked, body, move || reign.pushed()).await
    }
}

fn not_leader(leader: Option<String>) -> Refusal {
    let message = match &leader {
        Some(url) => format!("another coordinator leads: {url}"),
        None => "this coordinator does not lead; ask another one".to_owned(),
    };
    Refusal { code: Code::NotLeader, message, leader }
}

fn wrong_method(methods: &[&str]) -> Response {
    let methods = methods.join(", ");
    let mut answer = refused(&refuse(Code::Invalid, format!("this path takes only {methods}")));
    *answer.status_mut() = http::StatusCode::METHOD_NOT_ALLOWED;
    if let Ok(value) = HeaderValue::from_str(&methods) {
        answer.headers_mut().insert(header::ALLOW, value);
    }
    answer
}
