//! What a cleanup of one part of the host came to, as it is shown.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;

use super::{
    usage::{Amount, size},
    volume::{Allowed, Volume},
};
use crate::flags::host::Limit;

/// The account of one part of the host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Account {
    /// Which part.
    part: &'static str,
    /// Where it is.
    place: String,
    /// How full its volume was before.
    volume: Option<Volume>,
    /// What went, by kind.
    removed: BTreeMap<&'static str, Amount>,
    /// What stays, by why.
    stays: BTreeMap<&'static str, Amount>,
    /// What else is to be said.
    notes: Vec<String>,
    /// How full the volume may be.
    #[serde(skip)]
    allowed: Option<Allowed>,
}

impl Account {
    pub(super) fn new(part: &'static str, place: impl Into<String>) -> Self {
        let (removed, stays) = (BTreeMap::new(), BTreeMap::new());
        Self { part, place: place.into(), volume: None, removed, stays, notes: Vec::new(), allowed: None }
    }

    /// Says how full the volume is, and may be.
    pub(super) fn measured(mut self, volume: Option<Volume>, allowed: Allowed) -> Self {
        (self.volume, self.allowed) = (volume, Some(allowed));
        self
    }

    /// Something went, or would go.
    pub(super) fn gone(&mut self, kind: &'static str, bytes: u64) {
        self.removed.entry(kind).or_default().add(bytes);
    }

    /// Something stays.
    pub(super) fn stays(&mut self, why: &'static str, bytes: u64) {
        self.stays.entry(why).or_default().add(bytes);
    }

    /// Something is to be said.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Whether nothing is to be said.
    pub(super) fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.stays.is_empty() && self.notes.is_empty()
    }

    /// As text.
    pub(super) fn text(&self, dry_run: bool) -> String {
        let mut text = format!("{}, {}", self.part, self.place);
        if let Some((volume, allowed)) = self.volume.zip(self.allowed) {
            let _ = write!(text, ": its volume is {}% full", volume.percent());
            let _ = match allowed.usage {
                Limit::Share(percent) => write!(text, ", {percent}% are allowed"),
                Limit::Bytes(bytes) => write!(text, ", {} are allowed", size(bytes)),
            };
        }
        text.push('\n');
        let removed = if dry_run { "would remove" } else { "removed" };
        let lines = [(removed, &self.removed), ("stays", &self.stays)];
        for (word, (what, amount)) in lines.into_iter().flat_map(|(word, all)| all.iter().map(move |one| (word, one))) {
            let _ = writeln!(text, "  {word}: {} ({}) {what}", amount.number, size(amount.bytes));
        }
        if self.removed.is_empty() {
            let _ = writeln!(text, "  {removed}: nothing");
        }
        for note in &self.notes {
            let _ = writeln!(text, "  {note}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_says_what_went_and_why_the_rest_stays() {
        let allowed = Allowed { usage: Limit::Share(70), margin: Limit::Share(5) };
        let mut account = Account::new("local cache", "/h").measured(Some(Volume { total: 100, used: 71 }), allowed);
        assert!(account.is_empty());
        account.gone("copies of git repositories", 1024);
        account.gone("copies of git repositories", 1024);
        account.stays("used by builds that run", 10);
        account.note("that is all");
        let expected = "\
local cache, /h: its volume is 71% full, 70% are allowed
  removed: 2 (2.0 KiB) copies of git repositories
  stays: 1 (10 B) used by builds that run
  that is all
";
        assert_eq!(account.text(false), expected);
        assert!(account.text(true).contains("  would remove: 2 "));
        assert_eq!(Account::new("engine", "/d").text(false), "engine, /d\n  removed: nothing\n");
    }
}
