//! `ADD` of archives: known by what is in them, unpacked below the destination, which nothing in them leaves.

use std::{
    fs::File,
    io::{self, Read as _},
};

use rustix::fs::OFlags;
use slipway_layers::{
    LayerError,
    codec::Decoder,
    root::Root,
    tar::{Limits, TarReader, begins_archive},
    unpack::{Purpose, unpack},
};
use slipway_paths::TreePath;

use super::Item;

/// Bytes of an archive's first header.
const HEADER: u64 = 512;

fn open(from: &Root, item: &Item) -> Result<Option<File>, LayerError> {
    let doing = |error: io::Error| LayerError::io("open an archive", error);
    let file =
        File::from(from.at(item.path.as_bytes(), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW).map_err(doing)?);
    let is_file = file.metadata().map_err(doing)?.is_file();
    Ok(is_file.then_some(file))
}

/// Whether a file is an archive, perhaps compressed. What cannot be decompressed is none.
pub(super) fn is_one(from: &Root, item: &Item) -> Result<bool, LayerError> {
    let stat = from.look(item.path.as_bytes()).map_err(|error| LayerError::io("look at a source", error))?;
    // Opening a device may do something.
    let is_file =
        stat.is_some_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile);
    if !is_file {
        return Ok(false);
    }
    let Some(file) = open(from, item)? else { return Ok(false) };
    let mut beginning = Vec::new();
    let read = Decoder::of_file(file).and_then(|decoder| decoder.take(HEADER).read_to_end(&mut beginning));
    Ok(read.is_ok() && begins_archive(&beginning))
}

/// Unpacks it into the directory `to` of the image: links in it lead no further than there. Entries keep their owners
/// unless one is given.
pub(super) fn unpack_into(
    from: &Root,
    item: &Item,
    image: &Root,
    to: &TreePath,
    owner: Option<(u32, u32)>,
) -> Result<(), LayerError> {
    let name = String::from_utf8_lossy(&item.name).into_owned();
    let doing = |error: io::Error| LayerError::io(format!("unpack `{name}`"), error);
    let Some(file) = open(from, item)? else { return Err(doing(io::ErrorKind::InvalidInput.into())) };
    let below = Root::of(image.at(to.as_bytes(), OFlags::PATH | OFlags::DIRECTORY).map_err(doing)?);
    let purpose = Purpose::Files {
        to: TreePath::root(),
        new: false,
        uid: owner.map(|(uid, _)| uid),
        gid: owner.map(|(_, gid)| gid),
        strict: false,
    };
    let mut reader = TarReader::new(Decoder::of_file(file).map_err(doing)?, Limits::default());
    unpack(&mut reader, &below, &purpose).map(drop).map_err(|error| match error {
        LayerError::Bad(why) => LayerError::Bad(format!("unpack `{name}`: {why}")),
        other => other,
    })
}
