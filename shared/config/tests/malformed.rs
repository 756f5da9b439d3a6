//! Wrong configurations, each with its whole message: `malformed/*.txt`.
//!
//! A file has a title and then its cases: a line `#### NAME`, the wrong text, a line `====`, and what the user reads.
//! Before the text stand the lines of [`META`] (in `giterminism.txt` those of [`VERSION`], in `includes*.txt`
//! a line `includes:`), unless NAME begins with `!`.
//! `␉`, `␍` and `␀` stand for a tab, a carriage return and a NUL, `␃` for the end of a text that does not end in a line
//! break. `SLIPWAY_BLESS=1` writes the messages anew; then read every one of them: somebody who sees nothing else must
//! be able to mend the file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use slipway_config::{Giterminism, Problems, giterminism, includes, parse};

/// What comes before a text that is an image or several; it begins in line 4.
const META: &str = "configVersion: 1\nproject: p\n---\n";
/// What comes before a text of a giterminism configuration; it begins in line 2.
const VERSION: &str = "giterminismConfigVersion: 1\n";
const BLESS: &str = "SLIPWAY_BLESS";
/// Characters that are hard to see in a file, and what stands for them.
const SIGNS: [(char, char); 3] = [('␉', '\t'), ('␍', '\r'), ('␀', '\0')];

/// A wrong text and what a user reads of it.
struct Case {
    name: String,
    written: String,
    message: String,
}

impl Case {
    fn of(block: &str) -> Self {
        let (name, rest) = block.split_once('\n').expect("a name");
        let (written, message) = rest.split_once("====\n").unwrap_or_else(|| panic!("{name}: a line `====`"));
        Self { name: name.to_owned(), written: written.to_owned(), message: message.trim_end().to_owned() }
    }

    /// The whole text that is read.
    fn text(&self, before: &str) -> String {
        let body = match self.written.strip_suffix("␃\n") {
            Some(cut) => cut,
            None => &self.written,
        };
        let body: String = body
            .chars()
            .map(|c| SIGNS.iter().find(|(sign, _)| *sign == c).map_or(c, |(_, character)| *character))
            .collect();
        if self.name.starts_with('!') { body } else { format!("{before}{body}") }
    }
}

/// What is wrong with the text of a case; `None` = nothing, which is wrong as well.
fn problems_of(family: &str, case: &Case) -> Option<Problems> {
    match family {
        "giterminism" => giterminism::parse("werf-giterminism.yaml", &case.text(VERSION)).err(),
        "includes" => includes::parse("werf-includes.yaml", &case.text("includes:\n")).err(),
        "includes_lock" => includes::parse_lock("werf-includes.lock", &case.text("includes:\n")).err(),
        "outside" => {
            let text = case.text(META);
            let config = parse("werf.yaml", &text).unwrap_or_else(|problems| panic!("{}: {problems}", case.name));
            Giterminism::default().check(&config, "werf.yaml", &text, "werf-giterminism.yaml").err()
        }
        _ => parse("werf.yaml", &case.text(META)).err(),
    }
}

/// A message is complete: it says where, shows the line with a caret, and what to write.
fn is_complete(problems: &Problems, shown: &str) -> Result<(), String> {
    for problem in &problems.list {
        let hint = problem.hint.as_deref().unwrap_or_default();
        if hint.is_empty() {
            return Err(format!("`{}` has no hint", problem.message));
        }
        // What is missing from the whole file stands nowhere in it.
        if problem.position.is_some() && (problem.line.is_none() || !shown.contains('^')) {
            return Err(format!("`{}` shows no line", problem.message));
        }
    }
    Ok(())
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/malformed")
}

#[expect(clippy::disallowed_methods, reason = "whoever runs the tests asks for new messages by a variable")]
fn blesses() -> bool {
    std::env::var(BLESS).is_ok()
}

/// Holds the cases of `FAMILY.txt` against what is said today; answers with their number, and with what is wrong.
fn check(family: &str) -> (usize, Vec<String>) {
    let path = directory().join(format!("{family}.txt"));
    let old = fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    let mut blocks = old.split("#### ");
    let mut new = blocks.next().expect("a title").to_owned();
    let mut names = Vec::new();
    let mut wrong = Vec::new();
    for case in blocks.map(Case::of) {
        let Some(problems) = problems_of(family, &case) else {
            wrong.push(format!("{}: was accepted", case.name));
            new.push_str(&format!("#### {}\n{}====\n(accepted)\n\n", case.name, case.written));
            continue;
        };
        let shown = problems.to_string();
        let message: String =
            shown.chars().map(|c| SIGNS.iter().find(|(_, it)| *it == c).map_or(c, |(sign, _)| *sign)).collect();
        wrong.extend(is_complete(&problems, &shown).err().map(|why| format!("{}: {why}", case.name)));
        if message != case.message {
            wrong.push(format!("{}: expected\n{}\nbut it is said\n{message}", case.name, case.message));
        }
        new.push_str(&format!("#### {}\n{}====\n{message}\n\n", case.name, case.written));
        names.push(case.name);
    }
    if blesses() {
        fs::write(&path, format!("{}\n", new.trim_end())).expect("the messages can be written");
        wrong.retain(|line| !line.contains(": expected\n"));
    }
    let mut sorted = names.clone();
    sorted.sort();
    sorted.dedup();
    wrong.extend((sorted.len() != names.len()).then(|| "two cases have one name".to_owned()));
    (names.len(), wrong.into_iter().map(|line| format!("{family}.txt: {line}")).collect())
}

#[test]
fn fixture_64_wrong_dependencies() {
    let (count, wrong) = check("dependencies");
    assert!(wrong.is_empty(), "{BLESS}=1 writes the messages anew:\n{}", wrong.join("\n\n"));
    assert!(count >= 12, "{count} cases");
}

#[test]
fn fixture_65_every_message_is_the_agreed_one() {
    let (mut count, mut wrong) = (0, Vec::new());
    for entry in fs::read_dir(directory()).expect("the cases").flatten() {
        let path = entry.path();
        let (cases, found) = check(path.file_stem().and_then(|stem| stem.to_str()).expect("a name"));
        count += cases;
        wrong.extend(found);
    }
    assert!(wrong.is_empty(), "{BLESS}=1 writes the messages anew:\n{}", wrong.join("\n\n"));
    assert!(count >= 300, "{count} cases");
}

#[test]
fn no_secret_is_shown() {
    let texts = [
        "image: a\nfrom: b\nsecrets:\n- {value: s3cret}\n",
        "image: a\nfrom: b\nsecrets:\n- {id: x, value: s3cret, vaule: s3cret}\n",
        "image: a\nfrom: b\ngit:\n- {url: 'https://me:s3cret@h/a b', to: x}\n",
        "image: a\nfrom: b\ngit:\n- url: https://me:s3cret@h/a\n  to: x\n  basicAuth: {username: u, password: s3cret}\n",
    ];
    for text in texts {
        let problems = parse("werf.yaml", &format!("{META}{text}")).expect_err(text).to_string();
        assert!(!problems.contains("s3cret"), "{problems}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let text = format!("{META}image: a\nfrm: b\n---\nimage: c\nfromImage: d\nshell: 5\n");
    let problems = parse("werf.yaml", &text).expect_err("wrong");
    let places: Vec<u32> = problems.list.iter().filter_map(|problem| Some(problem.position?.line)).collect();
    assert_eq!(places, [4, 5, 8, 9]);
    assert!(problems.to_string().ends_with("\n4 problems"), "{problems}");
}
