//! The conventions of this repository as code: what `CONTRIBUTING.md` and `ARCHITECTURE.md` say, checked.
//!
//! One test per convention; each names every file that breaks it. [`tree`] lists the files, [`code`] reads Rust without
//! its comments and strings, [`manifest`] reads `Cargo.toml`, [`outline`] finds functions.

mod code;
mod docs;
mod manifest;
mod outline;
mod purity;
mod requirements;
mod sizes;
mod tree;
mod usage;
mod walls;
mod words;

/// Fails with every problem on a line of its own.
fn report(convention: &str, problems: Vec<String>) {
    assert!(problems.is_empty(), "{convention}:\n  {}\n", problems.join("\n  "));
}
