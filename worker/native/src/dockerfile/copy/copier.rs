//! Files going into an image.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt as _,
};

use rustix::fs::{self, AtFlags, FileType, OFlags, Stat, chmodat, linkat, major, minor};
use slipway_layers::{
    LayerError,
    copy::content,
    entry::{Kind, Time},
    pack::is_kept,
    root::{Dir, Root},
};
use slipway_paths::TreePath;

use super::{
    Item, archive,
    chosen::{Choice, Chosen},
    find::{Target, kind, real},
    mode::Mode,
};

/// Copies into one image.
pub(super) struct Copier<'a> {
    image: &'a Root,
    owner: Option<(u32, u32)>,
    mode: Option<&'a Mode>,
    exclude: Option<&'a Choice>,
    /// Times of directories, set when nothing is made in them any more.
    times: BTreeMap<TreePath, Time>,
}

/// One item on its way.
struct Way<'a> {
    chosen: Chosen<'a>,
    time: Option<Time>,
    /// Whether directories that are there keep what they are, but for their mode.
    keeps: bool,
    /// The directories above, down from the item itself.
    levels: Vec<Level>,
    /// Where files of several names went, by their number in the source.
    links: HashMap<(u64, u64), TreePath>,
}

/// A directory of the source and its place in the image, open once it is there.
struct Level {
    from: Dir,
    stat: Stat,
    name: Vec<u8>,
    path: TreePath,
    to: Option<Dir>,
}

impl<'a> Copier<'a> {
    /// Into `image`, with owner and mode instead of files' own.
    pub(super) fn new(
        image: &'a Root,
        owner: Option<(u32, u32)>,
        mode: Option<&'a Mode>,
        exclude: Option<&'a Choice>,
    ) -> Self {
        Self { image, owner, mode, exclude, times: BTreeMap::new() }
    }

    /// Several things go into a directory: one that is written as such, or is there.
    pub(super) fn check(&self, target: &Target, count: usize) -> Result<(), LayerError> {
        let is_there = || -> io::Result<bool> {
            Ok(kind(self.image, &real(self.image, &target.path)?)? == Some(FileType::Directory))
        };
        let looked = || is_there().map_err(|error| LayerError::io("look for the destination", error));
        if count < 2 || target.is_directory || looked()? {
            return Ok(());
        }
        Err(LayerError::Bad(
            "several sources go into a directory: write the destination with a `/` at its end".to_owned(),
        ))
    }

    /// Copies one item.
    pub(super) fn copy(&mut self, from: &Root, item: &Item, target: &Target) -> Result<(), LayerError> {
        let shown = target.path.clone();
        let doing = move |error: io::Error| LayerError::io(format!("reach `/{shown}`"), error);
        let above = if target.is_directory { target.path.clone() } else { target.path.parent().unwrap_or_default() };
        let real_above = real(self.image, &above).map_err(&doing)?;
        let stat = from.look(item.path.as_bytes()).map_err(&doing)?;
        let stat = stat.ok_or_else(|| doing(io::ErrorKind::NotFound.into()))?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if item.unpack && !is_directory && archive::is_one(from, item)? {
            let to = real(self.image, &target.path).map_err(&doing)?;
            self.make_all(&to, 0o755)?;
            return archive::unpack_into(from, item, self.image, &to, self.owner);
        }
        let made = self.mode.map_or(0o755, Mode::made);
        self.make_all(&real_above, made)?;
        let mut to = real(self.image, &target.path).map_err(&doing)?;
        let there = kind(self.image, &to).map_err(&doing)?;
        if is_directory {
            let is_new = there.is_none();
            self.make_all(&to, made)?;
            let chosen = Chosen { include: item.include.as_ref(), exclude: self.exclude };
            let mut way = Way {
                chosen,
                time: item.time,
                keeps: item.include.is_some(),
                levels: Vec::new(),
                links: HashMap::new(),
            };
            if is_new {
                self.times.insert(to.clone(), item.time.unwrap_or_else(|| Time::of(&stat)));
            }
            let opened = from.directory(item.path.as_bytes()).map_err(&doing)?;
            let own = self.image.directory(to.as_bytes()).map_err(&doing)?;
            way.levels.push(Level { from: opened, stat, name: Vec::new(), path: to, to: Some(own) });
            return self.children(&mut way, &TreePath::root());
        }
        if there == Some(FileType::Directory) {
            to = to.join(&item.name);
        }
        let parent = to.parent().unwrap_or_default();
        self.make_all(&parent, made)?;
        self.single(from, item, &stat, &to)
    }

