//! Files of other images: into a workspace, or into a checksum.

use std::io;

use futures::TryStreamExt as _;
use slipway_backend::{ByteStream, LocalImage, Root, Workspace};
use slipway_digest::Checksum;
use slipway_oci::{BlobDigest, ImageAt};
use slipway_protocol::Failure;
use slipway_stages::ImportInput;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::{Runner, failure};
use crate::{archive, tree};

/// Brings one import into a workspace.
pub(super) async fn put(runner: &Runner, workspace: &mut dyn Workspace, input: &ImportInput) -> Result<(), Failure> {
    let doing = doing(input);
    let (root, tar) = open(runner, input).await?;
    let (directory, file_name) = match root {
        Root::Directory => (input.to.clone(), String::new()),
        Root::File => {
            let (directory, name) = input.to.rsplit_once('/').unwrap_or(("", &input.to));
            (if directory.is_empty() { "/" } else { directory }.to_owned(), name.to_owned())
        }
    };
    let (wanted, source) = (input.clone(), blocking(tar));
    let chosen = archive::pipe(&runner.tasks, move |out| {
        tree::filter(root, source, &wanted, file_name.as_bytes(), out).map(drop)
    });
    let extracted = workspace.extract(chosen, &directory, input.owner.as_deref(), input.group.as_deref()).await;
    extracted.map_err(|error| failure::backend(&doing, error))
}

/// The checksum of what an import would bring.
pub(super) async fn checksum(runner: &Runner, input: &ImportInput) -> Result<Checksum, Failure> {
    let (root, tar) = open(runner, input).await?;
    let (wanted, source) = (input.clone(), blocking(tar));
    let sum = runner.tasks.blocking(move || tree::checksum(root, source, &wanted)).await;
    sum.map_err(|error| Failure {
        retryable: true,
        why: format!("{}: {error}", doing(input)),
        exit: None,
        line: None,
        tail: Vec::new(),
        lost: None,
    })
}

async fn open(runner: &Runner, input: &ImportInput) -> Result<(Root, ByteStream), Failure> {
    let doing = doing(input);
    let image = have(runner, &input.image, &input.image_id).await;
    let image = image.map_err(|error| failure::stage(&doing, &input.image, error))?;
    runner.backend.files(&image, &input.add).await.map_err(|error| failure::backend(&doing, error))
}

/// An image of ours as a local one: by its id when the engine has it, else pulled.
pub(super) async fn have(
    runner: &Runner,
    at: &ImageAt,
    id: &BlobDigest,
) -> Result<LocalImage, slipway_backend::BackendError> {
    let image = LocalImage { id: id.clone() };
    let image = if runner.backend.config(&image).await.is_ok() { image } else { runner.backend.pull(at).await? };
    runner.holds.note(&at.digest, &image.id).await;
    Ok(image)
}

fn blocking(tar: ByteStream) -> impl io::Read + Send + 'static {
    SyncIoBridge::new(StreamReader::new(tar.map_err(io::Error::other)))
}

fn doing(input: &ImportInput) -> String {
    format!("import `{}` to `{}`", input.add, input.to)
}
