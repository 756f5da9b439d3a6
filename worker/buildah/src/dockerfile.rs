//! Dockerfile builds, by the program's own interpreter and with its own layer cache.

mod bases;
mod failure;
mod follow;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use futures::TryStreamExt as _;
use slipway_backend::{BackendError, ByteStream, DockerfileBuild, LocalImage, Logs, output::Output, scrub::Masks};
use slipway_dockerfile::{DockerfileError, Given};
use slipway_layers::root::Root;
use slipway_native::place;
use slipway_oci::Platform;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::{
    Shared,
    container::Container,
    document::{self, of_id},
    enclosure::{Enclosed, Start},
    error::system,
    memory::{Memory, agent},
    run::{Network, isolation},
};
use bases::Bases;
pub(crate) use bases::sweep;
use failure::explain;
use follow::follow;

const DOING: &str = "build a Dockerfile";
/// The option whose value marks the containers of a build.
const MARK: &str = "--cni-config-dir";
/// Files in the directory of a build.
const TEXT: &str = "Dockerfile";
const CONTEXT: &str = "context";
const IGNORE: &str = "ignore";
const ID: &str = "id";

/// Builds; output goes to `logs`.
pub(crate) async fn build(
    shared: &Arc<Shared>,
    build: DockerfileBuild,
    context: ByteStream,
    logs: Logs,
) -> Result<LocalImage, BackendError> {
    check(&build)?;
    let network = Network::parse(build.network.as_deref())?;
    shared.check_network(network)?;
    let room = Container::room(&shared.program, &build.attempt)?;
    unpack(shared, &room, &build.text, context).await?;
    let bases = Bases::name(shared, &build).await?;
    let memory = Memory::write(&build.attempt, &build.secrets, build.agent.is_some())?;
    let arguments = arguments(shared, (&build, network), &bases, &memory, room.place());
    let start = Start {
        place: room.place(),
        // The program makes a socket of its own for an agent, whose path must be short.
        temporary: if build.agent.is_some() { memory.place() } else { room.place() },
        cut_off: network.is_cut_off(&shared.program.mode),
        prefix: &[],
        arguments: &arguments,
        streams: [Stdio::null(), Stdio::piped(), Stdio::piped()],
        held: Some(room.hold().await),
    };
    let (running, streams) = Enclosed::start(&shared.program, start).map_err(|error| system(DOING, error))?;
    let output = Output::new(logs, None, &Masks::of(&build.secrets));
    let ended = follow(running, streams, output).await.map_err(|error| system(DOING, error))?;
    drop(memory);
    if !ended.status.success() {
        return Err(explain(&build.text, ended));
    }
    let id = fs::read_to_string(room.place().join(ID)).map_err(|error| system(DOING, error))?;
    let image = of_id(&id).map_err(|why| BackendError::Engine(format!("{DOING}: {why}")))?;
    label(shared, &image, &build.labels).await
}

/// The image with labels: the program would make a step of its own of each. What it has made stays, for later builds to
/// find its layers.
async fn label(
    shared: &Shared,
    image: &LocalImage,
    labels: &BTreeMap<String, String>,
) -> Result<LocalImage, BackendError> {
    let kept = document::expect(&shared.program, image).await?;
    let mut config = kept.config.clone();
    // It writes empty lists where nothing is set.
    let run = &mut config.config;
    run.cmd = run.cmd.take().filter(|words| !words.is_empty());
    run.entrypoint = run.entrypoint.take().filter(|words| !words.is_empty());
    run.volumes = run.volumes.take().filter(|volumes| !volumes.is_empty());
    run.other.retain(|name, value| name != "OnBuild" || value.as_array().is_some_and(|list| !list.is_empty()));
    config.config.labels.get_or_insert_default().extend(labels.clone());
    document::store(&shared.program, &config, &kept).await
}

/// What is wrong with the text is told by our own reader of it: the program's tells no line.
fn check(build: &DockerfileBuild) -> Result<(), BackendError> {
    let platform = build.platform.to_string();
    let machine = Platform::host().to_string();
    let given = Given { target: build.target.as_deref(), args: &build.args, platform: &platform, machine: &machine };
    let wrong = |error: DockerfileError| {
        BackendError::Refused(match error.line {
            0 => format!("the Dockerfile cannot be built: {}", error.message),
            line => format!("the Dockerfile cannot be built (line {line}): {}", error.message),
        })
    };
    slipway_dockerfile::Program::read(TEXT, &build.text, &given).map(drop).map_err(wrong)
}

/// Puts the text and the context into the directory of the build. What the context leaves out it does not hold any more.
async fn unpack(shared: &Arc<Shared>, room: &Container, text: &str, context: ByteStream) -> Result<(), BackendError> {
    let directory = room.place().to_owned();
    let text = text.to_owned();
    let unpack = move || -> Result<(), BackendError> {
        let write = || -> io::Result<Root> {
            fs::write(directory.join(TEXT), text)?;
            fs::write(directory.join(IGNORE), "")?;
            fs::create_dir(directory.join(CONTEXT))?;
            Root::open(&directory.join(CONTEXT))
        };
        let root = write().map_err(|error| system("make room for the build context", error))?;
        let input = SyncIoBridge::new(StreamReader::new(context.map_err(io::Error::other)));
        place::put(&root, input, "/", None, None)
    };
    // It goes on when the build is given up, and its directory must not be removed under it.
    let held = room.hold().await;
    let (owned, program) = (Arc::clone(&shared.program), &shared.program);
    let unpacked = program.tasks.spawn(async move {
        let unpacked = owned.tasks.blocking(unpack).await;
        drop(held);
        unpacked
    });
    let ended = || BackendError::Engine("the build context was not unpacked: the backend is shutting down".to_owned());
    unpacked.await.ok().flatten().ok_or_else(ended)?
}

/// What the program is told.
fn arguments(
    shared: &Shared,
    (build, network): (&DockerfileBuild, Network),
    bases: &Bases,
    memory: &Memory,
    place: &Path,
) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["build".into()];
    words.extend(isolation(&shared.program.mode));
    words.extend(network.arguments(&shared.program.mode));
    // Layers of earlier builds serve again; of a build that failed no container stays.
    let fixed = ["--format", "docker", "--layers", "--force-rm", "--pull=never", "--identity-label=false"];
    words.extend(fixed.map(OsString::from));
    let mut option = |name: &str, value: OsString| words.extend([OsString::from(name), value]);
    option("--signature-policy", shared.program.policy.clone().into());
    // For its own it needs not be told, and would complain of arguments that nobody uses.
    if build.platform != Platform::host() {
        option("--platform", build.platform.to_string().into());
    }
    // Nobody reads it, but it is told of each container: that is how those of a killed build are known.
    option(MARK, place.into());
    for (name, file) in [("--file", TEXT), ("--ignorefile", IGNORE), ("--iidfile", ID)] {
        option(name, place.join(file).into());
    }
    if let Some(target) = &build.target {
        option("--target", target.into());
    }
    let pair = |(name, value): (&String, &String)| OsString::from(format!("{name}={value}"));
    build.args.iter().map(pair).for_each(|arg| option("--build-arg", arg));
    build.add_hosts.iter().for_each(|host| option("--add-host", host.into()));
    shared.limits.iter().for_each(|limit| option("--ulimit", limit.into()));
    bases.arguments().for_each(|base| option("--build-context", base.into()));
    memory.arguments().for_each(|secret| option("--secret", secret));
    build.agent.iter().flat_map(agent).for_each(|agent| option("--ssh", agent));
    words.push(PathBuf::from(place).join(CONTEXT).into());
    words
}
