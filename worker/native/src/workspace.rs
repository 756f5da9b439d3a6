//! A workspace: an overlay on top of an image, and what is done in it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use slipway_backend::{BackendError, LocalImage, Logs, Script, Setup, Terminal};
use slipway_layers::{
    Layer, LayerError,
    entry::Time,
    root::Root,
    store::{Reservation, Work},
};
use slipway_oci::{ConfigChange, ImageConfig};
use slipway_process::Tasks;
use slipway_rootfs::workspace::Rooted;

use crate::{
    Shared,
    commit::{self, Ground},
    driver::{self, Driver, Tree},
    early::{self, Opening},
    error, overlay, run, shell,
    stubs::{self, Places, Stubs},
};

/// Directory of files of several names, parted.
const PARTED: &str = "parted";

/// A workspace of this backend, but for what is done in its directory alone.
pub(crate) struct NativeWorkspace {
    pub(crate) shared: Arc<Shared>,
    pub(crate) base: ImageConfig,
    pub(crate) layers: Vec<Layer>,
    pub(crate) setup: Setup,
    pub(crate) room: Option<Arc<Room>>,
    /// Where the image is to be sent, asked for while the commands ran.
    pub(crate) opening: Option<Opening>,
}

/// The mount of a workspace and the directory that its changes are in. Shared with whatever works in it, so that it is
/// not removed under it.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) tree: Tree,
    pub(crate) work: Arc<Work>,
    /// Paths that only the places for mounts have.
    pub(crate) stubs: Vec<Vec<u8>>,
    /// The layer of these places.
    places: Layer,
    /// Keeps the layers below from being evicted.
    layers: Vec<Layer>,
    /// Room in the store for what is made.
    pub(crate) promised: Reservation,
}

impl Room {
    /// Where the changes are.
    pub(crate) fn upper(work: &Work) -> PathBuf {
        work.path().join("upper")
    }

    /// Mounts. `name` is that of its directory, and nobody else's. Blocks.
    pub(crate) fn make(shared: &Shared, layers: &[Layer], name: &str, places: &Places) -> Result<Self, BackendError> {
        let doing = "mount the root of a build";
        let promised = shared.store.admit_beginning().map_err(|error| error::layers(doing, error))?;
        let work = match shared.standby.place() {
            Some(made) => made.renamed(name),
            None => shared.store.work(name).and_then(|work| furnish(shared, work)),
        };
        let work = work.map_err(|error| error::layers(doing, error))?;
        let places = places.by(shared.runtime.as_ref());
        let (tree, stubs, places) = mount(shared, layers, &work, &places, doing)?;
        Ok(Self { tree, work: Arc::new(work), stubs, places, layers: layers.to_vec(), promised })
    }

    /// The same room with another mount: that of a sandbox goes with it. Blocks.
    fn again(shared: &Shared, room: Arc<Self>) -> Result<Self, BackendError> {
        let doing = "mount the root of a shell";
        let room = Arc::into_inner(room)
            .ok_or_else(|| BackendError::Engine(format!("{doing}: something is still at work in it")))?;
        let Self { tree, work, stubs, places, layers, promised } = room;
        let mut lowers = lowers(shared, &layers);
        lay(&mut lowers, &places, &work);
        let scratch = work.path().join("scratch-of-shell");
        let tree = tree.again(|| {
            fs::create_dir(&scratch)?;
            writable(shared, &lowers, &work, &scratch)
        });
        let tree = tree.map_err(|error| error::system(doing, error))?;
        Ok(Self { tree, work, stubs, places, layers, promised })
    }
}

/// Makes the directories that a mount needs in one of its own. Blocks.
pub(crate) fn furnish(shared: &Shared, work: Work) -> Result<Work, LayerError> {
    let made = match shared.driver {
        Driver::Vfs => fs::create_dir(Room::upper(&work)),
        _ => fs::create_dir(Room::upper(&work)).and_then(|()| fs::create_dir(scratch(&work))),
    };
    made.map_err(|error| LayerError::io(format!("make directories in {}", work.path().display()), error))?;
    Ok(work)
}

/// Where the kernel prepares changes.
fn scratch(work: &Work) -> PathBuf {
    work.path().join("scratch")
}

/// The directories of layers, the topmost first, as a read-only mount wants them: two at least.
pub(crate) fn lowers(shared: &Shared, layers: &[Layer]) -> Vec<PathBuf> {
    let mut lowers: Vec<PathBuf> = layers.iter().rev().map(Layer::diff).collect();
    let missing = 2_usize.saturating_sub(lowers.len());
    lowers.extend(shared.store.empty().into_iter().take(missing));
    lowers
}

