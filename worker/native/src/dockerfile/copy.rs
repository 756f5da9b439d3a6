//! `COPY` and `ADD`: what they read, and how it comes into an image.
//!
//! Everything happens below open directories: a path of an image is resolved inside the image, one of a source inside the
//! source, and no link is followed where a file is made. The rules are those of BuildKit, except that directories keep
//! their time or have none, so that equal files make equal layers, and that an unknown user is an error.
//!
//! Reading order: this page (the door), `word` (what a source names), `find` (paths and wildcards), `chosen` (`--parents`
//! and `--exclude`), `remote` (what comes over a network), `sum` (the checksum); `copier` (files going in), `archive`
//! (archives), `owner` and `mode` (`--chown`, `--chmod`).

mod archive;
mod chosen;
mod copier;
mod find;
mod mode;
mod remote;
mod sum;
mod word;

#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use futures::TryStreamExt as _;
use slipway_backend::{BackendError, ByteStream};
use slipway_dockerfile::Files;
use slipway_layers::{
    Layer, LayerError,
    entry::Time,
    root::Root,
    store::Work,
    tar::{Limits, TarReader},
    unpack::{Purpose, unpack},
};
use slipway_paths::TreePath;
use slipway_rootfs::owner;
use tokio_util::io::{StreamReader, SyncIoBridge};

use self::{chosen::Choice, copier::Copier, find::Target, mode::Mode, word::Word};
use crate::{
    Shared,
    allowance::{Admitted, Allowance},
    commit,
    driver::{Tree, look},
    error,
    workspace::{Room, look_like, lowers},
};

/// Where paths of an instruction lead.
pub(crate) enum Ground {
    /// The context, unpacked.
    Context(PathBuf),
    /// Another stage or image; none = an empty one.
    Layers(Vec<Layer>),
}

/// What an instruction reads, at hand. The mount and the directory behind it go with it.
pub(crate) struct Selected {
    sum: String,
    items: Vec<Item>,
    places: Places,
    /// The room in the store of what was fetched.
    _allowance: Arc<Mutex<Allowance>>,
}

/// Something to copy.
struct Item {
    place: Place,
    /// Where it lies there, without links.
    path: TreePath,
    /// What a file is called in a directory.
    name: Vec<u8>,
    /// With `--parents`: what is taken of a directory; `None` = everything.
    include: Option<Choice>,
    /// Whether an archive is unpacked.
    unpack: bool,
    /// The time of all files, instead of their own.
    time: Option<Time>,
    /// Stands for the files in the checksum.
    known: Option<String>,
}

/// Whose path it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// The context, stage or image.
    Ground,
    /// A directory of our own.
    Made,
}

/// The directories that items lie in.
struct Places {
    ground: Option<Opened>,
    made: Option<(Root, Work)>,
}

