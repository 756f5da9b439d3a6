//! A cluster of real processes: etcd, a registry, coordinators and workers.
//!
//! All workers share this machine's engine, each with a data directory, and so leftovers, of its own.

mod apart;
mod ask;
mod process;

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Child,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use slipway_parts::{Etcd, Server, etcd::own_address};
use tempfile::TempDir;

use crate::{
    Proxy, Registry, engine,
    project::{self, Built, Project, Run},
};
pub use apart::Island;
use process::Process;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Looks before something that must come is given up: two minutes.
const LOOKS: usize = 1200;

/// A running cluster; all of it is killed and removed when this is dropped.
pub struct Cluster {
    /// What coordinators share.
    pub etcd: Etcd,
    /// Where stages go.
    pub registry: Registry,
    /// The registry's address, as coordinators, workers and clients know it.
    host: String,
    urls: Vec<String>,
    coordinators: Vec<Process>,
    workers: Vec<Process>,
    /// What workers need beside the addresses.
    variables: Vec<(String, String)>,
    /// The same of clients.
    of_clients: Vec<(String, String)>,
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
        let variables: Vec<(String, String)> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let etcd = Etcd::three().context("there is no etcd")?;
        let (dir, registry) = (tempfile::tempdir()?, Registry::start()?);
        // An address of their own: nobody takes the port of one that is down.
        let ports = free_ports(own_address(), coordinators)?;
        let endpoints = etcd.endpoints().join(",");
        let coordinator = |(number, address): (usize, &String)| {
            let own = ["--listen", address, "--etcd", &endpoints, "--no-auth"].map(str::to_owned);
            let process = Process::new(dir.path(), "coordinator", number, own.to_vec());
            Process { variables: variables.clone(), ..process }
        };
        let mut cluster = Self {
            coordinators: ports.iter().enumerate().map(coordinator).collect(),
            urls: ports.iter().map(|address| format!("http://{address}")).collect(),
            workers: Vec::new(),
            host: registry.host().to_owned(),
            registry,
            etcd,
            variables,
            of_clients: Vec::new(),
            dir,
        };
        (0..coordinators).for_each(|number| cluster.start_coordinator(number, None));
        (0..workers).for_each(|_| cluster.add_worker());
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
        Ok(format!("{}/base:1", self.host))
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

    /// Directory of everything that coordinators and workers keep, their logs too.
    pub fn directory(&self) -> &Path {
        self.dir.path()
    }

    /// Where a project's stages go.
    pub fn repo(&self, project: &Project) -> String {
        format!("{}/{}", self.host, project.name())
    }

    /// The name by which this machine's engine pulls an image of a build: it trusts only registries on loopback.
    pub fn local(&self, image: &str) -> String {
        image.replacen(&self.host, self.registry.host(), 1)
    }

    /// Starts a coordinator that is down; `failpoint` is where it will be killed.
    pub fn start_coordinator(&mut self, number: usize, failpoint: Option<&str>) {
        self.coordinators[number].start(failpoint);
    }

    /// Adds one more worker.
    pub fn add_worker(&mut self) {
        let urls = self.urls.clone();
        self.add_worker_at(&urls);
    }

    /// Adds one more worker that chooses its backend itself: it needs no engine where it can do without.
    pub fn add_native_worker(&mut self) {
        let urls = self.urls.clone();
        self.add_worker_with(&urls, &["--backend", "auto"]);
    }

    /// Adds one more worker that is given these addresses of coordinators.
    pub fn add_worker_at(&mut self, urls: &[String]) {
        let backend = project::backend().unwrap_or_else(|| "docker".to_owned());
        self.add_worker_with(urls, &["--backend", &backend]);
    }

    fn add_worker_with(&mut self, urls: &[String], more: &[&str]) {
        let number = self.workers.len();
        let (urls, name) = (urls.join(","), format!("w{number}"));
        let own = [&["--coordinator", &urls, "--name", &name, "--slots", "4"], more].concat();
        let own = own.into_iter().map(str::to_owned).collect();
        let mut worker = Process::new(self.dir.path(), "worker", number, own);
        worker.variables.clone_from(&self.variables);
        self.workers.push(worker);
        self.start_worker(number, None);
    }

