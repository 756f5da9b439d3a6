//! What is built comes from a commit: files that a build uses must not differ from it.

pub(crate) mod disk;

use std::collections::BTreeSet;

use anyhow::Context as _;
use slipway_config::{DockerfileImage, Image, ImageKind, StapelImage};
use slipway_digest::CommitId;
use slipway_git::{Dirty, DirtyKind, GitError, GitView as _, Repository};
use slipway_oci::Platform;
use slipway_paths::{ContextFilter, PathFilter, Scope, TreePath};
use slipway_stages::{
    Graph,
    graph::{UNKNOWN, foreseen_arguments},
};

use crate::{failure::Failure, project::Project};

pub(crate) use disk::Contexts;

/// What to do about files that are not committed.
pub(crate) const HINT: &str = "Only committed files are built, so that the same commit gives the same images everywhere. \
Commit the files, or add --dev to build the work tree as it is while you work.";
/// Most files that a message names.
const NAMED: usize = 100;
/// The whole context, as a source.
const EVERYTHING: &str = ".";

/// A file of the commit, compared with the work tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Committed {
    /// It is in the commit and nothing on the way to it was changed.
    Same,
    /// It is in the commit, and it or a link on the way to it was changed.
    Changed,
    /// It is not in the commit, and git lists it as untracked.
    Untracked,
    /// Neither the commit nor git knows it.
    Absent,
}

/// How the file at `path` stands.
///
/// # Errors
/// When the repository cannot be read.
pub(crate) fn file(
    repository: &Repository,
    commit: CommitId,
    dirty: &[Dirty],
    path: &TreePath,
) -> Result<Committed, GitError> {
    let differs = |path: &TreePath| dirty.iter().any(|dirty| covers(dirty, path));
    Ok(match repository.trail(commit, path)? {
        Some(trail) if trail.links.iter().chain([&trail.file, path]).any(differs) => Committed::Changed,
        Some(_) => Committed::Same,
        None if differs(path) => Committed::Untracked,
        None => Committed::Absent,
    })
}

/// Whether a difference is that of the file at `path`: of the file itself, or of the submodule it lies in.
fn covers(dirty: &Dirty, path: &TreePath) -> bool {
    dirty.path == *path || (matches!(dirty.kind, DirtyKind::Submodule { .. }) && path.below(&dirty.path).is_some())
}

/// Stops a build that would use files that differ from the commit. Blocks. Loose and dev mode have nothing to differ.
///
/// # Errors
/// Names every such file.
pub(crate) fn check(
    project: &Project,
    graph: &Graph,
    contexts: &Contexts,
    otherwise: &Platform,
) -> Result<(), Failure> {
    if project.dirty.is_empty() {
        return Ok(());
    }
    let mut used: BTreeSet<Dirty> = BTreeSet::new();
    for (image, platform) in graph.targets().iter().enumerate().map(|(n, target)| (graph.image(n), &target.platform)) {
        let platform = platform.as_ref().unwrap_or(otherwise).to_string();
        let doing = || format!("check that the files of image {} are committed", image.name());
        let found = match &image.kind {
            ImageKind::Stapel(stapel) => Ok(mappings(project, stapel)),
            ImageKind::Dockerfile(dockerfile) => {
                let commit = contexts.commit(image.name()).unwrap_or(project.commit);
                context(project, (image, dockerfile), &platform, commit).map(|mut used| {
                    used.retain(|dirty| !contexts.takes(image.name(), &dirty.path));
                    used
                })
            }
        };
        used.extend(found.with_context(doing).map_err(Failure::project)?);
    }
    if used.is_empty() { Ok(()) } else { Err(Failure::project_text(message(&used))) }
}

/// What the git mappings of an image take in.
fn mappings(project: &Project, stapel: &StapelImage) -> Vec<Dirty> {
    let scope = |mapping: &slipway_config::GitMapping| {
        Scope::Filter(PathFilter {
            base: mapping.add.clone(),
            include: mapping.include.clone(),
            exclude: mapping.exclude.clone(),
            within: Vec::new(),
        })
    };
    let local = stapel.git.iter().filter(|mapping| mapping.remote.is_none());
    local.flat_map(|mapping| inside(&project.dirty, &scope(mapping))).collect()
}

/// What a Dockerfile reads: itself, its ignore rules, and the context files that it copies. `commit` is that of the
/// context.
fn context(
    project: &Project,
    (image, dockerfile): (&Image, &DockerfileImage),
    platform: &str,
    commit: CommitId,
) -> Result<Vec<Dirty>, GitError> {
    let file = project.prefix.join(dockerfile.dockerfile.as_bytes());
    let base = project.prefix.join(dockerfile.context.as_bytes());
    let beside = beside(&file);
    let read = |path: &TreePath| project.repository.read(commit, path);
    let own_rules = read(&beside)?;
    let ignore_path = if own_rules.is_some() || project.dirty.iter().any(|dirty| dirty.path == beside) {
        beside
    } else {
        base.join(b".dockerignore")
    };
    let mut used: Vec<Dirty> = Vec::new();
    for path in [&file, &ignore_path] {
        used.extend(on_the_way(project, commit, path)?);
    }
    let rules = match own_rules {
        Some(rules) => Some(rules),
        None => read(&ignore_path)?,
    };
    let ignore = rules.map(|bytes| slipway_dockerfile::ignore_patterns(&String::from_utf8_lossy(&bytes)));
    let Some(bytes) = read(&file)? else { return Ok(used) };
    let text = String::from_utf8_lossy(&bytes);
    let args = foreseen_arguments(image, dockerfile);
    let inputs = slipway_dockerfile::inputs(&file.to_string(), &text, dockerfile.target.as_deref(), &args, platform);
    // What is wrong with the Dockerfile itself is for the build to say.
    let Ok(inputs) = inputs else { return Ok(used) };
    let mut sources: Vec<String> = inputs.lines.into_iter().filter_map(|line| line.sources).flatten().collect();
    // What a dependency names may be anything.
    sources.iter_mut().filter(|source| source.contains(UNKNOWN)).for_each(|source| *source = EVERYTHING.to_owned());
    if !sources.is_empty() {
        let filter = ContextFilter { base, ignore: ignore.unwrap_or_default(), sources: Some(sources) };
        let scope = project.repository.followed(commit, &Scope::Context(filter))?;
        used.extend(inside(&project.dirty, &scope));
    }
    Ok(used)
}