enum Opened {
    Context(Root),
    Layers(Tree, #[expect(dead_code, reason = "layers are kept as long as it lives")] Vec<Layer>),
}

impl Places {
    fn root(&self, place: Place) -> io::Result<&Root> {
        let found = match (place, &self.ground, &self.made) {
            (Place::Ground, Some(Opened::Context(root)), _) => Some(root),
            (Place::Ground, Some(Opened::Layers(tree, _)), _) => Some(&tree.root),
            (Place::Made, _, Some((root, _))) => Some(root),
            _ => None,
        };
        found.ok_or_else(|| io::Error::other("a source has no directory"))
    }
}

impl Selected {
    /// A checksum of what is read: names, kinds, modes, owners, contents; not times.
    pub(crate) fn checksum(&self) -> &str {
        &self.sum
    }
}

/// Unpacks a context into an empty directory. All of it belongs to root. Answers the room that it has in the store.
pub(crate) async fn unpack_context(
    shared: &Arc<Shared>,
    tar: ByteStream,
    directory: &Path,
) -> Result<Allowance, BackendError> {
    let doing = "unpack the build context";
    let reader = SyncIoBridge::new(StreamReader::new(tar.map_err(io::Error::other)));
    let (directory, mut allowance) = (directory.to_owned(), Allowance::new(&shared.store));
    let unpacked = shared.tasks.blocking(move || -> Result<Allowance, LayerError> {
        let reader = Admitted { inner: reader, allowance: &mut allowance };
        let root = Root::open(&directory).map_err(|error| LayerError::io("open it", error))?;
        let purpose = Purpose::Files { to: TreePath::root(), new: true, uid: Some(0), gid: Some(0), strict: true };
        let mut reader = TarReader::new(reader, Limits::default());
        unpack(&mut reader, &root, &purpose)?;
        io::copy(&mut reader.into_inner(), &mut io::sink()).map_err(|error| LayerError::io("read it", error))?;
        Ok(allowance)
    });
    unpacked.await.map_err(|error| error::archive(doing, error))
}

/// Finds and fetches what an instruction reads. `room` names a directory, and is nobody else's.
pub(crate) async fn select(
    shared: &Arc<Shared>,
    step: &Files,
    ground: Ground,
    room: String,
) -> Result<Selected, BackendError> {
    let words = word::of(step)?;
    let mut made = None;
    if words.iter().any(|word| !matches!(word, Word::Path(_))) {
        let store = shared.store.clone();
        let work = shared.tasks.blocking(move || store.work(&room)).await;
        made = Some(work.map_err(|error| error::layers("make a directory for sources", error))?);
    }
    let mut ready = Vec::new();
    let allowance = Arc::new(Mutex::new(Allowance::new(&shared.store)));
    for (number, word) in words.into_iter().enumerate() {
        let place = made.as_ref().map(|work: &Work| work.path().join(number.to_string()));
        ready.push(match (word, place) {
            (Word::Path(path), _) => Ready::Path(path),
            (word, Some(place)) => {
                Ready::Made(Box::new(remote::make((shared, &allowance), step, word, &place, number).await?))
            }
            (_, None) => return Err(BackendError::Engine("a source has no directory".to_owned())),
        });
    }
    let (shared, step) = (Arc::clone(shared), step.clone());
    let tasks = shared.tasks.clone();
    tasks.blocking(move || gather(&shared, &step, ground, (made, allowance), ready)).await
}

/// A source that is at hand, or a path that is to be looked for.
enum Ready {
    Path(String),
    Made(Box<Item>),
}

fn gather(
    shared: &Shared,
    step: &Files,
    ground: Ground,
    (made, allowance): (Option<Work>, Arc<Mutex<Allowance>>),
    ready: Vec<Ready>,
) -> Result<Selected, BackendError> {
    let doing = "look for the sources";
    let system = |error: io::Error| error::system(doing, error);
    let is_needed = ready.iter().any(|ready| matches!(ready, Ready::Path(_)));
    let opened = match ground {
        _ if !is_needed => None,
        Ground::Context(path) => Some(Opened::Context(Root::open(&path).map_err(system)?)),
        Ground::Layers(layers) => {
            let tree = look(&shared.driver, &shared.store, &lowers(shared, &layers)).map_err(system)?;
            Some(Opened::Layers(tree, layers))
        }
    };
    let is_context = matches!(opened, Some(Opened::Context(_)));
    let made = made.map(|work| Root::open(work.path()).map(|root| (root, work))).transpose().map_err(system)?;
    let places = Places { ground: opened, made };
    let mut items = Vec::new();
    for ready in ready {
        match ready {
            Ready::Made(item) => items.push(*item),
            Ready::Path(word) => {
                let root = places.root(Place::Ground).map_err(system)?;
                let found = find::find(root, &word, step, is_context).map_err(|error| error::layers(doing, error))?;
                items.extend(found);
            }
        }
    }
    let exclude = Choice::excluding(&step.exclude).map_err(BackendError::Refused)?;
    let sum = sum::of(&places, &items, exclude.as_ref()).map_err(|error| error::layers("sum up the sources", error))?;
    Ok(Selected { sum, items, places, _allowance: allowance })
}

/// Puts what was selected into the image that `room` holds. `workdir` is absolute.
pub(crate) async fn put(
    shared: &Arc<Shared>,
    selected: Selected,
    step: &Files,
    room: &Arc<Room>,
    workdir: &str,
) -> Result<(), BackendError> {
    let (step, room, workdir) = (step.clone(), Arc::clone(room), workdir.to_owned());
    let put = move || {
        let root = &room.tree.root;
        let owner = step.chown.as_deref().map(|text| owner::of(root, text)).transpose()?;
        fill(&selected, &step, (root, owner), &workdir)
    };
    shared.tasks.blocking(put).await
}

/// Whose the files of a layer are that knows nothing of those below it: names are looked up there.
pub(crate) async fn owner_on(
    shared: &Arc<Shared>,
    step: &Files,
    layers: &[Layer],
) -> Result<Option<(u32, u32)>, BackendError> {
    let Some(text) = step.chown.clone() else { return Ok(None) };
    let (owned, layers) = (Arc::clone(shared), layers.to_vec());
    let look = move || {
        let tree = look(&owned.driver, &owned.store, &lowers(&owned, &layers));
        let tree = tree.map_err(|error| error::system("look for a user of the image", error))?;
        owner::of(&tree.root, &text)
    };
    shared.tasks.blocking(look).await.map(Some)
}

/// Makes a layer of what was selected that knows nothing of those below it, in a directory called `name`.
pub(crate) async fn apart(
    shared: &Arc<Shared>,
    selected: Selected,
    (step, owner): (&Files, Option<(u32, u32)>),
    (name, workdir): (String, &str),
    below: &[Layer],
) -> Result<Option<Layer>, BackendError> {
    let (owned, step, workdir, below) = (Arc::clone(shared), step.clone(), workdir.to_owned(), below.to_vec());
    let make = move || {
        let doing = "make a layer";
        let promised = owned.store.admit_beginning().map_err(|error| error::layers(doing, error))?;
        let work = owned.store.work(&name).map_err(|error| error::layers(doing, error))?;
        let upper = Room::upper(&work);
        let opened = std::fs::create_dir(&upper).and_then(|()| Root::open(&upper));
        let root = opened.map_err(|error| error::system(doing, error))?;
        fill(&selected, &step, (&root, owner), &workdir)?;
        // The root of all layers is the image's.
        let top = below.last().map_or_else(|| owned.store.empty()[0].clone(), Layer::diff);
        let seen = Root::open(&top).and_then(|image| look_like(&upper, &image, below.is_empty()));
        seen.map_err(|error| error::system(doing, error))?;
        commit::apart(&owned.store, (work, promised), &below)
    };
    shared.tasks.blocking(make).await
}

fn fill(
    selected: &Selected,
    step: &Files,
    (image, owner): (&Root, Option<(u32, u32)>),
    workdir: &str,
) -> Result<(), BackendError> {
    let doing = format!("copy to `{}`", step.to);
    let mode = step.chmod.as_deref().map(Mode::new).transpose().map_err(BackendError::Refused)?;
    let exclude = Choice::excluding(&step.exclude).map_err(BackendError::Refused)?;
    let target = Target::new(workdir, &step.to).map_err(BackendError::Refused)?;
    let fill = || -> Result<(), LayerError> {
        let mut copier = Copier::new(image, owner, mode.as_ref(), exclude.as_ref());
        copier.check(&target, selected.items.len())?;
        for item in &selected.items {
            let from = selected.places.root(item.place).map_err(|error| LayerError::io("open the sources", error))?;
            copier.copy(from, item, &target)?;
        }
        copier.finish()
    };
    fill().map_err(|error| error::layers(&doing, error))
}

/// The checksum of what lies at `path` below `root`, links followed inside.
pub(crate) fn sum_tree(root: &Root, path: &str) -> Result<String, BackendError> {
    let doing = format!("sum up `{path}`");
    let found = find::real(root, &find::cleaned("/", path).map_err(BackendError::Refused)?);
    let real = found.map_err(|error| error::system(&doing, error))?;
    let is_there = root.look(real.as_bytes()).map_err(|error| error::system(&doing, error))?.is_some();
    if !is_there {
        return Err(error::layers(&doing, absent(path, true)));
    }
    sum::tree(root, &real).map_err(|error| error::layers(&doing, error))
}

/// What an error of a source says that is not there.
fn absent(word: &str, is_context: bool) -> LayerError {
    let (place, advice) = match is_context {
        true => ("the build context", "check the path, and that no line of `.dockerignore` leaves it out"),
        false => ("the image or stage that `--from` names", "check the path"),
    };
    LayerError::Bad(format!("`{word}` is not in {place}: {advice}"))
}
