//! Copies in a directory, in the form of the OCI's image layout.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use futures::TryStreamExt as _;
use slipway_layers::codec::Digesting;
use slipway_oci::{
    BlobDigest,
    manifest::{Descriptor, Index, OCI_INDEX},
};
use slipway_process::{Tasks, random_id};
use slipway_registry::Client;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::source::{self, Source};

/// The annotation that names an image of a layout.
const NAME: &str = "org.opencontainers.image.ref.name";
/// What says that a directory is a layout.
const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Adds an image to a directory: a copy, or one for each platform, which is made when it is missing. An image of that name there is replaced.
pub(super) async fn write(
    client: &Client,
    sources: &[Source],
    directory: &Path,
    name: Option<&str>,
    tasks: &Tasks,
) -> Result<()> {
    let (layout, doing) = (directory.to_owned(), format!("write {}", directory.display()));
    tasks.blocking(move || prepare(&layout)).await.with_context(|| doing.clone())?;
    for (source, layer) in sources.iter().flat_map(|source| source.layers.iter().map(move |layer| (source, layer))) {
        let place = blob(directory, &layer.digest);
        if fs::metadata(&place).is_ok_and(|found| found.len() == layer.size) {
            continue;
        }
        let (_, bytes) = client.blob_stream(&source.repo, &layer.digest).await?;
        let input = SyncIoBridge::new(StreamReader::new(bytes.map_err(io::Error::other)));
        let digest = layer.digest.clone();
        tasks.blocking(move || receive(input, &place, &digest)).await.with_context(|| doing.clone())?;
    }
    let mut documents: Vec<Vec<u8>> =
        sources.iter().flat_map(|source| [source.config.to_vec(), source.manifest().0]).collect();
    let mut descriptor = match sources {
        [source] => source.descriptor(),
        _ => {
            let index = source::index(sources).to_bytes();
            let descriptor = Descriptor::new(OCI_INDEX, BlobDigest::of(&index), index.len() as u64);
            documents.push(index);
            descriptor
        }
    };
    descriptor.annotations.extend(name.map(|name| (NAME.to_owned(), name.to_owned())));
    let owned = directory.to_owned();
    tasks.blocking(move || finish(&owned, &documents, descriptor)).await.with_context(|| doing.clone())
}

fn blob(directory: &Path, digest: &BlobDigest) -> PathBuf {
    directory.join("blobs/sha256").join(digest.as_str().trim_start_matches("sha256:"))
}

/// Makes a layout, unless it is one.
fn prepare(directory: &Path) -> Result<()> {
    let mark = directory.join("oci-layout");
    if !mark.exists() && fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("the directory is neither empty nor an OCI layout");
    }
    fs::create_dir_all(directory.join("blobs/sha256"))?;
    if !mark.exists() {
        replace(&mark, LAYOUT)?;
    }
    Ok(())
}

/// Writes beside a file and renames: readers see the old file or the new one.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_file_name(format!(".{}", random_id()));
    let write = || {
        let mut file = File::create_new(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&aside)))
}

fn receive(mut input: impl io::Read, place: &Path, digest: &BlobDigest) -> Result<()> {
    let aside = place.with_file_name(format!(".{}", random_id()));
    let mut write = || -> Result<()> {
        let mut output = Digesting::new(File::create_new(&aside)?);
        io::copy(&mut input, &mut output)?;
        let (file, found, _) = output.finish();
        if found != *digest {
            bail!("the registry sent {found} for {digest}");
        }
        file.sync_all()?;
        Ok(fs::rename(&aside, place)?)
    };
    write().inspect_err(|_| drop(fs::remove_file(&aside)))
}

fn finish(directory: &Path, documents: &[Vec<u8>], descriptor: Descriptor) -> Result<()> {
    for document in documents {
        replace(&blob(directory, &BlobDigest::of(document)), document)?;
    }
    let path = directory.join("index.json");
    let mut index = match fs::read(&path) {
        Ok(bytes) => Index::parse(&bytes).context("read its index.json")?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Index::new(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let name = descriptor.annotations.get(NAME);
    index.manifests.retain(|other| other.annotations.get(NAME) != name);
    index.manifests.push(descriptor);
    Ok(replace(&path, &index.to_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str, name: Option<&str>) -> Descriptor {
        let mut descriptor = Descriptor::new("x", BlobDigest::of(text.as_bytes()), 1);
        descriptor.annotations.extend(name.map(|name| (NAME.to_owned(), name.to_owned())));
        descriptor
    }

    #[test]
    fn an_image_replaces_the_one_of_its_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("deep/layout");
        prepare(&path).expect("a layout");
        for (text, name) in
            [("one", Some("a")), ("two", Some("b")), ("three", Some("a")), ("four", None), ("five", None)]
        {
            finish(&path, &[text.into()], named(text, name)).expect("an image");
        }
        let index = Index::parse(&fs::read(path.join("index.json")).expect("an index")).expect("an index");
        assert_eq!(index.manifests, [named("two", Some("b")), named("three", Some("a")), named("five", None)]);
        assert_eq!(fs::read(blob(&path, &BlobDigest::of(b"one"))).expect("a blob"), b"one");
        prepare(&path).expect("it is one already");
        let refused = prepare(directory.path()).expect_err("something else is there");
        assert!(refused.to_string().contains("neither empty nor an OCI layout"), "{refused}");
    }

    #[test]
    fn other_bytes_than_promised_are_not_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().join("blob");
        assert!(receive(&b"abc"[..], &place, &BlobDigest::of(b"abd")).is_err());
        assert_eq!(fs::read_dir(directory.path()).expect("a listing").count(), 0);
        receive(&b"abc"[..], &place, &BlobDigest::of(b"abc")).expect("a blob");
        assert_eq!(fs::read(&place).expect("a blob"), b"abc");
    }
}
