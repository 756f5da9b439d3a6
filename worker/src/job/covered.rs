//! A workspace with mounts: what is brought to or below their places is left out, for the image has them empty.

use std::collections::BTreeMap;

use async_trait::async_trait;
use slipway_backend::{
    BackendError, ByteStream, LocalImage, Logs, Script, Terminal, Workspace,
    retar::{self, Predicate, Rewrite},
    script::TOOLBOX_BIN,
};
use slipway_oci::ConfigChange;
use slipway_paths::TreePath;
use slipway_protocol::Failure;
use slipway_stages::PlanMount;

use super::failure;

/// Files that one `rm` is given.
const BATCH: usize = 256;

/// A workspace whose places of mounts nothing is brought to.
pub(super) struct Covered {
    inner: Box<dyn Workspace>,
    places: Vec<TreePath>,
}

impl Covered {
    /// A workspace with these mounts.
    pub(super) fn new(inner: Box<dyn Workspace>, mounts: &[PlanMount]) -> Self {
        Self { inner, places: mounts.iter().filter_map(|mount| TreePath::new(&mount.to).ok()).collect() }
    }

    /// Makes a directory of every mount's place, and empties those that are there.
    pub(super) async fn clear(&mut self, mounts: &[PlanMount], logs: Logs) -> Result<(), Failure> {
        let mut commands = Vec::new();
        for mount in mounts {
            let doing = format!("make the place `{}` of a mount", mount.to);
            let nothing = retar::stream(Box::pin(futures::stream::empty()), Rewrite::default());
            self.inner
                .extract(nothing, &mount.to, None, None)
                .await
                .map_err(|error| failure::backend(&doing, error))?;
            commands.push((mount.line, emptying(&mount.to)));
        }
        let run = self.inner.run(Script { commands, ..Script::default() }, logs).await;
        run.map_err(|error| failure::backend("empty the places of mounts", error))
    }

    fn covers(&self, path: &TreePath) -> bool {
        self.places.iter().any(|place| path.below(place).is_some())
    }

    /// What of an archive for `to` is brought.
    fn uncovered(&self, tar: ByteStream, to: &TreePath) -> ByteStream {
        let near: Vec<TreePath> = self.places.iter().filter_map(|place| place.below(to)).collect();
        if near.is_empty() {
            return tar;
        }
        let keep: Predicate = Box::new(move |path, _| near.iter().all(|place| path.below(place).is_none()));
        retar::stream(tar, Rewrite { keep: Some(keep), ..Rewrite::default() })
    }
}

/// The command that empties a directory.
fn emptying(path: &str) -> String {
    let path = path.replace('\'', r"'\''");
    format!(
        "(cd -P -- '{path}'; shopt -s dotglob nullglob; doomed=(*); \
         for ((at = 0; at < ${{#doomed[@]}}; at += {BATCH})); do {TOOLBOX_BIN}/rm -rf -- \"${{doomed[@]:at:{BATCH}}}\"; done)"
    )
}

#[async_trait]
impl Workspace for Covered {
    async fn extract(
        &mut self,
        tar: ByteStream,
        to: &str,
        owner: Option<&str>,
        group: Option<&str>,
    ) -> Result<(), BackendError> {
        let path = TreePath::new(to).unwrap_or_default();
        if self.covers(&path) {
            return Ok(());
        }
        self.inner.extract(self.uncovered(tar, &path), to, owner, group).await
    }

    async fn extract_file(
        &mut self,
        tar: ByteStream,
        to: &str,
        owner: Option<&str>,
        group: Option<&str>,
    ) -> Result<(), BackendError> {
        if TreePath::new(to).is_ok_and(|path| self.covers(&path)) {
            return Ok(());
        }
        self.inner.extract_file(tar, to, owner, group).await
    }

    async fn delete(&mut self, root: &str, mut paths: Vec<TreePath>) -> Result<(), BackendError> {
        let below = TreePath::new(root).unwrap_or_default();
        paths.retain(|path| !self.covers(&below.join(path.as_bytes())));
        self.inner.delete(root, paths).await
    }

    async fn run(&mut self, script: Script, logs: Logs) -> Result<(), BackendError> {
        self.inner.run(script, logs).await
    }

    async fn shell(&mut self, variables: &BTreeMap<String, String>, terminal: Terminal) -> Result<(), BackendError> {
        self.inner.shell(variables, terminal).await
    }

    async fn commit(self: Box<Self>, change: ConfigChange) -> Result<LocalImage, BackendError> {
        self.inner.commit(change).await
    }
}
