//! What a crate lists it uses.

use crate::{code, manifest, report, tree};

#[test]
fn every_dependency_is_used() {
    let sources = tree::files(".rs");
    let mut problems = Vec::new();
    for found in manifest::crates() {
        let code = |directories: &[&str]| -> String {
            let within = directories.iter().map(|directory| format!("{}/{directory}/", found.directory));
            let within: Vec<String> = within.collect();
            let build = format!("{}/build.rs", found.directory);
            let is_within = |path: &str| path == build || within.iter().any(|directory| path.starts_with(directory));
            let of_crate = sources.iter().filter(|file| is_within(&file.path));
            of_crate.map(|file| code::only_code(&file.text)).collect()
        };
        // Where the whole crate is for tests, its test programs count.
        let production = if found.name == "slipway-e2e" { code(&["src", "tests"]) } else { code(&["src"]) };
        let tests = code(&["src", "tests", "examples"]);
        let unused = |names: &[String], code: &str| -> Vec<String> {
            names.iter().filter(|name| !code::has_word(code, &name.replace('-', "_"))).cloned().collect()
        };
        let listed =
            unused(&found.dependencies, &production).into_iter().chain(unused(&found.dev_dependencies, &tests));
        problems.extend(listed.map(|name| format!("{}: {name} is listed and not used", found.manifest())));
        let twice = found.dev_dependencies.iter().filter(|name| found.dependencies.contains(name));
        problems.extend(twice.map(|name| format!("{}: {name} is listed twice", found.manifest())));
    }
    report("what is in Cargo.toml is used", problems);
}

#[test]
fn every_workspace_dependency_has_a_user() {
    let root = std::fs::read_to_string(tree::root().join("Cargo.toml")).expect("the workspace has a manifest");
    let section = root.split("[workspace.dependencies]").nth(1).expect("it lists dependencies");
    let section = section.split("\n[").next().unwrap_or_default();
    let crates = manifest::crates();
    let names =
        section.lines().filter(|line| !line.trim_start().starts_with('#')).filter_map(|line| line.split_once('='));
    let foreign = names.map(|(name, _)| name.trim()).filter(|name| !name.starts_with("slipway-"));
    let unused = foreign.filter(|name| {
        let is_it = |listed: &String| listed == name;
        !crates.iter().any(|found| found.dependencies.iter().chain(&found.dev_dependencies).any(is_it))
    });
    report("every dependency of the workspace has a user", unused.map(str::to_owned).collect());
}
