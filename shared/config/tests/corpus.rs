//! Configurations of real projects: those that are plain YAML must be read, or be wrong in a way that can be told.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The variable that names a directory with projects.
const VARIABLE: &str = "SLIPWAY_CORPUS";

#[test]
fn real_projects_are_read() {
    let Some(root) = corpus() else { return };
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let (mut read, mut wrong) = (0, 0);
    for file in &files {
        let Ok(text) = fs::read_to_string(file) else { continue };
        if text.contains("{{") {
            continue;
        }
        match slipway_config::parse(&file.display().to_string(), &text) {
            Ok(config) => {
                read += 1;
                assert!(!config.project.is_empty(), "{}", file.display());
            }
            Err(problems) => {
                wrong += 1;
                eprintln!("{problems}\n");
                assert!(problems.list.iter().all(|problem| problem.hint.is_some()), "{problems}");
            }
        }
    }
    eprintln!("{read} configurations read, {wrong} refused");
    assert!(read > wrong, "most real configurations must be readable");
}

/// The directory with projects; `None`, said aloud, when there is none.
#[expect(clippy::disallowed_methods, reason = "a test asks for its data by a variable")]
fn corpus() -> Option<PathBuf> {
    let root = std::env::var(VARIABLE).ok().map(PathBuf::from).filter(|root| root.is_dir());
    if root.is_none() {
        slipway_parts::skip("corpus", &format!("{VARIABLE} names no directory with projects"));
    }
    root
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.file_name().is_some_and(|name| name == "werf.yaml" || name == "werf.yml") {
            files.push(path);
        }
    }
}
