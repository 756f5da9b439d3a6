//! The ledger of one host: a journal per storage, appended to under flock and synced before anything follows from it.
//!
//! Every operation takes the lock, reads what others appended since, and answers from memory. A line that a crash cut
//! short has no end; it is dropped, and overwritten by the next. Timestamps grow per digest because the journal and
//! the tags in the storage both count; so the journal may forget what is older than a day and tagged.

mod file;
mod line;

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use slipway_digest::{Encoder, Millis, StageDigest, StageId};
use slipway_process::Tasks;
use slipway_registry::RawManifest;
use slipway_stages::StageRecord;

use crate::{Candidate, Committed, Intent, Ledger, Seen, StorageError, Winners};
use file::JournalFile;
use line::Line;

/// What users are told, once, when stages of a repo are published without a coordinator.
pub const NOTICE: &str = "only builds on this host are kept from storing the same stage twice; \
    builds on other hosts may store one of their own";

/// The first moment whose milliseconds have the 13 digits that a tag needs (2001-09-09), and the last (2286-11-20).
const FIRST_STAMP: Millis = Millis(1_000_000_000_000);
const LAST_STAMP: Millis = Millis(9_999_999_999_999);
/// What is tagged and older than this is forgotten when the journal is rewritten.
const KEPT: u64 = 24 * 3600 * 1000;
/// A journal of fewer lines is not worth rewriting.
const SMALL: usize = 1000;

/// A journal as the ledger of a storage. Clones are one journal.
#[derive(Clone, Debug)]
pub struct JournalLedger {
    journal: Arc<Mutex<Journal>>,
    tasks: Tasks,
}

#[derive(Debug)]
struct Journal {
    file: JournalFile,
    known: Known,
    small: usize,
}

/// What the lines of the journal add up to.
#[derive(Debug, Default)]
struct Known {
    heads: HashMap<StageDigest, Head>,
    pending: BTreeMap<StageId, (Intent, String)>,
    lines: usize,
}

/// The last commit of a digest.
#[derive(Clone, Copy, Debug)]
struct Head {
    stamp: Millis,
    /// When it was written, by the clock of who wrote it.
    at: Millis,
}

impl JournalLedger {
    /// The journal of the storage called `place`, in `directory`, usually `HOME/service/ledger`. Files are made when
    /// they are needed.
    pub fn new(directory: &Path, place: &str) -> Self {
        Self::rewritten_from(directory, place, SMALL)
    }

    /// As [`new`](Self::new), with another length from which on the journal is rewritten.
    fn rewritten_from(directory: &Path, place: &str, small: usize) -> Self {
        let path = Self::path(directory, place);
        let journal = Journal { file: JournalFile::new(path), known: Known::default(), small };
        Self { journal: Arc::new(Mutex::new(journal)), tasks: Tasks::new() }
    }

    /// The file of a storage's journal.
    pub fn path(directory: &Path, place: &str) -> PathBuf {
        directory.join(format!("{}.journal", Encoder::new("ledger").text(place).finish()))
    }

    /// Runs `work` on the journal, locked and up to date, on a blocking thread.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Journal) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let journal = self.journal.clone();
        let done = self.tasks.blocking(move || {
            let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
            let _lock = journal.file.lock()?;
            journal.catch_up()?;
            work(&mut journal)
        });
        done.await.map_err(|why| {
            let path = self.journal.lock().unwrap_or_else(PoisonError::into_inner).file.path().to_owned();
            StorageError::Unavailable(format!(
                "keep the journal of stored stages {}: {why}; make room for it and make it writable, or choose another \
                 directory with --home-dir",
                path.display()
            ))
        })
    }
}

#[async_trait]
impl Ledger for JournalLedger {
    async fn winners(&self, digest: StageDigest) -> Result<Winners, StorageError> {
        self.with(move |journal| Ok(journal.known.winners(digest))).await
    }

    async fn commit(
        &self,
        candidate: &Candidate,
        held: Option<RawManifest>,
        seen: Seen,
        now: Millis,
    ) -> Result<Committed, StorageError> {
        let candidate = candidate.clone();
        let digest = candidate.record.id.digest;
        let committed = self.with(move |journal| journal.commit(candidate, held, seen, now)).await?;
        committed.ok_or_else(|| StorageError::Broken {
            what: format!("stage {digest}"),
            why: "its timestamp would be later than the year 2286; set the clock, and remove stages from the future"
                .to_owned(),
        })
    }

    async fn tagged(&self, stage: StageId) -> Result<(), StorageError> {
        self.with(move |journal| journal.clear(stage, Line::Tagged { id: stage })).await
    }

    async fn reject(&self, stage: StageId, why: &str) -> Result<(), StorageError> {
        let why = why.chars().take(1000).collect();
        self.with(move |journal| journal.clear(stage, Line::Rejected { id: stage, why })).await
    }

