//! What the command of a `RUN` sees beside the image.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    sync::Arc,
};

use rustix::fs::{FileType, OFlags, fstat};
use slipway_backend::{BackendError, HostMount, dockerfile::joined};
use slipway_dockerfile::{Mount, MountKind, Run};
use slipway_layers::{
    Layer,
    copy::{Names, lay_all},
    root::Root,
    store::Work,
};

use super::{
    super::{Build, base, cache::Key, cursor::Cursor, files, step::Place},
    agent::Door,
    caches::{Cache, Taken},
};
use crate::{
    Shared,
    driver::{Driver, Tree, look, mount},
    error, overlay,
    sandbox::{Confided, Memory, Seen, Whole},
    workspace::{look_like, lowers},
};

/// Mode of a secret.
const SECRET_MODE: u32 = 0o400;
/// Mode of a cache.
const CACHE_MODE: u32 = 0o755;
/// Mode of the socket of an ssh agent.
const AGENT_MODE: u32 = 0o600;
/// The variable that says where an ssh agent is.
const AGENT: &str = "SSH_AUTH_SOCK";

/// The mounts of one command, with where they come from.
pub(super) struct Mounts(Vec<Found>);

/// One mount.
struct Found {
    mount: Mount,
    /// Absolute path in the container; empty = nowhere.
    target: String,
    from: From,
    /// What is read of it.
    sum: String,
}

enum From {
    Nothing,
    Context(PathBuf),
    Layers(Vec<Layer>),
    /// A secret's content.
    Secret(Vec<u8>),
    Agent(PathBuf),
}

/// What is ready to be seen.
#[derive(Default)]
pub(super) struct Opened {
    pub(super) mounts: Vec<HostMount>,
    /// With whether each is a directory.
    pub(super) seen: Vec<(Seen, bool)>,
    pub(super) whole: Vec<OwnedFd>,
    pub(super) confided: Vec<Confided>,
    pub(super) memory: Vec<Memory>,
    pub(super) variables: BTreeMap<String, String>,
    /// To be kept until the command has ended.
    pub(super) held: Vec<Holding>,
    /// The same.
    pub(super) caches: Caches,
}

/// The caches of a command.
#[derive(Default)]
pub(super) struct Caches {
    taken: Vec<Taken>,
    /// Which of them a mount is, by its number.
    places: BTreeMap<usize, usize>,
}

impl Caches {
    fn directory(&self, mount: usize) -> Option<PathBuf> {
        self.taken.get(*self.places.get(&mount)?).map(|taken| taken.directory.path())
    }
}

