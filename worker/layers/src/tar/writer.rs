//! The writer: plain ustar headers, with pax records for what does not fit. Equal entries give equal bytes.

use std::io::{self, Read, Write};

use super::{BLOCK, pax};
use crate::entry::{Entry, Kind};

/// Largest number of the 8-byte fields.
const SMALL: u64 = 0o7_777_777;
/// Largest number of the 12-byte fields.
const LARGE: u64 = 0o777_7777_7777;
/// Bytes of the name fields.
const NAME: usize = 100;

/// Writes an archive.
pub struct TarWriter<W> {
    output: W,
}

/// A header on its way, with the records it needs.
struct Draft {
    block: [u8; BLOCK],
    records: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    /// A writer to `output`.
    pub fn new(output: W) -> Self {
        Self { output }
    }

    /// Adds an entry. `content` must yield as many bytes as a file has, holes as zeros.
    ///
    /// # Errors
    /// When writing fails, or the content is shorter than the entry says.
    pub fn append(&mut self, entry: &Entry, content: impl Read) -> io::Result<()> {
        self.append_by(entry, |output, size| io::copy(&mut content.take(size), output))
    }

    /// The same with content that `copy` puts into the output: so many bytes, and it answers how many there were.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_by(&mut self, entry: &Entry, copy: impl FnOnce(&mut W, u64) -> io::Result<u64>) -> io::Result<()> {
        let size = match &entry.kind {
            Kind::File { size, .. } => *size,
            Kind::Directory | Kind::HardLink(_) | Kind::Symlink(_) | Kind::Char(..) | Kind::Block(..) | Kind::Fifo => 0,
        };
        self.headers(entry, size)?;
        if size == 0 {
            return Ok(());
        }
        let copied = copy(&mut self.output, size)?;
        if copied != size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a file became shorter while it was read"));
        }
        self.pad(size)
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.write_all(&[0; 2 * BLOCK])?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn headers(&mut self, entry: &Entry, size: u64) -> io::Result<()> {
        let mut draft = Draft { block: [0; BLOCK], records: Vec::new() };
        draft.fill(entry, size);
        if !draft.records.is_empty() {
            let mut header = Draft { block: [0; BLOCK], records: Vec::new() };
            header.name(0, "path", b"PaxHeader");
            header.number(100, 8, 0o644);
            header.number(124, 12, draft.records.len() as u64);
            header.finish(b'x');
            self.output.write_all(&header.block)?;
            self.output.write_all(&draft.records)?;
            self.pad(draft.records.len() as u64)?;
        }
        self.output.write_all(&draft.block)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
        if over == 0 { Ok(()) } else { self.output.write_all(&[0; BLOCK][over..]) }
    }
}

impl Draft {
    fn fill(&mut self, entry: &Entry, size: u64) {
        self.name(0, "path", &entry.path);
        self.number(100, 8, u64::from(entry.mode));
        self.fitting(108, 8, "uid", u64::from(entry.uid), SMALL);
        self.fitting(116, 8, "gid", u64::from(entry.gid), SMALL);
        self.fitting(124, 12, "size", size, LARGE);
        match u64::try_from(entry.mtime.seconds) {
            Ok(seconds) => self.fitting(136, 12, "mtime", seconds, LARGE),
            Err(_) => {
                self.record(b"mtime", entry.mtime.seconds.to_string().as_bytes());
                self.number(136, 12, 0);
            }
        }
        if let Kind::HardLink(target) | Kind::Symlink(target) = &entry.kind {
            self.name(157, "linkpath", target);
        }
        if let Kind::Char(major, minor) | Kind::Block(major, minor) = entry.kind {
            self.number(329, 8, u64::from(major));
            self.number(337, 8, u64::from(minor));
        }
        for (name, value) in &entry.xattrs {
            self.record(&[pax::XATTR, name].concat(), value);
        }
        self.finish(match entry.kind {
            Kind::File { .. } => b'0',
            Kind::HardLink(_) => b'1',
            Kind::Symlink(_) => b'2',
            Kind::Char(..) => b'3',
            Kind::Block(..) => b'4',
            Kind::Directory => b'5',
            Kind::Fifo => b'6',
        });
    }

    fn record(&mut self, key: &[u8], value: &[u8]) {
        pax::append(&mut self.records, key, value);
    }

    fn name(&mut self, at: usize, key: &str, value: &[u8]) {
        if value.len() > NAME {
            self.record(key.as_bytes(), value);
        }
        let short = &value[..value.len().min(NAME)];
        self.block[at..at + short.len()].copy_from_slice(short);
    }

    fn fitting(&mut self, at: usize, length: usize, key: &str, value: u64, largest: u64) {
        if value > largest {
            self.record(key.as_bytes(), value.to_string().as_bytes());
        }
        self.number(at, length, if value > largest { 0 } else { value });
    }

    fn number(&mut self, at: usize, length: usize, value: u64) {
        let text = format!("{value:0width$o}\0", width = length - 1);
        // A device number beyond the field has no form in ustar, and none is made by any kernel we run on.
        let text = &text.as_bytes()[text.len() - length..];
        self.block[at..at + length].copy_from_slice(text);
    }

    fn finish(&mut self, kind: u8) {
        self.block[156] = kind;
        self.block[257..265].copy_from_slice(b"ustar\x0000");
        self.block[148..156].copy_from_slice(b"        ");
        let sum: u32 = self.block.iter().map(|byte| u32::from(*byte)).sum();
        self.block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}