    async fn pending(&self) -> Result<Vec<Intent>, StorageError> {
        let mut pending: Vec<Intent> =
            self.with(|journal| Ok(journal.known.pending.values().map(|(intent, _)| intent.clone()).collect())).await?;
        pending.sort_by_key(|intent| (intent.stage.id.stamp, intent.stage.id.digest));
        Ok(pending)
    }
}

impl Journal {
    /// Reads what was appended since the last look; everything, when the file is another one.
    fn catch_up(&mut self) -> std::io::Result<()> {
        if self.file.was_replaced()? {
            self.known = Known::default();
        }
        let known = &mut self.known;
        self.file.read_new(|line| known.apply(line))
    }

    /// `None` when there is no timestamp left to give.
    fn commit(
        &mut self,
        candidate: Candidate,
        held: Option<RawManifest>,
        seen: Seen,
        now: Millis,
    ) -> std::io::Result<Option<Committed>> {
        let digest = candidate.record.id.digest;
        let last = self.known.heads.get(&digest).map(|head| head.stamp);
        if last != seen.revision {
            return Ok(Some(Committed::LookAgain));
        }
        let below = [last, seen.latest, Some(candidate.not_before)].into_iter().flatten().max();
        let after = below.map_or(Millis(0), |stamp| Millis(stamp.0.saturating_add(1)));
        let stamp = now.max(after).max(FIRST_STAMP);
        if stamp > LAST_STAMP {
            return Ok(None);
        }
        let record = Box::new(StageRecord { id: StageId { digest, stamp }, ..candidate.record });
        let intent = Box::new(Intent { stage: record.as_ref().clone(), held });
        let line = Line::Committed { intent, attempt: candidate.attempt, at: now };
        self.append(line)?;
        self.rewrite_if_worthwhile(now)?;
        Ok(Some(Committed::Won(record)))
    }

    fn clear(&mut self, stage: StageId, line: Line) -> std::io::Result<()> {
        if !self.known.pending.contains_key(&stage) {
            return Ok(());
        }
        match line {
            // An intent that is there again after a failure of the machine is settled again: its tag stands.
            Line::Tagged { .. } => self.file.append_lazily(&line.encode())?,
            Line::Begin { .. } | Line::Committed { .. } | Line::Stamp { .. } | Line::Rejected { .. } => {
                self.file.append(&line.encode())?;
            }
        }
        self.known.apply(line);
        Ok(())
    }

    fn append(&mut self, line: Line) -> std::io::Result<()> {
        self.file.append(&line.encode())?;
        self.known.apply(line);
        Ok(())
    }

    fn rewrite_if_worthwhile(&mut self, now: Millis) -> std::io::Result<()> {
        if self.known.lines < self.small {
            return Ok(());
        }
        let kept = self.known.worth_keeping(now);
        if kept.len() * 2 > self.known.lines {
            return Ok(());
        }
        self.file.replace(kept.iter().map(Line::encode))?;
        self.known = Known::default();
        kept.into_iter().for_each(|line| self.known.apply(line));
        Ok(())
    }
}

impl Known {
    fn apply(&mut self, line: Line) {
        self.lines += 1;
        match line {
            Line::Begin { .. } => {}
            Line::Committed { intent, attempt, at } => {
                self.raise(intent.stage.id, at);
                self.pending.insert(intent.stage.id, (*intent, attempt));
            }
            Line::Stamp { id, at } => self.raise(id, at),
            Line::Tagged { id } | Line::Rejected { id, .. } => {
                self.pending.remove(&id);
            }
        }
    }

    fn raise(&mut self, id: StageId, at: Millis) {
        let head = self.heads.entry(id.digest).or_insert(Head { stamp: id.stamp, at });
        if id.stamp >= head.stamp {
            *head = Head { stamp: id.stamp, at };
        }
    }

    fn winners(&self, digest: StageDigest) -> Winners {
        let from = StageId { digest, stamp: Millis(0) };
        let to = StageId { digest, stamp: Millis(u64::MAX) };
        let pending = self.pending.range(from..=to).map(|(_, (intent, _))| intent.clone()).collect();
        Winners { revision: self.heads.get(&digest).map(|head| head.stamp), pending }
    }

    /// The lines that say what must not be forgotten: the intents, and the youngest timestamps.
    fn worth_keeping(&self, now: Millis) -> Vec<Line> {
        let young = |head: &Head| now.0.saturating_sub(head.at.0) < KEPT;
        let heads = self.heads.iter().filter(|(_, head)| young(head));
        let stamps = heads.map(|(digest, head)| {
            let id = StageId { digest: *digest, stamp: head.stamp };
            Line::Stamp { id, at: head.at }
        });
        let intents = self.pending.values().map(|(intent, attempt)| Line::Committed {
            intent: Box::new(intent.clone()),
            attempt: attempt.clone(),
            at: now,
        });
        stamps.chain(intents).collect()
    }
}

#[cfg(test)]
mod tests;