/// What a mount stands on.
pub(super) enum Holding {
    Tree { _tree: Tree, _layers: Vec<Layer>, _work: Option<Work> },
    Work(#[expect(dead_code, reason = "it is only kept")] Work),
    Door(#[expect(dead_code, reason = "it is only kept")] Door),
}

impl Mounts {
    /// Finds out where everything comes from.
    pub(super) async fn of(build: &Build, cursor: &Cursor, place: &Place<'_>, run: &Run) -> Result<Self, BackendError> {
        let mut all = Vec::new();
        let mut agents = 0;
        for mount in &run.mounts {
            let found = one(build, cursor, place, mount, agents).await.map_err(|error| place.told(error))?;
            agents += usize::from(matches!(mount.kind, MountKind::Ssh { .. }));
            all.extend(found);
        }
        Ok(Self(all))
    }

    /// Everything that decides what the command does; not what caches, secrets and agents hold.
    pub(super) fn enter(&self, key: &mut Key) {
        for Found { mount, target, sum, .. } in &self.0 {
            let kind = match &mount.kind {
                MountKind::Bind => "bind".to_owned(),
                MountKind::Cache(sharing) => format!("cache {sharing:?}"),
                MountKind::Tmpfs(size) => format!("tmpfs {size:?}"),
                MountKind::Secret { env, .. } => format!("secret {env:?}"),
                MountKind::Ssh { .. } => "ssh".to_owned(),
            };
            let owner = format!("{:?} {}:{} {}", mount.mode, mount.uid, mount.gid, mount.read_only);
            key.list([kind.as_str(), target, &mount.source, mount.id(), &owner, sum]);
        }
    }

    /// Takes the caches: in an order that all commands keep, so that no two wait for each other, and each once, however often it
    /// is mounted.
    async fn take(&self, build: &Build) -> Result<Caches, BackendError> {
        let mut wanted: Vec<(String, usize, Cache)> = Vec::new();
        for (number, found) in self.0.iter().enumerate() {
            let MountKind::Cache(sharing) = &found.mount.kind else { continue };
            let cache = Cache {
                id: found.mount.id().to_owned(),
                sharing: *sharing,
                mode: found.mount.mode.unwrap_or(CACHE_MODE),
                owner: (found.mount.uid, found.mount.gid),
                from: match &found.from {
                    From::Layers(layers) => Some((layers.clone(), found.mount.source.clone())),
                    _ => None,
                },
            };
            wanted.push((cache.key(), number, cache));
        }
        wanted.sort_by(|left, right| (&left.0, left.1).cmp(&(&right.0, right.1)));
        let mut caches = Caches::default();
        let mut last: Option<String> = None;
        for (key, number, cache) in wanted {
            if last.as_ref() != Some(&key) {
                caches.taken.push(cache.take(&build.shared).await?);
                last = Some(key);
            }
            caches.places.insert(number, caches.taken.len() - 1);
        }
        Ok(caches)
    }

    /// Makes everything ready.
    pub(super) async fn open(&self, build: &Build) -> Result<Opened, BackendError> {
        let mut opened = Opened { caches: self.take(build).await?, ..Opened::default() };
        for (number, found) in self.0.iter().enumerate() {
            match (&found.mount.kind, &found.from) {
                (MountKind::Bind, From::Context(directory)) if found.mount.read_only => {
                    let root = Root::open(directory).map_err(|error| absent(found, &error))?;
                    opened.see(found, Whole::Directory(directory.clone()), &root)?;
                }
                (MountKind::Bind, From::Context(directory)) => {
                    opened.bind(build, found, vec![directory.clone()], Vec::new()).await?;
                }
                (MountKind::Bind, From::Layers(layers)) => {
                    let lowers = lowers(&build.shared, layers);
                    opened.bind(build, found, lowers, layers.clone()).await?;
                }
                (MountKind::Cache(_), _) => {
                    let Some(source) = opened.caches.directory(number) else { continue };
                    let target = found.target.clone();
                    opened.mounts.push(HostMount { source, target, read_only: found.mount.read_only });
                }
                (MountKind::Tmpfs(size), _) => {
                    let target = found.target.clone();
                    opened.memory.push(Memory { target, size: *size, mode: 0o1777, programs: true });
                }
                (MountKind::Secret { env, .. }, From::Secret(content)) => {
                    opened.secret(found, env.as_ref(), content)?
                }
                (MountKind::Ssh { .. }, From::Agent(socket)) => {
                    let target = found.target.clone();
                    let mut source = socket.clone();
                    let (owner, mode) = ((found.mount.uid, found.mount.gid), found.mount.mode.unwrap_or(AGENT_MODE));
                    if (owner, mode) != ((0, 0), AGENT_MODE) {
                        let door = Door::open(&build.shared, socket, build.room_name(), (owner, mode)).await?;
                        source = door.path();
                        opened.held.push(Holding::Door(door));
                    }
                    opened.variables.entry(AGENT.to_owned()).or_insert_with(|| target.clone());
                    opened.mounts.push(HostMount { source, target, read_only: false });
                }
                _ => {}
            }
        }
        Ok(opened)
    }
}

/// One mount; `None` = what it names is not there, and need not be.
async fn one(
    build: &Build,
    cursor: &Cursor,
    place: &Place<'_>,
    mount: &Mount,
    agents: usize,
) -> Result<Option<Found>, BackendError> {
    let refused = |why: String| Err(BackendError::Refused(why));
    let mut target = if mount.target.is_empty() { String::new() } else { joined(cursor.directory(), &mount.target) };
    if target == "/" {
        return refused("a mount cannot take the place of the whole image: name a directory below /".to_owned());
    }
    let (mut from, mut sum) = (From::Nothing, String::new());
    match &mount.kind {
        MountKind::Bind | MountKind::Cache(_) => match mount.from.as_deref() {
            Some(name) => {
                let layers = base::layers(build, place.stage, place.written.line, name).await?;
                sum = format!("layers {}", layers.last().map_or("", |layer| layer.chain.hex()));
                from = From::Layers(layers);
            }
            None if mount.kind == MountKind::Bind => {
                let directory = build.context().await?;
                sum = files::sum(build, &mount.source).await?;
                from = From::Context(directory);
            }
            None => {}
        },
        MountKind::Tmpfs(_) => {}
        MountKind::Secret { env, required } => {
            let id = mount.id();
            let Some((_, content)) = build.order.secrets.files().find(|(own, _)| *own == id) else {
                if *required {
                    return refused(format!("the image has no secret `{id}`: list it under `secrets` in werf.yaml"));
                }
                return Ok(None);
            };
            from = From::Secret(content.to_vec());
            if target.is_empty() && env.is_none() {
                let name = id.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
                target = format!("{}/{name}", slipway_backend::SECRETS);
            }
        }
        MountKind::Ssh { required } => {
            let id = mount.id();
            let agent = build.order.agent.as_ref().filter(|agent| agent.ids.iter().any(|own| own == id));
            let Some(agent) = agent else {
                if *required {
                    return refused(format!(
                        "there is no ssh agent `{id}`: write `ssh: {id}` in werf.yaml, and give it a key"
                    ));
                }
                return Ok(None);
            };
            from = From::Agent(agent.socket.clone());
            if target.is_empty() {
                target = format!("/run/buildkit/ssh_agent.{agents}");
            }
        }
    }
    Ok(Some(Found { mount: mount.clone(), target, from, sum }))
}

/// A part that cannot be had.
fn absent(found: &Found, error: &io::Error) -> BackendError {
    BackendError::Refused(format!("`{}`, which is to be mounted at {}: {error}", found.mount.source, found.target))
}

impl Opened {
    /// Where something is put, and whether it is a directory.
    pub(super) fn places(&self) -> impl Iterator<Item = (&str, bool)> {
        let mounts = self.mounts.iter().map(|mount| (mount.target.as_str(), mount.source.is_dir()));
        let seen = self.seen.iter().map(|(seen, is_directory)| (seen.target.as_str(), *is_directory));
        let confided = self.confided.iter().map(|file| (file.target.as_str(), false));
        mounts.chain(seen).chain(confided).chain(self.memory.iter().map(|memory| (memory.target.as_str(), true)))
    }

    /// Shows a part of something.
    fn see(&mut self, found: &Found, of: Whole, root: &Root) -> Result<(), BackendError> {
        let path = found.mount.source.trim_matches('/');
        let opened = root.at(path.as_bytes(), OFlags::PATH).map_err(|error| absent(found, &error))?;
        let about = fstat(&opened).map_err(|error| absent(found, &error.into()))?;
        let is_directory = FileType::from_raw_mode(about.st_mode) == FileType::Directory;
        let (path, target) = (path.to_owned(), found.target.clone());
        self.seen.push((Seen { of, path, target, read_only: found.mount.read_only }, is_directory));
        Ok(())
    }

    /// Shows a part of what directories look like over each other; what is written to it is thrown away.
    async fn bind(
        &mut self,
        build: &Build,
        found: &Found,
        lowers: Vec<PathBuf>,
        layers: Vec<Layer>,
    ) -> Result<(), BackendError> {
        let (shared, name, read_only) = (Arc::clone(&build.shared), build.room_name(), found.mount.read_only);
        let is_empty = layers.is_empty();
        let make = move || laid(&shared, &lowers, &name, read_only, is_empty);
        let made = build.shared.tasks.blocking(make).await;
        match made.map_err(|error| error::system("mount what a command reads", error))? {
            Laid::Tree(tree, work) => {
                let mount = tree.root.as_fd().try_clone_to_owned();
                let of = Whole::Mount(self.whole.len());
                self.see(found, of, &tree.root)?;
                self.whole.push(mount.map_err(|error| error::system("mount what a command reads", error))?);
                self.held.push(Holding::Tree { _tree: tree, _layers: layers, _work: work });
            }
            Laid::Copy(directory, work) => {
                let root = Root::open(&directory).map_err(|error| absent(found, &error))?;
                self.see(found, Whole::Directory(directory), &root)?;
                self.held.push(Holding::Work(work));
            }
        }
        Ok(())
    }

    fn secret(&mut self, found: &Found, env: Option<&String>, content: &[u8]) -> Result<(), BackendError> {
        if let Some(name) = env {
            let text = String::from_utf8(content.to_vec()).ok().filter(|text| !text.contains('\0'));
            let Some(text) = text.filter(|_| !name.is_empty() && !name.contains(['=', '\0'])) else {
                let id = found.mount.id();
                return Err(BackendError::Refused(format!(
                    "the secret `{id}` cannot be in the variable `{name}`: it is no text, or that is no name"
                )));
            };
            self.variables.insert(name.clone(), text);
        }
        if !found.target.is_empty() {
            self.confided.push(Confided {
                target: found.target.clone(),
                content: content.to_vec(),
                owner: (found.mount.uid, found.mount.gid),
                mode: found.mount.mode.unwrap_or(SECRET_MODE),
                program: false,
            });
        }
        Ok(())
    }
}

/// Directories laid over each other.
enum Laid {
    Tree(Tree, Option<Work>),
    Copy(PathBuf, Work),
}

fn laid(shared: &Shared, lowers: &[PathBuf], name: &str, read_only: bool, is_empty: bool) -> io::Result<Laid> {
    let work = || shared.store.work(name).map_err(io::Error::other);
    if shared.driver == Driver::Vfs {
        let work = work()?;
        let tree = work.path().join("tree");
        lay_all(lowers, &tree, Names::Kept)?;
        return Ok(Laid::Copy(tree, work));
    }
    if read_only {
        return Ok(Laid::Tree(look(&shared.driver, &shared.store, lowers)?, None));
    }
    let work = work()?;
    let (upper, scratch) = (work.path().join("upper"), work.path().join("scratch"));
    fs::create_dir(&upper)?;
    fs::create_dir(&scratch)?;
    if let Some(top) = lowers.first() {
        look_like(&upper, &Root::open(top)?, is_empty)?;
    }
    let tree = mount(&shared.driver, lowers, Some(overlay::Writable { upper: &upper, work: &scratch }))?;
    Ok(Laid::Tree(tree, Some(work)))
}
