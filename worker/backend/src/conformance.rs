//! What every backend must do, as functions that panic when it does not.
//!
//! `base` is any image of the host's platform; the suite needs no program in it. What a test needs it puts there
//! itself. Push and pull are the backends' own to test: they depend on what their link reaches.

mod build;
mod config;
mod harness;
mod mounts;
mod secrets;
mod sources;

use std::path::Path;

use async_trait::async_trait;
use slipway_oci::config::RunConfig;

use crate::{ContainerBackend, LocalImage};

pub use harness::{Harness, Item, archive, build_of, collect, directory, file, link, listing};

/// Makes the images whose configs the suite changes: each of one layer, with a file `f` at its root.
#[async_trait]
pub trait MakeBase: Send + Sync {
    /// An image with this config; the Dockerfile is how a builder would make one.
    async fn make(&self, harness: &Harness<'_>, dockerfile: &str, config: RunConfig) -> LocalImage;
}

/// Runs the whole suite.
pub async fn all(backend: &dyn ContainerBackend, base: &LocalImage) {
    without_dockerfiles(backend, base, &config::ByDockerfile).await;
    dockerfiles(backend, base).await;
}

/// The suite for a backend that builds no Dockerfiles.
pub async fn without_dockerfiles(backend: &dyn ContainerBackend, base: &LocalImage, bases: &dyn MakeBase) {
    workspaces(backend, base).await;
    let harness = Harness::new(backend, base);
    config::every_change_on_every_base(&harness, bases).await;
    config::configs_are_rewritten(&harness, bases).await;
    config::images_are_forgotten(&harness).await;
}

/// The part of the suite that is about files and commands.
pub async fn workspaces(backend: &dyn ContainerBackend, base: &LocalImage) {
    let harness = Harness::new(backend, base);
    sources::owners_by_name_and_number(&harness).await;
    sources::target_is_a_link(&harness).await;
    sources::missing_parents_are_made(&harness).await;
    sources::files_and_directories_replace_each_other(&harness).await;
    sources::deletions_take_emptied_directories_along(&harness).await;
    sources::links_may_lead_anywhere(&harness).await;
    sources::single_files_find_their_place(&harness).await;
    sources::hostile_archives_are_refused(&harness).await;
    sources::links_of_the_system_stay(&harness).await;
    sources::files_of_an_image(&harness).await;
    build::commands_share_a_shell(&harness).await;
    build::a_failing_command_is_told_by_its_line(&harness).await;
    build::variables_do_not_last(&harness).await;
    build::a_long_script_runs(&harness).await;
    build::an_empty_base(&harness).await;
    build::a_dropped_workspace_leaves_nothing(&harness).await;
    secrets::secrets_are_seen_and_leave_nothing(&harness).await;
}

/// The part of the suite that is about the host's directories; `host` is an empty one that containers can reach.
pub async fn mounts(backend: &dyn ContainerBackend, base: &LocalImage, host: &Path) {
    let harness = Harness::new(backend, base);
    mounts::parts_of_the_host_are_seen(&harness, host).await;
    mounts::a_lost_part_of_the_host_is_an_error(&harness, host).await;
}

/// The part of the suite that is about Dockerfiles, for a backend with several builders.
pub async fn dockerfiles(backend: &dyn ContainerBackend, base: &LocalImage) {
    let harness = Harness::new(backend, base);
    build::a_dockerfile(&harness).await;
    build::a_dockerfile_that_fails(&harness).await;
}
