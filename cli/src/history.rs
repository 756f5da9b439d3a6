//! What the git history must be like for images whose stages are chosen by it.

use anyhow::Context as _;
use slipway_config::{GitWorktree, Image, ImageKind};
use slipway_digest::CommitId;
use slipway_git::{GitView as _, Repository};
use slipway_stages::VirtualMerge;

use crate::{failure::Failure, output::Printer, project::Project};

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

/// What the commit of the project merges (`--virtual-merge`): the commits that are named, or its parents.
///
/// # Errors
/// When it is no merge of two commits, or a named one is not there.
pub(crate) fn virtual_merge(
    project: &Project,
    (from, into): &(Option<String>, Option<String>),
) -> Result<VirtualMerge, Failure> {
    if project.is_dev() {
        return Err(Failure::usage(anyhow::anyhow!("--virtual-merge is for a commit, and --dev builds the work tree")));
    }
    let parents =
        project.repository.commit(project.commit).context("read the commit").map_err(Failure::project)?.parents;
    let find = |named: &Option<String>, flag: &str, parent: usize| -> Result<CommitId, Failure> {
        match (named, parents.as_slice()) {
            (Some(name), _) => {
                let found = project.repository.resolve(name).with_context(|| format!("--{flag}"));
                found.map_err(Failure::project)
            }
            (None, [_, _]) => Ok(parents[parent]),
            (None, _) => Err(Failure::project_text(format!(
                "--virtual-merge: commit {} has {} parents and is no merge of two commits: check out the merge of the request, or \
                 name both commits by --virtual-merge-from-commit and --virtual-merge-into-commit",
                project.commit,
                parents.len()
            ))),
        }
    };
    Ok(VirtualMerge {
        from: find(from, "virtual-merge-from-commit", 1)?,
        into: find(into, "virtual-merge-into-commit", 0)?,
    })
}
