//! The files of the repository, as git knows them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use slipway_process::child;

/// A text file of the repository.
pub(crate) struct TextFile {
    /// Path from the root, with `/` between.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl TextFile {
    /// Whether it is test code by its place: a test program, a test module, or a crate that is only for tests.
    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "e2e"))
    }

    /// Whether it is this test itself, which must name what it forbids.
    pub(crate) fn is_tidy(&self) -> bool {
        self.path.starts_with("e2e/tests/tidy/")
    }
}

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().expect("this crate lies in the checkout").to_path_buf()
}

/// Every file that is tracked, or would be if it were added now. Without git: every file outside of `target`.
pub(crate) fn paths() -> Vec<String> {
    let listed = child::command("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let mut paths: Vec<String> = match listed {
        Ok(output) if output.status.success() => {
            let listed = String::from_utf8(output.stdout).expect("paths of this repository are UTF-8");
            listed.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect()
        }
        Ok(_) | Err(_) => walk(&root(), ""),
    };
    // A file that was deleted and not yet committed is listed, but not there.
    paths.retain(|path| root().join(path).is_file());
    paths.sort();
    paths.dedup();
    paths
}

/// The text files whose name ends so.
pub(crate) fn files(ending: &str) -> Vec<TextFile> {
    let read = |path: String| {
        let text = fs::read_to_string(root().join(&path)).unwrap_or_else(|error| panic!("read {path}: {error}"));
        TextFile { path, text }
    };
    let found: Vec<TextFile> = paths().into_iter().filter(|path| path.ends_with(ending)).map(read).collect();
    assert!(!found.is_empty(), "no file ends with {ending}");
    found
}

fn walk(directory: &Path, prefix: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).expect("the checkout can be read").flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if matches!(name.as_str(), "target" | ".git") {
            continue;
        }
        if entry.path().is_dir() {
            paths.extend(walk(&entry.path(), &format!("{name}/")));
        } else {
            paths.push(name);
        }
    }
    paths
}