    /// Sets the times of all directories that something was made in.
    pub(super) fn finish(self) -> Result<(), LayerError> {
        for (path, time) in self.times {
            let set = self.image.directory(path.as_bytes()).and_then(|directory| directory.set_time(b".", time));
            set.map_err(|error| LayerError::io(format!("set the time of `/{path}`"), error))?;
        }
        Ok(())
    }

    /// Makes a directory, and those above it, at a path without links.
    fn make_all(&mut self, path: &TreePath, mode: u32) -> Result<(), LayerError> {
        let doing = |error: io::Error| LayerError::io(format!("make the directory `/{path}`"), error);
        let mut at = TreePath::root();
        self.keep_time(&at).map_err(doing)?;
        for segment in path.segments() {
            let parent = self.image.directory(at.as_bytes()).map_err(doing)?;
            let next = at.join(segment);
            match parent.look(segment).map_err(doing)?.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
                Some(FileType::Directory) => self.keep_time(&next).map_err(doing)?,
                Some(_) => {
                    let why = format!("`/{next}` of the image is no directory: nothing can be copied into it");
                    return Err(LayerError::Bad(why));
                }
                None => {
                    parent.make(segment, &Kind::Directory).map_err(doing)?;
                    parent.dress(segment, self.owner.unwrap_or_default(), Some(mode), &[]).map_err(doing)?;
                    self.times.insert(next.clone(), Time::default());
                }
            }
            at = next;
        }
        Ok(())
    }

    /// Directories that are there keep their time, so that equal files make equal layers.
    fn keep_time(&mut self, path: &TreePath) -> io::Result<()> {
        if !self.times.contains_key(path)
            && let Some(stat) = self.image.look(path.as_bytes())?
        {
            self.times.insert(path.clone(), Time::of(&stat));
        }
        Ok(())
    }

    /// One thing that is no directory.
    fn single(&mut self, from: &Root, item: &Item, stat: &Stat, to: &TreePath) -> Result<(), LayerError> {
        let doing = |error: io::Error| LayerError::io(format!("copy `/{to}`"), error);
        let source = from.directory(item.path.parent().unwrap_or_default().as_bytes()).map_err(doing)?;
        let parent = self.image.directory(to.parent().unwrap_or_default().as_bytes()).map_err(doing)?;
        clear(&parent, to)?;
        put((&source, item.path.name()), stat, (&parent, to.name())).map_err(doing)?;
        self.dress((&source, item.path.name()), stat, (&parent, to.name()), item.time).map_err(doing)
    }

    /// What is in the directory that was entered last; `inner` is its path in the item.
    fn children(&mut self, way: &mut Way<'_>, inner: &TreePath) -> Result<(), LayerError> {
        let at = way.levels.len() - 1;
        let doing = |error: io::Error| LayerError::io(format!("copy `{inner}`"), error);
        for name in way.levels[at].from.names().map_err(doing)? {
            let path = inner.join(&name);
            let stat = way.levels[at].from.look(&name).map_err(doing)?;
            let stat = stat.ok_or_else(|| doing(io::ErrorKind::NotFound.into()))?;
            let taken = way.chosen.takes(&path);
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                if taken {
                    self.reach(way)?;
                    self.file(way, &name, &stat)?;
                }
                continue;
            }
            if !taken && !way.chosen.may_take_below(&path) {
                continue;
            }
            let from = way.levels[at].from.enter(&name).map_err(doing)?;
            let target = way.levels[at].path.join(&name);
            way.levels.push(Level { from, stat, name, path: target, to: None });
            if taken {
                self.reach(way)?;
            }
            let copied = self.children(way, &path);
            way.levels.pop();
            copied?;
        }
        Ok(())
    }

    /// Makes the directories above what is copied, as far as they are not there yet.
    fn reach(&mut self, way: &mut Way<'_>) -> Result<(), LayerError> {
        for at in 1..way.levels.len() {
            if way.levels[at].to.is_some() {
                continue;
            }
            let (above, rest) = way.levels.split_at_mut(at);
            let (above, level) = (&above[at - 1], &mut rest[0]);
            let path = level.path.clone();
            let doing = |error: io::Error| LayerError::io(format!("make the directory `/{path}`"), error);
            let parent = above.to.as_ref().ok_or_else(|| doing(io::ErrorKind::NotFound.into()))?;
            let there = parent.look(&level.name).map_err(doing)?;
            let is_new = there.is_none();
            match there.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
                None => parent.make(&level.name, &Kind::Directory).map_err(doing)?,
                Some(FileType::Directory) => {}
                Some(_) => {
                    let why = format!("`/{path}` of the image is no directory, and one is to be copied there");
                    return Err(LayerError::Bad(why));
                }
            }
            if is_new || !way.keeps {
                let from = (&above.from, level.name.as_slice());
                self.dress(from, &level.stat, (parent, &level.name), way.time).map_err(doing)?;
                self.times.insert(path.clone(), way.time.unwrap_or_else(|| Time::of(&level.stat)));
            } else {
                self.keep_time(&path).map_err(doing)?;
                let own = level.stat.st_mode & 0o7777;
                let mode = fs::Mode::from_raw_mode(self.mode.map_or(own, |mode| mode.apply(own, true)));
                chmodat(parent, OsStr::from_bytes(&level.name), mode, AtFlags::empty())
                    .map_err(|error| doing(error.into()))?;
            }
            level.to = Some(parent.enter(&level.name).map_err(doing)?);
        }
        Ok(())
    }

    /// A file of the directory that was entered last, which is there in the image.
    fn file(&mut self, way: &mut Way<'_>, name: &[u8], stat: &Stat) -> Result<(), LayerError> {
        let Some(level) = way.levels.last() else { return Ok(()) };
        let path = level.path.join(name);
        let doing = |error: io::Error| LayerError::io(format!("copy `/{path}`"), error);
        let parent = level.to.as_ref().ok_or_else(|| doing(io::ErrorKind::NotFound.into()))?;
        clear(parent, &path)?;
        let number = (stat.st_dev, stat.st_ino);
        let is_linked = stat.st_nlink > 1 && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if let Some(first) = way.links.get(&number).filter(|_| is_linked) {
            let directory = self.image.directory(first.parent().unwrap_or_default().as_bytes()).map_err(doing)?;
            let (old, new) = (OsStr::from_bytes(first.name()), OsStr::from_bytes(name));
            return linkat(&directory, old, parent, new, AtFlags::empty()).map_err(|error| doing(error.into()));
        }
        put((&level.from, name), stat, (parent, name)).map_err(doing)?;
        self.dress((&level.from, name), stat, (parent, name), way.time).map_err(doing)?;
        if is_linked {
            way.links.insert(number, path);
        }
        Ok(())
    }

    /// Owner, mode, attributes and time.
    fn dress(
        &self,
        (source, old): (&Dir, &[u8]),
        stat: &Stat,
        (parent, name): (&Dir, &[u8]),
        time: Option<Time>,
    ) -> io::Result<()> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let own = stat.st_mode & 0o7777;
        let mode = self.mode.map_or(own, |mode| mode.apply(own, kind == FileType::Directory));
        let mode = (kind != FileType::Symlink).then_some(mode);
        let mut xattrs = source.xattrs(old)?;
        xattrs.retain(|(key, _)| is_kept(key));
        parent.dress(name, self.owner.unwrap_or((stat.st_uid, stat.st_gid)), mode, &xattrs)?;
        parent.set_time(name, time.unwrap_or_else(|| Time::of(stat)))
    }
}

