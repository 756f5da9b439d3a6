//! `slipway worker`.

use std::{fs::File, path::Path, sync::Arc};

use anyhow::{Context as _, anyhow};
use slipway_backend::emulation;
use slipway_client::{Client, HttpLink, LinkOptions};
use slipway_native::rootless;
use slipway_process::{Tasks, random_id};
use slipway_telemetry::Tracer;
use slipway_worker::{Agents, Capabilities, Mirrors, Mounts, Setup, Stop, Worker, health};
use tokio::net::TcpListener;

use super::{host::auto, session::Desk};
use crate::{
    buildah, capacity,
    choose::{self, Backend, EngineAddress, NoBackend, Tried, Wanted},
    cluster, embedded, engine as engines,
    failure::Failure,
    flags::{
        backend::BackendFlags,
        cluster as cluster_flags,
        host::{DISABLE_AUTO, Limits},
        project::TMP_DIR,
        service::{WorkerFlags, checked_name},
        storage::StorageFlags,
    },
    home,
    host::{Host, HostOptions},
    ssh,
};

/// Where the kernel says what the host is called.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// Runs jobs until it is interrupted: the first interrupt lets what runs finish, a second one ends at once.
pub(crate) async fn run(desk: Desk) -> Result<(), Failure> {
    let flags = WorkerFlags::from_values(&desk.values).map_err(Failure::usage)?;
    let cleaned = (!desk.values.switch(&DISABLE_AUTO)).then(|| Limits::from_values(&desk.values)).transpose();
    let cleaned = cleaned.map_err(Failure::usage)?;
    let world = &desk.world;
    let client = cluster_flags::client(&desk.values, &world.environment, &desk.here, &world.clock);
    let client = client.map_err(Failure::usage)?;
    let client = client.ok_or_else(|| Failure::usage(anyhow!("say which cluster to work for: --coordinator URL")))?;
    let name = match &flags.name {
        Some(name) => name.clone(),
        None => host_name().map_err(Failure::usage)?,
    };
    let data = home::directory(flags.data_dir.as_deref(), &world.environment)?;
    let lock = lock(&data)?;
    let options = HostOptions { strangers: true, ..host_options(&desk, &data).await? };
    let health = match flags.health {
        Some(address) => {
            let bound = TcpListener::bind(address).await;
            Some(bound.with_context(|| format!("listen on --health-listen {address}"))?)
        }
        None => None,
    };
    let tasks = Tasks::new();
    let opened = world.interrupted.run_until_cancelled(Host::open(&options, &tasks)).await;
    let opened = opened.ok_or_else(Failure::interrupted)?;
    let result = match opened {
        Ok(host) => {
            let tracer = Tracer::open(&desk.world.environment, "slipway-worker", Arc::clone(&desk.world.clock));
            let capabilities = capabilities(&options, &host, (&flags, &data), &tasks).await;
            let mounts = engines::mounts(&options, Arc::clone(&world.clock))?;
            let setup = setup(&desk, &flags, (name, &data), (client, (&host, &options), capabilities), mounts, &tasks);
            let worker = Worker::new(Setup { tracer: tracer.clone(), ..setup }, tasks.clone());
            if let Some(limits) = cleaned {
                let (cleaned, clock, stop) = (data.clone(), Arc::clone(&world.clock), tasks.token());
                tasks.spawn(async move { stop.run_until_cancelled(auto::of_worker(cleaned, limits, clock)).await });
            }
            work(&desk, &flags, worker, health, &tasks).await;
            host.shut_down().await;
            tasks.shut_down().await;
            // Containers of the jobs that ended with the tasks are removed by the backend.
            host.shut_down().await;
            tracer.flush().await;
            Ok(())
        }
        Err(error) => {
            tasks.shut_down().await;
            Err(Failure::from(error))
        }
    };
    drop(lock);
    result
}

fn setup(
    desk: &Desk,
    flags: &WorkerFlags,
    (name, data): (String, &Path),
    (client, (host, options), capabilities): (Client, (&Host, &HostOptions), Capabilities),
    mounts: Mounts,
    tasks: &Tasks,
) -> Setup {
    let origin = client.clone();
    let mirrors =
        Mirrors::new(data.join("mirrors"), Box::new(move |project| cluster::remote(&origin, project)), tasks.clone());
    let link = LinkOptions { worker: name.clone(), spool: data.join("service/output") };
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let slots = flags.slots.unwrap_or_else(|| u16::try_from(cpus).unwrap_or(u16::MAX));
    let capabilities = Capabilities {
        cpu_millis: flags.capacity.cpu_millis.unwrap_or_else(capacity::cpu_millis),
        memory_mib: flags.capacity.memory_mib.unwrap_or_else(capacity::memory_mib),
        labels: flags.capacity.labels.clone(),
        ..capabilities
    };
    let (cpus, memory) = (capabilities.cpu_millis / 1000, capabilities.memory_mib);
    let platforms: Vec<String> = capabilities.platforms.iter().map(ToString::to_string).collect();
    let platforms = platforms.join(", ");
    desk.printer.info(&format!(
        "Worker {name} with {slots} slots, {cpus}.{:03} CPUs, {memory} MiB, {platforms} and the backend {} for {}, data in {}",
        capabilities.cpu_millis % 1000,
        capabilities.backend,
        client.addresses().current(),
        data.display()
    ));
    Setup {
        name,
        boot: random_id(),
        slots,
        capabilities,
        hold: flags.hold,
        link: Arc::new(HttpLink::new(client, link, tasks)),
        registry: host.client.clone(),
        backend: host.backend(),
        ansible: options.ansible(tasks),
        sources: Arc::new(mirrors),
        mounts,
        clock: Arc::clone(&desk.world.clock),
        tracer: Tracer::default(),
        holds: Some(data.join("service/holds")),
        agents: agents(options, tasks),
        // A worker has no user.
        introspect: None,
    }
}

