//! What of a work tree is not committed.

use slipway_paths::{Glob, TreePath};

use crate::{GitError, Repository, program::Git};

/// What is looked at.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StatusOptions {
    /// Only what lies at or below this path, from the root of the repository.
    pub below: TreePath,
    /// Globs, from the root of the repository, of paths that are passed over, whatever their state.
    pub ignore: Vec<String>,
}

/// How a path differs from the commit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum DirtyKind {
    /// Git does not know the file (or knows only that it will be added).
    Untracked,
    /// The file's content, type or mode was changed.
    Modified,
    /// The change is in the index, and the work tree has it so.
    Staged,
    /// The file is gone from the work tree or from the index.
    Deleted,
    /// A merge was not finished.
    Conflicted,
    /// A submodule differs.
    Submodule {
        /// Another commit is checked out, or the submodule was added, removed or staged.
        commit: bool,
        /// Files in it were changed.
        modified: bool,
        /// Files in it are untracked.
        untracked: bool,
    },
}

/// A path that differs from the commit.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Dirty {
    /// From the root of the repository.
    pub path: TreePath,
    /// How.
    pub kind: DirtyKind,
}

impl Repository {
    /// All paths whose state in the work tree or the index differs from `HEAD`, sorted. Untracked files are listed one
    /// by one; ignored ones are not. A file that was taken out of the index alone is listed as deleted and as untracked.
    /// An untracked directory that is itself a repository is one path. Without a work tree nothing differs.
    ///
    /// # Errors
    /// [`GitError::Program`] when `git` is missing or fails, [`GitError::Pattern`] for an invalid glob.
    pub fn uncommitted(&self, options: &StatusOptions) -> Result<Vec<Dirty>, GitError> {
        let Some(work_tree) = self.work_tree() else { return Ok(Vec::new()) };
        let ignore = options.ignore.iter().map(|glob| Glob::new(glob)).collect::<Result<Vec<_>, _>>()?;
        let git = Git::new(self.git_dir(), work_tree, "compare the work tree with the commit")
            .args([
                "status",
                "--porcelain=v2",
                "-z",
                "--untracked-files=all",
                "--ignore-submodules=none",
                "--no-renames",
            ])
            .args(["--no-ahead-behind", "--"]);
        let git = if options.below.is_root() { git } else { git.path_arg(options.below.as_bytes()) };
        let mut dirty = parse(&git.run(b"")?)?;
        dirty.retain(|dirty| !ignore.iter().any(|glob| glob.selects(&dirty.path)));
        dirty.sort();
        Ok(dirty)
    }
}

/// Reads `git status --porcelain=v2 -z`.
fn parse(output: &[u8]) -> Result<Vec<Dirty>, GitError> {
    let mut dirty = Vec::new();
    let mut records = output.split(|byte| *byte == 0).filter(|record| !record.is_empty());
    while let Some(record) = records.next() {
        let unknown = || GitError::Program(format!("git status printed `{}`", String::from_utf8_lossy(record)));
        // Number of fields before the path.
        let fields = match record.first() {
            Some(b'?') => 1,
            Some(b'1') => 8,
            Some(b'2') => 9,
            Some(b'u') => 10,
            Some(b'!' | b'#') => continue,
            Some(_) | None => return Err(unknown()),
        };
        let parts: Vec<&[u8]> = record.splitn(fields + 1, |byte| *byte == b' ').collect();
        let path = parts.get(fields).ok_or_else(unknown)?;
        let kind = match (parts[0], parts.get(1), parts.get(2)) {
            (b"?", ..) => DirtyKind::Untracked,
            (b"u", ..) => DirtyKind::Conflicted,
            (_, Some([index, tree]), Some([submodule, commit, modified, untracked])) => {
                let states = (*commit == b'C', *modified == b'M', *untracked == b'U');
                changed(*index, *tree, (*submodule == b'S').then_some(states))
            }
            _ => return Err(unknown()),
        };
        if parts[0] == b"2" {
            // The path before the renaming stands in a record of its own. Renames are off: this is a precaution.
            if let Some(before) = records.next() {
                dirty.push(Dirty { path: clean(before)?, kind: DirtyKind::Deleted });
            }
        }
        dirty.push(Dirty { path: clean(path)?, kind });
    }
    Ok(dirty)
}

fn changed(index: u8, tree: u8, submodule: Option<(bool, bool, bool)>) -> DirtyKind {
    match (submodule, index, tree) {
        (Some((commit, modified, untracked)), ..) => {
            DirtyKind::Submodule { commit: commit || index != b'.' || tree == b'D', modified, untracked }
        }
        (None, b'D', b'.') | (None, _, b'D') => DirtyKind::Deleted,
        (None, b'.', b'A') => DirtyKind::Untracked,
        (None, _, b'.') => DirtyKind::Staged,
        (None, ..) => DirtyKind::Modified,
    }
}

fn clean(path: &[u8]) -> Result<TreePath, GitError> {
    TreePath::new(path).map_err(|error| GitError::Program(format!("git status printed a bad path: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_record_is_read() {
        let zero =
            "100644 100644 100644 1111111111111111111111111111111111111111 2222222222222222222222222222222222222222";
        let output = [
            format!("1 .M N... {zero} a file with spaces"),
            format!("1 M. N... {zero} staged"),
            format!("1 MM N... {zero} both"),
            format!("1 .D N... {zero} gone"),
            format!("1 D. N... {zero} removed"),
            format!("1 AD N... {zero} added-then-gone"),
            format!("1 .A N... {zero} intended"),
            format!("1 .M S.MU {zero} sub"),
            format!("2 R. N... {zero} R100 new name"),
            "old name".to_owned(),
            format!("u UU N... 100644 {zero} 3333333333333333333333333333333333333333 conflict"),
            "? un tracked".to_owned(),
            "? nested/".to_owned(),
        ]
        .join("\0");
        let found: Vec<(String, DirtyKind)> =
            parse(output.as_bytes()).expect("records").into_iter().map(|d| (d.path.to_string(), d.kind)).collect();
        let sub = DirtyKind::Submodule { commit: false, modified: true, untracked: true };
        let expected = [
            ("a file with spaces", DirtyKind::Modified),
            ("staged", DirtyKind::Staged),
            ("both", DirtyKind::Modified),
            ("gone", DirtyKind::Deleted),
            ("removed", DirtyKind::Deleted),
            ("added-then-gone", DirtyKind::Deleted),
            ("intended", DirtyKind::Untracked),
            ("sub", sub),
            ("old name", DirtyKind::Deleted),
            ("new name", DirtyKind::Staged),
            ("conflict", DirtyKind::Conflicted),
            ("un tracked", DirtyKind::Untracked),
            ("nested", DirtyKind::Untracked),
        ];
        assert_eq!(found, expected.map(|(path, kind)| (path.to_owned(), kind)));
    }

    #[test]
    fn what_is_no_status_is_refused() {
        for output in ["1 .M N...", "x y", "1 .M bogus 1 1 1 1 1 path"] {
            assert!(parse(output.as_bytes()).is_err(), "{output}");
        }
    }
}
