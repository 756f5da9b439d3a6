//! Files of other images: into a workspace, or into a checksum.

use std::io;

use futures::TryStreamExt as _;
use slipway_backend::{BackendError, ByteStream, LocalImage, Root, Workspace, retar};
use slipway_digest::Checksum;
use slipway_oci::{Platform, Reference, Repo};
use slipway_protocol::Failure;
use slipway_stages::{BaseImage, ImportInput, ImportedImage};
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::{
    Runner, failure,
    stored::{self, Stored},
};
use crate::tree;

/// Brings one import into a workspace.
pub(super) async fn put(
    runner: &Runner,
    caches: &[Repo],
    workspace: &mut dyn Workspace,
    input: &ImportInput,
) -> Result<(), Failure> {
    let (root, tar) = open(runner, caches, input).await?;
    let chosen = retar::stream(tar, tree::rewrite(root, input));
    let (owner, group) = (input.owner.as_deref(), input.group.as_deref());
    let put = match root {
        Root::Directory => workspace.extract(chosen, &input.to, owner, group).await,
        Root::File => workspace.extract_file(chosen, &input.to, owner, group).await,
    };
    put.map_err(|error| failure::backend(&doing(input), error))
}

/// The checksum of what an import would bring.
pub(super) async fn checksum(runner: &Runner, caches: &[Repo], input: &ImportInput) -> Result<Checksum, Failure> {
    let (root, tar) = open(runner, caches, input).await?;
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

async fn open(runner: &Runner, caches: &[Repo], input: &ImportInput) -> Result<(Root, ByteStream), Failure> {
    let doing = doing(input);
    let image = match &input.image {
        ImportedImage::Stage { id, at, image_id } => {
            let stage = Stored { id: *id, at, image_id };
            stored::have(runner, caches, stage).await.map_err(|error| failure::stage(&doing, at, error))?.0
        }
        ImportedImage::External { image, platform } => {
            let doing = format!("{doing}: fetch the image `{}`", image.reference);
            external(runner, image, platform).await.map_err(|error| failure::backend(&doing, error))?
        }
    };
    runner.backend.files(&image, &input.add).await.map_err(|error| failure::backend(&doing, error))
}

/// An external image as a local one.
pub(super) async fn external(
    runner: &Runner,
    image: &BaseImage,
    platform: &Platform,
) -> Result<LocalImage, BackendError> {
    if let Some(at) = &image.at {
        let pulled = runner.backend.pull(at).await?;
        runner.holds.note(&at.digest, &pulled.id).await;
        return Ok(pulled);
    }
    let refused = |error: slipway_oci::ReferenceError| BackendError::Refused(error.to_string());
    let reference: Reference = image.reference.parse().map_err(refused)?;
    let found = runner.backend.local(&reference, platform).await?;
    found.ok_or_else(|| BackendError::Gone(image.reference.clone()))
}

fn blocking(tar: ByteStream) -> impl io::Read + Send + 'static {
    SyncIoBridge::new(StreamReader::new(tar.map_err(io::Error::other)))
}

fn doing(input: &ImportInput) -> String {
    format!("import `{}` to `{}`", input.add, input.to)
}
