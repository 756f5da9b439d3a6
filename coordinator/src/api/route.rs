//! Which calls there are: one table, from which calls are found, guarded and described.

use http::Method;

use crate::api::auth::Role;

/// What is called.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Call {
    Live,
    Ready,
    Metrics,
    OpenApi,
    Missing,
    GitRefs,
    GitFetch,
    GitPush,
    Submit,
    List,
    Show,
    Events,
    Explain,
    Cancel,
    Sync,
    Logs,
    FindStages,
    PublishStage,
    RejectStage,
    KeepBuild,
    CleanStages,
}

impl Call {
    /// Its name in measurements and in the description.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Ready => "ready",
            Self::Metrics => "metrics",
            Self::OpenApi => "openapi",
            Self::Missing => "missing",
            Self::GitRefs => "git_refs",
            Self::GitFetch => "git_fetch",
            Self::GitPush => "git_push",
            Self::Submit => "submit",
            Self::List => "list",
            Self::Show => "show",
            Self::Events => "events",
            Self::Explain => "explain",
            Self::Cancel => "cancel",
            Self::Sync => "sync",
            Self::Logs => "logs",
            Self::FindStages => "find_stages",
            Self::PublishStage => "publish_stage",
            Self::RejectStage => "reject_stage",
            Self::KeepBuild => "keep_build",
            Self::CleanStages => "clean_stages",
        }
    }
}

/// Who may call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// Everybody, without a token: nothing secret is told and nothing changed.
    Everybody,
    /// Whose token has one of these roles; `admin` has them all.
    Roles(&'static [Role]),
}

/// A call as it is addressed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) call: Call,
    pub(crate) method: &'static str,
    /// Its path; at most one segment is a name in braces.
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    /// What it does, in a line.
    pub(crate) summary: &'static str,
    /// The schema of its body, if it takes one.
    pub(crate) body: Option<&'static str>,
    /// The schema of its answer; `None` = not JSON, or nothing.
    pub(crate) answer: Option<&'static str>,
}

const SUBMIT: Access = Access::Roles(&[Role::Submit]);
const WORKER: Access = Access::Roles(&[Role::Worker]);
const CLEANUP: Access = Access::Roles(&[Role::Cleanup]);
const BOTH: Access = Access::Roles(&[Role::Submit, Role::Worker]);
const OPEN: Access = Access::Everybody;

const fn route(call: Call, method: &'static str, path: &'static str, access: Access, summary: &'static str) -> Route {
    Route { call, method, path, access, summary, body: None, answer: None }
}

impl Route {
    const fn takes(mut self, body: &'static str) -> Self {
        self.body = Some(body);
        self
    }

    const fn gives(mut self, answer: &'static str) -> Self {
        self.answer = Some(answer);
        self
    }
}

