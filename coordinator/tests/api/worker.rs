//! A worker that speaks HTTP, and builds nothing: it uploads images that say what they are.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use slipway_oci::{
    ATTEMPT_ANNOTATION, BlobDigest, Descriptor, ImageAt, ImageConfig, Manifest, Repo,
    config::RunConfig,
    manifest::{OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST},
};
use slipway_process::Tasks;
use slipway_protocol::{Assignment, AttemptId, Desired, Job, LogLines, Phase, Report, Uploaded};
use slipway_registry::{Client, Options};
use slipway_stages::StagePlan;

#[derive(Default)]
struct State {
    held: BTreeMap<AttemptId, (Assignment, Phase)>,
    /// Digests of the stages that were built, in order.
    built: Vec<String>,
    hangs: bool,
}

/// A worker in a task of its own.
#[derive(Clone)]
pub(crate) struct Worker {
    state: Arc<Mutex<State>>,
    urls: Vec<String>,
    token: Option<String>,
    http: reqwest::Client,
    registry: Client,
}

impl Worker {
    /// A worker of the coordinators at `urls`. While it `hangs`, no attempt ends.
    pub(crate) fn start(tasks: &Tasks, urls: &[&str], token: Option<&str>, hangs: bool) -> Self {
        crate::world::provider();
        let worker = Self {
            state: Arc::new(Mutex::new(State { hangs, ..State::default() })),
            urls: urls.iter().map(|&url| url.to_owned()).collect(),
            token: token.map(str::to_owned),
            http: reqwest::Client::new(),
            registry: Client::new(Options::default()).expect("a client"),
        };
        let running = worker.clone();
        tasks.spawn(async move { running.run().await });
        worker
    }

    pub(crate) fn built(&self) -> Vec<String> {
        self.state().built.clone()
    }

    pub(crate) fn holds(&self) -> usize {
        self.state().held.len()
    }

    /// From now on attempts end.
    pub(crate) fn go_on(&self) {
        self.state().hangs = false;
    }

    async fn run(&self) {
        let mut seq = 0;
        loop {
            seq += 1;
            self.work().await;
            let hangs = self.state().hangs;
            let attempts = self.state().held.iter().map(|(id, (_, phase))| (id.clone(), phase.clone())).collect();
            let (worker, boot) = ("one".to_owned(), "first".to_owned());
            let report = Report { worker, boot, seq, slots: 4, attempts, ..Report::default() };
            // A worker with news gives up the sync under way.
            tokio::select! {
                desired = self.sync(&report) => match desired {
                    Some(desired) => self.obey(desired),
                    None => tokio::time::sleep(Duration::from_millis(50)).await,
                },
                () = self.released(), if hangs => {}
            }
        }
    }

