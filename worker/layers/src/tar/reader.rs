//! The reader.

use std::io::{self, Read};

use super::{
    BLOCK,
    header::{Dialect, Header},
    pax::Records,
    sparse,
};
use crate::{
    LayerError,
    entry::{Entry, Kind, Time},
    error::shown,
};

/// Longest body of a pax header.
const MAX_PAX: u64 = 8 * 1024 * 1024;
/// Headers of one entry: pax, long name, long link, each at most a few times.
const MAX_PRELUDE: u32 = 8;
/// Largest size that the header's own field can say.
const MAX_OCTAL: u64 = 0o777_7777_7777;

/// How much of an archive is taken.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Number of entries.
    pub entries: u64,
    /// Bytes of one name.
    pub name: usize,
    /// Bytes of content, all entries together; holes count.
    pub bytes: u64,
}

impl Default for Limits {
    /// Five million entries, names of 4 KiB, a tebibyte.
    fn default() -> Self {
        Self { entries: 5_000_000, name: 4096, bytes: 1 << 40 }
    }
}

/// Reads an archive entry by entry. Reading from it yields the content of the entry that came last.
pub struct TarReader<R> {
    input: R,
    limits: Limits,
    remaining: u64,
    padding: u64,
    entries: u64,
    bytes: u64,
    ended: bool,
}

/// What stands in front of an entry.
#[derive(Default)]
struct Prelude {
    records: Option<Records>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Prelude {
    /// Of two that say the same thing, programs take different ones.
    fn check(&self, records: &Records) -> Result<(), LayerError> {
        let both = |long: &Option<Vec<u8>>, keys: &[&[u8]]| {
            long.is_some() && keys.iter().any(|key| records.get(key).is_some())
        };
        if both(&self.name, &[b"path", b"GNU.sparse.name"]) || both(&self.link, &[b"linkpath"]) {
            return Err(bad("an entry has a name of GNU's and one of pax"));
        }
        Ok(())
    }
}

impl<R: Read> TarReader<R> {
    /// A reader of `input`.
    pub fn new(input: R, limits: Limits) -> Self {
        Self { input, limits, remaining: 0, padding: 0, entries: 0, bytes: 0, ended: false }
    }

    /// The next entry; `None` at the end. What was not read of the entry before is skipped.
    ///
    /// # Errors
    /// [`LayerError`] when the archive is malformed, ambiguous or too large.
    #[expect(clippy::should_implement_trait, reason = "an entry's content is read from the reader between two entries")]
    pub fn next(&mut self) -> Result<Option<Entry>, LayerError> {
        self.skip()?;
        let mut prelude = Prelude::default();
        for _ in 0..MAX_PRELUDE {
            let Some(header) = self.header()? else {
                let loose = prelude.records.is_some() || prelude.name.is_some() || prelude.link.is_some();
                return if loose { Err(bad("it ends between a header and its file")) } else { Ok(None) };
            };
            match header.kind() {
                b'x' => once(&mut prelude.records, Records::parse(&self.body(&header, MAX_PAX)?)?)?,
                b'g' => check_global(&Records::parse(&self.body(&header, MAX_PAX)?)?)?,
                b'L' => once(&mut prelude.name, self.long_name(&header)?)?,
                b'K' => once(&mut prelude.link, self.long_name(&header)?)?,
                _ => return self.entry(&header, prelude).map(Some),
            }
        }
        Err(bad("one entry has too many headers"))
    }

    /// The input, read up to the content of the entry that came last.
    pub fn input(&self) -> &R {
        &self.input
    }

    /// Gives the input back, at the end of the archive.
    pub fn into_inner(self) -> R {
        self.input
    }

    fn skip(&mut self) -> Result<(), LayerError> {
        let rest = self.remaining + self.padding;
        (self.remaining, self.padding) = (0, 0);
        let skipped = io::copy(&mut self.input.by_ref().take(rest), &mut io::sink());
        match skipped.map_err(|error| LayerError::io("read an archive", error))? {
            skipped if skipped == rest => Ok(()),
            _ => Err(bad("it ends in the middle of a file")),
        }
    }

