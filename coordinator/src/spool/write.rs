//! Writing events.

use std::{
    collections::VecDeque,
    io::{self, Write as _},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use slipway_protocol::{BuildEvent, EventId};
use tokio::{
    fs::File,
    io::{AsyncSeekExt as _, AsyncWriteExt as _},
    sync::watch,
};

use super::{MARK_EVERY, Spool, Written, lock};

/// What is written.
enum Line {
    Event(BuildEvent),
    /// [`BuildEvent::Finished`], whose content is this text. It can be long, and is written as it is.
    Finished(Arc<String>),
}

/// An event and its place.
#[derive(serde::Serialize)]
struct Timed<'a> {
    id: EventId,
    event: &'a BuildEvent,
}

/// Writes the events of one build.
pub(crate) struct Writer {
    path: PathBuf,
    file: Option<File>,
    term: u64,
    written: watch::Sender<Written>,
    marks: Arc<Mutex<Vec<u64>>>,
    /// What could not be written yet. Never a line of output, of which there may be any number.
    waiting: VecDeque<Line>,
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
        self.write_waiting().await;
    }

    /// Writes the last event: `text` is the content of [`BuildEvent::Finished`] in JSON.
    pub(crate) async fn finish(&mut self, text: Arc<String>) {
        self.waiting.push_back(Line::Finished(text));
        self.write_waiting().await;
    }

    async fn write_waiting(&mut self) {
        let batch: Vec<Line> = self.waiting.drain(..).collect();
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
                let kept = batch.into_iter().filter(|line| !matches!(line, Line::Event(BuildEvent::Log { .. })));
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
                    return self.waiting.push_back(Line::Event(BuildEvent::Notice(notice.to_owned())));
                }
            }
            if self.told_full {
                return;
            }
        }
        self.waiting.push_back(Line::Event(event));
    }

    async fn write(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut next = *self.written.borrow();
        let mut text = Vec::new();
        let mut marks = Vec::new();
        for line in lines {
            next.events += 1;
            let id = EventId { term: self.term, number: next.events };
            match line {
                Line::Event(event) => serde_json::to_writer(&mut text, &Timed { id, event })?,
                Line::Finished(content) => {
                    write!(text, r#"{{"id":"{id}","event":{{"finished":"#)?;
                    for part in [text.as_slice(), content.as_bytes()] {
                        self.put(next.bytes, part).await?;
                        next.bytes += part.len() as u64;
                    }
                    text.clear();
                    text.extend(b"}}");
                }
            }
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
