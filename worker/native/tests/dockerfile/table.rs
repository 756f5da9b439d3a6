//! Cases, as they are written.
//!
//! ```text
//! === KIND NAME [FLAG…]
//! lines of a Dockerfile
//! ---
//! what comes out, where the table itself says it
//! ```
//!
//! Kinds: `tree` and `config` are stages of one Dockerfile of the whole table, `FROM scratch` unless they say otherwise
//! (`AS @` names them); their files, or their configuration, are compared. `alone` is a Dockerfile of its own, with files
//! and configuration; `fail` is one that must fail; `ignore` is a `.dockerignore`, and the context that it leaves.
//! Flags: `newer` (judged by a newer BuildKit), `classic-differs`, `open` (known to differ), `arg:NAME=VALUE`, `target:NAME`. Lines before the first
//! case stand at the head of the table's Dockerfile; those that begin with `##` nowhere.

use std::{collections::BTreeMap, fs, path::PathBuf};

use crate::judge::Answer;

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Tree,
    Config,
    Alone,
    Fail,
    Ignore,
}

/// One case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    flags: Vec<String>,
    /// The lines of its Dockerfile, or of its `.dockerignore`.
    pub(crate) text: String,
    pub(crate) expected: Vec<String>,
}

impl Case {
    pub(crate) fn is_newer(&self) -> bool {
        self.has("newer")
    }

    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|own| own == flag)
    }

    fn values<'a>(&'a self, flag: &'a str) -> impl Iterator<Item = &'a str> {
        self.flags.iter().filter_map(move |own| own.strip_prefix(flag))
    }

    /// Build arguments.
    pub(crate) fn args(&self) -> BTreeMap<String, String> {
        let pairs = self.values("arg:").filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The stage that is built of a Dockerfile of its own.
    pub(crate) fn target(&self) -> Option<String> {
        self.values("target:").next().map(str::to_owned)
    }

    /// As a stage of the table's Dockerfile.
    fn stage(&self) -> String {
        if self.text.lines().any(|line| line.contains(" AS @")) {
            return self.text.replace(" AS @", &format!(" AS {}", self.name));
        }
        format!("FROM scratch AS {}\n{}", self.name, self.text)
    }
}

/// A file of cases.
pub(crate) struct Table {
    path: PathBuf,
    head: String,
    pub(crate) cases: Vec<Case>,
}

impl Table {
    pub(crate) fn read(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/dockerfile/cases").join(format!("{name}.txt"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (mut head, mut cases): (String, Vec<Case>) = (String::new(), Vec::new());
        let mut in_expected = false;
        for line in text.lines().filter(|line| !line.starts_with("##")) {
            if let Some(title) = line.strip_prefix("=== ") {
                cases.push(case(title));
                in_expected = false;
            } else if line == "---" {
                in_expected = true;
            } else if let Some(case) = cases.last_mut() {
                if in_expected {
                    case.expected.push(line.to_owned());
                } else {
                    case.text.push_str(line);
                    case.text.push('\n');
                }
            } else {
                head.push_str(line);
                head.push('\n');
            }
        }
        let mut names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        names.sort_unstable();
        names.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1], "a name stands twice"));
        Self { path, head, cases }
    }

    /// The Dockerfile of all `tree` and `config` cases, with a last stage of all files.
    pub(crate) fn together(&self, newer: bool) -> String {
        let mut text = self.head.clone();
        let own: Vec<&Case> = self.together_cases(newer).collect();
        own.iter().for_each(|case| text.push_str(&case.stage()));
        text.push_str("FROM scratch AS all\n");
        for case in own.iter().filter(|case| case.kind == Kind::Tree) {
            text.push_str(&format!("COPY --from={0} / /{0}/\n", case.name));
        }
        text
    }

    pub(crate) fn together_cases(&self, newer: bool) -> impl Iterator<Item = &Case> {
        let is_stage = move |case: &&Case| matches!(case.kind, Kind::Tree | Kind::Config) && case.is_newer() == newer;
        self.cases.iter().filter(is_stage)
    }

    /// The Dockerfile that a case is built of, and the stage.
    pub(crate) fn build(&self, case: &Case) -> (String, Option<String>) {
        match case.kind {
            Kind::Tree | Kind::Config => (self.together(case.is_newer()), Some(case.name.clone())),
            Kind::Alone | Kind::Fail => (case.text.clone(), case.target()),
            Kind::Ignore => ("FROM scratch\nCOPY . /\n".to_owned(), None),
        }
    }

    /// Writes the table with other expectations.
    pub(crate) fn bless(&self, answers: &[Option<Answer>]) {
        let text = fs::read_to_string(&self.path).expect("a table");
        let mut lines = Vec::new();
        let mut at: Option<usize> = None;
        let mut in_expected = false;
        let close = |at: Option<usize>, lines: &mut Vec<String>| {
            if let Some(Some(Answer::Made(made))) = at.and_then(|at| answers.get(at)) {
                lines.push("---".to_owned());
                lines.extend(made.iter().cloned());
            }
        };
        for line in text.lines() {
            if line.starts_with("=== ") {
                close(at, &mut lines);
                at = Some(at.map_or(0, |at| at + 1));
                in_expected = false;
            } else if line == "---" {
                in_expected = true;
            }
            if !in_expected {
                lines.push(line.to_owned());
            }
        }
        close(at, &mut lines);
        fs::write(&self.path, lines.join("\n") + "\n").expect("a table");
    }
}

fn case(title: &str) -> Case {
    let mut words = title.split_whitespace();
    let (kind, name) = (words.next().expect("a kind"), words.next().expect("a name"));
    let kind = match kind {
        "tree" => Kind::Tree,
        "config" => Kind::Config,
        "alone" => Kind::Alone,
        "fail" => Kind::Fail,
        "ignore" => Kind::Ignore,
        other => panic!("`{other}` is no kind of case"),
    };
    let flags = words.map(str::to_owned).collect();
    Case { kind, name: name.to_owned(), flags, text: String::new(), expected: Vec::new() }
}