    /// The next header; `None` at the end.
    fn header(&mut self) -> Result<Option<Header>, LayerError> {
        if self.ended {
            return Ok(None);
        }
        match self.block()? {
            // An archive without its end marks: GNU tar and Go take it too.
            None => self.ended = true,
            Some(block) if block == [0; BLOCK] => {
                self.ended = true;
                if self.block()?.is_some_and(|second| second != [0; BLOCK]) {
                    return Err(bad("there is more behind its end mark"));
                }
            }
            Some(block) => return Header::check(block).map(Some),
        }
        Ok(None)
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, LayerError> {
        let (mut block, mut filled) = ([0; BLOCK], 0);
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(bad("it ends in the middle of a header")),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LayerError::io("read an archive", error)),
            }
        }
        Ok(Some(block))
    }

    /// The body of a header that describes the next one.
    fn body(&mut self, header: &Header, limit: u64) -> Result<Vec<u8>, LayerError> {
        let size = u64::try_from(header.size()?).map_err(|_| bad("a header has a negative size"))?;
        if size > limit {
            return Err(LayerError::TooMuch(format!("read an archive: a header has {size} bytes, more than {limit}")));
        }
        let mut body = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        self.input.read_exact(&mut body).map_err(|error| LayerError::io("read an archive", error))?;
        self.padding = padding(size);
        self.skip()?;
        Ok(body)
    }

    fn long_name(&mut self, header: &Header) -> Result<Vec<u8>, LayerError> {
        let limit = self.limits.name as u64 + BLOCK as u64;
        let mut name = self.body(header, limit)?;
        // Without its end some programs read on behind it.
        let end = name.iter().position(|byte| *byte == 0).ok_or_else(|| bad("a long name has no end"))?;
        if name[end..].iter().any(|byte| *byte != 0) {
            return Err(bad("a long name holds a NUL byte"));
        }
        name.truncate(end);
        Ok(name)
    }

    fn entry(&mut self, header: &Header, mut prelude: Prelude) -> Result<Entry, LayerError> {
        let records = prelude.records.take().unwrap_or_default();
        prelude.check(&records)?;
        let path = records.name(b"GNU.sparse.name")?.or(records.name(b"path")?);
        let path = path.or(prelude.name).unwrap_or_else(|| header.name());
        let link = records.name(b"linkpath")?.or(prelude.link).unwrap_or_else(|| header.link());
        self.count(&path, &link)?;
        if path.is_empty() && header.kind() != b'5' {
            return Err(bad("a file has no name"));
        }
        let stored = stored(header, &records, &path)?;
        let kind = self.kind(header, &records, &path, link, stored)?;
        if let Kind::File { size, .. } = &kind {
            self.bytes = self.bytes.saturating_add(*size);
            if self.bytes > self.limits.bytes {
                let limit = self.limits.bytes;
                return Err(LayerError::TooMuch(format!("read an archive: it holds more than {limit} bytes")));
            }
        }
        let id = |key: &[u8], own: i64| -> Result<u32, LayerError> {
            let value = records.number(key)?.map_or_else(|| u64::try_from(own), Ok);
            value.ok().and_then(|value| u32::try_from(value).ok()).ok_or_else(|| {
                LayerError::Bad(format!("read an archive: `{}` has an owner that no system knows", shown(&path)))
            })
        };
        let own_time = Time { seconds: header.mtime()?, nanos: 0 };
        Ok(Entry {
            kind,
            mode: u32::try_from(header.mode()? & 0o7777).unwrap_or(0),
            uid: id(b"uid", header.uid()?)?,
            gid: id(b"gid", header.gid()?)?,
            mtime: records.time(b"mtime")?.unwrap_or(own_time),
            xattrs: records.xattrs(),
            path,
        })
    }

    fn count(&mut self, path: &[u8], link: &[u8]) -> Result<(), LayerError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            let limit = self.limits.entries;
            return Err(LayerError::TooMuch(format!("read an archive: it holds more than {limit} entries")));
        }
        if path.len().max(link.len()) > self.limits.name {
            let limit = self.limits.name;
            return Err(LayerError::TooMuch(format!("read an archive: it holds a name of more than {limit} bytes")));
        }
        Ok(())
    }

    fn kind(
        &mut self,
        header: &Header,
        records: &Records,
        path: &[u8],
        link: Vec<u8>,
        stored: u64,
    ) -> Result<Kind, LayerError> {
        let device = || -> Result<(u32, u32), LayerError> {
            let (major, minor) = header.device()?;
            let small = |number| u32::try_from(number).map_err(|_| bad("a device has a negative number"));
            Ok((small(major)?, small(minor)?))
        };
        let has_map = records.0.iter().any(|(key, _)| key.starts_with(b"GNU.sparse."));
        if has_map && !matches!(header.kind(), 0 | b'0') {
            return Err(bad("something that is no plain file has holes"));
        }
        if header.kind() == b'S' && header.dialect() != Dialect::Gnu {
            return Err(bad("a file has holes in a form that its dialect does not have"));
        }
        if header.kind() != b'S' && header.dialect() == Dialect::Gnu && header.0[386] != 0 {
            // libarchive believes the map whatever the kind.
            return Err(bad("something that is no file with holes has a map of them"));
        }
        let named_as_directory = path.ends_with(b"/");
        let old = header.dialect() == Dialect::V7;
        match header.kind() {
            0 if named_as_directory => self.empty(path, stored, Kind::Directory),
            b'0' if named_as_directory && old => self.empty(path, stored, Kind::Directory),
            // Some programs make a directory of it, some a file.
            b'0' | b'7' | b'S' if named_as_directory => {
                Err(LayerError::Bad(format!("read an archive: the file `{}` is named as a directory", shown(path))))
            }
            0 | b'0' | b'7' => self.file(records, path, stored),
            b'S' => {
                let map = sparse::old_gnu(header, &mut self.input)?.check(stored, path)?;
                self.content(stored);
                Ok(Kind::File { size: map.size, spans: Some(map.spans) })
            }
            b'1' => self.empty(path, stored, Kind::HardLink(link)),
            b'2' => self.empty(path, stored, Kind::Symlink(link)),
            b'3' => self.empty(path, stored, device().map(|(major, minor)| Kind::Char(major, minor))?),
            b'4' => self.empty(path, stored, device().map(|(major, minor)| Kind::Block(major, minor))?),
            b'5' => self.empty(path, stored, Kind::Directory),
            b'6' => self.empty(path, stored, Kind::Fifo),
            other => Err(LayerError::Bad(format!(
                "read an archive: `{}` is of a kind that cannot be put into an image (`{}`)",
                shown(path),
                char::from(other).escape_default()
            ))),
        }
    }

    fn file(&mut self, records: &Records, path: &[u8], stored: u64) -> Result<Kind, LayerError> {
        let (map, taken) = match sparse::of_records(records)? {
            sparse::Pax::Dense => {
                self.content(stored);
                return Ok(Kind::File { size: stored, spans: None });
            }
            sparse::Pax::Known(map) => (map, 0),
            sparse::Pax::Ahead(size) => sparse::ahead(size, stored, &mut self.input)?,
        };
        let map = map.check(stored - taken, path)?;
        self.content(stored - taken);
        Ok(Kind::File { size: map.size, spans: Some(map.spans) })
    }

    /// Content behind what has none is read by some programs and skipped by others.
    fn empty(&self, path: &[u8], stored: u64, kind: Kind) -> Result<Kind, LayerError> {
        if stored == 0 {
            return Ok(kind);
        }
        Err(LayerError::Bad(format!(
            "read an archive: `{}` is no file, but has {stored} bytes of content",
            shown(path)
        )))
    }

    fn content(&mut self, stored: u64) {
        self.remaining = stored;
        self.padding = padding(stored);
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        let count = self.input.read(&mut buffer[..room])?;
        if count == 0 {
            return Err(bad("it ends in the middle of a file").into());
        }
        self.remaining -= count as u64;
        Ok(count)
    }
}

