//! Requirements that name the tests which show them.

use std::collections::BTreeSet;

use crate::{report, tree};

/// Where they stand.
const PAGE: &str = "docs/reference/requirements.md";
/// How many there are.
const COUNT: usize = 28;

#[test]
fn every_requirement_names_tests_that_exist() {
    let page = std::fs::read_to_string(tree::root().join(PAGE)).expect("there is a page of requirements");
    let tests: BTreeSet<String> = tree::files(".rs").iter().flat_map(|file| names(&file.text)).collect();
    let mut problems = Vec::new();
    for number in 1..=COUNT {
        let begins = format!("| R{number} |");
        let mut rows = page.lines().filter(|line| line.starts_with(&begins));
        let (Some(row), None) = (rows.next(), rows.next()) else {
            problems.push(format!("R{number} has not one row"));
            continue;
        };
        let shown = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        let named: Vec<&str> = shown.split('`').skip(1).step_by(2).filter(|name| name.contains('_')).collect();
        if named.is_empty() && !shown.contains("*waits for*") {
            problems.push(format!("R{number} is shown by nothing, and waits for nothing"));
        }
        let missing = named.into_iter().filter(|name| !tests.contains(*name));
        problems.extend(missing.map(|name| format!("R{number}: there is no test `{name}`")));
    }
    report("every requirement names tests that exist, or says what it waits for", problems);
}

/// The names of the tests of a file.
fn names(text: &str) -> Vec<String> {
    let is_test = |attribute: &str| attribute.starts_with("#[test]") || attribute.starts_with("#[tokio::test");
    let mut names = Vec::new();
    let mut of_test = false;
    for line in text.lines().map(str::trim_start) {
        if is_test(line) {
            of_test = true;
        } else if let Some(rest) = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ").filter(|_| of_test) {
            names.extend(rest.split('(').next().map(str::to_owned));
            of_test = false;
        }
    }
    names
}

#[test]
fn names_of_tests_are_found() {
    let text = "#[test]\nfn one() {}\nfn two() {}\n    #[tokio::test(start_paused = true)]\n    #[cfg(unix)]\n    async fn three() {}\n";
    assert_eq!(names(text), ["one", "three"]);
}
