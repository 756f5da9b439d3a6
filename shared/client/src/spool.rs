//! Output lines of attempts until a coordinator has them.
//!
//! A little of each attempt's output waits in memory, the rest in a file, and what is beyond a limit is cut, with a line
//! that says so. Offsets count lines from the beginning of an attempt's output, so that a batch that arrives twice is
//! known.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _},
    path::PathBuf,
};

/// Longest line that is kept, in bytes; the rest of it is left out.
const LONGEST: usize = 64 << 10;

/// How much is kept of one attempt's output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// In memory, in bytes.
    pub(crate) memory: usize,
    /// In all, in bytes, of what a coordinator does not have yet.
    pub(crate) waiting: u64,
    /// Lines and bytes of a batch.
    pub(crate) batch: (usize, usize),
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 256 << 10, waiting: 64 << 20, batch: (1000, 256 << 10) }
    }
}

/// The output of one attempt.
#[derive(Debug)]
pub(crate) struct Spool {
    limits: Limits,
    path: PathBuf,
    /// Number of the first line in `lines`.
    first: u64,
    /// The oldest lines that a coordinator does not have.
    lines: VecDeque<String>,
    bytes: usize,
    /// Newer lines, while there are any that memory does not hold.
    spilled: Option<Spilled>,
    /// Lines that were cut since the last one that was kept.
    cut: u64,
}

#[derive(Debug)]
struct Spilled {
    file: File,
    /// Up to where it was read again.
    read: u64,
    /// Its length.
    written: u64,
}

impl Spool {
    /// An empty one, whose file would be at `path`.
    pub(crate) fn new(path: PathBuf, limits: Limits) -> Self {
        Self { limits, path, first: 0, lines: VecDeque::new(), bytes: 0, spilled: None, cut: 0 }
    }

    /// Takes a line, without its end.
    pub(crate) fn add(&mut self, line: &[u8]) {
        let line = &line[..line.len().min(LONGEST)];
        // A line break would make two lines of one in the file.
        let text = String::from_utf8_lossy(line).replace('\n', "\r");
        let waiting = self.bytes as u64 + self.spilled.as_ref().map_or(0, |spilled| spilled.written - spilled.read);
        if waiting + text.len() as u64 > self.limits.waiting {
            self.cut += 1;
            return;
        }
        self.end_cut();
        self.keep(text);
    }

    /// The oldest lines, as many as go in one batch, with the number of the first. Empty when a coordinator has all.
    pub(crate) fn batch(&mut self) -> (u64, Vec<String>) {
        self.refill();
        if self.lines.is_empty() {
            self.end_cut();
        }
        let (most, bytes) = self.limits.batch;
        let mut left = bytes;
        let mut batch = Vec::new();
        for line in self.lines.iter().take(most) {
            if line.len() > left && !batch.is_empty() {
                break;
            }
            left = left.saturating_sub(line.len());
            batch.push(line.clone());
        }
        (self.first, batch)
    }

    /// A coordinator has the lines before this number.
    pub(crate) fn acknowledge(&mut self, next: u64) {
        while self.first < next {
            let Some(line) = self.lines.pop_front() else { return };
            self.bytes -= line.len();
            self.first += 1;
        }
    }

