//! What sources open with, and what they never say.

use crate::{code, report, tree};

#[test]
fn every_file_says_what_it_is() {
    let silent = tree::files(".rs").into_iter().filter(|file| {
        // The tests of a file stand beside it and need no introduction.
        !file.path.ends_with("/tests.rs") && !file.text.starts_with("//!")
    });
    report("a Rust file opens with `//!`", silent.map(|file| file.path).collect());
}

#[test]
fn nothing_is_put_off() {
    let mut problems = Vec::new();
    for file in tree::files(".rs").into_iter().filter(|file| !file.is_tidy()) {
        let put_off = ["TODO", "FIXME", "XXX", "HACK"].into_iter().filter(|word| code::has_word(&file.text, word));
        let code = code::only_code(&file.text);
        let unfinished = ["todo!", "unimplemented!"].into_iter().filter(|word| code.contains(word));
        problems.extend(put_off.chain(unfinished).map(|word| format!("{}: `{word}`", file.path)));
        let allowed = code.split("[allow(").skip(1).filter_map(|rest| rest.split(")]").next());
        let silent = allowed.filter(|allowed| !code::has_word(allowed, "reason"));
        problems.extend(silent.map(|allowed| format!("{}: allows {} without a reason", file.path, allowed.trim())));
    }
    report("nothing is put off, unfinished or allowed in silence", problems);
}

#[test]
fn production_code_does_not_unwrap() {
    let mut problems = Vec::new();
    for file in tree::files(".rs").into_iter().filter(|file| !file.is_test()) {
        let code = code::production(&file.text);
        let lines = code.lines().enumerate().filter(|(_, line)| line.contains(".unwrap()"));
        problems.extend(lines.map(|(at, _)| format!("{}:{}", file.path, at + 1)));
    }
    report("`.unwrap()` is for tests; `.expect(\"why this cannot happen\")` when it is proven", problems);
}

/// The place of the checkout is nobody else's business.
#[test]
fn no_file_names_the_place_of_the_checkout() {
    let root = tree::root();
    let root = root.to_string_lossy();
    let mut problems = Vec::new();
    for path in tree::paths() {
        let bytes = std::fs::read(tree::root().join(&path)).expect("a listed file can be read");
        if String::from_utf8_lossy(&bytes).contains(root.as_ref()) {
            problems.push(format!("{path}: {root}"));
        }
    }
    report("no file names the place of a checkout", problems);
}

/// A number of an issue tells a reader nothing.
#[test]
fn prose_names_no_issue_numbers() {
    let mut problems = Vec::new();
    for file in tree::files(".rs").into_iter().chain(tree::files(".md")).filter(|file| !file.is_tidy()) {
        let is_prose = |line: &&str| file.path.ends_with(".md") || line.trim_start().starts_with("//");
        let named = file.text.lines().filter(is_prose).filter(|line| names_an_issue(line));
        problems.extend(named.map(|line| format!("{}: {}", file.path, line.trim())));
    }
    report("prose says why; it names no issue numbers", problems);
}

fn names_an_issue(line: &str) -> bool {
    // What stands between backticks is quoted.
    let said: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" ").to_lowercase();
    let number_follows = |start: &str| {
        said.match_indices(start).any(|(at, _)| said[at + start.len()..].starts_with(|c: char| c.is_ascii_digit()))
    };
    [" #", "(#", "issue ", "issue#", "issues/", "pull/"].into_iter().any(number_follows)
}

#[test]
fn issue_numbers_are_seen() {
    for (line, expected) in [
        ("// see #12", true),
        ("// as issue 7 says", true),
        ("// stages are named `#0`", false),
        ("// an issue of 7 days", false),
    ] {
        assert_eq!(names_an_issue(line), expected, "{line}");
    }
}
