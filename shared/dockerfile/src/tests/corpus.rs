//! Every Dockerfile below the directory that `SLIPWAY_CORPUS` names can be read.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::inputs;

fn dockerfiles(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let (path, kind) = (entry.path(), entry.file_type().expect("a file type"));
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if kind.is_dir() {
            dockerfiles(&path, found);
        } else if kind.is_file()
            && (name == "dockerfile" || name.starts_with("dockerfile.") && !name.ends_with("ignore"))
        {
            found.push(path);
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test is switched on by the environment")]
fn every_dockerfile_of_the_corpus_is_read() {
    let Ok(corpus) = std::env::var("SLIPWAY_CORPUS") else {
        drop(std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("skipped: SLIPWAY_CORPUS names no directory\n"),
        ));
        return;
    };
    let mut found = Vec::new();
    dockerfiles(Path::new(&corpus), &mut found);
    assert!(!found.is_empty(), "there is no Dockerfile below {corpus}");
    let mut failed = Vec::new();
    for path in &found {
        let text = fs::read_to_string(path).expect("a text");
        let file = path.to_string_lossy();
        if let Err(error) = inputs(&file, &text, None, &BTreeMap::new(), "linux/amd64") {
            failed.push(error.to_string());
        }
    }
    eprintln!("{} Dockerfiles, {} refused:\n{}", found.len(), failed.len(), failed.join("\n"));
    let malformed: Vec<&String> = failed.iter().filter(|error| !error.contains("is empty once")).collect();
    assert!(malformed.is_empty(), "{malformed:#?}");
}
