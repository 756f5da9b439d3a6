//! Altered configurations for as long as one likes: `scripts/fuzz yaml SECONDS [SEED]`.
//!
//! An input is made of the texts that the tests hold: lines and words are moved, doubled, cut, indented and replaced by
//! what means something to YAML. Whatever comes of it is read or refused: nothing panics, every problem stands inside of the
//! text, and the documents that the text was split into are the text.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    Giterminism, Problems,
    documents::{normalise, split},
    giterminism, graph_dot, graph_json, graph_yaml, includes, parse, select_documents,
};

/// What means something to YAML or to the reader.
const WORDS: [&str; 44] = [
    "~",
    "null",
    "yes",
    "off",
    "0755",
    "1_000",
    "1e999",
    ".inf",
    "-",
    "- ",
    ": ",
    ":",
    "&a ",
    "*a",
    "&a [*a]",
    "<<: *a\n",
    "<<:",
    "|",
    "|2-",
    ">+",
    ">-\n",
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "#",
    " #",
    "\t",
    "\r\n",
    "\r",
    "\u{feff}",
    "---\n",
    "--- # x\n",
    "...\n",
    "%YAML 1.1\n",
    "!!str ",
    "? ",
    "@",
    "`",
    "\\x",
    "\u{2028}",
];
/// The longest input, in bytes.
const LONGEST: usize = 1 << 14;

/// xorshift: the same numbers for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 20).unwrap_or(0) % end.max(1)
    }

    fn of<'i, T: ?Sized>(&mut self, items: &[&'i T]) -> &'i T {
        items[self.below(items.len())]
    }
}

/// Where the texts of a family of cases begin.
fn beginning(family: &str) -> &'static str {
    match family {
        "includes" | "includes_lock" => "includes:\n",
        "giterminism" => "giterminismConfigVersion: 1\n",
        _ => "configVersion: 1\nproject: p\n---\n",
    }
}

/// The texts of the tests: the cases of wrong configurations, and the strings of the other tests.
fn seeds() -> Vec<String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut seeds = Vec::new();
    for entry in fs::read_dir(tests.join("malformed")).expect("the cases").flatten() {
        let text = fs::read_to_string(entry.path()).expect("a file of cases");
        let path = entry.path();
        let before = beginning(path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default());
        let cases = text.split("#### ").skip(1).filter_map(|case| case.split_once('\n')?.1.split_once("====\n"));
        seeds.extend(cases.map(|(input, _)| format!("{before}{input}")));
    }
    for name in ["valid.rs", "handed_over.rs", "giterminism.rs", "robustness.rs", "yaml_edges.rs"] {
        let text = fs::read_to_string(tests.join(name)).expect(name);
        let strings = text.split('"').skip(1).step_by(2).filter(|string| string.len() > 20);
        seeds.extend(strings.map(|string| string.replace("\\n\\\n", "\n").replace("\\n", "\n")));
    }
    seeds
}

/// One change of the lines of a text.
fn change_lines(chance: &mut Chance, lines: &mut Vec<String>, other: &str) {
    if lines.is_empty() {
        lines.push(String::new());
    }
    let at = chance.below(lines.len());
    match chance.below(8) {
        0 => drop(lines.remove(at)),
        1 => {
            let line = lines[at].clone();
            let to = chance.below(lines.len() + 1);
            lines.insert(to, line);
        }
        2 => lines[at].insert_str(0, &" ".repeat(1 + chance.below(4))),
        3 => lines[at] = lines[at].trim_start_matches(' ').to_owned(),
        4 => {
            let to = chance.below(lines.len());
            lines.swap(at, to);
        }
        5 => lines[at].push_str(chance.of(&WORDS)),
        6 => lines.insert(at, chance.of(&WORDS).to_owned()),
        _ => {
            let theirs: Vec<&str> = other.lines().collect();
            let start = chance.below(theirs.len());
            let end = (start + 1 + chance.below(6)).min(theirs.len());
            let part: Vec<String> = theirs[start..end].iter().map(|line| (*line).to_owned()).collect();
            lines.splice(at..at, part);
        }
    }
}