/// All calls.
pub(crate) const ROUTES: &[Route] = &[
    route(Call::Live, "GET", "/livez", OPEN, "Whether the process runs"),
    route(Call::Ready, "GET", "/readyz", OPEN, "Whether it can serve, and whether it leads").gives("Readiness"),
    route(Call::Metrics, "GET", "/metrics", OPEN, "Measurements, as Prometheus reads them"),
    route(Call::OpenApi, "GET", "/v1/openapi.json", OPEN, "This description"),
    route(Call::Missing, "POST", "/v1/projects/{name}/missing", SUBMIT, "Say which commits must be pushed")
        .takes("MissingRequest")
        .gives("MissingAnswer"),
    route(Call::GitRefs, "GET", "/v1/projects/{name}/git/info/refs", BOTH, "Git's smart HTTP: begin a push or a fetch"),
    route(Call::GitPush, "POST", "/v1/projects/{name}/git/git-receive-pack", SUBMIT, "Git's smart HTTP: push"),
    route(Call::GitFetch, "POST", "/v1/projects/{name}/git/git-upload-pack", WORKER, "Git's smart HTTP: fetch"),
    route(Call::List, "GET", "/v1/builds", SUBMIT, "List builds, newest first").gives("BuildList"),
    route(Call::Submit, "PUT", "/v1/builds/{name}", SUBMIT, "Submit a build, or find it submitted")
        .takes("SubmitRequest")
        .gives("BuildSummary"),
    route(Call::Show, "GET", "/v1/builds/{name}", SUBMIT, "Show a build").gives("BuildSummary"),
    route(Call::Events, "GET", "/v1/builds/{name}/events", SUBMIT, "Follow a build: a TimedEvent a line"),
    route(Call::Explain, "GET", "/v1/builds/{name}/explain", SUBMIT, "Say why each job runs where it runs, or waits")
        .gives("JobViews"),
    route(Call::Cancel, "POST", "/v1/builds/{name}/cancel", SUBMIT, "Give a build up").gives("BuildSummary"),
    route(Call::Sync, "POST", "/v1/workers/{name}/sync", WORKER, "Report a worker's state, wait for the desired one")
        .takes("Report")
        .gives("Desired"),
    route(Call::Logs, "POST", "/v1/workers/{name}/logs", WORKER, "Hand over lines of output of an attempt")
        .takes("LogLines"),
    route(
        Call::FindStages,
        "POST",
        "/v1/stages/find",
        SUBMIT,
        "Look up stored stages, for a build that runs elsewhere",
    )
    .takes("FindStages")
    .gives("FoundStages"),
    route(
        Call::PublishStage,
        "POST",
        "/v1/stages/publish",
        SUBMIT,
        "Make an uploaded stage the stored one, or say which is",
    )
    .takes("PublishStage")
    .gives("StagePublished"),
    route(Call::RejectStage, "POST", "/v1/stages/reject", SUBMIT, "Take a stage out of use whose image is lost")
        .takes("RejectStage")
        .gives("StageRejected"),
    route(Call::KeepBuild, "POST", "/v1/stages/builds", SUBMIT, "Say that a build elsewhere runs, or has ended")
        .takes("KeepBuild")
        .gives("BuildKept"),
    route(Call::CleanStages, "POST", "/v1/stages/clean", CLEANUP, "Take a step of a cleanup that runs elsewhere")
        .takes("CleanStages")
        .gives("StagesCleaned"),
];

/// What was found of a request.
#[derive(Debug)]
pub(crate) enum Found<'p> {
    /// A call, and the name in its path (empty when it has none).
    Call(&'static Route, &'p str),
    /// The path is one, but not with this method; those that it takes.
    OtherMethods(Vec<&'static str>),
    Nothing,
}

/// Finds the call of a request.
pub(crate) fn find<'p>(method: &Method, path: &'p str) -> Found<'p> {
    let fitting: Vec<(&Route, &str)> =
        ROUTES.iter().filter_map(|route| Some((route, fits(route.path, path)?))).collect();
    match fitting.iter().find(|(route, _)| route.method == method.as_str()) {
        Some((route, name)) => Found::Call(route, name),
        None if fitting.is_empty() => Found::Nothing,
        None => Found::OtherMethods(fitting.iter().map(|(route, _)| route.method).collect()),
    }
}

fn fits<'p>(template: &str, path: &'p str) -> Option<&'p str> {
    let Some((before, after)) = template.split_once("{name}") else { return (template == path).then_some("") };
    let name = path.strip_prefix(before)?.strip_suffix(after)?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_by_method_and_path() {
        for (method, path, call, name) in [
            ("GET", "/v1/builds", Some(Call::List), ""),
            ("GET", "/v1/builds/b-1", Some(Call::Show), "b-1"),
            ("PUT", "/v1/builds/b-1", Some(Call::Submit), "b-1"),
            ("GET", "/v1/builds/b-1/events", Some(Call::Events), "b-1"),
            ("GET", "/v1/builds/", None, ""),
            ("GET", "/v1/builds//events", None, ""),
            ("GET", "/v1/builds/a/b/events", None, ""),
            ("GET", "/v1/projects/p/git/info/refs", Some(Call::GitRefs), "p"),
            ("GET", "/v1/projects/p/git/../../q/git/info/refs", None, ""),
            ("GET", "/v1/projects/p/git/objects/info/packs", None, ""),
        ] {
            match find(&method.parse().expect("a method"), path) {
                Found::Call(route, found) => assert_eq!((Some(route.call), found), (call, name), "{method} {path}"),
                Found::OtherMethods(_) | Found::Nothing => assert_eq!(call, None, "{method} {path}"),
            }
        }
    }

    #[test]
    fn a_path_says_what_it_takes() {
        let Found::OtherMethods(methods) = find(&Method::DELETE, "/v1/builds/b-1") else { panic!("no such method") };
        assert_eq!(methods, ["PUT", "GET"]);
    }
}
