//! What is kept on a host, and what went, as they are shown.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use serde::Serialize;
use slipway_layers::store::{Inventory, Reclaimed, Tally, size_of};

use super::Report;

/// How many, and how much.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub(super) struct Amount {
    pub(super) number: u64,
    pub(super) bytes: u64,
}

impl Amount {
    /// One more.
    pub(super) fn add(&mut self, bytes: u64) {
        self.number += 1;
        self.bytes += bytes;
    }
}

impl From<Tally> for Amount {
    fn from(tally: Tally) -> Self {
        Self { number: tally.number, bytes: tally.bytes }
    }
}

/// What is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    home: String,
    /// Most bytes that layers and what builds share may take.
    limit: u64,
    /// Bytes that are promised to what is being made.
    reserved: u64,
    layers: Amount,
    layers_in_use: Amount,
    /// Directories that builds share.
    shared: Amount,
    images: Amount,
    notes: Amount,
    stages: u64,
    broken_stages: u64,
    building: Amount,
    leftovers: Amount,
    /// Bytes of what else is there, by the name of its directory.
    others: BTreeMap<String, u64>,
}

impl Kept {
    /// What a home holds; `None` = it has no layers. Blocks.
    pub(super) fn new(home: &Path, limit: u64, inventory: Option<Inventory>) -> Self {
        let found = inventory.unwrap_or(Inventory { limit, ..Inventory::default() });
        let entries = fs::read_dir(home).into_iter().flatten().filter_map(Result::ok);
        let named = entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
        let others = named.filter(|(name, _)| name != "native").map(|(name, path)| (name, size_of(&path))).collect();
        Self {
            home: home.display().to_string(),
            limit: found.limit,
            reserved: found.reserved,
            layers: found.layers.into(),
            layers_in_use: found.used.into(),
            shared: found.shared.into(),
            images: found.images.into(),
            notes: found.notes.into(),
            stages: found.stages,
            broken_stages: found.broken,
            building: found.building.into(),
            leftovers: found.leftovers.into(),
            others,
        }
    }
}

impl Report for Kept {
    fn text(&self) -> String {
        let mut text = format!("{:24}  {:>8}  {:>10}\n", "KIND", "NUMBER", "SIZE");
        let mut line = |kind: &str, number: Option<u64>, bytes: Option<u64>| {
            let number = number.map(|number| number.to_string()).unwrap_or_default();
            let _ = writeln!(text, "{kind:24}  {number:>8}  {:>10}", bytes.map(size).unwrap_or_default());
        };
        let amounts = [
            ("layers", self.layers),
            ("  in use", self.layers_in_use),
            ("shared by builds", self.shared),
            ("images", self.images),
            ("notes of registries", self.notes),
            ("being built", self.building),
            ("left by dead builds", self.leftovers),
        ];
        for (kind, amount) in amounts {
            line(kind, Some(amount.number), Some(amount.bytes));
        }
        line("stages", Some(self.stages), None);
        line("  that lack a layer", Some(self.broken_stages), None);
        for (name, bytes) in &self.others {
            line(name, None, Some(*bytes));
        }
        let taken = size(self.layers.bytes + self.shared.bytes);
        let (limit, reserved) = (size(self.limit), size(self.reserved));
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        format!(
            "{}\n{}: layers and what builds share take {taken} of {limit}; {reserved} are promised to what is being made\n",
            lines.join("\n"),
            self.home
        )
    }
}

/// What went, or would go.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cleaned {
    store: String,
    dry_run: bool,
    layers: Amount,
    shared: Amount,
    leftovers: Amount,
    stages: u64,
    layers_in_use: Amount,
}

impl Cleaned {
    pub(super) fn new(store: &Path, reclaimed: Reclaimed, dry_run: bool) -> Self {
        Self {
            store: store.display().to_string(),
            dry_run,
            layers: reclaimed.layers.into(),
            shared: reclaimed.shared.into(),
            leftovers: reclaimed.leftovers.into(),
            stages: reclaimed.stages,
            layers_in_use: Amount::default(),
        }
    }

    /// With the layers that stay, whatever they take.
    pub(super) fn with_use(self, used: Tally) -> Self {
        Self { layers_in_use: used.into(), ..self }
    }

    /// As text.
    pub(super) fn text(&self) -> String {
        let done = if self.dry_run { "would be removed" } else { "removed" };
        let used = match self.layers_in_use {
            Amount { number: 0, .. } => String::new(),
            Amount { number, bytes } => format!("; {number} layers ({}) stay, for builds use them", size(bytes)),
        };
        format!(
            "{done} from {}: {} layers ({}), {} directories that builds share ({}), {} that dead builds left ({}), {} stages that lack a layer{used}\n",
            self.store,
            self.layers.number,
            size(self.layers.bytes),
            self.shared.number,
            size(self.shared.bytes),
            self.leftovers.number,
            size(self.leftovers.bytes),
            self.stages
        )
    }
}

/// A number of bytes for people.
pub(super) fn size(bytes: u64) -> String {
    let mut unit = "B";
    let (mut whole, mut tenths) = (bytes, 0);
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if whole < 1024 {
            break;
        }
        (whole, tenths, unit) = (whole / 1024, whole % 1024 * 10 / 1024, larger);
    }
    if unit == "B" { format!("{whole} B") } else { format!("{whole}.{tenths} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_home_is_told_kind_by_kind() {
        let home = tempfile::tempdir().expect("a directory");
        fs::create_dir(home.path().join("service")).expect("a directory");
        fs::write(home.path().join("service/file"), vec![1; 10_000]).expect("a file");
        let tally = Tally { number: 2, bytes: 2048 };
        let inventory = Inventory { layers: tally, stages: 3, limit: 4096, ..Inventory::default() };
        let kept = Kept::new(home.path(), 1, Some(inventory));
        let text = kept.text();
        assert!(text.contains("layers                           2     2.0 KiB\n"), "{text}");
        assert!(text.contains("stages                           3\n"), "{text}");
        assert!(text.contains("layers and what builds share take 2.0 KiB of 4.0 KiB; 0 B are promised"), "{text}");
        assert!(kept.others["service"] >= 10_000);
        let empty = Kept::new(&home.path().join("nowhere"), 7, None);
        assert_eq!((empty.limit, empty.layers.number, empty.others.len()), (7, 0, 0));
    }

    #[test]
    fn a_dry_run_says_so() {
        let reclaimed = Reclaimed { layers: Tally { number: 1, bytes: 10 }, ..Reclaimed::default() };
        assert!(
            Cleaned::new(Path::new("/s"), reclaimed, true)
                .text()
                .starts_with("would be removed from /s: 1 layers (10 B)")
        );
        assert!(Cleaned::new(Path::new("/s"), reclaimed, false).text().starts_with("removed from /s"));
    }
}
