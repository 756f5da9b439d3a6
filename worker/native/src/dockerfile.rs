//! Dockerfiles: what `slipway-dockerfile` has read and typed is done here, stage by stage.
//!
//! Reading order: this file (a build as a whole), `stages` (which are built when), `base` and `platforms` (what a stage stands on), `cursor` (how far a stage has come),
//! `step` (one instruction), `alone` (one instruction as a build of its own), `sending` (what goes to a registry meanwhile), then the instructions that make files (what others do is [`slipway_backend::dockerfile`]):
//! `workdir`, `files`, `run`; `cache` (what was done before).

mod alone;
mod base;
mod cache;
mod copy;
mod cursor;
mod files;
mod held;
mod platforms;
mod run;
mod sending;
mod stages;
mod step;
mod workdir;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use slipway_backend::{BackendError, ByteStream, DockerfileBuild, LocalImage, Logs, dockerfile::read, scrub::Masks};
use slipway_dockerfile::Program;
use slipway_layers::store::Work;
use tokio::sync::{Mutex, OnceCell, Semaphore};

use crate::{Shared, allowance::Allowance, error};
pub(crate) use alone::instruct;
pub(crate) use cache::Turns;
use cursor::Cursor;
use held::Held;
use sending::Sending;
use stages::Stages;

/// Directory of the context in that of the build.
const CONTEXT: &str = "context";

/// A build under way.
struct Build {
    shared: Arc<Shared>,
    order: DockerfileBuild,
    program: Program,
    logs: Logs,
    masks: Masks,
    stages: Stages<Cursor>,
    /// Steps that are done at once.
    places: Semaphore,
    context: Context,
    /// What goes to the image's repository already.
    sending: Sending,
    /// Rooms that were opened: each has a name of its own.
    rooms: AtomicUsize,
}

/// The build context, unpacked when the first instruction reads it.
struct Context {
    /// The archive, until then.
    archive: Mutex<Option<ByteStream>>,
    place: OnceCell<(PathBuf, Allowance)>,
    /// The directory of the build.
    work: Held<Work>,
}

/// Builds; output goes to `logs`.
pub(crate) async fn build(
    shared: &Arc<Shared>,
    order: DockerfileBuild,
    context: ByteStream,
    logs: Logs,
) -> Result<LocalImage, BackendError> {
    let build = open(shared, order, context, logs).await?;
    let built = build.stages.run(build.program.target(), |at| step::stage(&build, at)).await;
    finish(&build, &*built?).await
}

/// A build of which nothing is done yet.
async fn open(
    shared: &Arc<Shared>,
    order: DockerfileBuild,
    context: ByteStream,
    logs: Logs,
) -> Result<Build, BackendError> {
    let program = read(&order)?;
    platforms::check(shared, &program, &order.platform).await?;
    let target = program.target();
    let (store, name) = (shared.store.clone(), order.attempt.clone());
    let work = shared.tasks.blocking(move || store.work(&name)).await;
    let work = Arc::new(work.map_err(|error| error::layers("make room for a build", error))?);
    // What is left of the context is removed where that may take a while.
    let work = Held::new(&shared.tasks, work);
    let at_once = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(Build {
        shared: Arc::clone(shared),
        masks: Masks::of(&order.secrets),
        stages: Stages::new(target + 1),
        sending: Sending::new(shared, order.to.clone(), &program),
        order,
        program,
        logs,
        places: Semaphore::new(at_once),
        context: Context { archive: Mutex::new(Some(context)), place: OnceCell::new(), work },
        rooms: AtomicUsize::new(0),
    })
}

/// The image of the stage that was asked for.
async fn finish(build: &Build, cursor: &Cursor) -> Result<LocalImage, BackendError> {
    let image = cursor.image(&build.order.labels, &build.shared.now());
    let (store, bytes) = (build.shared.store.clone(), image.to_bytes());
    let put = build.shared.tasks.blocking(move || store.put_image(&bytes)).await;
    build.sending.end().await;
    Ok(LocalImage { id: put.map_err(|error| error::layers("keep the image of a Dockerfile", error))? })
}

impl Build {
    /// Says a line.
    async fn say(&self, line: &str) {
        // Nobody who reads on is missed when the build is being given up.
        let _ = self.logs.send(self.masks.clean(line.as_bytes())).await;
    }

    /// A name for a directory that nobody else has.
    fn room_name(&self) -> String {
        format!("{}-{}", self.order.attempt, self.rooms.fetch_add(1, Ordering::Relaxed))
    }

    /// Where the context is.
    async fn context(&self) -> Result<PathBuf, BackendError> {
        let unpack = || async {
            let archive = self.context.archive.lock().await.take();
            let archive =
                archive.ok_or_else(|| BackendError::Engine("the build context was read before".to_owned()))?;
            let (shared, work) = (Arc::clone(&self.shared), self.context.work.get());
            // It goes on when the build is given up, and its directory must not be removed under it.
            let unpacked = self.shared.tasks.spawn(async move {
                let work = Held::new(&shared.tasks, work);
                let place = work.get().path().join(CONTEXT);
                let directory = place.clone();
                let made = shared.tasks.blocking(move || std::fs::create_dir(directory)).await;
                made.map_err(|error| error::system("make room for the build context", error))?;
                copy::unpack_context(&shared, archive, &place).await.map(|allowance| (place, allowance))
            });
            let ended = unpacked.await.ok().flatten();
            ended.unwrap_or_else(|| Err(BackendError::Engine("the build context was not unpacked".to_owned())))
        };
        self.context.place.get_or_try_init(unpack).await.map(|(place, _)| place.clone())
    }
}
