//! One entry as it is written: a plain ustar header, with pax records for what does not fit into it.

use std::io::{self, Read, Write};

use slipway_paths::TreePath;
use tar::{EntryType, Header};

use super::{Kind, RetarError};

/// Largest value of the 8-byte number fields: seven octal digits.
const SMALL: u64 = 0o7_777_777;
/// Largest value of the 12-byte number fields: eleven octal digits.
const LARGE: u64 = 0o77_777_777_777;
/// Bytes of the name fields.
const NAME: usize = 100;
/// Pax records that the header itself says, or that would undo what was rewritten.
const OWN_RECORDS: [&[u8]; 8] = [b"path", b"linkpath", b"size", b"uid", b"gid", b"uname", b"gname", b"hdrcharset"];

/// What an entry is; `None` for entries that say something of the archive as a whole.
pub(super) fn kind<R: Read>(entry: &tar::Entry<'_, R>) -> Result<Option<Kind>, RetarError> {
    match entry.header().entry_type() {
        EntryType::Directory => Ok(Some(Kind::Directory)),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse | EntryType::Link => Ok(Some(Kind::File)),
        EntryType::Symlink => Ok(Some(Kind::Symlink)),
        EntryType::Char | EntryType::Block | EntryType::Fifo => Ok(Some(Kind::Special)),
        EntryType::XGlobalHeader => Ok(None),
        other => {
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            Err(RetarError::Kind { name, kind: char::from(other.as_byte()) })
        }
    }
}

/// An entry on its way out.
pub(super) struct Written {
    kind: EntryType,
    path: Vec<u8>,
    target: Option<Vec<u8>>,
    mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    size: u64,
    mtime: u64,
    device: Option<(u32, u32)>,
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A directory that no archive brought.
pub(super) fn directory(path: &TreePath, uid: u64, gid: u64) -> Written {
    Written {
        kind: EntryType::Directory,
        path: name(path, true),
        target: None,
        mode: 0o755,
        uid,
        gid,
        size: 0,
        mtime: 0,
        device: None,
        records: Vec::new(),
    }
}

impl Written {
    /// The entry `found`, under another path.
    pub(super) fn from_entry<R: Read>(
        found: &mut tar::Entry<'_, R>,
        path: &TreePath,
        target: Option<Vec<u8>>,
    ) -> io::Result<Self> {
        let header = found.header();
        let kind = match header.entry_type() {
            EntryType::Continuous | EntryType::GNUSparse => EntryType::Regular,
            other => other,
        };
        let device = match kind {
            EntryType::Char | EntryType::Block => {
                Some((header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0)))
            }
            _ => None,
        };
        let (mode, uid, gid) = (header.mode()? & 0o7777, header.uid()?, header.gid()?);
        let mtime = header.mtime().unwrap_or(0);
        let size = if kind == EntryType::Regular { found.size() } else { 0 };
        let records = kept_records(found)?;
        let path = name(path, kind == EntryType::Directory);
        Ok(Self { kind, path, target, mode, uid, gid, size, mtime, device, records })
    }

    /// Writes the entry with its content.
    pub(super) fn write(mut self, output: &mut impl Write, content: impl Read) -> io::Result<()> {
        let header = self.header()?;
        self.write_records(output)?;
        output.write_all(header.as_bytes())?;
        let copied = io::copy(&mut content.take(self.size), output)?;
        if copied != self.size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends in the middle of a file"));
        }
        pad(output, self.size)
    }

    /// The header; what does not fit moves into the records.
    fn header(&mut self) -> io::Result<Header> {
        let mut header = Header::new_ustar();
        header.set_entry_type(self.kind);
        header.set_mode(self.mode);
        let path = self.fitting("path", self.path.clone());
        let target = self.target.clone().map(|target| self.fitting("linkpath", target));
        let (uid, gid) = (self.small("uid", self.uid, SMALL), self.small("gid", self.gid, SMALL));
        let (size, mtime) = (self.small("size", self.size, LARGE), self.small("mtime", self.mtime, LARGE));
        header.set_uid(uid);
        header.set_gid(gid);
        header.set_size(size);
        header.set_mtime(mtime);
        if let Some((major, minor)) = self.device {
            header.set_device_major(major)?;
            header.set_device_minor(minor)?;
        }
        let old = header.as_old_mut();
        old.name[..path.len()].copy_from_slice(&path);
        if let Some(target) = target {
            old.linkname[..target.len()].copy_from_slice(&target);
        }
        header.set_cksum();
        Ok(header)
    }

    fn fitting(&mut self, key: &str, value: Vec<u8>) -> Vec<u8> {
        if value.len() <= NAME {
            return value;
        }
        let short = value[..NAME].to_vec();
        self.records.push((key.as_bytes().to_vec(), value));
        short
    }

    fn small(&mut self, key: &str, value: u64, largest: u64) -> u64 {
        if value <= largest {
            return value;
        }
        self.records.push((key.as_bytes().to_vec(), value.to_string().into_bytes()));
        0
    }

    fn write_records(&self, output: &mut impl Write) -> io::Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        let mut body = Vec::new();
        for (key, value) in &self.records {
            record(&mut body, key, value);
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_mode(0o644);
        header.set_size(body.len() as u64);
        header.as_old_mut().name[..9].copy_from_slice(b"PaxHeader");
        header.set_cksum();
        output.write_all(header.as_bytes())?;
        output.write_all(&body)?;
        pad(output, body.len() as u64)
    }
}

/// The records of an entry that still hold: extended attributes, times.
fn kept_records<R: Read>(found: &mut tar::Entry<'_, R>) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut kept = Vec::new();
    for record in found.pax_extensions()?.into_iter().flatten() {
        let record = record?;
        let (key, value) = (record.key_bytes(), record.value_bytes());
        if !OWN_RECORDS.contains(&key) && !key.starts_with(b"GNU.sparse.") {
            kept.push((key.to_vec(), value.to_vec()));
        }
    }
    Ok(kept)
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself.
fn record(body: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    body.extend_from_slice(length.to_string().as_bytes());
    body.push(b' ');
    body.extend_from_slice(key);
    body.push(b'=');
    body.extend_from_slice(value);
    body.push(b'\n');
}

fn pad(output: &mut impl Write, size: u64) -> io::Result<()> {
    let over = usize::try_from(size % 512).expect("a remainder of 512 fits");
    if over == 0 { Ok(()) } else { output.write_all(&[0; 512][over..]) }
}

/// The spelling of a path in a header: the root is `./`, directories end in a slash.
fn name(path: &TreePath, directory: bool) -> Vec<u8> {
    if path.is_root() {
        return b"./".to_vec();
    }
    let mut name = path.as_bytes().to_vec();
    if directory {
        name.push(b'/');
    }
    name
}
