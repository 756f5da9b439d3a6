//! Sources into a workspace: whole, or what changed.

use std::sync::Arc;

use slipway_backend::Workspace;
use slipway_git::{ArchiveOptions, Change, GitView};
use slipway_paths::TreePath;
use slipway_protocol::Failure;
use slipway_stages::GitInput;

use super::{Runner, failure};
use crate::archive;

/// Brings one git mapping into a workspace.
pub(super) async fn put(
    runner: &Runner,
    project: &str,
    workspace: &mut dyn Workspace,
    input: &GitInput,
) -> Result<(), Failure> {
    let doing = format!("bring `/{}` at commit {} to `{}`", input.scope.base(), input.commit, input.to);
    let view = runner.sources.at(project, &input.source, input.commit).await;
    let view = view.map_err(|error| failure::source(&doing, &error))?;
    let (root, file_name) = target(input);
    let only = match input.from {
        None => None,
        Some(_) => {
            let changes = changes(runner, &view, input).await.map_err(|error| failure::git(&doing, &error))?;
            let named = |change: &Change| file_name.as_deref().map_or(Ok(change.path.clone()), TreePath::new);
            let deleted = changes.iter().filter(|change| change.new.is_none()).map(named);
            let deleted = deleted.collect::<Result<Vec<_>, _>>().map_err(|error| bad_path(&doing, &error))?;
            if !deleted.is_empty() {
                workspace.delete(&root, deleted).await.map_err(|error| failure::backend(&doing, error))?;
            }
            let kept = changes.into_iter().filter(|change| change.new.is_some()).map(|change| change.path);
            Some(kept.collect::<Vec<_>>())
        }
    };
    if only.as_ref().is_some_and(Vec::is_empty) {
        return Ok(());
    }
    let info = commit_time(runner, &view, input).await.map_err(|error| failure::git(&doing, &error))?;
    let options = ArchiveOptions { mtime: info, only, file_name, for_layer: true };
    let tar = archive::stream(&runner.tasks, view, input.commit, input.scope.clone(), options);
    let extracted = workspace.extract(tar, &root, input.owner.as_deref(), input.group.as_deref()).await;
    extracted.map_err(|error| failure::backend(&doing, error))
}

/// The directory that a mapping is unpacked in, and the name of its file when it is a single one.
fn target(input: &GitInput) -> (String, Option<Vec<u8>>) {
    if !input.file {
        return (input.to.clone(), None);
    }
    let (directory, name) = input.to.rsplit_once('/').unwrap_or(("", &input.to));
    let directory = if directory.is_empty() { "/" } else { directory };
    (directory.to_owned(), Some(name.as_bytes().to_vec()))
}

async fn changes(
    runner: &Runner,
    view: &Arc<dyn GitView>,
    input: &GitInput,
) -> Result<Vec<Change>, slipway_git::GitError> {
    let (view, input) = (Arc::clone(view), input.clone());
    let look = move || match input.from {
        Some(from) => view.changes(from, input.commit, &input.scope),
        None => Ok(Vec::new()),
    };
    runner.tasks.blocking(look).await
}

/// The time of a commit in seconds; never before the epoch, which tar cannot say.
async fn commit_time(runner: &Runner, view: &Arc<dyn GitView>, input: &GitInput) -> Result<u64, slipway_git::GitError> {
    let (view, commit) = (Arc::clone(view), input.commit);
    let info = runner.tasks.blocking(move || view.commit(commit)).await?;
    Ok(u64::try_from(info.time).unwrap_or(0))
}

fn bad_path(doing: &str, error: &slipway_paths::PathError) -> Failure {
    Failure { retryable: false, why: format!("{doing}: {error}"), exit: None, line: None, tail: Vec::new(), lost: None }
}
