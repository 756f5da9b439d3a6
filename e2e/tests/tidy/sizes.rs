//! Files and functions stay small.

use crate::{outline, report, tree};

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 80;

#[test]
fn files_stay_small() {
    let long = tree::files(".rs").into_iter().filter_map(|file| {
        let lines = file.text.lines().count();
        (lines > FILE_LINES).then(|| format!("{}: {lines} lines; find the second noun in it", file.path))
    });
    report(&format!("no file has more than {FILE_LINES} lines"), long.collect());
}

#[test]
fn functions_stay_short() {
    let mut problems = Vec::new();
    for file in tree::files(".rs") {
        let long = outline::functions(&file.text).into_iter().filter(|function| function.lines > FUNCTION_LINES);
        problems.extend(long.map(|function| {
            format!("{}:{}: `{}` has {} lines", file.path, function.line, function.name, function.lines)
        }));
    }
    report(&format!("no function has more than {FUNCTION_LINES} lines"), problems);
}
