//! A coordinator that a test starts, the project that it builds, and how it is called.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Once},
    time::Duration,
};

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use slipway_coordinator::{Config, Guard, Limits, Service};
use slipway_digest::CommitId;
use slipway_kv::Kv;
use slipway_oci::Platform;
use slipway_paths::TreePath;
use slipway_process::{Environment, SystemClock, child};
use slipway_protocol::{Readiness, Refusal, SubmitRequest, TimedEvent};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// Connections are made with the provider that is installed.
pub(crate) fn provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

/// Waits for what must come soon.
pub(crate) async fn soon<T>(what: &str, coming: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), coming).await.unwrap_or_else(|_| panic!("{what} did not come"))
}

/// A running coordinator.
pub(crate) struct Coordinator {
    pub(crate) service: Option<Service>,
    pub(crate) url: String,
    _data: TempDir,
    pub(crate) token: Option<String>,
    http: reqwest::Client,
}

/// How it is started, where a test cares.
pub(crate) struct Setup {
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) limits: Limits,
    pub(crate) tokens: Option<PathBuf>,
    pub(crate) lease: Duration,
}

impl Setup {
    pub(crate) fn new(kv: Arc<dyn Kv>) -> Self {
        let limits = Limits { heartbeat: Duration::from_millis(100), ..Limits::default() };
        Self { kv, limits, tokens: None, lease: Duration::from_secs(5) }
    }

    pub(crate) async fn start(self) -> Coordinator {
        provider();
        let data = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(SystemClock::new(None));
        let guard = match &self.tokens {
            None => Guard::open(),
            Some(path) => Guard::tokens(path, clock.clone()).expect("tokens"),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let config = Config {
            listener,
            tls: None,
            url: Some(url.clone()),
            guard: Arc::new(guard),
            kv: self.kv,
            data: data.path().join("data"),
            registry: slipway_registry::Client::new(slipway_registry::Options::default()).expect("a client"),
            limits: self.limits,
            lease: self.lease,
            environment: Environment::from_process(),
            clock,
            tracer: slipway_telemetry::Tracer::default(),
        };
        let service = Service::start(config).expect("it starts");
        Coordinator { service: Some(service), url, _data: data, token: None, http: reqwest::Client::new() }
    }
}

impl Coordinator {
    /// One that leads, with a store of its own.
    pub(crate) async fn leading(setup: Setup) -> Self {
        let coordinator = setup.start().await;
        soon("leadership", coordinator.leads()).await;
        coordinator
    }

    pub(crate) async fn leads(&self) {
        while !self.readiness().await.leader {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn readiness(&self) -> Readiness {
        self.request(Method::GET, "/readyz").send().await.expect("an answer").json().await.expect("readiness")
    }

    pub(crate) async fn stop(&mut self) {
        self.service.take().expect("it runs").stop().await;
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.expect("an answer")
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        self.get(path).await.text().await.expect("a text")
    }

    pub(crate) async fn submit(&self, name: &str, request: &SubmitRequest) -> Response {
        let path = format!("/v1/builds/{name}");
        self.request(Method::PUT, &path).json(request).send().await.expect("an answer")
    }

    pub(crate) async fn submitted(&self, name: &str, request: &SubmitRequest) {
        let answer = self.submit(name, request).await;
        assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.expect("a text"));
    }

    /// The events of a build to its end.
    pub(crate) async fn events(&self, name: &str, after: &str) -> Vec<TimedEvent> {
        let text = soon("the end of the build", self.text(&format!("/v1/builds/{name}/events?after={after}"))).await;
        let lines = text.lines().filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    /// Pushes a commit of a project as clients do.
    pub(crate) fn push(&self, project: &Project, commit: CommitId) -> Result<String, String> {
        project.git(&self.git(&["push", &self.git_url(), &format!("{commit}:refs/slipway/{commit}")]))
    }

    pub(crate) fn git_url(&self) -> String {
        format!("{}/v1/projects/shop/git", self.url)
    }

    /// Arguments of git, with the token.
    pub(crate) fn git(&self, arguments: &[&str]) -> Vec<String> {
        let header = self.token.as_ref().map(|token| format!("http.extraHeader=Authorization: Bearer {token}"));
        let option = header.into_iter().flat_map(|header| ["-c".to_owned(), header]);
        option.chain(arguments.iter().map(|&argument| argument.to_owned())).collect()
    }
}

/// What a refusal says.
pub(crate) async fn refusal(answer: Response) -> (StatusCode, Refusal) {
    (answer.status(), answer.json().await.expect("a refusal"))
}

/// A git repository with the project `shop`.
pub(crate) struct Project {
    directory: TempDir,
}

impl Project {
    pub(crate) fn new() -> Self {
        let project = Self { directory: tempfile::tempdir().expect("a directory") };
        project.git(&["init", "--quiet"]).expect("a repository");
        project
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn commit(&self, content: &str) -> CommitId {
        std::fs::write(self.path().join("file"), content).expect("the file");
        self.git(&["add", "."]).expect("git takes it");
        self.git(&["commit", "--quiet", "--message", "a change"]).expect("git takes it");
        self.git(&["rev-parse", "HEAD"]).expect("an id").trim().parse().expect("an id")
    }

    pub(crate) fn git(&self, arguments: &[impl AsRef<str>]) -> Result<String, String> {
        let mut command = child::command("git");
        command.current_dir(self.path()).args(["-c", "user.name=t", "-c", "user.email=t@localhost"]);
        command.args(arguments.iter().map(AsRef::as_ref)).env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0");
        let output = command.output().expect("git runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

/// A request for all images of a configuration without its meta section.
pub(crate) fn request(host: &str, config: &str, images: &[&str], commit: CommitId) -> SubmitRequest {
    SubmitRequest {
        project: "shop".to_owned(),
        repo: format!("{host}/shop").parse().expect("a repository"),
        others: Default::default(),
        custom_tags: Vec::new(),
        config_name: "werf.yaml".to_owned(),
        config: format!("project: shop\nconfigVersion: 1\n---\n{}", config.replace("BASE", &format!("{host}/base:1"))),
        images: images.iter().map(|name| slipway_config::ImageName((*name).to_owned())).collect(),
        commit,
        commit_time: 0,
        commit_time_human: "1970-01-01 00:00:00 +0000 +0000".to_owned(),
        context_commits: Default::default(),
        upstreams: Vec::new(),
        submodules: Vec::new(),
        virtual_merge: None,
        project_dir: TreePath::root(),
        platform: Platform { os: "linux".to_owned(), arch: "amd64".to_owned(), variant: None },
        platforms: Vec::new(),
        commands: Vec::new(),
        dev: false,
        parallel: None,
        requires: Default::default(),
        schedule: slipway_stages::build::Schedule::default(),
        network: None,
        force_staged: false,
        require_built: false,
        detached: false,
        traceparent: None,
        ssh_keys: 0,
        secrets: Default::default(),
    }
}
