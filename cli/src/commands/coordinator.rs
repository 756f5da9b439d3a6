//! `slipway coordinator`.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, anyhow};
use slipway_coordinator::{Config, Guard, Limits, Service, Tls, service::LEASE};
use slipway_kv::{EtcdAddress, EtcdKv, EtcdOptions, Kv, MemoryKv, Prefixed};
use slipway_telemetry::Tracer;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use super::session::Desk;
use crate::{
    failure::Failure,
    flags::{coordinator::CoordinatorFlags, storage::StorageFlags},
    home,
    host::{self, RegistryOptions},
};

/// What `--etcd` says for a store in memory.
const MEMORY: &str = "memory";

/// Runs a coordinator until the process is told to end.
pub(crate) async fn run(desk: Desk) -> Result<(), Failure> {
    let flags = CoordinatorFlags::from_values(&desk.values).map_err(Failure::usage)?;
    let listen = address(&flags.listen).await?;
    check_loopback(&flags, listen.ip())?;
    let kv = store(&desk, &flags)?;
    let data = match &flags.data_dir {
        Some(given) => std::path::absolute(given).context("--data-dir").map_err(Failure::usage)?,
        None => home::directory(None, &desk.world.environment)?.join("coordinator"),
    };
    let guard = Arc::new(guard(&desk, &flags)?);
    let tls = tls(&flags)?;
    let registry = host::client(&registry(&desk)?)?;
    let listener = TcpListener::bind(listen).await;
    let listener = listener.with_context(|| format!("listen at {listen} (--listen)"))?;
    let at = listener.local_addr().context("find the address that is listened at")?;
    let clock = Arc::clone(&desk.world.clock);
    let tracer = Tracer::open(&desk.world.environment, "slipway-coordinator", Arc::clone(&clock));
    let config = Config {
        listener,
        url: flags.advertise.clone().or_else(|| advertised(at, tls.is_some())),
        tls,
        guard: Arc::clone(&guard),
        kv,
        data,
        registry,
        limits: Limits { quiet: flags.job_quiet, deadline: flags.job_deadline, ..Limits::default() },
        lease: LEASE,
        environment: desk.world.environment.clone(),
        clock,
        tracer: tracer.clone(),
    };
    let service = Service::start(config)?;
    tracing::info!(address = %service.address(), version = env!("CARGO_PKG_VERSION"), "listening");
    until_told(&desk, &guard).await?;
    tracing::info!("ending");
    service.stop().await;
    tracer.flush().await;
    Ok(())
}

/// Waits until the process is told to end; reads tokens again when it is told to.
async fn until_told(desk: &Desk, guard: &Guard) -> Result<(), Failure> {
    let mut again = signal(SignalKind::hangup()).context("listen to signals")?;
    loop {
        tokio::select! {
            () = desk.world.interrupted.cancelled() => return Ok(()),
            _ = again.recv() => guard.reload(),
        }
    }
}

/// How registries are spoken to.
fn registry(desk: &Desk) -> Result<RegistryOptions, Failure> {
    let flags = StorageFlags::from_values(&desk.values).map_err(Failure::usage)?;
    Ok(RegistryOptions::new(&flags, &desk.world.environment))
}

async fn address(text: &str) -> Result<SocketAddr, Failure> {
    let found = tokio::net::lookup_host(text).await;
    let found =
        found.with_context(|| format!("--listen {text}: not an address with a port")).map_err(Failure::usage)?;
    found.into_iter().next().ok_or_else(|| usage(&format!("--listen {text}: there is no such address")))
}

/// What is only for one machine must not be open to others.
fn check_loopback(flags: &CoordinatorFlags, listen: IpAddr) -> Result<(), Failure> {
    if listen.is_loopback() {
        return Ok(());
    }
    if flags.no_auth {
        return Err(usage(&format!(
            "--no-auth lets everybody call, and {listen} can be reached by others: give --tokens-file instead, or \
             listen at 127.0.0.1"
        )));
    }
    if flags.etcd.iter().any(|url| url == MEMORY) {
        return Err(usage("--etcd=memory is for trials on one machine: listen at 127.0.0.1, or name an etcd"));
    }
    Ok(())
}

fn store(desk: &Desk, flags: &CoordinatorFlags) -> Result<Arc<dyn Kv>, Failure> {
    match flags.etcd.as_slice() {
        [] => Err(usage("--etcd is missing: name the members of the etcd that all coordinators share")),
        [one] if one == MEMORY => {
            tracing::warn!("builds are kept in memory: they are lost when this process ends");
            Ok(Arc::new(MemoryKv::new()))
        }
        urls => {
            let address = etcd_address(urls, flags.etcd_prefix.as_deref())?;
            let environment = &desk.world.environment;
            let options = EtcdOptions::from_environment(environment).map_err(|why| usage(&why))?;
            // An etcd that does not answer yet is waited for.
            let kv = EtcdKv::new(&address, &options).context("set up access to etcd").map_err(Failure::usage)?;
            Ok(if address.prefix().is_empty() {
                Arc::new(kv)
            } else {
                Arc::new(Prefixed::new(Arc::new(kv), address.prefix()))
            })
        }
    }
}

fn etcd_address(urls: &[String], prefix: Option<&str>) -> Result<EtcdAddress, Failure> {
    let whole = urls.join(",");
    let address = if whole.starts_with("etcd://") {
        whole.parse()
    } else {
        EtcdAddress::of_members(urls.iter().map(String::as_str))
    };
    let address = address.context("--etcd").map_err(Failure::usage)?;
    match prefix {
        None => Ok(address),
        Some(prefix) => address.under(prefix).context("--etcd-prefix").map_err(Failure::usage),
    }
}

fn guard(desk: &Desk, flags: &CoordinatorFlags) -> Result<Guard, Failure> {
    match (&flags.tokens_file, flags.no_auth) {
        (Some(_), true) => Err(usage("--no-auth and --tokens-file contradict each other: give one of them")),
        (None, false) => Err(usage("say who may call: --tokens-file FILE, or --no-auth on a loopback address")),
        (None, true) => Ok(Guard::open()),
        (Some(file), false) => {
            let tokens = Guard::tokens(Path::new(file), Arc::clone(&desk.world.clock));
            tokens.context("--tokens-file").map_err(Failure::usage)
        }
    }
}

fn tls(flags: &CoordinatorFlags) -> Result<Option<Tls>, Failure> {
    match &flags.tls {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            let tls = Tls::from_files(&PathBuf::from(certificate), &PathBuf::from(key));
            tls.map(Some).context("--tls-cert, --tls-key").map_err(Failure::usage)
        }
        (Some(_), None) => Err(usage("--tls-cert needs --tls-key")),
        (None, Some(_)) => Err(usage("--tls-key needs --tls-cert")),
    }
}

/// Where others can call this coordinator, as far as its address says.
fn advertised(at: SocketAddr, tls: bool) -> Option<String> {
    if at.ip().is_unspecified() {
        tracing::warn!("--advertise is not given: another coordinator cannot say where this one is when it leads");
        return None;
    }
    Some(format!("{}://{at}", if tls { "https" } else { "http" }))
}

fn usage(text: &str) -> Failure {
    Failure::usage(anyhow!("{text}"))
}
