//! A file as archives describe it.

/// One file of an archive or a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The name as it stands in the archive: any bytes but NUL, `/` between segments.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Modification time.
    pub mtime: Time,
    /// Extended attributes, names with their prefix (`user.…`).
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A moment: seconds since the epoch and nanoseconds after that second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Time {
    /// Seconds since the Unix epoch; may be negative.
    pub seconds: i64,
    /// Less than a thousand million.
    pub nanos: u32,
}

impl Time {
    /// When a file was modified.
    pub fn of(stat: &rustix::fs::Stat) -> Self {
        Self { seconds: stat.st_mtime, nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0) }
    }
}

/// What a file is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Length in bytes, holes included.
        size: u64,
        /// Where the data that the archive holds belongs, when the file has holes: `(offset, length)`, in order.
        spans: Option<Vec<(u64, u64)>>,
    },
    /// Another name of an earlier file.
    HardLink(Vec<u8>),
    /// A symbolic link with its text.
    Symlink(Vec<u8>),
    /// A character device.
    Char(u32, u32),
    /// A block device.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

impl Entry {
    /// A directory as it is made when an archive names only what is in it.
    pub fn directory(path: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            kind: Kind::Directory,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            xattrs: Vec::new(),
        }
    }

    /// A regular file without holes.
    pub fn file(path: impl Into<Vec<u8>>, size: u64) -> Self {
        Self { kind: Kind::File { size, spans: None }, mode: 0o644, ..Self::directory(path) }
    }

    /// How many bytes of the archive are this file's content.
    pub fn stored(&self) -> u64 {
        match &self.kind {
            Kind::File { spans: Some(spans), .. } => spans.iter().map(|(_, length)| length).sum(),
            Kind::File { size, spans: None } => *size,
            Kind::Directory | Kind::HardLink(_) | Kind::Symlink(_) | Kind::Char(..) | Kind::Block(..) | Kind::Fifo => 0,
        }
    }
}