/// Where the ignore rules of one Dockerfile are.
fn beside(dockerfile: &TreePath) -> TreePath {
    let mut path = dockerfile.as_bytes().to_vec();
    path.extend_from_slice(b".dockerignore");
    TreePath::root().join(&path)
}

/// Differences of a file and of the links on the way to it.
fn on_the_way(project: &Project, commit: CommitId, path: &TreePath) -> Result<Vec<Dirty>, GitError> {
    let trail = project.repository.trail(commit, path)?;
    let paths = trail.into_iter().flat_map(|trail| trail.links.into_iter().chain([trail.file]));
    let paths: Vec<TreePath> = paths.chain([path.clone()]).collect();
    Ok(project.dirty.iter().filter(|dirty| paths.iter().any(|path| covers(dirty, path))).cloned().collect())
}

/// Differences inside a scope.
fn inside(dirty: &[Dirty], scope: &Scope) -> Vec<Dirty> {
    dirty.iter().filter(|dirty| is_inside(dirty, scope)).cloned().collect()
}

fn is_inside(dirty: &Dirty, scope: &Scope) -> bool {
    // A submodule, and an untracked repository, stand for everything in them.
    let whole = matches!(dirty.kind, DirtyKind::Submodule { .. });
    match dirty.path.below(scope.base()) {
        Some(relative) => scope.keeps(&relative) || (whole && scope.may_keep_below(&relative)),
        None => whole && scope.base().below(&dirty.path).is_some(),
    }
}

fn message(used: &BTreeSet<Dirty>) -> String {
    let (untracked, changed): (Vec<&Dirty>, Vec<&Dirty>) =
        used.iter().partition(|dirty| dirty.kind == DirtyKind::Untracked);
    let mut parts = Vec::new();
    for (title, list) in [("untracked files", untracked), ("files", changed)] {
        if !list.is_empty() {
            parts.push(format!("the following {title} must be committed:\n\n{}", lines(&list)));
        }
    }
    parts.push(HINT.to_owned());
    parts.join("\n\n")
}

fn lines(list: &[&Dirty]) -> String {
    let more = list.len().saturating_sub(NAMED);
    let named = list.iter().take(NAMED).map(|dirty| format!(" - {}{}", dirty.path, how(dirty.kind)));
    let more = (more > 0).then(|| format!(" … and {more} more"));
    named.chain(more).collect::<Vec<_>>().join("\n")
}

fn how(kind: DirtyKind) -> &'static str {
    match kind {
        DirtyKind::Untracked | DirtyKind::Modified | DirtyKind::Staged => "",
        DirtyKind::Deleted => " (deleted)",
        DirtyKind::Conflicted => " (merge not finished)",
        DirtyKind::Submodule { commit: true, .. } => " (submodule at another commit)",
        DirtyKind::Submodule { modified: true, .. } => " (submodule with changed files)",
        DirtyKind::Submodule { .. } => " (submodule with untracked files)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).expect("a path")
    }

    fn dirty(text: &str, kind: DirtyKind) -> Dirty {
        Dirty { path: path(text), kind }
    }

    const CHANGED_SUBMODULE: DirtyKind = DirtyKind::Submodule { commit: false, modified: true, untracked: false };

    #[test]
    fn a_difference_counts_where_it_is_used() {
        let scope = |base: &str, exclude: &[&str]| {
            let exclude = exclude.iter().map(|glob| (*glob).to_owned()).collect();
            Scope::Filter(PathFilter { base: path(base), exclude, ..PathFilter::default() })
        };
        for (difference, base, exclude, counts) in [
            (dirty("src/a", DirtyKind::Modified), "src", &[][..], true),
            (dirty("src/a", DirtyKind::Modified), "src/a", &[], true),
            (dirty("src/a", DirtyKind::Modified), "src", &["a"], false),
            (dirty("srcs/a", DirtyKind::Modified), "src", &[], false),
            (dirty("lib", CHANGED_SUBMODULE), "lib/x", &[], true),
            (dirty("lib", CHANGED_SUBMODULE), "", &[], true),
            (dirty("lib", CHANGED_SUBMODULE), "src", &[], false),
        ] {
            assert_eq!(
                is_inside(&difference, &scope(base, exclude)),
                counts,
                "{difference:?} in {base} without {exclude:?}"
            );
        }
    }

    #[test]
    fn every_file_is_named() {
        let used =
            [dirty("new", DirtyKind::Untracked), dirty("gone", DirtyKind::Deleted), dirty("lib", CHANGED_SUBMODULE)];
        let text = message(&used.into_iter().collect());
        let lists = "the following untracked files must be committed:

 - new

the following files must be committed:

 - gone (deleted)
 - lib (submodule with changed files)
";
        assert!(text.starts_with(lists), "{text}");
        assert!(text.contains("--dev"));
    }

    #[test]
    fn endless_lists_are_cut() {
        let used: BTreeSet<Dirty> = (0..NAMED + 3).map(|i| dirty(&format!("f{i:04}"), DirtyKind::Untracked)).collect();
        assert!(message(&used).contains("\n … and 3 more\n"));
    }
}
