//! A directory that paths cannot leave.
//!
//! Every path is resolved by the kernel inside the directory, as if it were `/`: absolute links and `..` end at it, and
//! links of `/proc` lead nowhere. So what an image holds decides nothing outside of it.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{self, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use crate::entry::{Kind, Time};

/// Longest value of an extended attribute, as the kernel has it.
const MAX_XATTR: usize = 64 * 1024;

/// A directory as the root of paths.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// The directory at a path of the host.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(fs::openat(CWD, path, flags, Mode::empty())?))
    }

    /// A directory that is open already, a mount's root for instance.
    pub fn of(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Opens a path inside; links are followed.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn at(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match fs::openat2(&self.0, OsStr::from_bytes(path), flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                // Something was renamed meanwhile, and the kernel could not tell whether the path left the root.
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return Ok(opened?),
            }
        }
    }

    /// The directory at a path inside; links are followed.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn directory(&self, path: &[u8]) -> io::Result<Dir> {
        self.at(path, OFlags::PATH | OFlags::DIRECTORY).map(Dir)
    }

    /// What stands at a path; its last segment is not followed. `None` when there is nothing.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn look(&self, path: &[u8]) -> io::Result<Option<Stat>> {
        match self.at(path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(found) => Ok(Some(fs::fstat(&found)?)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether an error says that nothing is there, or that a file stands where a directory would have to be.
pub fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// An open directory whose direct children are looked at and made. No name here holds a `/`, and no link is followed.
#[derive(Debug)]
pub struct Dir(OwnedFd);

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Dir {
    /// A directory that is open already.
    pub fn of(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// What stands under a name; `None` when there is nothing.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn look(&self, name: &[u8]) -> io::Result<Option<Stat>> {
        match fs::statat(&self.0, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The directory under a name.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn enter(&self, name: &[u8]) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(fs::openat(&self.0, OsStr::from_bytes(name), flags, Mode::empty())?))
    }

    /// Opens the file under a name.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn open(&self, name: &[u8], flags: OFlags, mode: u32) -> io::Result<std::fs::File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(fs::openat(&self.0, OsStr::from_bytes(name), flags, Mode::from_raw_mode(mode))?.into())
    }

    /// The text of the symbolic link under a name.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn link_text(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(fs::readlinkat(&self.0, OsStr::from_bytes(name), Vec::new())?.into_bytes())
    }

    /// The names in it, sorted.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let readable = fs::openat(&self.0, ".", flags, Mode::empty())?;
        let mut names = Vec::new();
        for found in fs::Dir::new(readable)? {
            let name = found?.file_name().to_bytes().to_vec();
            if !matches!(name.as_slice(), b"." | b"..") {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Makes anything but a file with content or a hard link.
    ///
    /// # Errors
    /// Those of the kernel; a name that is taken is one.
    pub fn make(&self, name: &[u8], kind: &Kind) -> io::Result<()> {
        let name = OsStr::from_bytes(name);
        let node = |kind, device| fs::mknodat(&self.0, name, kind, Mode::from_raw_mode(0o600), device);
        match kind {
            Kind::Directory => fs::mkdirat(&self.0, name, Mode::from_raw_mode(0o700))?,
            Kind::Symlink(text) => fs::symlinkat(OsStr::from_bytes(text), &self.0, name)?,
            Kind::Char(major, minor) => node(FileType::CharacterDevice, fs::makedev(*major, *minor))?,
            Kind::Block(major, minor) => node(FileType::BlockDevice, fs::makedev(*major, *minor))?,
            Kind::Fifo => node(FileType::Fifo, 0)?,
            Kind::File { .. } | Kind::HardLink(_) => return Err(io::ErrorKind::InvalidInput.into()),
        }
        Ok(())
    }

    /// Removes what stands under a name, directories with all that is in them. Does nothing when there is nothing.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn remove(&self, name: &[u8]) -> io::Result<()> {
        match fs::unlinkat(&self.0, OsStr::from_bytes(name), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
        let inner = self.enter(name)?;
        for child in inner.names()? {
            inner.remove(&child)?;
        }
        Ok(fs::unlinkat(&self.0, OsStr::from_bytes(name), AtFlags::REMOVEDIR)?)
    }

    /// Sets owner, mode and attributes of what stands under a name; its time is set at last, by [`set_time`](Self::set_time).
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn dress(
        &self,
        name: &[u8],
        owner: (u32, u32),
        mode: Option<u32>,
        xattrs: &[(Vec<u8>, Vec<u8>)],
    ) -> io::Result<()> {
        let (uid, gid) = (fs::Uid::from_raw(owner.0), fs::Gid::from_raw(owner.1));
        let file = OsStr::from_bytes(name);
        fs::chownat(&self.0, file, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        // A change of owner takes setuid and capabilities away: both come after it. Links have no mode.
        if let Some(mode) = mode {
            fs::chmodat(&self.0, file, Mode::from_raw_mode(mode), AtFlags::empty())?;
        }
        for (key, value) in xattrs {
            fs::lsetxattr(self.named(name), OsStr::from_bytes(key), value, fs::XattrFlags::empty())?;
        }
        Ok(())
    }

    /// When what stands under a name was made, in seconds and nanoseconds; zero where the file system does not know.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn born(&self, name: &[u8]) -> io::Result<(i64, u32)> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let found = fs::statx(&self.0, OsStr::from_bytes(name), flags, fs::StatxFlags::BTIME)?;
        Ok((found.stx_btime.tv_sec, found.stx_btime.tv_nsec))
    }

    /// Sets one extended attribute of what stands under a name.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn set_xattr(&self, name: &[u8], key: &[u8], value: &[u8]) -> io::Result<()> {
        Ok(fs::lsetxattr(self.named(name), OsStr::from_bytes(key), value, fs::XattrFlags::empty())?)
    }

    /// Removes one extended attribute of what stands under a name.
    ///
    /// # Errors
    /// Those of the kernel; one that is not there is one.
    pub fn remove_xattr(&self, name: &[u8], key: &[u8]) -> io::Result<()> {
        Ok(fs::lremovexattr(self.named(name), OsStr::from_bytes(key))?)
    }

    /// Moves what stands under a name to the same name in another directory of the file system.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn hand(&self, name: &[u8], to: &Self) -> io::Result<()> {
        let name = OsStr::from_bytes(name);
        Ok(fs::renameat(&self.0, name, &to.0, name)?)
    }

    /// Sets the modification time of what stands under a name.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn set_time(&self, name: &[u8], time: Time) -> io::Result<()> {
        let moment = fs::Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanos) };
        let times = fs::Timestamps { last_access: moment, last_modification: moment };
        Ok(fs::utimensat(&self.0, OsStr::from_bytes(name), &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// The extended attributes of what stands under a name, sorted.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn xattrs(&self, name: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let path = self.named(name);
        let mut list = vec![0; MAX_XATTR];
        let length = match fs::llistxattr(&path, &mut list[..]) {
            Ok(length) => length,
            Err(Errno::NOTSUP) => 0,
            Err(error) => return Err(error.into()),
        };
        let mut found = Vec::new();
        for key in list[..length].split(|byte| *byte == 0).filter(|key| !key.is_empty()) {
            if let Some(value) = self.xattr(name, key)? {
                found.push((key.to_vec(), value));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// One extended attribute; `None` when there is none of that name.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn xattr(&self, name: &[u8], key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut value = vec![0; MAX_XATTR];
        match fs::lgetxattr(self.named(name), OsStr::from_bytes(key), &mut value[..]) {
            Ok(length) => {
                value.truncate(length);
                Ok(Some(value))
            }
            Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A path to a child for calls that take no descriptor: it leads through the descriptor, so that nothing that is
    /// renamed meanwhile redirects it.
    fn named(&self, name: &[u8]) -> PathBuf {
        Path::new("/proc/self/fd").join(self.0.as_raw_fd().to_string()).join(OsStr::from_bytes(name))
    }
}
