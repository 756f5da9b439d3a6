//! What Dockerfile images take from disk instead of the commit: files that `contextAddFiles` names, and Dockerfiles and
//! ignore rules that need not be committed. Such files become part of a commit of their own, from which the image's
//! context then comes.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use slipway_config::{DockerfileImage, Image, ImageKind, ImageName};
use slipway_digest::CommitId;
use slipway_paths::TreePath;

use crate::{failure::Failure, project::Project};

/// Most symbolic links that are followed for one file.
const MAX_LINKS: usize = 40;

/// What the contexts of images take from disk. Images that take nothing are not in it.
#[derive(Debug, Default)]
pub(crate) struct Contexts {
    taken: BTreeMap<ImageName, Taken>,
}

#[derive(Debug)]
struct Taken {
    /// The commit with the files in it.
    commit: CommitId,
    /// Files and directories, from the root of the repository.
    paths: Vec<TreePath>,
}

impl Contexts {
    /// Takes what `images` use from disk, and leaves `project` with a repository that has the commits. Blocks. `home` is
    /// where snapshots go.
    ///
    /// # Errors
    /// When a file that `contextAddFiles` names is not there or cannot be taken.
    pub(crate) fn take(project: &mut Project, images: &[Image], home: &Path) -> Result<Self, Failure> {
        let mut contexts = Self::default();
        for image in images {
            let ImageKind::Dockerfile(dockerfile) = &image.kind else { continue };
            let mut paths = paths(project, image.name(), dockerfile)?;
            let mut commit = project.commit;
            if let Some(root) = project.repository.work_tree().filter(|_| !paths.is_empty()) {
                let root = root.canonicalize().context("find the work tree").map_err(Failure::project)?;
                let files: Vec<(TreePath, PathBuf)> =
                    paths.iter().map(|path| (path.clone(), on_disk(&root, path))).collect();
                let overlaid = project.repository.with_files(&home.join("snapshots"), commit, &files);
                let doing = || format!("take files of image {} from disk", image.name());
                (project.repository, commit) = overlaid.with_context(doing).map_err(Failure::project)?;
            }
            let included = included(project, dockerfile);
            let takes = |path: &TreePath| included.contains(path);
            (project.repository, commit) = project.includes.put_into(&project.repository, commit, home, takes)?;
            paths.extend(included);
            if !paths.is_empty() {
                contexts.taken.insert(image.name().clone(), Taken { commit, paths });
            }
        }
        Ok(contexts)
    }

    /// The commit that the context of an image comes from, when it is not that of the build.
    pub(crate) fn commit(&self, image: &ImageName) -> Option<CommitId> {
        self.taken.get(image).map(|taken| taken.commit)
    }

    /// Whether the file at `path` of the repository comes from disk for this image.
    pub(crate) fn takes(&self, image: &ImageName, path: &TreePath) -> bool {
        self.taken.get(image).is_some_and(|taken| taken.paths.iter().any(|own| path.below(own).is_some()))
    }

    /// All commits, by image.
    pub(crate) fn into_commits(self) -> BTreeMap<ImageName, CommitId> {
        self.taken.into_iter().map(|(image, taken)| (image, taken.commit)).collect()
    }
}

/// The Dockerfile of an image and its ignore rules, as far as they come from other repositories.
fn included(project: &Project, image: &DockerfileImage) -> Vec<TreePath> {
    let dockerfile = project.prefix.join(image.dockerfile.as_bytes());
    let context = project.prefix.join(image.context.as_bytes());
    let mut paths = vec![super::beside(&dockerfile), context.join(b".dockerignore"), dockerfile];
    paths.retain(|path| project.includes.has(path));
    paths
}

