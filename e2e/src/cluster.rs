//! A cluster of real processes: etcd, a registry, coordinators and workers.
//!
//! All workers share this machine's engine, each with a data directory, and so leftovers, of its own.

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use slipway_parts::{Etcd, Server};
use slipway_process::{Environment, child};
use tempfile::TempDir;

use crate::{
    Proxy, Registry, engine,
    project::{Built, Project, Run, program},
};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Looks before something that must come is given up: 60 seconds.
const LOOKS: usize = 600;

/// One process of the cluster.
struct Process {
    /// Arguments of the program.
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    log: PathBuf,
    server: Option<Server>,
}

/// A running cluster; all of it is killed and removed when this is dropped.
pub struct Cluster {
    /// What coordinators share.
    pub etcd: Etcd,
    /// Where stages go.
    pub registry: Registry,
    urls: Vec<String>,
    coordinators: Vec<Process>,
    workers: Vec<Process>,
    dir: TempDir,
}

impl Cluster {
    /// An etcd of three members, a registry, so many coordinators, of which one leads, and so many workers.
    ///
    /// # Errors
    /// When a part is missing or does not come up.
    pub fn start(coordinators: usize, workers: usize) -> Result<Self> {
        Self::start_with(coordinators, workers, &[])
    }

    /// The same, with variables for coordinators and workers.
    ///
    /// # Errors
    /// When a part is missing or does not come up.
    pub fn start_with(coordinators: usize, workers: usize, variables: &[(&str, &str)]) -> Result<Self> {
        let etcd = Etcd::three().context("there is no etcd")?;
        let dir = tempfile::tempdir()?;
        // All ports are held until all are chosen, so that no two are the same.
        let held = (0..coordinators).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
        let addresses = held.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
        drop(held);
        let endpoints = etcd.endpoints().join(",");
        let urls: Vec<String> = addresses.iter().map(|address| format!("http://{address}")).collect();
        let coordinator = |(number, address): (usize, &std::net::SocketAddr)| {
            let own = ["--listen", &address.to_string(), "--etcd", &endpoints, "--no-auth"].map(str::to_owned);
            process(dir.path(), "coordinator", number, own.to_vec())
        };
        let mut cluster = Self {
            coordinators: addresses.iter().enumerate().map(coordinator).collect(),
            workers: (0..workers).map(|number| worker(dir.path(), &urls, number)).collect(),
            registry: Registry::start()?,
            etcd,
            urls,
            dir,
        };
        for process in cluster.coordinators.iter_mut().chain(&mut cluster.workers) {
            let own = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            process.variables = own.collect();
        }
        (0..coordinators).try_for_each(|number| cluster.start_coordinator(number, None))?;
        (0..workers).try_for_each(|number| cluster.start_worker(number, None))?;
        cluster.leader()?;
        Ok(cluster)
    }

    /// The base image in the registry of this cluster: a coordinator knows no image of one machine.
    ///
    /// # Errors
    /// When it cannot be pushed.
    pub fn base(&self) -> Result<String> {
        let name = self.registry.repo("base:1");
        engine::run(&["tag", engine::base_image(), &name])?;
        engine::run(&["push", "--quiet", &name])?;
        engine::run(&["image", "rm", &name])?;
        Ok(name)
    }

