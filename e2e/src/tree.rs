//! What an image holds, file by file, as an engine unpacks it.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    io::Read as _,
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use slipway_parts::part::docker;
use slipway_process::child;

use crate::engine;

/// Every file of an image: path to type, mode, owner, target, extended attributes and content.
///
/// # Errors
/// When the engine cannot unpack it.
pub fn files(image: &str) -> Result<BTreeMap<String, String>> {
    let container = engine::run(&["create", "--network=none", "--entrypoint=/x", image])?.trim().to_owned();
    let exported = export(&container);
    engine::run(&["rm", "--force", &container])?;
    exported
}

fn export(container: &str) -> Result<BTreeMap<String, String>> {
    let mut command = child::command(docker());
    let mut export = command.args(["export", container]).stdout(Stdio::piped()).spawn()?;
    let mut archive = tar::Archive::new(export.stdout.take().context("a pipe")?);
    let mut files = BTreeMap::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).trim_end_matches('/').to_owned();
        let header = entry.header().clone();
        let attributes = entry.pax_extensions()?.into_iter().flatten().filter_map(|record| {
            let record = record.ok()?;
            let key = record.key().ok()?;
            key.contains("xattr").then(|| format!(" {key}={:?}", record.value_bytes()))
        });
        let attributes: String = attributes.collect();
        let target = entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned());
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let facts = format!(
            "{:?} {:o} {}:{} {target:?} {} {:x}{attributes}",
            header.entry_type(),
            header.mode()? & 0o7777,
            header.uid()?,
            header.gid()?,
            content.len(),
            hasher.finish()
        );
        files.insert(path, facts);
    }
    if export.wait()?.success() { Ok(files) } else { bail!("docker export failed") }
}
