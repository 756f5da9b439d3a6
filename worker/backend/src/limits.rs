//! Limits of what one process may use.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// Kinds of limits of a process, as `ulimit` and Buildah name them.
const KINDS: [(&str, Resource); 15] = [
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

/// Numbers of descriptors that scripts must be able to use: their marker's is high, so that it is no one else's.
const FEWEST_FILES: u64 = crate::script::Marker::DESCRIPTOR as u64 + 1;

/// What one process may use of something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProcessLimit {
    kind: String,
    soft: Option<u64>,
    hard: Option<u64>,
}

impl ProcessLimit {
    /// Limits as `KIND:SOFT[:HARD]`, separated by commas; `-1` and `unlimited` are none, and `=` may stand for the first
    /// colon.
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(Self::parse).collect()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (kind, values) = text.split_once([':', '=']).ok_or_else(|| format!("`{text}` is not KIND:SOFT[:HARD]"))?;
        if !KINDS.iter().any(|(known, _)| *known == kind) {
            let known: Vec<&str> = KINDS.iter().map(|(known, _)| *known).collect();
            return Err(format!("`{kind}` in `{text}` is none of: {}", known.join(", ")));
        }
        let number = |value: &str| match value {
            "-1" | "unlimited" => Ok(None),
            value => value.parse().map(Some).map_err(|_| format!("`{value}` in `{text}` is no number")),
        };
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let (soft, hard) = (number(soft)?, number(hard)?);
        if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
            return Err(format!("in `{text}` the first limit is above the second, which bounds it"));
        }
        if kind == "nofile" && soft.is_some_and(|soft| soft < FEWEST_FILES) {
            return Err(format!("`{text}` is too few: the scripts of stages need {FEWEST_FILES} open files"));
        }
        Ok(Self { kind: kind.to_owned(), soft, hard })
    }

    /// The limits of this process, of every kind.
    pub fn of_this_process() -> Vec<Self> {
        let own = |(kind, resource): &(&str, Resource)| {
            let Rlimit { current, maximum } = getrlimit(*resource);
            Self { kind: (*kind).to_owned(), soft: current, hard: maximum }
        };
        KINDS.iter().map(own).collect()
    }

    /// What is limited.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What a process begins with; `None` = no limit.
    pub fn soft(&self) -> Option<u64> {
        self.soft
    }

    /// What it may give itself.
    pub fn hard(&self) -> Option<u64> {
        self.hard
    }

    /// Sets it for this process and those that it starts.
    ///
    /// # Errors
    /// When this process may not.
    pub fn set(&self) -> io::Result<()> {
        let Some((kind, resource)) = KINDS.iter().find(|(kind, _)| *kind == self.kind) else { return Ok(()) };
        setrlimit(*resource, Rlimit { current: self.soft, maximum: self.hard }).map_err(|error| {
            let error = io::Error::from(error);
            io::Error::new(
                error.kind(),
                format!("{kind}: {error}; a limit above this process's own needs CAP_SYS_RESOURCE"),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_or_refused() {
        let limit = |kind: &str, soft, hard| ProcessLimit { kind: kind.to_owned(), soft, hard };
        assert_eq!(
            ProcessLimit::parse_all("nofile:1024:2048, core=0,,memlock:-1:unlimited").expect("limits"),
            [limit("nofile", Some(1024), Some(2048)), limit("core", Some(0), Some(0)), limit("memlock", None, None)]
        );
        assert_eq!(ProcessLimit::parse_all("").expect("none"), []);
        for (text, why) in [
            ("nofile", "KIND:SOFT"),
            ("files:1", "`files` in `files:1` is none of: core, cpu"),
            ("nofile:100", "need 252 open files"),
            ("core:x", "`x` in `core:x` is no number"),
            ("core:2:1", "above"),
            ("core:-1:1", "above"),
        ] {
            let refused = ProcessLimit::parse_all(text).expect_err(text);
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}
