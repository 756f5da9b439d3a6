//! Dockerfile builds, by the program's own interpreter and with its own layer cache; and single instructions, for which
//! it is given what our own reader makes of them.
//!
//! Reading order: this file (a build as a whole), `arguments`, `bases`, `follow`, `failure`; `alone`, `spelled` and `steps` (one instruction).

mod alone;
mod arguments;
mod bases;
mod failure;
mod follow;
mod spelled;
mod steps;

use std::{collections::BTreeMap, ffi::OsString, fs, io, process::Stdio, sync::Arc};

use futures::TryStreamExt as _;
use slipway_backend::{
    BackendError, ByteStream, DockerfileBuild, LocalImage, Logs, dockerfile::read, output::Output, scrub::Masks,
};
use slipway_layers::root::Root;
use slipway_rootfs::place;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::{
    Shared,
    container::Container,
    document::{self, of_id},
    enclosure::{Enclosed, Start},
    error::system,
    memory::Memory,
    run::Network,
};
pub(crate) use alone::instruct;
use bases::Bases;
pub(crate) use bases::sweep;
use failure::explain;
use follow::{Ended, follow};

const DOING: &str = "build a Dockerfile";
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
    // What is wrong with the text is told by our own reader of it: the program's tells no line.
    let program = read(&build)?;
    let network = Network::parse(build.network.as_deref())?;
    shared.check_network(network)?;
    let room = Container::room(&shared.program, &build.attempt)?;
    write(&room, &build.text)?;
    unpack(shared, &room, context).await?;
    let bases = Bases::name(shared, &build, &program).await?;
    let memory = Memory::write(&build.attempt, &build.secrets, build.agent.is_some())?;
    let words = arguments::whole(shared, (&build, network), (&bases, &memory), room.place());
    let ended = interpret(shared, (&build, network), (&room, &memory), (words, 0), logs).await?;
    if !ended.status.success() {
        return Err(explain(&build.text, ended));
    }
    label(shared, &made(&room)?, &build.labels).await
}

/// Has the program do what stands in the room; `steps` = how many there are when nobody wants to read of them, else 0.
async fn interpret(
    shared: &Arc<Shared>,
    (build, network): (&DockerfileBuild, Network),
    (room, memory): (&Container, &Memory),
    (arguments, steps): (Vec<OsString>, usize),
    logs: Logs,
) -> Result<Ended, BackendError> {
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
    follow(running, streams, output, steps).await.map_err(|error| system(DOING, error))
}

/// The image that the program has made in a room.
fn made(room: &Container) -> Result<LocalImage, BackendError> {
    let id = fs::read_to_string(room.place().join(ID)).map_err(|error| system(DOING, error))?;
    of_id(&id).map_err(|why| BackendError::Engine(format!("{DOING}: {why}")))
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
    document::store(&shared.program, &config, &kept.manifest).await
}

/// Puts a text into the directory of the build.
fn write(room: &Container, text: &str) -> Result<(), BackendError> {
    fs::write(room.place().join(TEXT), text).map_err(|error| system("make room for the build of a Dockerfile", error))
}

/// Puts the context into the directory of the build. What it leaves out it does not hold any more.
async fn unpack(shared: &Arc<Shared>, room: &Container, context: ByteStream) -> Result<(), BackendError> {
    let directory = room.place().to_owned();
    let unpack = move || -> Result<(), BackendError> {
        let write = || -> io::Result<Root> {
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
