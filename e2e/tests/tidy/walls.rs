//! Who may depend on whom, and in which room a third party may stand.

use crate::{
    manifest::{Crate, crates},
    report,
    tree::{self, TextFile},
};

/// Crates of `shared/` that touch the outside world. Every other one is of the pure floor: no runtime, network, file
/// system, environment or clock.
const IO_FLOOR: [&str; 11] = [
    "slipway-process",
    "slipway-git",
    "slipway-kv",
    "slipway-locks",
    "slipway-registry",
    "slipway-fetch",
    "slipway-kube",
    "slipway-storage",
    "slipway-protocol",
    "slipway-client",
    "slipway-telemetry",
];

/// The crates of the pure floor.
pub(crate) fn pure() -> Vec<Crate> {
    let is_pure = |found: &Crate| found.directory.starts_with("shared/") && !IO_FLOOR.contains(&found.name.as_str());
    crates().into_iter().filter(is_pure).collect()
}

/// All that the pure floor may use from outside: text and data.
const PURE_FOREIGN: [&str; 22] = [
    "aes",
    "base64",
    "bcrypt",
    "cbc",
    "dsa",
    "ed25519-dalek",
    "hex",
    "hmac",
    "indexmap",
    "jiff",
    "p256",
    "p384",
    "p521",
    "regex",
    "rsa",
    "saphyr-parser",
    "scrypt",
    "serde",
    "serde_json",
    "sha1",
    "sha2",
    "strsim",
];

/// Third parties that stand in some crates only.
const ROOMS: [(&str, &[&str]); 25] = [
    ("etcd-client", &["slipway-kv"]),
    ("gix", &["slipway-git"]),
    ("bollard", &["slipway-docker"]),
    ("tonic", &["slipway-docker"]),
    ("reqwest", &["slipway-registry", "slipway-client", "slipway-telemetry", "slipway-fetch", "slipway-kube"]),
    ("prost", &["slipway-telemetry"]),
    ("axum", &["slipway-gateway", "slipway-worker", "slipway-coordinator"]),
    ("saphyr-parser", &["slipway-config"]),
    ("rsa", &["slipway-template"]),
    ("dsa", &["slipway-template"]),
    ("p256", &["slipway-template"]),
    ("p384", &["slipway-template"]),
    ("p521", &["slipway-template"]),
    ("ed25519-dalek", &["slipway-template"]),
    ("flate2", &["slipway-layers", "slipway-toolbox"]),
    ("zstd", &["slipway-layers"]),
    ("bzip2", &["slipway-layers"]),
    ("lzma-rust2", &["slipway-layers"]),
    ("nix", &["slipway-native"]),
    ("seccompiler", &["slipway-native"]),
    ("getrandom", &["slipway-process"]),
    ("clap", &["slipway-cli"]),
    ("mimalloc", &["slipway-cli"]),
    ("indicatif", &["slipway-cli"]),
    ("anyhow", &["slipway-cli", "slipway-e2e", "slipway-histories"]),
];

#[test]
fn the_pure_floor_is_pure() {
    let mut problems = Vec::new();
    let floor = pure();
    for found in &floor {
        let own = found.own().filter(|name| !floor.iter().any(|other| other.name == *name));
        problems.extend(own.map(|name| format!("{}: {name} is not of the pure floor", found.manifest())));
        let foreign = found.foreign().filter(|name| *name != "thiserror" && !PURE_FOREIGN.contains(name));
        problems.extend(foreign.map(|name| format!("{}: {name} is not for text or data", found.manifest())));
    }
    report("the pure floor depends on itself and on crates for text and data", problems);
}

#[test]
fn third_parties_stand_in_their_rooms() {
    let mut problems = Vec::new();
    for found in crates() {
        let strangers = ROOMS.iter().filter(|(name, rooms)| {
            found.dependencies.iter().any(|dependency| dependency == name) && !rooms.contains(&found.name.as_str())
        });
        problems.extend(
            strangers
                .map(|(name, rooms)| format!("{}: {name} stands only in {}", found.manifest(), rooms.join(" and "))),
        );
    }
    report("a third party stands only in the crates that wrap it", problems);
}

#[test]
fn arrows_go_down() {
    let all = crates();
    let directory = |name: &str| all.iter().find(|found| found.name == name).map(|found| found.directory.as_str());
    let mut problems = Vec::new();
    for found in &all {
        for name in found.own() {
            match directory(name) {
                Some(to) if may_use(found, to) => {}
                Some(to) => problems.push(format!("{}: {} does not use {to}", found.manifest(), found.directory)),
                None => problems.push(format!("{}: {name} is no crate of the workspace", found.manifest())),
            }
        }
    }
    report("cli → coordinator, worker, shared; coordinator → shared; worker → worker, shared; e2e → all", problems);
}

fn may_use(from: &Crate, to: &str) -> bool {
    let role = from.directory.split('/').next().unwrap_or_default();
    let target = to.split('/').next().unwrap_or_default();
    match role {
        "shared" | "coordinator" => target == "shared",
        "worker" => target == "shared" || (target == "worker" && to != "worker"),
        "cli" => matches!(target, "shared" | "coordinator" | "worker"),
        "e2e" => true,
        _ => false,
    }
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    let without = crates().into_iter().filter(|found| !found.lints);
    report("`[lints] workspace = true` is in every crate", without.map(|found| found.manifest()).collect());
}

/// Looking for examples takes a compiler's run per crate, so that it is done only where there are some.
#[test]
fn examples_in_documentation_are_tests() {
    let fence = |line: &str| {
        let found = ["//! ```", "/// ```"].iter().find_map(|mark| line.trim().strip_prefix(mark));
        found.map(|language| language.trim().to_owned())
    };
    let sources = tree::files(".rs");
    let mut wrong = Vec::new();
    for found in crates() {
        let inside = format!("{}/src/", found.directory);
        let own: Vec<&TextFile> = sources.iter().filter(|file| file.path.starts_with(&inside)).collect();
        let has_examples = own.iter().any(|file| {
            // Every second fence ends a block.
            let mut languages = file.text.lines().filter_map(fence).step_by(2);
            languages.any(|language| matches!(language.as_str(), "" | "rust"))
        });
        let is_library = own.iter().any(|file| file.path == format!("{inside}lib.rs"));
        if is_library && found.doctest != has_examples {
            wrong.push(found.manifest());
        }
    }
    report("`doctest = false` is in every crate without examples, and in no other", wrong);
}
