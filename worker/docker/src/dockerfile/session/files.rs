//! A build context and its Dockerfile, as BuildKit fetches them over a session: a list of files first, then the contents
//! of those that it asks for.

mod list;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
};

use bollard::{
    fsutil::types::{Packet, packet::PacketType},
    moby::filesync::packet::file_sync_server::FileSync,
};
use futures::{
    StreamExt as _,
    future::{BoxFuture, join},
    stream::{self, BoxStream},
};
use slipway_process::Tasks;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming, async_trait};

pub(crate) use list::Files;
use list::Listed;

/// Says which of the two directories is asked for.
const DIRECTORY: &str = "dir-name";
/// The directory of the Dockerfile; the other one is the context.
const DOCKERFILE: &str = "dockerfile";
/// Says which files are wanted, when not all.
const WANTED: &str = "followpaths";
/// What is looked for in a context by itself. It has had its effect.
const IGNORE: &str = ".dockerignore";
/// Bytes of a file that are sent at once.
const PIECE: usize = 128 << 10;
/// Packets that wait to be sent.
const WAITING: usize = 16;

/// The service.
pub(crate) struct Directories {
    files: Files,
    dockerfile: Files,
    tasks: Tasks,
    /// Whether the ignore file was looked for.
    looked: AtomicBool,
}

impl Directories {
    /// A context, and the Dockerfile that is not in it. Contents are read in `tasks`.
    pub(crate) fn new(files: Files, dockerfile: Files, tasks: Tasks) -> Self {
        Self { files, dockerfile, tasks, looked: AtomicBool::new(false) }
    }
}

type Packets = BoxStream<'static, Result<Packet, Status>>;

#[async_trait]
impl FileSync for Directories {
    type DiffCopyStream = Packets;
    type TarStreamStream = Packets;

    async fn diff_copy(&self, request: Request<Streaming<Packet>>) -> Result<Response<Packets>, Status> {
        let named = |key: &str| -> Vec<String> {
            let values = request.metadata().get_all(key).iter();
            values.filter_map(|value| value.to_str().ok().map(str::to_owned)).collect()
        };
        let files = if named(DIRECTORY).iter().any(|name| name == DOCKERFILE) {
            self.dockerfile.clone()
        } else if named(WANTED) == [IGNORE] && !self.looked.swap(true, Ordering::SeqCst) {
            Files::none()
        } else {
            self.files.clone()
        };
        let (to, packets) = mpsc::channel(WAITING);
        let sending = send(From { files, tasks: self.tasks.clone() }, request.into_inner(), to);
        Ok(Response::new(fed(Box::pin(sending), packets)))
    }

    async fn tar_stream(&self, _: Request<Streaming<Packet>>) -> Result<Response<Packets>, Status> {
        Err(Status::unimplemented("files are sent one by one"))
    }
}

/// What a channel brings, while `work` fills it; it ends with the work.
fn fed(work: BoxFuture<'static, ()>, mut packets: mpsc::Receiver<Result<Packet, Status>>) -> Packets {
    let mut work = Some(work);
    let next = move |context: &mut Context<'_>| -> Poll<Option<Result<Packet, Status>>> {
        if let Some(working) = &mut work
            && working.as_mut().poll(context).is_ready()
        {
            work = None;
        }
        packets.poll_recv(context)
    };
    stream::poll_fn(next).boxed()
}

type To = mpsc::Sender<Result<Packet, Status>>;

fn packet(kind: PacketType, id: u32, data: Vec<u8>) -> Packet {
    Packet { r#type: kind.into(), id, data, stat: None }
}

/// What is sent, and what reads it.
struct From {
    files: Files,
    tasks: Tasks,
}

/// Tells which files there are, and at the same time sends those that are asked for: neither may wait for the other.
async fn send(from: From, asked: Streaming<Packet>, to: To) {
    let told = tell(&from.files, to.clone());
    let answered = answer(&from, asked, to.clone());
    let (_, answered) = join(told, answered).await;
    if let Err(status) = answered {
        // Nobody is left to be told when the engine has gone.
        let _ = to.send(Err(status)).await;
    }
}

async fn tell(files: &Files, to: To) {
    let stats = files.listed().iter().map(|listed| Some(listed.stat.clone()));
    // One without a file ends the list.
    for stat in stats.chain([None]) {
        if to.send(Ok(Packet { stat, ..packet(PacketType::PacketStat, 0, Vec::new()) })).await.is_err() {
            return;
        }
    }
}

async fn answer(from: &From, mut asked: Streaming<Packet>, to: To) -> Result<(), Status> {
    let gone = |_| Status::cancelled("the engine has gone");
    while let Some(question) = asked.next().await {
        let question = question?;
        match question.r#type() {
            PacketType::PacketReq => {
                let listed = usize::try_from(question.id).ok().and_then(|at| from.files.listed().get(at));
                let listed =
                    listed.ok_or_else(|| Status::invalid_argument(format!("there is no file {}", question.id)))?;
                content(from, listed, question.id, &to).await?;
            }
            PacketType::PacketFin => {
                return to.send(Ok(packet(PacketType::PacketFin, 0, Vec::new()))).await.map_err(gone);
            }
            PacketType::PacketErr => {
                return Err(Status::aborted(String::from_utf8_lossy(&question.data).into_owned()));
            }
            PacketType::PacketStat | PacketType::PacketData => {
                return Err(Status::invalid_argument("only files are asked for"));
            }
        }
    }
    Ok(())
}

/// Sends a file, and an empty piece behind it.
async fn content(from: &From, listed: &Listed, id: u32, to: &To) -> Result<(), Status> {
    let gone = |_| Status::cancelled("the engine has gone");
    let mut left = usize::try_from(listed.stat.size).unwrap_or(0);
    let mut at = listed.at;
    while left > 0 {
        let (files, length) = (from.files.clone(), PIECE.min(left));
        let piece = from.tasks.blocking(move || files.piece(at, length)).await;
        let failed = |error| Status::internal(format!("read `{}` of the context: {error}", listed.stat.path));
        to.send(Ok(packet(PacketType::PacketData, id, piece.map_err(failed)?))).await.map_err(gone)?;
        (left, at) = (left - length, at + length as u64);
    }
    to.send(Ok(packet(PacketType::PacketData, id, Vec::new()))).await.map_err(gone)
}