    async fn released(&self) {
        while self.state().hangs {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn sync(&self, report: &Report) -> Option<Desired> {
        for url in &self.urls {
            let answer = self.post(&format!("{url}/v1/workers/one/sync")).json(report).send().await;
            if let Ok(answer) = answer
                && answer.status().is_success()
            {
                return Some(answer.json().await.expect("a desired state"));
            }
        }
        None
    }

    fn post(&self, url: &str) -> reqwest::RequestBuilder {
        let request = self.http.post(url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    fn obey(&self, desired: Desired) {
        let mut state = self.state();
        state.held.retain(|attempt, _| desired.run.iter().any(|wanted| wanted.attempt == *attempt));
        for assignment in desired.run {
            let fresh = (assignment.clone(), Phase::Running { progress: 0 });
            state.held.entry(assignment.attempt).or_insert(fresh);
        }
    }

    async fn work(&self) {
        let under_way = |(_, phase): &&(Assignment, Phase)| matches!(phase, Phase::Running { .. });
        let assignments: Vec<Assignment> =
            self.state().held.values().filter(under_way).map(|held| held.0.clone()).collect();
        for assignment in assignments {
            let Job::Stage(plan) = &assignment.job else { panic!("only stages are built here") };
            let said = [format!("building {}", plan.kind), "second line".to_owned()];
            // Said twice, as after a lost answer.
            for _ in 0..2 {
                self.say(&assignment.attempt, 0, &said).await;
            }
            if self.state().hangs {
                continue;
            }
            let repo = assignment.push_to.clone().expect("a cluster pushes");
            let uploaded = self.upload(plan, &repo, &assignment.attempt).await;
            let mut state = self.state();
            state.built.push(plan.digest.to_string());
            state.held.insert(assignment.attempt.clone(), (assignment, Phase::Uploaded(uploaded)));
        }
    }

    async fn say(&self, attempt: &AttemptId, offset: u64, lines: &[String]) {
        let lines = LogLines { attempt: attempt.clone(), offset, lines: lines.to_vec() };
        for url in &self.urls {
            let _ = self.post(&format!("{url}/v1/workers/one/logs")).json(&lines).send().await;
        }
    }

    async fn upload(&self, plan: &StagePlan, repo: &Repo, attempt: &AttemptId) -> Uploaded {
        let config = image_config(plan.change.labels.clone().into_iter().collect());
        let config = self.blob(repo, OCI_CONFIG, &config).await;
        let layer = self.blob(repo, OCI_LAYER_GZIP, plan.digest.to_string().as_bytes()).await;
        let (image_id, size) = (config.digest.clone(), config.size + layer.size);
        let annotations = BTreeMap::from([(ATTEMPT_ANNOTATION.to_owned(), attempt.id.clone())]);
        let digest = self.manifest(repo, None, config, layer, annotations).await;
        let at = ImageAt { repo: repo.clone(), digest };
        Uploaded { at, image_id, size, took: Duration::from_millis(1), base_pulled: false, caches_failed: Vec::new() }
    }

    /// Stores a base image under a tag.
    pub(crate) async fn base(host: &str) {
        crate::world::provider();
        let worker = Self {
            state: Arc::default(),
            urls: Vec::new(),
            token: None,
            http: reqwest::Client::new(),
            registry: Client::new(Options::default()).expect("a client"),
        };
        let repo: Repo = format!("{host}/base").parse().expect("a repository");
        let config = worker.blob(&repo, OCI_CONFIG, &image_config(BTreeMap::new())).await;
        let layer = worker.blob(&repo, OCI_LAYER_GZIP, b"base").await;
        worker.manifest(&repo, Some("1"), config, layer, BTreeMap::new()).await;
    }

    async fn manifest(
        &self,
        repo: &Repo,
        tag: Option<&str>,
        config: Descriptor,
        layer: Descriptor,
        annotations: BTreeMap<String, String>,
    ) -> BlobDigest {
        let media_type = Some(OCI_MANIFEST.to_owned());
        let manifest = Manifest { schema_version: 2, media_type, config, layers: vec![layer], annotations };
        let bytes = Bytes::from(serde_json::to_vec(&manifest).expect("JSON"));
        let digest = BlobDigest::of(&bytes);
        let selector = tag.unwrap_or(digest.as_str());
        self.registry.put_manifest(repo, selector, OCI_MANIFEST, bytes).await.expect("it is stored")
    }

    async fn blob(&self, repo: &Repo, media_type: &str, bytes: &[u8]) -> Descriptor {
        let digest = self.registry.put_blob(repo, Bytes::copy_from_slice(bytes)).await.expect("it is stored");
        Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size: bytes.len() as u64,
            annotations: BTreeMap::new(),
            other: BTreeMap::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panicked")
    }
}

fn image_config(labels: BTreeMap<String, String>) -> Vec<u8> {
    let config = ImageConfig {
        os: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        config: RunConfig { labels: Some(labels), ..RunConfig::default() },
        ..ImageConfig::default()
    };
    serde_json::to_vec(&config).expect("JSON")
}
