//! How what a build tells reads in the log.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use slipway_stages::build::Source;

use super::{
    escape,
    events::{DisplayEvent, StageName, StoredStage},
    printer::Palette,
    timestamp,
};
use crate::flags::log::Level;

/// Writes the lines of a build. Remembers only what the next line of an image needs.
pub(crate) struct BuildLog {
    palette: Palette,
    colors: bool,
    /// Size of the last stage of each image, in bytes.
    sizes: HashMap<String, u64>,
    /// Names of stages that this build has stored itself.
    own: HashSet<String>,
}

impl BuildLog {
    /// A log in these colours.
    pub(crate) fn new(palette: Palette) -> Self {
        Self { colors: palette.colors(), palette, sizes: HashMap::new(), own: HashSet::new() }
    }

    /// The lines for an event, and from which level on they are shown.
    pub(crate) fn lines(&mut self, event: &DisplayEvent) -> (Level, String) {
        match event {
            DisplayEvent::ImageStarted { image } => {
                (Level::Verbose, format!("Image {} is begun", self.palette.name(image)))
            }
            DisplayEvent::StageFound { name, stored } => {
                let title = self.reused(name, "");
                (Level::Normal, self.block(&title, name, stored, None))
            }
            DisplayEvent::BeginsAnew { name, commit } => {
                let why = format!(
                    "the stored one is of commit {commit}, which is not in the history of the one that is built"
                );
                (Level::Normal, format!("{name} starts from an archive: {why}"))
            }
            DisplayEvent::StageStarted { name, copy } => {
                let copied = || format!("Copying stage {name}");
                let title = if *copy { copied() } else { format!("Building stage {name}") };
                (Level::Normal, self.palette.name(&title))
            }
            DisplayEvent::StageLog { name, line } => {
                let line = escape::line(line, self.colors);
                (Level::Normal, format!("{} {line}", self.palette.faint(&name.to_string())))
            }
            DisplayEvent::StageStored { name, stored, source, took } => {
                let title = match source {
                    Source::Built => self.palette.name(&format!("Built stage {name}")),
                    Source::Copied(_) => self.palette.name(&format!("Copied stage {name}")),
                    // Images share stages: what one of them has just stored is no other build's.
                    Source::Reused if self.own.contains(&stored.name) => self.reused(name, ""),
                    Source::Reused => self.reused(name, " (another build was first)"),
                };
                self.own.insert(stored.name.clone());
                (Level::Normal, self.block(&title, name, stored, Some(*took)))
            }
            DisplayEvent::Notice { text } => {
                let text = escape::harmless(text, self.colors);
                (Level::Quiet, format!("{} {text}", self.palette.warning("WARNING:")))
            }
            DisplayEvent::ImageDone { image } => {
                (Level::Verbose, format!("Image {} is done", self.palette.name(image)))
            }
        }
    }

    // Titles are coloured as a whole: a search for `Building stage app/setup` finds it in colours, too.
    fn reused(&self, name: &StageName, why: &str) -> String {
        self.palette.reused(&format!("Use previously built image for {name}{why}"))
    }

    /// A title with the details of a stored stage below it.
    fn block(&mut self, title: &str, name: &StageName, stored: &StoredStage, took: Option<Duration>) -> String {
        let before = self.sizes.insert(name.image.clone(), stored.size);
        let mut details = vec![
            ("name", stored.name.clone()),
            ("id", stored.id.clone()),
            ("created", timestamp::iso(stored.created)),
            ("size", size(stored.size, before)),
        ];
        details.extend(took.map(|took| ("seconds", format!("{:.2}", took.as_secs_f64()))));
        details.into_iter().fold(title.to_owned(), |text, (key, value)| format!("{text}\n  {key:>7}: {value}"))
    }
}

/// A size with what it adds to the stage before: `12.3 MiB (+1.2 MiB)`.
fn size(size: u64, before: Option<u64>) -> String {
    match before {
        None => human(size),
        Some(before) if before <= size => format!("{} (+{})", human(size), human(size - before)),
        Some(before) => format!("{} (-{})", human(size), human(before - size)),
    }
}

/// Bytes in the largest unit that leaves a whole number before the point.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Tenths are enough for a reader: the precision lost here is far below them.
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = "B";
    for larger in UNITS {
        if tenths < 10 * 1024 {
            break;
        }
        tenths = (tenths + 512) / 1024;
        unit = larger;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(size: u64) -> StoredStage {
        StoredStage { name: "app:d-1".into(), id: "0123456789ab".into(), created: 1_589_786_063_772, size }
    }

    fn name(stage: &str) -> StageName {
        StageName { image: "app".into(), stage: stage.into() }
    }

    fn log() -> BuildLog {
        BuildLog::new(Palette::new(false))
    }

    #[test]
    fn a_found_stage_and_a_built_one() {
        let mut log = log();
        let found = log.lines(&DisplayEvent::StageFound { name: name("from"), stored: stored(3 << 20) });
        let text = "Use previously built image for app/from
     name: app:d-1
       id: 0123456789ab
  created: 2020-05-18T07:14:23.772Z
     size: 3.0 MiB";
        assert_eq!(found, (Level::Normal, text.to_owned()));
        let started = log.lines(&DisplayEvent::StageStarted { name: name("setup"), copy: false });
        assert_eq!(started, (Level::Normal, "Building stage app/setup".to_owned()));
        let took = Duration::from_millis(1234);
        let source = Source::Built;
        let (_, built) =
            log.lines(&DisplayEvent::StageStored { name: name("setup"), stored: stored(4 << 20), source, took });
        assert!(built.starts_with("Built stage app/setup\n"), "{built}");
        assert!(built.ends_with("     size: 4.0 MiB (+1.0 MiB)\n  seconds: 1.23"), "{built}");
    }

    #[test]
    fn a_stage_of_another_build_is_used() {
        let took = Duration::ZERO;
        let source = Source::Reused;
        let (_, text) =
            log().lines(&DisplayEvent::StageStored { name: name("setup"), stored: stored(1), source, took });
        assert!(text.starts_with("Use previously built image for app/setup (another build was first)\n"), "{text}");
    }

    #[test]
    fn a_stage_that_images_share_is_of_this_build() {
        let mut log = log();
        let mut stored_for = |image: &str, source| {
            let name = StageName { image: image.into(), stage: "from".into() };
            log.lines(&DisplayEvent::StageStored { name, stored: stored(1), source, took: Duration::ZERO }).1
        };
        stored_for("app", Source::Built);
        let text = stored_for("web", Source::Reused);
        assert!(text.starts_with("Use previously built image for web/from\n"), "{text}");
    }

    #[test]
    fn output_lines_name_their_stage() {
        let line = b"10%\r100% \x1b[2Jdone\r\n".to_vec();
        let (_, text) = log().lines(&DisplayEvent::StageLog { name: name("install"), line });
        assert_eq!(text, "app/install 100% done");
    }

    #[test]
    fn sizes_have_one_digit() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (12_897_485, "12.3 MiB"),
            (5 << 30, "5.0 GiB"),
        ] {
            assert_eq!(human(bytes), shown);
        }
        assert_eq!(size(1 << 20, Some(3 << 20)), "1.0 MiB (-2.0 MiB)");
    }
}
