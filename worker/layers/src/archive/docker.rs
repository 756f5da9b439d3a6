//! A tar file as `docker save` writes it.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read, Seek as _, SeekFrom},
    sync::Arc,
};

use serde::Deserialize;
use slipway_oci::{
    ArchiveName, BlobDigest, Manifest, Platform, Reference, Which,
    config::CONFIG_LIMIT,
    manifest::{Descriptor, MANIFEST_LIMIT, OCI_CONFIG, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, OCI_MANIFEST},
};

use super::{ArchivedImage, Part, diff_ids, distinct, file, image, listed, read};
use crate::{
    LayerError,
    codec::{Compression, Digesting},
    entry::Kind,
    error::shown,
    root::Root,
    tar::{Limits, TarReader},
};

/// Most files of an archive.
const MAX_ENTRIES: u64 = 100_000;
/// Links that are followed from one name of an archive.
const MAX_LINKS: usize = 8;
/// Buffer in front of the reader.
const BUFFER: usize = 1 << 20;

/// One image of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// What stands under a name of the archive.
enum Found {
    File { offset: u64, size: u64 },
    Link(String),
}

struct Archive {
    root: Arc<Root>,
    path: String,
    file: File,
    entries: HashMap<String, Found>,
}

pub(super) fn open(root: Arc<Root>, name: &ArchiveName, platform: &Platform) -> Result<ArchivedImage, LayerError> {
    let mut archive = Archive::open(root, &name.path)?;
    let listed = archive.listed()?;
    let chosen = choose(&listed, &name.which)?;
    let (config, config_part) = archive.config(chosen)?;
    let names = chosen.layers.as_deref().unwrap_or_default();
    let ids = diff_ids(&config, names.len(), platform)?;
    let mut parts = HashMap::from([(config_part.digest.clone(), config_part)]);
    let mut layers: Vec<Descriptor> = Vec::with_capacity(names.len());
    for (name, diff_id) in names.iter().zip(ids) {
        let (media_type, part) = archive.layer(name, diff_id)?;
        layers.push(Descriptor::new(media_type, part.digest.clone(), part.size));
        parts.insert(part.digest.clone(), part);
    }
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(OCI_MANIFEST.to_owned()),
        config: Descriptor::new(OCI_CONFIG, BlobDigest::of(&config), config.len() as u64),
        layers,
        annotations: Default::default(),
    };
    let parts = distinct(&manifest).into_iter().filter_map(|blob| parts.remove(&blob.digest)).collect();
    Ok(image(manifest.to_bytes(), &manifest, parts))
}

impl Archive {
    fn open(root: Arc<Root>, path: &str) -> Result<Self, LayerError> {
        let missing = || LayerError::Bad(format!("there is no file `{path}` in the project directory"));
        let (mut file, _) = file(&root, path.as_bytes())?.ok_or_else(missing)?;
        let io = |error: io::Error| LayerError::io(format!("read `{path}`"), error);
        if Compression::of(&beginning(&mut file).map_err(io)?) != Compression::None {
            return Err(LayerError::Bad("it is compressed; decompress it first (`gunzip`, `zstd -d`)".to_owned()));
        }
        file.rewind().map_err(io)?;
        let entries = entries(&file)?;
        Ok(Self { root, path: path.to_owned(), file, entries })
    }

    /// Where the content of a file of the archive is. Links lead to other files of the archive only.
    fn place(&self, name: &str) -> Result<(u64, u64), LayerError> {
        let mut name = plain(name);
        for _ in 0..=MAX_LINKS {
            match self.entries.get(&name) {
                Some(Found::File { offset, size }) => return Ok((*offset, *size)),
                Some(Found::Link(to)) => name.clone_from(to),
                None => break,
            }
        }
        Err(LayerError::Bad(format!("it has no file `{}`, which it names", shown(name.as_bytes()))))
    }

    fn document(&mut self, name: &str, what: &str, limit: usize) -> Result<(Vec<u8>, u64), LayerError> {
        let (offset, size) = self.place(name)?;
        let doing = |error: io::Error| LayerError::io(format!("read its {what}"), error);
        self.file.seek(SeekFrom::Start(offset)).map_err(doing)?;
        Ok((read(&mut self.file, what, size, limit)?, offset))
    }

    fn listed(&mut self) -> Result<Vec<Listed>, LayerError> {
        if !self.entries.contains_key("manifest.json") {
            let why = if self.entries.contains_key("oci-layout") {
                "it is an OCI layout in a tar file; unpack it, and name the directory as `oci-layout://PATH`"
            } else {
                "it is no Docker archive: it has no file `manifest.json`"
            };
            return Err(LayerError::Bad(why.to_owned()));
        }
        let (bytes, _) = self.document("manifest.json", "file `manifest.json`", MANIFEST_LIMIT)?;
        serde_json::from_slice(&bytes).map_err(|error| LayerError::Bad(format!("its `manifest.json`: {error}")))
    }

