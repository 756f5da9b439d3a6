//! Copies in a file that `docker load` reads.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use futures::TryStreamExt as _;
use slipway_layers::{
    codec::{Decoder, Digesting},
    entry::Entry,
    tar::TarWriter,
};
use slipway_oci::BlobDigest;
use slipway_process::{Tasks, random_id};
use slipway_registry::Client;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::source::Source;

/// Writes a copy to a file. Layers wait uncompressed in `room`, as an archive must know their sizes.
pub(super) async fn write(
    client: &Client,
    source: &Source,
    file: &Path,
    name: Option<&str>,
    (room, tasks): (&Path, &Tasks),
) -> Result<()> {
    let mut layers: Vec<(BlobDigest, PathBuf)> = Vec::with_capacity(source.layers.len());
    for (layer, diff_id) in source.layers.iter().zip(&source.diff_ids) {
        let (_, bytes) = client.blob_stream(&source.repo, &layer.digest).await?;
        let input = SyncIoBridge::new(StreamReader::new(bytes.map_err(io::Error::other)));
        let place = room.join(random_id());
        let (digest, plain, to) = (layer.digest.clone(), diff_id.clone(), place.clone());
        tasks.blocking(move || unpack(input, &to, &digest, &plain)).await?;
        layers.push((diff_id.clone(), place));
    }
    let (config, name, file) = (source.config.clone(), name.map(str::to_owned), file.to_owned());
    let doing = format!("write {}", file.display());
    tasks.blocking(move || pack(&file, &config, name.as_deref(), &layers)).await.context(doing)
}

/// Decompresses a layer, and verifies it on both sides.
fn unpack(input: impl io::Read, place: &Path, digest: &BlobDigest, diff_id: &BlobDigest) -> Result<()> {
    let mut decoder = Decoder::new(Digesting::new(input))?;
    let mut output = Digesting::new(File::create_new(place)?);
    io::copy(&mut decoder, &mut output)?;
    let (_, plain, _) = output.finish();
    let (_, packed, _) = decoder.finish()?.finish();
    if packed != *digest || plain != *diff_id {
        bail!("the registry sent another layer than {digest}");
    }
    Ok(())
}

fn pack(file: &Path, config: &[u8], name: Option<&str>, layers: &[(BlobDigest, PathBuf)]) -> Result<()> {
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent)?;
    }
    let aside = file.with_file_name(format!(".{}", random_id()));
    let write = || -> Result<()> {
        let hex = |digest: &BlobDigest| digest.as_str().trim_start_matches("sha256:").to_owned();
        let mut tar = TarWriter::new(io::BufWriter::with_capacity(1 << 20, File::create_new(&aside)?));
        let mut names: Vec<String> = Vec::with_capacity(layers.len());
        for (diff_id, place) in layers {
            let name = format!("{}/layer.tar", hex(diff_id));
            let size = fs::metadata(place)?.len();
            // Layers may be equal; one is enough.
            if !names.contains(&name) {
                tar.append(&Entry::file(name.clone(), size), File::open(place)?)?;
            }
            names.push(name);
        }
        let config_name = format!("{}.json", hex(&BlobDigest::of(config)));
        tar.append(&Entry::file(config_name.clone(), config.len() as u64), config)?;
        let manifest = serde_json::json!([{
            "Config": config_name,
            "RepoTags": name.into_iter().collect::<Vec<_>>(),
            "Layers": names,
        }]);
        let manifest = manifest.to_string().into_bytes();
        tar.append(&Entry::file("manifest.json", manifest.len() as u64), manifest.as_slice())?;
        tar.finish()?.into_inner().map_err(io::Error::from)?.sync_all()?;
        Ok(fs::rename(&aside, file)?)
    };
    let written = write().inspect_err(|_| drop(fs::remove_file(&aside)));
    for (_, place) in layers {
        // What stays goes with the room.
        let _ = fs::remove_file(place);
    }
    written
}
