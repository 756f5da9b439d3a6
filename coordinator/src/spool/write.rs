//! Writing events.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use slipway_protocol::{BuildEvent, EventId, TimedEvent};
use tokio::{
    fs::File,
    io::{AsyncSeekExt as _, AsyncWriteExt as _},
    sync::watch,
};

use super::{MARK_EVERY, Spool, Written, lock};

/// Writes the events of one build.
pub(crate) struct Writer {
    path: PathBuf,
    file: Option<File>,
    term: u64,
    written: watch::Sender<Written>,
    marks: Arc<Mutex<Vec<u64>>>,
    /// What could not be written yet. Never a line of output, of which there may be any number.
    waiting: VecDeque<BuildEvent>,
    /// How many more bytes of output are kept.
    room: u64,
    /// Whether followers know that output is left out.
    told_full: bool,
    /// Whether the last write failed.
    broken: bool,
}

impl Writer {
    /// A writer to the new file at `path` that keeps at most `room` bytes of output; the build's events have the term
    /// `term`.
    pub(crate) fn new(path: PathBuf, term: u64, room: u64) -> (Self, Spool) {
        let (written, seen) = watch::channel(Written::default());
        let marks = Arc::new(Mutex::new(vec![0]));
        let spool = Spool { path: path.clone(), marks: Arc::clone(&marks), written: seen };
        let waiting = VecDeque::new();
        (Self { path, file: None, term, written, marks, waiting, room, told_full: false, broken: false }, spool)
    }

    /// Writes events. When the disk does not take them, output is left out, and the rest is kept for the next call.
    pub(crate) async fn append(&mut self, events: impl IntoIterator<Item = BuildEvent>) {
        for event in events {
            self.admit(event);
        }
        let batch: Vec<BuildEvent> = self.waiting.drain(..).collect();
        if batch.is_empty() {
            return;
        }
        match self.write(&batch).await {
            Ok(()) => {
                if std::mem::take(&mut self.broken) {
                    tracing::info!("the events of builds are written to {} again", self.path.display());
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.broken, true) {
                    tracing::error!(
                        "write the events of a build to {}: {error}; output of stages is lost until it works again",
                        self.path.display()
                    );
                }
                // The next write begins with a new file handle, at the end of what is whole.
                self.file = None;
                let kept = batch.into_iter().filter(|event| !matches!(event, BuildEvent::Log { .. }));
                self.waiting = kept.collect();
            }
        }
    }

    /// Whether something could not be written yet.
    pub(crate) fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// No more events come: followers are told, once they have read all.
    pub(crate) fn close(&mut self) {
        self.written.send_modify(|written| written.over = true);
    }

    fn admit(&mut self, event: BuildEvent) {
        if let BuildEvent::Log { line, .. } = &event {
            match self.room.checked_sub(line.len() as u64 + 1) {
                Some(room) => self.room = room,
                None if self.told_full => return,
                None => {
                    self.told_full = true;
                    let notice = "the output of this build is too long: what follows is not kept";
                    return self.waiting.push_back(BuildEvent::Notice(notice.to_owned()));
                }
            }
            if self.told_full {
                return;
            }
        }
        self.waiting.push_back(event);
    }

    async fn write(&mut self, events: &[BuildEvent]) -> io::Result<()> {
        let mut next = *self.written.borrow();
        let mut text = Vec::new();
        let mut marks = Vec::new();
        for event in events {
            next.events += 1;
            let id = EventId { term: self.term, number: next.events };
            serde_json::to_writer(&mut text, &TimedEvent { id, event: event.clone() })?;
            text.push(b'\n');
            if next.events.is_multiple_of(MARK_EVERY) {
                marks.push(next.bytes + text.len() as u64);
            }
        }
        self.put(next.bytes, &text).await?;
        next.bytes += text.len() as u64;
        lock(&self.marks).extend(marks);
        self.written.send_replace(next);
        Ok(())
    }

    /// Writes at an offset, over whatever a failed write has left there.
    async fn put(&mut self, offset: u64, text: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let mut options = File::options();
                let mut file = options.create(true).write(true).truncate(false).open(&self.path).await?;
                file.set_len(offset).await?;
                file.seek(io::SeekFrom::Start(offset)).await?;
                none.insert(file)
            }
        };
        file.write_all(text).await?;
        file.flush().await
    }
}