    fn config(&mut self, chosen: &Listed) -> Result<(Vec<u8>, Part), LayerError> {
        let (bytes, offset) = self.document(&chosen.config, "config", CONFIG_LIMIT)?;
        let digest = BlobDigest::of(&bytes);
        // Its name says what it must be.
        let named = chosen.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
        if let Ok(named) = format!("sha256:{named}").parse::<BlobDigest>()
            && named != digest
        {
            return Err(LayerError::Corrupt(format!(
                "its config {named} has the digest {digest}: the archive is damaged"
            )));
        }
        let size = bytes.len() as u64;
        Ok((bytes, self.part(digest, offset, size)))
    }

    /// A layer. One that is not compressed is known by its config; others must be read for that.
    fn layer(&mut self, name: &str, diff_id: BlobDigest) -> Result<(&'static str, Part), LayerError> {
        let (offset, size) = self.place(name)?;
        let io = |error: io::Error| LayerError::io(format!("read its layer `{}`", shown(name.as_bytes())), error);
        self.file.seek(SeekFrom::Start(offset)).map_err(io)?;
        let media_type = match Compression::of(&beginning(&mut (&self.file).take(size)).map_err(io)?) {
            Compression::None => return Ok((OCI_LAYER, self.part(diff_id, offset, size))),
            Compression::Gzip => OCI_LAYER_GZIP,
            Compression::Zstd => OCI_LAYER_ZSTD,
        };
        self.file.seek(SeekFrom::Start(offset)).map_err(io)?;
        let mut digesting = Digesting::new((&self.file).take(size));
        io::copy(&mut digesting, &mut io::sink()).map_err(io)?;
        let (_, digest, _) = digesting.finish();
        Ok((media_type, self.part(digest, offset, size)))
    }

    fn part(&self, digest: BlobDigest, offset: u64, size: u64) -> Part {
        Part { digest, size, root: Arc::clone(&self.root), path: self.path.clone().into_bytes(), offset }
    }
}

fn choose<'a>(images: &'a [Listed], which: &Which) -> Result<&'a Listed, LayerError> {
    let tags = |image: &'a Listed| image.repo_tags.as_deref().unwrap_or_default();
    let known = || listed(images.iter().flat_map(tags).map(String::as_str));
    match (which, images) {
        (_, []) => Err(LayerError::Bad("it holds no image".to_owned())),
        (Which::Only, [one]) => Ok(one),
        (Which::Only | Which::Digest(_), _) => {
            Err(LayerError::Bad(format!("it holds several images; name one as `:NAME:TAG`: {}", known())))
        }
        (Which::Named(name), _) => {
            let wanted = name.parse::<Reference>();
            let same = |tag: &String| tag.parse::<Reference>().is_ok_and(|tag| wanted.as_ref() == Ok(&tag));
            let found = images.iter().find(|image| tags(image).iter().any(same));
            found.ok_or_else(|| LayerError::Bad(format!("it has no image `{name}`; it has: {}", known())))
        }
    }
}

/// The first bytes of a stream.
fn beginning(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut first = Vec::new();
    input.take(4).read_to_end(&mut first)?;
    Ok(first)
}

/// Counts what passes.
struct Counting<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

/// What an archive holds, by name.
fn entries(file: &File) -> Result<HashMap<String, Found>, LayerError> {
    let limits = Limits { entries: MAX_ENTRIES, ..Limits::default() };
    let mut reader = TarReader::new(Counting { inner: BufReader::with_capacity(BUFFER, file), count: 0 }, limits);
    let mut entries = HashMap::new();
    while let Some(entry) = reader.next()? {
        let name = plain(&String::from_utf8_lossy(&entry.path));
        let found = match &entry.kind {
            Kind::File { size, spans: None } => Found::File { offset: reader.input().count, size: *size },
            Kind::Symlink(text) => {
                let text = String::from_utf8_lossy(text);
                let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
                Found::Link(plain(&if text.starts_with('/') {
                    text.into_owned()
                } else {
                    format!("{directory}/{text}")
                }))
            }
            Kind::HardLink(other) => Found::Link(plain(&String::from_utf8_lossy(other))),
            Kind::Directory => continue,
            Kind::File { spans: Some(_), .. } | Kind::Char(..) | Kind::Block(..) | Kind::Fifo => {
                let why = format!("`{}` in it is no plain file", shown(&entry.path));
                return Err(LayerError::Bad(why));
            }
        };
        if entries.insert(name, found).is_some() {
            return Err(LayerError::Bad(format!("it holds `{}` twice", shown(&entry.path))));
        }
    }
    Ok(entries)
}

/// A name without `.` and `..`, which ends at the archive's root.
fn plain(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