    /// Writes `werf.yaml` of a project: the meta section and the given documents. `BASE` stands for the base image.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn config(&self, project: &Project, documents: &str) -> Result<()> {
        project.config(&documents.replace("BASE", &self.base()?))
    }

    /// The addresses of all coordinators, as `--coordinator` takes them.
    pub fn urls(&self) -> String {
        self.urls.join(",")
    }

    /// Starts a coordinator that is down; `failpoint` is where it will be killed.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_coordinator(&mut self, number: usize, failpoint: Option<&str>) -> Result<()> {
        self.coordinators[number].start(failpoint)
    }

    /// Adds one more worker.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn add_worker(&mut self) -> Result<()> {
        let urls = self.urls.clone();
        self.add_worker_at(&urls)
    }

    /// Adds one more worker that needs no engine.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn add_native_worker(&mut self) -> Result<()> {
        let number = self.workers.len();
        let mut process = worker(self.dir.path(), &self.urls, number);
        process.arguments.extend(["--backend".to_owned(), "native".to_owned()]);
        self.workers.push(process);
        self.start_worker(number, None)
    }

    /// Adds one more worker that is given these addresses of coordinators.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn add_worker_at(&mut self, urls: &[String]) -> Result<()> {
        let number = self.workers.len();
        self.workers.push(worker(self.dir.path(), urls, number));
        self.start_worker(number, None)
    }

    /// A proxy in front of a coordinator.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn proxy(&self, coordinator: usize) -> Result<Proxy> {
        Proxy::start(self.urls[coordinator].trim_start_matches("http://"))
    }

    /// Starts a worker that is down; `failpoint` is where it will be killed.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_worker(&mut self, number: usize, failpoint: Option<&str>) -> Result<()> {
        self.workers[number].start(failpoint)
    }

    /// Kills a coordinator.
    pub fn kill_coordinator(&mut self, number: usize) {
        self.coordinators[number].server = None;
    }

    /// Kills a worker.
    pub fn kill_worker(&mut self, number: usize) {
        self.workers[number].server = None;
    }

    /// Asks a worker to end, and waits until it has.
    pub fn stop_worker(&mut self, number: usize) {
        if let Some(server) = self.workers[number].server.take() {
            server.stop();
        }
    }

    /// The process of a worker.
    ///
    /// # Panics
    /// When it is down.
    pub fn worker(&self, number: usize) -> &Server {
        self.workers[number].server.as_ref().expect("the worker is up")
    }

    /// Waits until a worker has been killed at its failpoint.
    ///
    /// # Errors
    /// When it lives on.
    pub fn worker_dies(&mut self, number: usize) -> Result<()> {
        self.workers[number].dies()
    }

    /// Waits until a coordinator has been killed at its failpoint.
    ///
    /// # Errors
    /// When it lives on.
    pub fn coordinator_dies(&mut self, number: usize) -> Result<()> {
        self.coordinators[number].dies()
    }

    /// Waits until a coordinator leads; answers its number.
    ///
    /// # Errors
    /// When none does.
    pub fn leader(&self) -> Result<usize> {
        wait("a leader", || self.urls.iter().position(|url| is_leader(url)))
            .with_context(|| format!("a leader:\n{}", self.logs()))
    }

    /// Builds a project on this cluster, with a report.
    ///
    /// # Errors
    /// When the build fails.
    pub fn build(&self, project: &Project) -> Result<Built> {
        let built = project.build(&["--coordinator", &self.urls(), "--repo", &self.registry.repo(project.name())]);
        built.with_context(|| self.logs())
    }

    /// Starts a build of a project on this cluster.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_build(&self, project: &Project, more: &[&str]) -> Result<Child> {
        let (urls, repo) = (self.urls(), self.registry.repo(project.name()));
        project.start(&[&["build", "--coordinator", &urls, "--repo", &repo][..], more].concat(), &[])
    }

    /// Runs a command that asks this cluster.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn ask(&self, project: &Project, arguments: &[&str]) -> Result<Run> {
        project.slipway(&[arguments, &["--coordinator", &self.urls()]].concat())
    }

    /// What a coordinator measures; `None` = it does not answer.
    pub fn metrics(&self, coordinator: usize) -> Option<String> {
        get(&format!("{}/metrics", self.urls[coordinator]))
    }

    /// The tags of a project's stages. Each digest has one, each is a complete image, and each is the recorded winner.
    ///
    /// # Errors
    /// When that is not so, or the registry or etcd does not answer.
    pub fn stages(&self, project: &Project) -> Result<Vec<String>> {
        let stages = self.registry.stages(project.name())?;
        let digests: BTreeSet<&str> = stages.iter().map(|tag| &tag[..56]).collect();
        if digests.len() != stages.len() {
            bail!("a digest has two tags: {stages:#?}");
        }
        stages.iter().try_for_each(|tag| self.registry.config(project.name(), tag).map(drop))?;
        let members: Vec<String> = self.etcd.endpoints();
        let members = members.iter().map(|url| url.trim_start_matches("http://")).collect::<Vec<_>>().join(",");
        let (repo, at) = (self.registry.repo(project.name()), format!("etcd://{members}"));
        let verified = project.slipway(&["stages", "verify", "--repo", &repo, "--synchronization", &at])?;
        if verified.code != 0 {
            bail!("the recorded stages are not right: {verified:?}");
        }
        Ok(stages)
    }

    /// Waits until no worker that is up has a build container any more.
    ///
    /// # Errors
    /// When something stays.
    pub fn nothing_left(&self) -> Result<()> {
        let up = self.workers.iter().enumerate().filter(|(_, worker)| worker.server.is_some());
        let places: Vec<PathBuf> =
            up.map(|(number, _)| self.dir.path().join(format!("worker-{number}/service/attempts"))).collect();
        let held = || places.iter().flat_map(|place| names(place)).collect::<Vec<_>>();
        wait("an end of all attempts", || held().is_empty().then_some(())).with_context(|| format!("{:?}", held()))
    }

    /// All that coordinators and workers said.
    pub fn logs(&self) -> String {
        let all = self.coordinators.iter().chain(&self.workers);
        let said = all.map(|process| {
            let log = fs::read(&process.log).unwrap_or_default();
            format!("== {}\n{}", process.log.display(), String::from_utf8_lossy(&log))
        });
        said.collect()
    }
}