/// One change of the characters of a text.
fn change_characters(chance: &mut Chance, text: &mut String) {
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let first = chance.below(places.len());
    let last = (first + chance.below(4)).min(places.len() - 1);
    match chance.below(3) {
        0 => text.replace_range(places[first]..places[last], ""),
        1 => text.insert_str(places[first], chance.of(&WORDS)),
        _ => text.replace_range(places[first]..places[last], chance.of(&WORDS)),
    }
}

fn input(chance: &mut Chance, seeds: &[String]) -> String {
    let seeds: Vec<&str> = seeds.iter().map(String::as_str).collect();
    let mut lines: Vec<String> = chance.of(&seeds).lines().map(str::to_owned).collect();
    for _ in 0..chance.below(5) {
        let other = chance.of(&seeds);
        change_lines(chance, &mut lines, other);
    }
    let mut text = lines.join("\n") + "\n";
    for _ in 0..chance.below(6) {
        change_characters(chance, &mut text);
    }
    let end = (0..=LONGEST.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
    text
}

/// Reads `text` in every way there is.
fn hold(text: &str) {
    let normal = normalise(text);
    let lines: Vec<&str> = normal.split_inclusive('\n').collect();
    for document in split(&normal) {
        let first = usize::try_from(document.first_line).expect("few lines") - 1;
        let theirs: Vec<&str> = document.text.split_inclusive('\n').collect();
        assert_eq!(theirs[..], lines[first..first + theirs.len()], "a document is a part of the text");
    }
    match parse("werf.yaml", text) {
        Ok(config) => {
            let images: Vec<_> = config.images.iter().collect();
            let _ = (graph_yaml(&images), graph_json(&images), graph_dot(&images));
            let again = parse("werf.yaml", &normal).expect("what was read is read again");
            assert_eq!(again, config, "line breaks mean nothing");
            let all = select_documents(&config, text, &[]).expect("no pattern can be wrong");
            assert_eq!(all, text);
            drop(Giterminism::default().check(&config, "werf.yaml", text, "g.yaml"));
        }
        Err(problems) => inside(&problems, &normal),
    }
    let others = [
        giterminism::parse("g.yaml", text).err(),
        includes::parse("i.yaml", text).err(),
        includes::parse_lock("i.lock", text).err(),
    ];
    others.iter().flatten().for_each(|problems| inside(problems, &normal));
}

/// Every problem stands inside of the text and can be shown.
fn inside(problems: &Problems, text: &str) {
    assert!(!problems.list.is_empty() && !problems.to_string().is_empty());
    let lines = u32::try_from(text.split('\n').count()).expect("few lines");
    for position in problems.list.iter().filter_map(|problem| problem.position) {
        assert!((1..=lines + 1).contains(&position.line) && position.column >= 1, "{position:?}");
    }
}

/// A number that whoever starts the run may give.
#[expect(clippy::disallowed_methods, reason = "whoever starts the run says how long")]
fn given(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
#[ignore = "runs as long as scripts/fuzz says"]
#[expect(clippy::disallowed_methods, reason = "a run ends by the clock")]
fn yaml() {
    let seconds = given("SLIPWAY_TEST_FUZZ_SECONDS", 5);
    let seed = given("SLIPWAY_TEST_FUZZ_SEED", 0x5eed).max(1);
    let seeds = seeds();
    let mut chance = Chance(seed);
    let start = Instant::now();
    let (mut runs, mut longest) = (0_u64, Duration::ZERO);
    while start.elapsed() < Duration::from_secs(seconds) {
        let text = input(&mut chance, &seeds);
        let before = Instant::now();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| hold(&text))) {
            eprintln!("seed {seed}, input {runs}:\n{text:?}");
            resume_unwind(panic);
        }
        longest = longest.max(before.elapsed());
        runs += 1;
    }
    assert!(runs > 0);
    eprintln!("seed {seed}: {runs} inputs of {} texts in {seconds} s, the longest took {longest:?}", seeds.len());
}
