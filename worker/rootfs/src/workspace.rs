//! A workspace whose files are changed in the directory of its root.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, io};

use async_trait::async_trait;
use futures::TryStreamExt as _;
use slipway_backend::{
    BackendError, ByteStream, LocalImage, Logs, Script, Terminal, Workspace,
    retar::{self, Rewrite},
    script::{Deletion, postpone},
};
use slipway_layers::root::Root;
use slipway_oci::ConfigChange;
use slipway_paths::TreePath;
use slipway_process::Tasks;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::{delete, place};

/// What has a root directory, and can run commands on it. What must be done before what is [`RootWorkspace`]'s.
#[async_trait]
pub trait Rooted: Send + Sized {
    /// Keeps the directory there while something is done in it.
    type Held: Send + 'static;
    /// Makes the root on first use.
    async fn hold(&mut self) -> Result<Self::Held, BackendError>;
    /// The directory.
    fn root(held: &Self::Held) -> &Root;
    /// Where work that blocks is done.
    fn tasks(&self) -> &Tasks;
    /// Refuses commands before anything is made for them.
    fn check(&self) -> Result<(), BackendError> {
        Ok(())
    }
    /// As [`Workspace::run`]; there are commands.
    async fn run(&mut self, script: Script, logs: Logs) -> Result<(), BackendError>;
    /// As [`Workspace::shell`]; `ran` = commands have run on the root.
    async fn shell(
        &mut self,
        ran: bool,
        variables: &BTreeMap<String, String>,
        terminal: Terminal,
    ) -> Result<(), BackendError>;
    /// As [`Workspace::commit`].
    async fn commit(self, change: ConfigChange) -> Result<LocalImage, BackendError>;
}

/// The workspace of it: files go in at once, and are deleted when nothing more goes in.
pub struct RootWorkspace<R> {
    rooted: R,
    deletions: Vec<Deletion>,
    ran: bool,
}

impl<R: Rooted> RootWorkspace<R> {
    /// One in which nothing was done yet.
    pub fn new(rooted: R) -> Self {
        Self { rooted, deletions: Vec::new(), ran: false }
    }

    /// Makes the deletions that wait.
    async fn delete_now(&mut self) -> Result<(), BackendError> {
        let deletions = std::mem::take(&mut self.deletions);
        if deletions.is_empty() {
            return Ok(());
        }
        let held = self.rooted.hold().await?;
        self.rooted.tasks().blocking(move || delete::delete(R::root(&held), &deletions)).await
    }
}

#[async_trait]
impl<R: Rooted> Workspace for RootWorkspace<R> {
    async fn extract(
        &mut self,
        tar: ByteStream,
        to: &str,
        owner: Option<&str>,
        group: Option<&str>,
    ) -> Result<(), BackendError> {
        if self.ran {
            return Err(BackendError::Refused("files cannot go in after the commands ran".to_owned()));
        }
        let held = self.rooted.hold().await?;
        let (to, owner, group) = (to.to_owned(), owner.map(str::to_owned), group.map(str::to_owned));
        let input = SyncIoBridge::new(StreamReader::new(tar.map_err(io::Error::other)));
        let put = move || place::put(R::root(&held), input, &to, owner.as_deref(), group.as_deref());
        self.rooted.tasks().blocking(put).await
    }

    async fn extract_file(
        &mut self,
        tar: ByteStream,
        to: &str,
        owner: Option<&str>,
        group: Option<&str>,
    ) -> Result<(), BackendError> {
        let (held, path) = (self.rooted.hold().await?, to.to_owned());
        let place = move || place::of_file(R::root(&held), &path);
        let (directory, name) = self.rooted.tasks().blocking(place).await?;
        let single = Rewrite { single: name, ..Rewrite::default() };
        self.extract(retar::stream(tar, single), &directory, owner, group).await
    }

    async fn delete(&mut self, root: &str, paths: Vec<TreePath>) -> Result<(), BackendError> {
        postpone(&mut self.deletions, root, paths, self.ran)
    }

    async fn run(&mut self, script: Script, logs: Logs) -> Result<(), BackendError> {
        if self.ran {
            return Err(BackendError::Refused("the commands of a stage run once".to_owned()));
        }
        if script.commands.is_empty() {
            return Ok(());
        }
        self.rooted.check()?;
        self.delete_now().await?;
        self.ran = true;
        self.rooted.run(script, logs).await
    }

    async fn shell(&mut self, variables: &BTreeMap<String, String>, terminal: Terminal) -> Result<(), BackendError> {
        self.rooted.check()?;
        self.delete_now().await?;
        self.rooted.shell(self.ran, variables, terminal).await
    }

    async fn commit(mut self: Box<Self>, change: ConfigChange) -> Result<LocalImage, BackendError> {
        self.delete_now().await?;
        self.rooted.commit(change).await
    }
}