fn process(dir: &Path, kind: &str, number: usize, arguments: Vec<String>) -> Process {
    let data = dir.join(format!("{kind}-{number}"));
    let data = ["--data-dir".to_owned(), data.display().to_string(), "--log-verbose".to_owned()];
    let arguments = [vec![kind.to_owned()], arguments, data.to_vec()].concat();
    Process { arguments, variables: Vec::new(), log: dir.join(format!("{kind}-{number}.log")), server: None }
}

fn worker(dir: &Path, urls: &[String], number: usize) -> Process {
    let own = ["--coordinator", &urls.join(","), "--name", &format!("w{number}"), "--slots", "4"];
    process(dir, "worker", number, own.map(str::to_owned).to_vec())
}

impl Process {
    fn start(&mut self, failpoint: Option<&str>) -> Result<()> {
        let mut command = self.command();
        if let Some(failpoint) = failpoint {
            command.env("SLIPWAY_FAILPOINT", failpoint);
        }
        self.server = None;
        self.server = Some(Server::start(&mut command, &self.log));
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = child::command(program());
        let environment = Environment::from_process();
        for (name, _) in environment.with_prefix("WERF_").chain(environment.with_prefix("SLIPWAY_")) {
            command.env_remove(name);
        }
        command.args(&self.arguments).envs(self.variables.iter().cloned());
        command
    }

    fn dies(&mut self) -> Result<()> {
        let log = self.log.clone();
        let server = self.server.as_mut().context("it is up")?;
        wait("its death", || (!server.is_running()).then_some(()))
            .with_context(|| fs::read_to_string(log).unwrap_or_default())?;
        self.server = None;
        Ok(())
    }
}

/// Waits until a look answers something.
///
/// # Errors
/// When it does not within 60 seconds.
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    for _ in 0..LOOKS {
        if let Some(seen) = look() {
            return Ok(seen);
        }
        thread::sleep(PAUSE);
    }
    bail!("waited 60 seconds for {what}")
}

fn is_leader(url: &str) -> bool {
    get(&format!("{url}/readyz")).is_some_and(|body| body.contains("\"leader\":true"))
}

/// The body of an answer; `None` when there is none.
fn get(url: &str) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let (address, path) = url.strip_prefix("http://")?.split_once('/')?;
    runtime.block_on(async {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let ask = async {
            let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
            let head = format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.ok()?;
            answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
        };
        tokio::time::timeout(Duration::from_secs(2), ask).await.ok().flatten()
    })
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