    /// A proxy in front of a coordinator.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn proxy(&self, coordinator: usize) -> Result<Proxy> {
        Proxy::start(self.urls[coordinator].trim_start_matches("http://"))
    }

    /// Starts a worker that is down; `failpoint` is where it will be killed.
    pub fn start_worker(&mut self, number: usize, failpoint: Option<&str>) {
        self.workers[number].start(failpoint);
    }

    /// Kills a coordinator.
    pub fn kill_coordinator(&mut self, number: usize) {
        self.coordinators[number].server = None;
    }

    /// Asks a coordinator to end, and waits until it has: another leads at once.
    pub fn stop_coordinator(&mut self, number: usize) {
        self.coordinators[number].stop();
    }

    /// Kills a worker.
    pub fn kill_worker(&mut self, number: usize) {
        self.workers[number].server = None;
    }

    /// Asks a worker to end, and waits until it has.
    pub fn stop_worker(&mut self, number: usize) {
        self.workers[number].stop();
    }

    /// The process of a worker.
    ///
    /// # Panics
    /// When it is down.
    pub fn worker(&self, number: usize) -> &Server {
        self.workers[number].server.as_ref().expect("the worker is up")
    }

    /// Where a worker keeps its files.
    pub fn data_of_worker(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("worker-{number}"))
    }

    /// Waits until a worker has been killed at its failpoint.
    ///
    /// # Errors
    /// When it lives on.
    pub fn worker_dies(&mut self, number: usize) -> Result<()> {
        self.workers[number].dies().with_context(|| self.logs())
    }

    /// Waits until a coordinator has been killed at its failpoint.
    ///
    /// # Errors
    /// When it lives on.
    pub fn coordinator_dies(&mut self, number: usize) -> Result<()> {
        self.coordinators[number].dies().with_context(|| self.logs())
    }

    /// Waits until a coordinator leads; answers its number.
    ///
    /// # Errors
    /// When none does.
    pub fn leader(&self) -> Result<usize> {
        let leader = || self.urls.iter().position(|url| ask::is_leader(url));
        wait("a leader", leader).with_context(|| self.logs())
    }

    /// Waits until a coordinator has found that the store is away: whatever it led, nothing is decided there any more.
    ///
    /// # Errors
    /// When it goes on.
    pub fn leads_no_more(&self, number: usize) -> Result<()> {
        let is_over = || ask::is_without_store(&self.urls[number]).then_some(());
        wait("an end of leadership", is_over).with_context(|| self.logs())
    }

    /// Waits until a coordinator knows that another one leads.
    ///
    /// # Errors
    /// When it does not.
    pub fn stands_by(&self, number: usize) -> Result<()> {
        let stands_by = || ask::stands_by(&self.urls[number]).then_some(());
        wait("a coordinator that stands by", stands_by).with_context(|| self.logs())
    }

    /// Waits until the leader counts so many workers that take jobs, by its own measurements.
    ///
    /// # Errors
    /// When it never does.
    pub fn workers_known(&self, wanted: u64) -> Result<()> {
        wait(&format!("{wanted} workers"), || (self.measure("slipway_slots") == Some(wanted * 4)).then_some(()))
            .with_context(|| self.logs())
    }

    /// A measurement of the leader, by its name and labels; `None` when nobody leads.
    pub fn measure(&self, name: &str) -> Option<u64> {
        let leader = self.urls.iter().find(|url| ask::is_leader(url))?;
        ask::measurement(leader, name)
    }

    /// Builds a project on this cluster, with a report.
    ///
    /// # Errors
    /// When the build fails.
    pub fn build(&self, project: &Project) -> Result<Built> {
        let (urls, repo) = (self.urls(), self.repo(project));
        let built = project.build_with(&["--coordinator", &urls, "--repo", &repo], &self.variables());
        built.with_context(|| self.logs())
    }

    /// Starts a build of a project on this cluster.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_build(&self, project: &Project, more: &[&str]) -> Result<Child> {
        let (urls, repo) = (self.urls(), self.repo(project));
        let all = [&["build", "--coordinator", &urls, "--repo", &repo][..], more].concat();
        project.start(&all, &self.variables())
    }

    /// Runs a command that asks this cluster.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn ask(&self, project: &Project, arguments: &[&str]) -> Result<Run> {
        project.slipway_with(&[arguments, &["--coordinator", &self.urls()]].concat(), &self.variables())
    }

    /// Runs `slipway stages …` for a project, on this cluster's registry and etcd.
    ///
    /// # Errors
    /// When it fails.
    pub fn stages_command(&self, project: &Project, command: &str) -> Result<Run> {
        let members: Vec<String> = self.etcd.endpoints();
        let members = members.iter().map(|url| url.trim_start_matches("http://")).collect::<Vec<_>>().join(",");
        let (repo, at) = (self.repo(project), format!("etcd://{members}"));
        let arguments = ["stages", command, "--repo", &repo, "--synchronization", &at];
        let run = project.slipway_with(&arguments, &self.variables())?;
        if run.code != 0 {
            bail!("slipway stages {command}: {run:?}");
        }
        Ok(run)
    }

    /// What a coordinator measures; `None` = it does not answer.
    pub fn metrics(&self, coordinator: usize) -> Option<String> {
        ask::get(&format!("{}/metrics", self.urls[coordinator]))
    }

    /// The tags of a project's stages. Each digest has one, each is a complete image, and each is the recorded winner.
    ///
    /// # Errors
    /// When that is not so, or the registry or etcd does not answer.
    pub fn stages(&self, project: &Project) -> Result<Vec<String>> {
        let stages = self.verified(project)?;
        let digests: BTreeSet<&str> = stages.iter().map(|tag| &tag[..56]).collect();
        if digests.len() != stages.len() {
            bail!("a digest has two tags: {stages:#?}");
        }
        Ok(stages)
    }

    /// The tags of a project's stages; a digest may have several, for commits neither of which came before the other.
    /// Each is a complete image and recorded.
    ///
    /// # Errors
    /// When that is not so, or the registry or etcd does not answer.
    pub fn verified(&self, project: &Project) -> Result<Vec<String>> {
        let stages = self.registry.stages(project.name())?;
        stages.iter().try_for_each(|tag| self.registry.config(project.name(), tag).map(drop))?;
        self.stages_command(project, "verify")?;
        Ok(stages)
    }

    /// Waits until no worker that is up has a build container any more.
    ///
    /// # Errors
    /// When something stays.
    pub fn nothing_left(&self) -> Result<()> {
        let up = self.workers.iter().enumerate().filter(|(_, worker)| worker.server.is_some());
        let places: Vec<PathBuf> = up.map(|(number, _)| self.data_of_worker(number).join("service/attempts")).collect();
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

    /// What clients need beside the addresses.
    fn variables(&self) -> Vec<(&str, &str)> {
        self.of_clients.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

/// So many free ports of an address, as `ADDRESS:PORT`.
fn free_ports(address: Ipv4Addr, count: usize) -> Result<Vec<String>> {
    // All are held until all are chosen, so that no two are the same.
    let held = (0..count).map(|_| TcpListener::bind((address, 0))).collect::<Result<Vec<_>, _>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.to_string())).collect()
}

/// Waits until a look answers something.
///
/// # Errors
/// When it does not within two minutes.
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    for _ in 0..LOOKS {
        if let Some(seen) = look() {
            return Ok(seen);
        }
        thread::sleep(PAUSE);
    }
    bail!("waited two minutes for {what}")
}

/// Runs scenarios side by side, on so many clusters: most of the time they wait.
///
/// # Errors
/// The first failure.
///
/// # Panics
/// When a scenario does.
pub fn side_by_side<T: Copy + Send>(clusters: usize, all: &[T], run: impl Fn(&[T]) -> Result<()> + Sync) -> Result<()> {
    let run = &run;
    thread::scope(|scope| {
        let share = |number| all.iter().copied().skip(number).step_by(clusters).collect::<Vec<T>>();
        let start = |number| {
            let share = share(number);
            scope.spawn(move || run(&share))
        };
        let running: Vec<_> = (0..clusters).map(start).collect();
        let ended = running.into_iter().map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        ended.collect::<Vec<_>>().into_iter().collect()
    })
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
