//! The file behind a journal: locked, read on from where one was, appended to, replaced as a whole.

use std::{
    fs::{File, TryLockError},
    io::{BufRead as _, BufReader, Error, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use slipway_process::{failpoint::failpoint, random_id};

use super::line::Line;

/// Longer than any line that is written: a record with all the commits a stage may have.
const MAX_LINE: u64 = 4 * 1024 * 1024;
/// Nobody holds the lock for longer than a few writes take; a stopped process may.
const LOCK_TRIES: u32 = 6000;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// A journal's file and how far it was read.
#[derive(Debug)]
pub(super) struct JournalFile {
    path: PathBuf,
    /// The first line of the file that was read, which no other journal has; empty = none was. Not the inode: a file
    /// that replaces another may get the inode of an earlier one.
    head: Vec<u8>,
    /// The end of the last whole line that was read.
    end: u64,
}

impl JournalFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, head: Vec::new(), end: 0 }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock of the journal, until the answer is dropped. It is on a file of its own, which is never replaced.
    pub(super) fn lock(&self) -> std::io::Result<File> {
        if let Some(directory) = self.path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let path = self.path.with_extension("lock");
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
        for _ in 0..LOCK_TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::Error(why)) => return Err(why),
            }
        }
        Err(Error::new(ErrorKind::TimedOut, format!("another process has kept {} locked for 30 s", path.display())))
    }

    /// Whether the file is not the one that was read so far: rewritten by another process, cut short, or removed.
    pub(super) fn was_replaced(&mut self) -> std::io::Result<bool> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(self.forget()),
            Err(why) => return Err(why),
        };
        let mut head = Vec::new();
        (&file).take(self.head.len() as u64).read_to_end(&mut head)?;
        let same = head == self.head && file.metadata()?.len() >= self.end;
        Ok(!same && self.forget())
    }

    /// Whether there was something to forget.
    fn forget(&mut self) -> bool {
        self.end = 0;
        !std::mem::take(&mut self.head).is_empty()
    }

    /// Reads the whole lines that were added. What has no end was cut short by a crash, and is not read.
    pub(super) fn read_new(&mut self, mut each: impl FnMut(Line)) -> std::io::Result<()> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(()),
            Err(why) => return Err(why),
        };
        file.seek(SeekFrom::Start(self.end))?;
        let mut reader = BufReader::new(file);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes)?;
            let Some((b'\n', line)) = bytes.split_last() else { break };
            if self.end == 0 {
                self.head.clone_from(&bytes);
            }
            match Line::decode(line) {
                Ok(line) => each(line),
                Err(why) => tracing::warn!("skipped a line at byte {} of {}: {why}", self.end, self.path.display()),
            }
            self.end += bytes.len() as u64;
        }
        match bytes.len() as u64 {
            MAX_LINE => Err(Error::new(
                ErrorKind::InvalidData,
                format!("the line at byte {} has no end; no journal has such lines: remove the file", self.end),
            )),
            0 => Ok(()),
            length => {
                tracing::warn!("dropped {length} bytes that a crash left at the end of {}", self.path.display());
                // The next line goes over them in any case; this only spares others the warning.
                let _ = File::options().write(true).open(&self.path).and_then(|file| file.set_len(self.end));
                Ok(())
            }
        }
    }

    /// Adds a line behind the last whole one; it is on the disk when this returns.
    pub(super) fn append(&mut self, line: &[u8]) -> std::io::Result<()> {
        self.add(line, true)
    }

    /// The same for a line that may be lost should the machine fail: what is appended later takes it along.
    pub(super) fn append_lazily(&mut self, line: &[u8]) -> std::io::Result<()> {
        self.add(line, false)
    }

    fn add(&mut self, line: &[u8], durably: bool) -> std::io::Result<()> {
        let mut file = File::options().write(true).create(true).truncate(false).open(&self.path)?;
        let head = if self.end == 0 { head_line() } else { Vec::new() };
        let bytes = [&head, line].concat();
        let written = self.write_at_end(&mut file, &bytes).and_then(|()| match durably {
            true => file.sync_data(),
            false => Ok(()),
        });
        if written.is_err() {
            // Should this fail too, the next reader takes the line for cut short, or for committed and never tagged.
            let _ = file.set_len(self.end);
        }
        written?;
        if self.end == 0 {
            self.sync_directory()?;
            self.head = head;
        }
        self.end += bytes.len() as u64;
        Ok(())
    }

    fn write_at_end(&self, file: &mut File, line: &[u8]) -> std::io::Result<()> {
        file.set_len(self.end)?;
        file.seek(SeekFrom::Start(self.end))?;
        let (one, other) = line.split_at(line.len() / 2);
        file.write_all(one)?;
        failpoint("publish.journal-half");
        file.write_all(other)?;
        failpoint("publish.journal-write");
        Ok(())
    }

    /// Puts another file with these lines in the place of this one, in one step.
    pub(super) fn replace(&mut self, lines: impl Iterator<Item = Vec<u8>>) -> std::io::Result<()> {
        let path = self.path.with_extension("new");
        let mut file = File::create(&path)?;
        let head = head_line();
        let bytes: Vec<u8> = head.iter().copied().chain(lines.flatten()).collect();
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&path, &self.path)?;
        self.sync_directory()?;
        (self.head, self.end) = (head, bytes.len() as u64);
        Ok(())
    }

    fn sync_directory(&self) -> std::io::Result<()> {
        match self.path.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// The first line of a new journal.
fn head_line() -> Vec<u8> {
    Line::Begin { id: random_id() }.encode()
}