/// Who gives commands the keys that come along with a build. Containers of an engine on another host reach no socket here.
fn agents(options: &HostOptions, tasks: &Tasks) -> Agents {
    if options.backend == Backend::Docker && !options.engine.is_here() {
        return Agents::None;
    }
    Agents::OfKeys(Arc::new(ssh::Lender::new(tasks.clone())))
}

/// What jobs may ask of this worker.
async fn capabilities(
    options: &HostOptions,
    host: &Host,
    (flags, data): (&WorkerFlags, &Path),
    tasks: &Tasks,
) -> Capabilities {
    let (networks, lacks) = host.engine.networks(tasks).await;
    if let Some(lacks) = lacks {
        // Commands of strangers do not see the network of a worker.
        tracing::warn!("commands can have no network of their own here, so jobs that run any go elsewhere: {lacks}");
    }
    let instructions = options.backend.does_instructions();
    let platforms = match &flags.capacity.platforms {
        Some(platforms) => platforms.clone(),
        None => {
            let mut all = vec![host.engine.platform()];
            // What an engine elsewhere runs nobody knows.
            if options.backend != Backend::Docker || options.engine.is_here() {
                let room = data.join("service/tmp");
                all.extend(tasks.blocking(move || emulation::emulated(&room)).await);
            }
            all
        }
    };
    Capabilities { backend: options.backend.to_string(), platforms, networks, instructions, ..Capabilities::default() }
}

/// Works until the user gives up, and then until what runs is done or has had its time.
async fn work(desk: &Desk, flags: &WorkerFlags, worker: Worker, health: Option<TcpListener>, tasks: &Tasks) {
    if let Some(listener) = health {
        let status = worker.status();
        tasks.spawn(async move {
            if let Err(error) = health::serve(listener, status).await {
                tracing::warn!("answer on --health-listen: {error}");
            }
        });
    }
    let stop = Stop::default();
    let mut working = Box::pin(worker.run(stop.clone()));
    tokio::select! {
        () = &mut working => return,
        () = desk.world.interrupted.cancelled() => {}
    }
    let limit = flags.drain_limit;
    desk.printer.info(&format!(
        "Interrupted: taking no more jobs; what runs has {} s to finish. Interrupt again to end at once.",
        limit.as_secs()
    ));
    stop.drain.cancel();
    if tokio::time::timeout(limit, &mut working).await.is_err() {
        desk.printer.warn(&format!("What runs is not done within {} s and is given up", limit.as_secs()));
        stop.now.cancel();
        working.await;
    }
}

/// One process at a time uses a data directory: another one would take over what this one runs.
fn lock(data: &Path) -> Result<File, Failure> {
    let doing = || format!("use the data directory {}", data.display());
    std::fs::create_dir_all(data.join("service")).with_context(doing)?;
    let file = File::create(data.join("service/worker.lock")).with_context(doing)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(Failure::usage(anyhow!("{}: another worker uses it; give each its own --data-dir", doing())))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(anyhow::Error::new(error).context(doing()).into()),
    }
}

/// Finds what builds.
async fn host_options(desk: &Desk, data: &Path) -> Result<HostOptions, Failure> {
    let environment = &desk.world.environment;
    let backend = BackendFlags::from_values(&desk.values).map_err(Failure::usage)?;
    let storage = StorageFlags::from_values(&desk.values).map_err(Failure::usage)?;
    let engine = EngineAddress::from_environment(environment);
    let wanted = Wanted::new(backend.backend.clone(), environment);
    let refused = |error| match error {
        NoBackend::Refused(_) => Failure::usage(error),
        NoBackend::Absent(_) => Failure::from(error),
    };
    let asked = wanted.asked().map_err(refused)?;
    let mut tried = Tried::default();
    if asked.tries_native() {
        tried.native = Some(embedded::probe_native(data, backend.driver.as_deref()).await);
    }
    if asked.tries_docker(tried.native.as_ref()) {
        tried.docker = Some(embedded::probe(&engine).await);
    }
    if asked.tries_buildah() {
        tried.buildah = Some(buildah::probe(environment));
    }
    let choice = choose::choose(&asked, &engine, &tried).map_err(refused)?;
    choose::check_compression(choice.backend, backend.compression).map_err(refused)?;
    choose::native_runtime(choice.backend, backend.runtime.as_deref()).map_err(refused)?;
    if choice.backend == Backend::Buildah {
        let mode = buildah::mode(environment, backend.runtime.clone());
        mode.map_err(|why| Failure::usage(anyhow!(why)))?;
    }
    if choice.backend != Backend::Docker && rootless::is_needed() {
        return Err(Failure::from(engines::start_again()));
    }
    let places = (data.to_owned(), desk.values.text(&TMP_DIR));
    Ok(HostOptions::new((choice.backend, engine), (&backend, &storage), environment, places))
}

fn host_name() -> anyhow::Result<String> {
    let name = std::fs::read_to_string(HOST_NAME).with_context(|| format!("read {HOST_NAME}"))?;
    checked_name(name.trim()).context("the name of this host does not do: give one with --name")
}