/// Makes way for a file at `path` in its directory.
fn clear(parent: &Dir, path: &TreePath) -> Result<(), LayerError> {
    let doing = |error: io::Error| LayerError::io(format!("replace `/{path}`"), error);
    match parent.look(path.name()).map_err(doing)?.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
        None => Ok(()),
        Some(FileType::Directory) => {
            Err(LayerError::Bad(format!("`/{path}` of the image is a directory: a file cannot replace it")))
        }
        Some(_) => parent.remove(path.name()).map_err(doing),
    }
}

/// Makes one thing that is no directory, with its content; nobody else's yet.
fn put((source, old): (&Dir, &[u8]), stat: &Stat, (parent, name): (&Dir, &[u8])) -> io::Result<()> {
    let device = (major(stat.st_rdev), minor(stat.st_rdev));
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            // What is opened may be another than what was looked at.
            let from = source.open(old, OFlags::RDONLY | OFlags::NONBLOCK, 0)?;
            if !from.metadata()?.is_file() {
                return Err(io::Error::other("it has changed while it was copied"));
            }
            let to = parent.open(name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, 0o600)?;
            content(&from, &to, stat)
        }
        FileType::Symlink => parent.make(name, &Kind::Symlink(source.link_text(old)?)),
        FileType::Fifo => parent.make(name, &Kind::Fifo),
        FileType::CharacterDevice => parent.make(name, &Kind::Char(device.0, device.1)),
        FileType::BlockDevice => parent.make(name, &Kind::Block(device.0, device.1)),
        // Nothing is left of a socket without its process: an empty file, as BuildKit has it.
        FileType::Socket => parent.open(name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, 0o600).map(drop),
        FileType::Directory | FileType::Unknown => Err(io::Error::other("it is of a kind that cannot be copied")),
    }
}