/// What an image takes from disk, from the root of the repository.
fn paths(project: &Project, name: &ImageName, image: &DockerfileImage) -> Result<Vec<TreePath>, Failure> {
    let Some(root) = project.repository.work_tree() else {
        if image.context_add_files.is_empty() {
            return Ok(Vec::new());
        }
        return Err(Failure::project_text(format!(
            "image {name}: `contextAddFiles` takes files from a work tree, and {} is a bare repository",
            project.directory.display()
        )));
    };
    let permits = &project.permits;
    let mut paths = Vec::new();
    for file in &image.context_add_files {
        let path = project.prefix.join(image.context.join(file.as_bytes()).as_bytes());
        let place = on_disk(root, &path);
        if let Err(error) = fs::symlink_metadata(&place) {
            return Err(Failure::project_text(format!(
                "image {name}: `contextAddFiles` names `{file}`, which cannot be read: {}: {error}. Paths are relative to \
                 `context`; make the file before the build, or remove it from the list",
                place.display()
            )));
        }
        paths.push(path);
    }
    let context = project.prefix.join(image.context.as_bytes());
    let dockerfile = project.prefix.join(image.dockerfile.as_bytes());
    let ignores = [super::beside(&dockerfile), context.join(b".dockerignore")];
    let inside = |path: &TreePath| path.below(&project.prefix);
    let is_allowed = |path: &TreePath| inside(path).is_some_and(|path| permits.allows_uncommitted_dockerfile(&path));
    paths.extend(trail(root, &dockerfile, &is_allowed));
    let is_allowed = |path: &TreePath| inside(path).is_some_and(|path| permits.allows_uncommitted_dockerignore(&path));
    paths.extend(ignores.iter().flat_map(|ignore| trail(root, ignore, &is_allowed)));
    Ok(paths)
}

/// The file at `path` on disk and the links that lead to it, as far as each is allowed to come from there. Nothing when
/// there is no such file below `root`.
pub(crate) fn trail(root: &Path, path: &TreePath, is_allowed: &dyn Fn(&TreePath) -> bool) -> Vec<TreePath> {
    let (mut here, mut links, mut kept) = (TreePath::root(), 0, Vec::new());
    let mut rest: Vec<Vec<u8>> = path.segments().map(<[u8]>::to_vec).collect();
    rest.reverse();
    while let Some(name) = rest.pop() {
        match name.as_slice() {
            b"" | b"." => continue,
            b".." => match here.parent() {
                Some(parent) => {
                    here = parent;
                    continue;
                }
                None => return Vec::new(),
            },
            _ => {}
        }
        let at = here.join(&name);
        let Ok(data) = fs::symlink_metadata(on_disk(root, &at)) else { return Vec::new() };
        if data.is_symlink() {
            links += 1;
            let Ok(target) = fs::read_link(on_disk(root, &at)) else { return Vec::new() };
            if links > MAX_LINKS || target.is_absolute() {
                return Vec::new();
            }
            rest.extend(target.as_os_str().as_bytes().split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
            kept.push(at);
        } else if rest.is_empty() && data.is_file() {
            kept.push(at);
        } else if data.is_dir() {
            here = at;
        } else {
            return Vec::new();
        }
    }
    // A link to a directory ends here without a file.
    let is_file = kept.last().is_some_and(|last| on_disk(root, last).is_file());
    kept.retain(|path| is_file && is_allowed(path));
    kept
}

pub(crate) fn on_disk(root: &Path, path: &TreePath) -> PathBuf {
    root.join(OsStr::from_bytes(path.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_on_the_way_are_taken_with_the_file() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        fs::create_dir_all(root.join("real/deep")).expect("directories");
        fs::write(root.join("real/Dockerfile"), "FROM a").expect("a file");
        for (link, target) in [
            ("direct", "real/Dockerfile"),
            ("real/deep/up", "../../direct"),
            ("directory", "real"),
            ("loop", "loop"),
            ("broken", "nowhere"),
            ("away", "../outside"),
            ("absolute", "/etc/hostname"),
        ] {
            symlink(target, root.join(link)).expect(link);
        }
        let trail = |name: &str, is_allowed: &dyn Fn(&TreePath) -> bool| {
            let path = TreePath::new(name).expect(name);
            super::trail(root, &path, is_allowed).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        for (name, expected) in [
            ("real/Dockerfile", &["real/Dockerfile"][..]),
            ("direct", &["direct", "real/Dockerfile"]),
            ("real/deep/up", &["real/deep/up", "direct", "real/Dockerfile"]),
            ("directory/Dockerfile", &["directory", "real/Dockerfile"]),
            ("real/Dockerfile/x", &[]),
            ("missing", &[]),
            ("real", &[]),
            ("directory", &[]),
            ("loop", &[]),
            ("broken", &[]),
            ("away", &[]),
            ("absolute", &[]),
        ] {
            assert_eq!(trail(name, &|_| true), expected, "{name}");
        }
        assert_eq!(trail("direct", &|path| path.as_bytes() == b"real/Dockerfile"), ["real/Dockerfile"]);
        assert!(trail("direct", &|_| false).is_empty());
    }
}
