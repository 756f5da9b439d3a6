//! Reading events, as they come.

use std::io;

use bytes::Bytes;
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _},
    sync::watch,
};

use super::{Spool, Written};

/// Most bytes that are read at once.
const PIECE: u64 = 64 * 1024;

/// Reads the events of a build from some place on, to its end.
pub(crate) struct Follower {
    spool: Spool,
    file: Option<File>,
    offset: u64,
    /// Events that are still to be passed over.
    skip: u64,
    written: watch::Receiver<Written>,
}

impl Follower {
    /// Reads what comes after the event `after`; 0 = everything.
    pub(crate) fn new(spool: &Spool, after: u64) -> Self {
        let (passed, offset) = spool.mark(after);
        Self { spool: spool.clone(), file: None, offset, skip: after - passed, written: spool.written.clone() }
    }

    /// The next piece of text, which may end within a line. Waits until there
    /// is one; `None` when the build is over and all was read, or when its events are not written any more. May be
    /// dropped and called again.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let written = *self.written.borrow_and_update();
            if self.offset < written.bytes {
                let piece = self.read(written.bytes).await?;
                if !piece.is_empty() {
                    return Ok(Some(piece));
                }
            } else if written.over || self.written.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// Whether what was read so far ends with the end of a line, and all that is written was read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.offset == self.written.borrow().bytes
    }

    async fn read(&mut self, end: u64) -> io::Result<Bytes> {
        // A call that is dropped half-way leaves no file behind whose place is unknown.
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                let mut file = File::open(&self.spool.path).await?;
                file.seek(io::SeekFrom::Start(self.offset)).await?;
                file
            }
        };
        let length = (end - self.offset).min(PIECE);
        let mut piece = Vec::new();
        let read = (&mut file).take(length).read_to_end(&mut piece).await?;
        self.file = Some(file);
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the events of the build are cut off"));
        }
        self.offset += read as u64;
        let mut start = 0;
        while self.skip > 0 {
            let Some(line) = piece[start..].iter().position(|byte| *byte == b'\n') else { return Ok(Bytes::new()) };
            start += line + 1;
            self.skip -= 1;
        }
        Ok(Bytes::from(piece).slice(start..))
    }
}
