//! What the git history must be like for images whose stages are chosen by it.

use slipway_config::{GitWorktree, Image, ImageKind};
use slipway_git::Repository;

use crate::{failure::Failure, output::Printer};

/// Sees to it that the history is whole when an image takes files of the project's own repository: fetches what is cut
/// off, unless `gitWorktree` forbids it or wants the history as it is. Blocks.
///
/// # Errors
/// When the history is cut off and must stay so, or the rest of it cannot be fetched.
pub(crate) fn complete(
    repository: &Repository,
    worktree: GitWorktree,
    images: &[Image],
    printer: &Printer,
) -> Result<(), Failure> {
    let local_git = |image: &Image| match &image.kind {
        ImageKind::Stapel(stapel) => stapel.git.iter().any(|mapping| mapping.remote.is_none()),
        ImageKind::Dockerfile(_) => false,
    };
    if worktree.force_shallow_clone || !images.iter().any(local_git) {
        return Ok(());
    }
    if !repository.is_shallow().map_err(Failure::project)? {
        return Ok(());
    }
    let name = repository.work_tree().unwrap_or_else(|| repository.git_dir()).display();
    if !worktree.allow_unshallow {
        return Err(Failure::project_text(format!(
            "shallow git clone is not allowed: the history of {name} is cut off, and stages with git files are chosen by it. \
             Run `git fetch --unshallow`, or let the build do so (`gitWorktree.allowUnshallow: true`), or build with what is \
             there (`gitWorktree.forceShallowClone: true`)"
        )));
    }
    repository.unshallow().map_err(|error| {
        Failure::project_text(format!(
            "the history of {name} is cut off (shallow clone), and stages with git files are chosen by it; {error}. Run `git fetch \
             --unshallow` yourself, or build with what is there (`gitWorktree.forceShallowClone: true`)"
        ))
    })?;
    printer.warn(&format!("the clone {name} was shallow: the rest of its history was fetched from `origin`"));
    Ok(())
}