/// Takes what may be said once.
fn once<T>(place: &mut Option<T>, value: T) -> Result<(), LayerError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(bad("an entry has two headers of one kind")),
    }
}

/// How many bytes follow. Header and record must agree: programs differ in which of them they believe.
fn stored(header: &Header, records: &Records, path: &[u8]) -> Result<u64, LayerError> {
    let own = u64::try_from(header.size()?).map_err(|_| bad("a file has a negative size"))?;
    match records.number(b"size")? {
        Some(told) if told != own && !(told > MAX_OCTAL && matches!(own, 0 | MAX_OCTAL)) => {
            Err(LayerError::Bad(format!(
                "read an archive: the headers of `{}` disagree on its size ({own} and {told}): it may be an attack",
                shown(path)
            )))
        }
        Some(told) if told <= i64::MAX.unsigned_abs() => Ok(told),
        Some(_) => Err(bad("a file is larger than any file system takes")),
        None => Ok(own),
    }
}

/// A global header that changes names, sizes or owners of all entries is read differently by different programs.
fn check_global(records: &Records) -> Result<(), LayerError> {
    let is_harmless = |key: &[u8]| matches!(key, b"comment" | b"mtime" | b"atime" | b"ctime" | b"hdrcharset");
    match records.0.iter().find(|(key, _)| !is_harmless(key)) {
        Some((key, _)) => Err(LayerError::Bad(format!("read an archive: a global header sets `{}`", shown(key)))),
        None => Ok(()),
    }
}

fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

fn bad(what: &str) -> LayerError {
    LayerError::Bad(format!("read an archive: {what}"))
}
