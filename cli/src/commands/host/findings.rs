//! What was found of a host, as it is shown.

use std::fmt::Write as _;

use serde::Serialize;
use slipway_native::check::{Finding, State};

use super::Report;

/// How the backends are told to build that are tried when nothing is said.
pub(super) const NATIVE: &str = "--backend native";
pub(super) const DOCKER: &str = "--backend docker";

/// A backend, and whether it can build here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Backend {
    /// What it is called.
    pub(super) name: &'static str,
    /// Whether it can.
    pub(super) works: bool,
    /// How that was found, or why not.
    pub(super) found: String,
    /// How builds are told to use it.
    pub(super) by: &'static str,
}

impl Backend {
    pub(super) fn new((name, by): (&'static str, &'static str), tried: Result<String, String>) -> Self {
        match tried {
            Ok(found) => Self { name, works: true, found, by },
            Err(found) => Self { name, works: false, found, by },
        }
    }
}

/// All that was found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Checked {
    /// Part by part.
    pub(super) findings: Vec<Finding>,
    /// What comes of it.
    pub(super) backends: Vec<Backend>,
}

impl Report for Checked {
    fn text(&self) -> String {
        let names = self.findings.iter().map(|finding| finding.name.len());
        let width = names.chain(self.backends.iter().map(|backend| backend.name.len())).max().unwrap_or(0);
        let mut text = String::new();
        let mut line = |state: &str, name: &str, found: &str| {
            // A message of several lines stays below its beginning.
            let found = found.replace('\n', &format!("\n{:width$}", "", width = width + 12));
            let _ = writeln!(text, "{state:8}  {name:width$}  {found}");
        };
        for finding in &self.findings {
            let needed = match finding.needed_by.as_slice() {
                needed @ [_, ..] if finding.state == State::Fails => format!(" (needed by {})", needed.join(", ")),
                _ => String::new(),
            };
            line(word(finding.state), &finding.name, &format!("{}{needed}", finding.found));
            if let Some(mend) = &finding.mend {
                line("", "", &format!("\u{2192} {mend}"));
            }
        }
        // As builds choose.
        let usual = |by: &str| self.backends.iter().find(|backend| backend.works && backend.by == by);
        let usual = usual(NATIVE).or_else(|| usual(DOCKER));
        for backend in &self.backends {
            let when = if usual == Some(backend) { " and when nothing is said" } else { "" };
            match backend.works {
                true => line("can", backend.name, &format!("build, with {}{when}: {}", backend.by, backend.found)),
                false => line("cannot", backend.name, &format!("build, with {}: {}", backend.by, backend.found)),
            }
        }
        let trimmed: Vec<&str> = text.lines().map(str::trim_end).collect();
        format!("{}\n", trimmed.join("\n"))
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Works => "works",
        State::Fails => "fails",
        State::Absent => "absent",
        State::Unneeded => "unneeded",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_followed_by_what_mends_it() {
        let finding = |name: &str, state, found: &str, mend: Option<&str>| Finding {
            name: name.to_owned(),
            state,
            found: found.to_owned(),
            needed_by: vec!["native-rootless"],
            mend: mend.map(str::to_owned),
        };
        let checked = Checked {
            findings: vec![
                finding("kernel", State::Works, "Linux 6.8", None),
                finding("user-namespaces", State::Fails, "make one: EPERM", Some("sysctl -w a=1")),
            ],
            backends: vec![
                Backend::new(("docker", DOCKER), Ok("it answers".to_owned())),
                Backend::new(("native-rootless", NATIVE), Err("one\ntwo".to_owned())),
            ],
        };
        let expected = "\
works     kernel           Linux 6.8
fails     user-namespaces  make one: EPERM (needed by native-rootless)
                           \u{2192} sysctl -w a=1
can       docker           build, with --backend docker and when nothing is said: it answers
cannot    native-rootless  build, with --backend native: one
                           two
";
        assert_eq!(checked.text(), expected);
        let json = serde_json::to_value(&checked).expect("JSON");
        assert_eq!(json["findings"][1]["state"], "fails");
        assert_eq!(json["findings"][1]["neededBy"][0], "native-rootless");
        assert_eq!(json["backends"][1]["works"], false);
    }
}
