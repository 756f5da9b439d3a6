//! The pure floor and the scheduler name nothing of the outside world.

use crate::{code, report, tree, walls};

/// Modules of `std` that are the outside world.
const MODULES: [&str; 5] = ["fs", "env", "net", "process", "thread"];
/// Words that tell time.
const CLOCKS: [&str; 2] = ["Instant", "SystemTime"];
/// A pure module of a crate that is not.
const PURE_MODULE: &str = "coordinator/src/scheduler";
/// Parts of those modules that touch nothing: what the program was compiled for, addresses as text, and threads that end
/// with the call that started them (for a deeper stack).
const VALUES: [&str; 6] = [
    "std::env::consts",
    "std::net::IpAddr",
    "std::net::Ipv4Addr",
    "std::thread::scope",
    "std::thread::Builder",
    "std::thread::ScopedJoinHandle",
];

#[test]
fn pure_code_names_nothing_of_the_outside_world() {
    let crates = walls::pure().into_iter().map(|found| format!("{}/src/", found.directory));
    let pure: Vec<String> = crates.chain([PURE_MODULE.to_owned()]).collect();
    let mut problems = Vec::new();
    for file in tree::files(".rs") {
        if file.is_test() || !pure.iter().any(|directory| file.path.starts_with(directory)) {
            continue;
        }
        let code = VALUES.into_iter().fold(code::production(&file.text), |code, value| code.replace(value, ""));
        problems.extend(outside(&code).map(|word| format!("{}: {word}", file.path)));
    }
    report("no file system, environment, network, process, thread or clock in pure code", problems);
}

fn outside(code: &str) -> impl Iterator<Item = String> + '_ {
    let imported = std_imports(code);
    let modules = MODULES.into_iter().filter(move |module| {
        code::has_word(code, &format!("std::{module}")) || imported.iter().any(|name| name == module)
    });
    let clocks = CLOCKS.into_iter().filter(|clock| code::has_word(code, clock));
    let runtime = ["tokio"].into_iter().filter(|name| code::has_word(code, name));
    modules.map(|module| format!("std::{module}")).chain(clocks.chain(runtime).map(str::to_owned))
}

/// Modules that are imported in a group: `use std::{fs, …}`.
fn std_imports(code: &str) -> Vec<String> {
    let groups = code.match_indices("std::{").filter_map(|(at, _)| {
        let group = &code[at + "std::".len()..];
        Some(&group[1..code::block(group)? - 1])
    });
    let mut names = Vec::new();
    for group in groups {
        let mut depth = 0_usize;
        let outer = |c: &char| {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0
        };
        let flat: String = group.chars().filter(outer).collect();
        names.extend(flat.split(',').filter_map(|item| item.trim().split("::").next().map(str::to_owned)));
    }
    names
}

#[test]
fn grouped_imports_are_seen() {
    let found: Vec<String> = outside("use std::{collections::{BTreeMap, HashMap}, fs::File, fmt};").collect();
    assert_eq!(found, ["std::fs"]);
    assert_eq!(outside("use std::{fmt, io};").count(), 0);
}
