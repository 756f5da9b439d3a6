//! `Cargo.toml` files, as far as these tests need them: package name, dependencies, lints.

use crate::tree;

/// A crate of the workspace.
pub(crate) struct Crate {
    /// Directory from the root.
    pub(crate) directory: String,
    pub(crate) name: String,
    pub(crate) dependencies: Vec<String>,
    pub(crate) dev_dependencies: Vec<String>,
    /// Whether the workspace's lints are its own.
    pub(crate) lints: bool,
    /// Whether examples in its documentation are tests.
    pub(crate) doctest: bool,
}

impl Crate {
    /// Path of its manifest.
    pub(crate) fn manifest(&self) -> String {
        format!("{}/Cargo.toml", self.directory)
    }

    /// Dependencies that are crates of this workspace.
    pub(crate) fn own(&self) -> impl Iterator<Item = &str> {
        self.dependencies.iter().map(String::as_str).filter(|name| name.starts_with("slipway-"))
    }

    /// Dependencies from outside.
    pub(crate) fn foreign(&self) -> impl Iterator<Item = &str> {
        self.dependencies.iter().map(String::as_str).filter(|name| !name.starts_with("slipway-"))
    }
}

/// Every crate of the workspace.
pub(crate) fn crates() -> Vec<Crate> {
    let manifests = tree::files("/Cargo.toml").into_iter();
    let crates: Vec<Crate> =
        manifests.filter_map(|file| parse(file.path.strip_suffix("/Cargo.toml")?, &file.text)).collect();
    assert!(crates.len() > 10, "the crates are found");
    crates
}

fn parse(directory: &str, text: &str) -> Option<Crate> {
    let mut section = String::new();
    let mut parsed = Crate {
        directory: directory.to_owned(),
        name: String::new(),
        dependencies: Vec::new(),
        dev_dependencies: Vec::new(),
        lints: false,
        doctest: true,
    };
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']').to_owned();
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let (key, value) = (key.trim(), value.trim());
        let name = || key.split('.').next().unwrap_or(key).to_owned();
        match section.as_str() {
            "package" if key == "name" => parsed.name = value.trim_matches('"').to_owned(),
            "lib" if key == "doctest" => parsed.doctest = value == "true",
            "lints" => parsed.lints |= key == "workspace" && value == "true",
            "dependencies" | "build-dependencies" => parsed.dependencies.push(name()),
            "dev-dependencies" => parsed.dev_dependencies.push(name()),
            _ => {}
        }
    }
    (!parsed.name.is_empty()).then_some(parsed)
}

#[test]
fn a_manifest_is_read() {
    let text = "[package]\nname = \"x\"\n\n[lib]\ndoctest = false\n\n[lints]\nworkspace = true\n\n[dependencies]\na.workspace = true\n\
                b = { workspace = true }\n# c\n\n[dev-dependencies]\nd.workspace = true\n";
    let parsed = parse("some/x", text).expect("a package");
    assert_eq!((parsed.name.as_str(), parsed.lints, parsed.doctest), ("x", true, false));
    assert_eq!(parsed.dependencies, ["a", "b"]);
    assert_eq!(parsed.dev_dependencies, ["d"]);
}
