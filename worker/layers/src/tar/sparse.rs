//! Files with holes, in the four forms that GNU tar has written them.

use std::io::Read;

use super::{BLOCK, header::Header, pax, pax::Records};
use crate::{LayerError, error::shown};

/// Most pieces of data in one file.
const MAX_SPANS: usize = 1_000_000;

/// Where data belongs, and how long the file is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Map {
    pub(super) size: u64,
    pub(super) spans: Vec<(u64, u64)>,
}

impl Map {
    /// Checks that the pieces are in order, inside the file, and as long as what the archive holds.
    pub(super) fn check(self, stored: u64, path: &[u8]) -> Result<Self, LayerError> {
        let bad = || LayerError::Bad(format!("read an archive: the holes of `{}` make no sense", shown(path)));
        let (mut at, mut total) = (0_u64, 0_u64);
        for (offset, length) in &self.spans {
            if *offset < at {
                return Err(bad());
            }
            at = offset.checked_add(*length).ok_or_else(bad)?;
            total = total.checked_add(*length).ok_or_else(bad)?;
        }
        if at > self.size || total != stored { Err(bad()) } else { Ok(self) }
    }
}

fn too_many() -> LayerError {
    LayerError::TooMuch(format!("read an archive: a file has more than {MAX_SPANS} pieces"))
}

/// The old form: pieces in the header and in blocks behind it.
pub(super) fn old_gnu(header: &Header, input: &mut impl Read) -> Result<Map, LayerError> {
    let unsigned =
        |value: i64| u64::try_from(value).map_err(|_| LayerError::Bad("a sparse file of negative size".into()));
    let size = unsigned(header.number(483, 12, "size")?)?;
    let mut spans = Vec::new();
    let mut take = |block: &Header, from: usize, count: usize| -> Result<(), LayerError> {
        for index in 0..count {
            let at = from + index * 24;
            if block.0[at] == 0 {
                break;
            }
            spans.push((unsigned(block.number(at, 12, "piece")?)?, unsigned(block.number(at + 12, 12, "piece")?)?));
            if spans.len() > MAX_SPANS {
                return Err(too_many());
            }
        }
        Ok(())
    };
    take(header, 386, 4)?;
    let mut more = header.0[482] != 0;
    while more {
        let mut block = [0; BLOCK];
        input.read_exact(&mut block).map_err(|error| LayerError::io("read an archive", error))?;
        let block = Header(block);
        take(&block, 0, 21)?;
        more = block.0[504] != 0;
    }
    spans.retain(|(_, length)| *length > 0);
    Ok(Map { size, spans })
}

/// What pax records say of holes.
pub(super) enum Pax {
    /// Nothing.
    Dense,
    /// Everything.
    Known(Map),
    /// The length; the pieces stand in front of the data.
    Ahead(u64),
}

/// The three pax forms.
pub(super) fn of_records(records: &Records) -> Result<Pax, LayerError> {
    let bad = || LayerError::Bad("read an archive: a sparse file is described wrongly".to_owned());
    if let Some(major) = records.number(b"GNU.sparse.major")? {
        let minor = records.number(b"GNU.sparse.minor")?;
        let older = [&b"GNU.sparse.size"[..], b"GNU.sparse.map", b"GNU.sparse.offset", b"GNU.sparse.numbytes"];
        if (major, minor) != (1, Some(0)) || older.iter().any(|key| records.get(key).is_some()) {
            return Err(bad());
        }
        return Ok(Pax::Ahead(records.number(b"GNU.sparse.realsize")?.ok_or_else(bad)?));
    }
    let Some(size) = records.number(b"GNU.sparse.size")? else {
        // A description that lacks its beginning is one to some programs.
        let described = records.0.iter().any(|(key, _)| key.starts_with(b"GNU.sparse."));
        return if described { Err(bad()) } else { Ok(Pax::Dense) };
    };
    let numbers: Vec<u64> = match records.get(b"GNU.sparse.map") {
        Some(map) => {
            map.split(|byte| *byte == b',').map(|text| pax::decimal(text).ok_or_else(bad)).collect::<Result<_, _>>()?
        }
        None => {
            let is_part = |key: &[u8]| matches!(key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes");
            let parts = records.0.iter().filter(|(key, _)| is_part(key));
            parts.map(|(_, value)| pax::decimal(value).ok_or_else(bad)).collect::<Result<_, _>>()?
        }
    };
    if records.number(b"GNU.sparse.numblocks")? != Some(numbers.len() as u64 / 2) {
        return Err(bad());
    }
    let spans = pairs(&numbers).ok_or_else(bad)?;
    Ok(Pax::Known(Map { size, spans }))
}

/// The pieces in front of the data, as decimal lines padded to a block; also how many bytes they took.
pub(super) fn ahead(size: u64, stored: u64, input: &mut impl Read) -> Result<(Map, u64), LayerError> {
    let bad = || LayerError::Bad("read an archive: the pieces of a sparse file are listed wrongly".to_owned());
    let (mut numbers, mut digits, mut taken) = (Vec::new(), Vec::new(), 0_u64);
    let mut wanted = None;
    while wanted.is_none_or(|wanted| numbers.len() < wanted) {
        let mut block = [0; BLOCK];
        taken += BLOCK as u64;
        if taken > stored {
            return Err(bad());
        }
        input.read_exact(&mut block).map_err(|error| LayerError::io("read an archive", error))?;
        for byte in block {
            if byte != b'\n' {
                digits.push(byte);
                if digits.len() > BLOCK {
                    return Err(bad());
                }
                continue;
            }
            let number = pax::decimal(&std::mem::take(&mut digits)).ok_or_else(bad)?;
            match wanted {
                None if number > MAX_SPANS as u64 => return Err(too_many()),
                None => wanted = Some(usize::try_from(number).unwrap_or(usize::MAX) * 2),
                Some(_) => numbers.push(number),
            }
            if wanted.is_some_and(|wanted| numbers.len() >= wanted) {
                break;
            }
        }
    }
    Ok((Map { size, spans: pairs(&numbers).ok_or_else(bad)? }, taken))
}

fn pairs(numbers: &[u64]) -> Option<Vec<(u64, u64)>> {
    if !numbers.len().is_multiple_of(2) || numbers.len() > 2 * MAX_SPANS {
        return None;
    }
    let pairs = numbers.chunks(2).map(|pair| (pair[0], pair[1])).filter(|(_, length)| *length > 0);
    Some(pairs.collect())
}