    /// Whether a coordinator has everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.spilled.is_none() && self.cut == 0
    }

    /// Says what was cut, where it was.
    fn end_cut(&mut self) {
        if self.cut > 0 {
            let cut = std::mem::take(&mut self.cut);
            self.keep(format!("… {cut} lines of output were cut here: too many waited for the coordinator"));
        }
    }

    fn keep(&mut self, text: String) {
        if self.spilled.is_none() && (self.lines.is_empty() || self.bytes + text.len() <= self.limits.memory) {
            self.bytes += text.len();
            self.lines.push_back(text);
        } else if let Err(error) = self.spill(&text) {
            tracing::debug!("keep output in {}: {error}", self.path.display());
            self.cut += 1;
        }
    }

    fn spill(&mut self, text: &str) -> io::Result<()> {
        if self.spilled.is_none() {
            if let Some(parent) = self.path.parent() {
                fs::create_dir_all(parent)?;
            }
            let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&self.path)?;
            self.spilled = Some(Spilled { file, read: 0, written: 0 });
        }
        let Some(spilled) = &mut self.spilled else { return Ok(()) };
        spilled.file.seek(SeekFrom::Start(spilled.written))?;
        // One write per line: half a line would join the next one. What is behind `written` is not there.
        spilled.file.write_all(format!("{text}\n").as_bytes())?;
        spilled.written += text.len() as u64 + 1;
        Ok(())
    }

    /// Brings lines from the file into memory when that has room.
    fn refill(&mut self) {
        if !self.lines.is_empty() || self.spilled.is_none() {
            return;
        }
        if let Err(error) = self.read_back() {
            tracing::warn!("output of a build is lost: read {}: {error}", self.path.display());
            self.spilled = None;
            self.cut += 1;
        }
        if self.spilled.as_ref().is_some_and(|spilled| spilled.read == spilled.written) {
            self.spilled = None;
            let _ = fs::remove_file(&self.path);
        }
    }

    fn read_back(&mut self) -> io::Result<()> {
        let Some(spilled) = &mut self.spilled else { return Ok(()) };
        spilled.file.seek(SeekFrom::Start(spilled.read))?;
        let mut reader = BufReader::new(&spilled.file);
        while self.bytes < self.limits.memory && spilled.read < spilled.written {
            let mut line = String::new();
            spilled.read += reader.read_line(&mut line)? as u64;
            line.truncate(line.trim_end_matches('\n').len());
            self.bytes += line.len();
            self.lines.push_back(line);
        }
        Ok(())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if self.spilled.is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Limits = Limits { memory: 100, waiting: 1000, batch: (3, 1000) };

    fn drain(spool: &mut Spool) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let (first, batch) = spool.batch();
            assert_eq!(first, all.len() as u64, "no line is missing or comes twice");
            if batch.is_empty() {
                assert!(spool.is_empty());
                return all;
            }
            // An answer that was lost: the same batch again.
            assert_eq!(spool.batch(), (first, batch.clone()));
            spool.acknowledge(first + batch.len() as u64);
            all.extend(batch);
        }
    }

    #[test]
    fn lines_come_in_order_through_memory_and_file() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("logs/a");
        let mut spool = Spool::new(path.clone(), SMALL);
        let lines: Vec<String> = (0..50).map(|number| format!("line {number}")).collect();
        lines.iter().for_each(|line| spool.add(line.as_bytes()));
        assert!(path.exists(), "what memory does not hold is on disk");
        assert!(spool.bytes <= SMALL.memory);
        assert_eq!(drain(&mut spool), lines);
        assert!(!path.exists());
        spool.add(b"more");
        assert_eq!(spool.batch(), (50, vec!["more".to_owned()]));
    }

    #[test]
    fn what_is_too_much_is_cut_and_said() {
        let home = tempfile::tempdir().expect("a directory");
        let mut spool = Spool::new(home.path().join("a"), SMALL);
        (0..30).for_each(|_| spool.add(&[b'x'; 50]));
        let kept = drain(&mut spool);
        assert!(kept.len() < 25, "{}", kept.len());
        let marker = kept.last().expect("a line");
        assert_eq!(
            *marker,
            format!("… {} lines of output were cut here: too many waited for the coordinator", 31 - kept.len())
        );
    }

    #[test]
    fn odd_bytes_and_endless_lines_are_borne() {
        let home = tempfile::tempdir().expect("a directory");
        let mut spool = Spool::new(home.path().join("a"), Limits::default());
        spool.add(b"caf\xff\nno");
        spool.add(&vec![b'x'; LONGEST + 7]);
        let kept = drain(&mut spool);
        assert_eq!(kept[0], "caf\u{fffd}\rno");
        assert_eq!(kept[1].len(), LONGEST);
    }

    #[test]
    fn a_spool_that_is_dropped_leaves_no_file() {
        let home = tempfile::tempdir().expect("a directory");
        let mut spool = Spool::new(home.path().join("a"), SMALL);
        (0..15).for_each(|_| spool.add(&[b'x'; 50]));
        assert!(home.path().join("a").exists());
        drop(spool);
        assert!(!home.path().join("a").exists());
    }
}
