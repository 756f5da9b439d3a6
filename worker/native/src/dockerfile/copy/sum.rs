//! The checksum of what an instruction reads.

use std::io;

use rustix::fs::{FileType, OFlags, Stat};
use slipway_digest::{Checksum, Encoder};
use slipway_layers::{
    LayerError,
    pack::is_kept,
    root::{Dir, Root},
};
use slipway_paths::TreePath;

use super::{
    Item, Places,
    chosen::{Choice, Chosen},
};

/// Over all items, in order.
pub(super) fn of(places: &Places, items: &[Item], exclude: Option<&Choice>) -> Result<String, LayerError> {
    let mut encoder = Encoder::new("dockerfile-files");
    for item in items {
        encoder = encoder.bytes(&item.name).number(u64::from(item.unpack));
        encoder = encoder.optional(item.time, |encoder, time| {
            encoder.number(time.seconds.cast_unsigned()).number(u64::from(time.nanos))
        });
        encoder = match &item.known {
            Some(known) => encoder.text("known").text(known),
            None => {
                let doing = |error: io::Error| LayerError::io("open the sources", error);
                let root = places.root(item.place).map_err(doing)?;
                files(root, &item.path, Chosen { include: item.include.as_ref(), exclude }, encoder)?
            }
        };
    }
    Ok(encoder.finish().to_string())
}

/// Of everything at a path without links.
pub(super) fn tree(root: &Root, path: &TreePath) -> Result<String, LayerError> {
    let chosen = Chosen { include: None, exclude: None };
    files(root, path, chosen, Encoder::new("dockerfile-tree")).map(|encoder| encoder.finish().to_string())
}

fn files(root: &Root, path: &TreePath, chosen: Chosen<'_>, encoder: Encoder) -> Result<Encoder, LayerError> {
    let doing = |error: io::Error| LayerError::io(format!("read `{path}`"), error);
    let stat = root.look(path.as_bytes()).map_err(doing)?;
    let stat = stat.ok_or_else(|| doing(io::ErrorKind::NotFound.into()))?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        let directory = root.directory(path.as_bytes()).map_err(doing)?;
        let top = encoder.text("directory");
        return directory_of(&directory, &TreePath::root(), chosen, top);
    }
    let parent = root.directory(path.parent().unwrap_or_default().as_bytes()).map_err(doing)?;
    one(&parent, path.name(), &stat, encoder.text("file")).map_err(doing)
}

/// What is in a directory that is open; its path in the item is `inner`.
fn directory_of(
    directory: &Dir,
    inner: &TreePath,
    chosen: Chosen<'_>,
    mut encoder: Encoder,
) -> Result<Encoder, LayerError> {
    let doing = |error: io::Error| LayerError::io(format!("read `{inner}`"), error);
    for name in directory.names().map_err(doing)? {
        let path = inner.join(&name);
        let stat = directory.look(&name).map_err(doing)?;
        let stat = stat.ok_or_else(|| doing(io::ErrorKind::NotFound.into()))?;
        let taken = chosen.takes(&path);
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        // A directory that only leads to what is taken may be made as well.
        if taken || is_directory && chosen.may_take_below(&path) {
            encoder = encoder.bytes(path.as_bytes()).number(u64::from(taken));
            encoder = one(directory, &name, &stat, encoder).map_err(doing)?;
            if is_directory {
                encoder = directory_of(&directory.enter(&name).map_err(doing)?, &path, chosen, encoder)?;
            }
        }
    }
    // Where it ends.
    Ok(encoder.number(0))
}

/// What a file is, but for its name and time.
fn one(parent: &Dir, name: &[u8], stat: &Stat, encoder: Encoder) -> io::Result<Encoder> {
    let encoder = encoder
        .number(u64::from(stat.st_mode))
        .number(u64::from(stat.st_uid))
        .number(u64::from(stat.st_gid))
        .number(stat.st_rdev);
    let mut xattrs = parent.xattrs(name)?;
    xattrs.retain(|(key, _)| is_kept(key));
    let encoder = encoder.list(xattrs.iter(), |encoder, (key, value)| encoder.bytes(key).bytes(value));
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let mut file = parent.open(name, OFlags::RDONLY | OFlags::NONBLOCK, 0)?;
            encoder.checksum(&Checksum::of_content(&mut file)?)
        }
        FileType::Symlink => encoder.bytes(&parent.link_text(name)?),
        _ => encoder,
    })
}