/// Mounts a root; answers what only the places for mounts have, and their layer.
fn mount(
    shared: &Shared,
    layers: &[Layer],
    work: &Work,
    places: &Places,
    doing: &str,
) -> Result<(Tree, Vec<Vec<u8>>, Layer), BackendError> {
    let system = |error: io::Error| error::system(doing, error);
    let mut lowers = lowers(shared, layers);
    let upper = Room::upper(work);
    if shared.driver == Driver::Vfs {
        let mut made = None;
        let tree = Tree::copied(&lowers, &work.path().join("tree"), |image| {
            let stubs = Stubs::of(image, places)?;
            let places = stubs.layer(&shared.store).map_err(io::Error::other)?;
            look_like(&upper, image, layers.is_empty())?;
            Ok(made.insert((stubs.made, places)).1.diff())
        });
        let tree = tree.map_err(system)?;
        let (made, places) = made.ok_or_else(|| system(io::Error::other("the image was not looked at")))?;
        return Ok((tree, made, places));
    }
    let image = driver::look(&shared.driver, &shared.store, &lowers).map_err(system)?;
    let stubs = Stubs::of(&image.root, places).map_err(system)?;
    if matches!(shared.driver, Driver::FuseOverlayfs(_)) {
        stubs::part(&image.root, &work.path().join(PARTED), &lowers).map_err(system)?;
    }
    look_like(&upper, &image.root, layers.is_empty()).map_err(system)?;
    drop(image);
    let places = stubs.layer(&shared.store).map_err(|error| error::layers(doing, error))?;
    lay(&mut lowers, &places, work);
    Ok((writable(shared, &lowers, work, &scratch(work)).map_err(system)?, stubs.made, places))
}

/// Puts on top of an image what is not its own.
fn lay(lowers: &mut Vec<PathBuf>, places: &Layer, work: &Work) {
    lowers.insert(0, places.diff());
    let parted = work.path().join(PARTED);
    if parted.is_dir() {
        lowers.insert(0, parted);
    }
}

/// A mount with the changes of a room. The kernel prepares them in the directory `scratch`, which no other mount has had:
/// it is marked by the one that does not care for the disk.
fn writable(shared: &Shared, lowers: &[PathBuf], work: &Work, scratch: &Path) -> io::Result<Tree> {
    let upper = Room::upper(work);
    let writable = overlay::Writable { upper: &upper, work: scratch };
    driver::mount(&shared.driver, lowers, Some(writable))
}

/// The root of the changes is the root that is seen: as the image has it, if there is one.
pub(crate) fn look_like(directory: &Path, image: &Root, is_empty: bool) -> io::Result<()> {
    let Some(stat) = image.look(b"")? else { return Ok(()) };
    let directory = Root::open(directory)?.directory(b"")?;
    let mode = if is_empty { 0o755 } else { stat.st_mode & 0o7777 };
    directory.dress(b".", (stat.st_uid, stat.st_gid), Some(mode), &[])?;
    directory.set_time(b".", Time::of(&stat))
}

impl NativeWorkspace {
    /// The room, mounted on first use.
    async fn room(&mut self) -> Result<Arc<Room>, BackendError> {
        if let Some(room) = &self.room {
            return Ok(Arc::clone(room));
        }
        let (shared, layers, setup) = (Arc::clone(&self.shared), self.layers.clone(), self.setup.clone());
        let make = move || Room::make(&shared, &layers, &setup.attempt, &Places::of(&setup));
        let made = self.shared.tasks.blocking(make).await?;
        let room = Arc::new(made);
        self.room = Some(Arc::clone(&room));
        Ok(room)
    }
}

impl Drop for NativeWorkspace {
    fn drop(&mut self) {
        // Removing what a build has left may take a while: not on the thread of a task.
        if let Some(room) = self.room.take() {
            let tasks = self.shared.tasks.clone();
            let owned = tasks.clone();
            tasks.spawn(async move { owned.blocking(move || drop(room)).await });
        }
        if let Some(opening) = self.opening.take() {
            self.shared.tasks.spawn(early::give_up(opening));
        }
    }
}

#[async_trait]
impl Rooted for NativeWorkspace {
    type Held = Arc<Room>;

    async fn hold(&mut self) -> Result<Arc<Room>, BackendError> {
        self.room().await
    }

    fn root(held: &Arc<Room>) -> &Root {
        &held.tree.root
    }

    fn tasks(&self) -> &Tasks {
        &self.shared.tasks
    }

    async fn run(&mut self, script: Script, logs: Logs) -> Result<(), BackendError> {
        let room = self.room().await?;
        let base = self.base.config.env.clone().unwrap_or_default();
        let opening = self.setup.to.clone().map(|to| early::open(&self.shared, to));
        let running = run::run(&self.shared, room, &self.setup, &base, &script, logs);
        let Some(opening) = opening else { return running.await };
        let (ran, opening) = early::beside(opening, running).await;
        self.opening = Some(opening);
        ran
    }

    async fn shell(
        &mut self,
        ran: bool,
        variables: &BTreeMap<String, String>,
        terminal: Terminal,
    ) -> Result<(), BackendError> {
        let mut room = self.room().await?;
        if ran {
            self.room = None;
            let shared = Arc::clone(&self.shared);
            room = Arc::new(self.shared.tasks.blocking(move || Room::again(&shared, room)).await?);
        }
        self.room = Some(Arc::clone(&room));
        let base = self.base.config.env.clone().unwrap_or_default();
        shell::shell(&self.shared, room, &self.setup, &base, (variables, terminal)).await
    }

    async fn commit(mut self, change: ConfigChange) -> Result<LocalImage, BackendError> {
        let shared = Arc::clone(&self.shared);
        let ground = Ground { base: self.base.clone(), layers: self.layers.clone(), room: self.room.take() };
        let open = || self.setup.to.clone().map(|to| early::open(&shared, to));
        let opening = self.opening.take().or_else(open);
        Box::pin(commit::commit(&shared, ground, &change, opening)).await
    }
}

impl std::os::fd::AsFd for Room {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.tree.root.as_fd()
    }
}
