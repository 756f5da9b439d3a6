//! Pages that lead somewhere.

use crate::{manifest, report, tree};

#[test]
fn links_resolve() {
    let mut problems = Vec::new();
    for page in tree::files(".md") {
        let directory = tree::root().join(&page.path).parent().expect("a page lies in a directory").to_path_buf();
        for link in links(&page.text) {
            let target = link.split('#').next().unwrap_or_default();
            let is_elsewhere = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            if !is_elsewhere && !directory.join(target).exists() {
                problems.push(format!("{}: {link}", page.path));
            }
        }
    }
    report("every relative link of a page leads to a file", problems);
}

#[test]
fn every_crate_is_on_the_map() {
    let map = std::fs::read_to_string(tree::root().join("ARCHITECTURE.md")).expect("there is a map");
    let named: Vec<&str> = map.split('`').skip(1).step_by(2).collect();
    let missing = manifest::crates().into_iter().filter(|found| {
        // Below `shared/` the map names a row of crates by their last part.
        let last = found.directory.strip_prefix("shared/").unwrap_or(&found.directory);
        !named.iter().any(|name| *name == found.directory || *name == last)
    });
    report("ARCHITECTURE.md names every crate", missing.map(|found| found.directory).collect());
}

/// Files and directories that pages name between backticks, as far as they look like paths of this repository.
#[test]
fn places_that_the_map_names_exist() {
    let map = std::fs::read_to_string(tree::root().join("ARCHITECTURE.md")).expect("there is a map");
    let roots = ["shared/", "coordinator/", "worker/", "cli/", "e2e/", "docs/", "scripts/", "examples/"];
    let named = map.split('`').skip(1).step_by(2).filter(|name| roots.iter().any(|root| name.starts_with(root)));
    let missing = named.filter(|name| !tree::root().join(name).exists());
    report("every place that ARCHITECTURE.md names exists", missing.map(str::to_owned).collect());
}

/// Targets of `[text](target)`, outside of code.
fn links(page: &str) -> Vec<String> {
    let mut in_code = false;
    let mut links = Vec::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let text: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        links.extend(targets.map(str::to_owned));
    }
    links
}

#[test]
fn links_are_found() {
    assert_eq!(links("see [a](b.md#c) and [`x`](y)\n```\n[no](no)\n```\n"), ["b.md#c", "y"]);
}
