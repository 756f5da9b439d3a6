//! What is under way, redrawn in place below the log of a terminal.

use std::{collections::HashMap, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{
    escape,
    events::{DisplayEvent, StageName},
};

/// How often spinners turn.
const TURN: Duration = Duration::from_millis(120);
/// Most stages shown at once: the log must stay in sight.
const MOST: usize = 12;
/// Columns that a stage's line needs beside its text.
const BESIDE: usize = 7;
/// Terminals narrower than this have no bar beside the number of images.
const NARROW: usize = 60;
/// Width when nobody knows better, in columns.
const WIDTH: u16 = 140;

/// The progress display of one build.
pub(crate) struct Progress {
    all: MultiProgress,
    images: ProgressBar,
    stages: HashMap<StageName, ProgressBar>,
    width: usize,
}

impl Progress {
    /// A display for `images` images. `width` = what the user chose; the terminal's when `None`.
    pub(crate) fn new(all: &MultiProgress, images: usize, width: Option<u16>) -> Self {
        let terminal = console::Term::stderr().size_checked().map(|(_, columns)| columns);
        let width = usize::from(width.or(terminal).unwrap_or(WIDTH));
        let template = match (images, width < NARROW) {
            (1, _) => "[{elapsed_precise}] {pos}/{len} image",
            (_, true) => "[{elapsed_precise}] {pos}/{len} images",
            (_, false) => "[{elapsed_precise}] {pos}/{len} images {bar:20}",
        };
        let style = ProgressStyle::with_template(template).expect("the template is well-formed");
        let bar = all.add(ProgressBar::new(u64::try_from(images).unwrap_or(u64::MAX)).with_style(style));
        bar.enable_steady_tick(TURN);
        Self { all: all.clone(), images: bar, stages: HashMap::new(), width }
    }

    /// Takes what happened.
    pub(crate) fn take(&mut self, event: &DisplayEvent) {
        match event {
            DisplayEvent::StageStarted { name, copy: _ } => self.start(name),
            DisplayEvent::StageLog { name, line } => {
                if let Some(spinner) = self.stages.get(name) {
                    spinner.set_message(self.cut(&format!("{name} {}", escape::line(line, false))));
                }
            }
            DisplayEvent::StageStored { name, .. } => {
                if let Some(spinner) = self.stages.remove(name) {
                    spinner.finish_and_clear();
                    self.all.remove(&spinner);
                }
            }
            DisplayEvent::ImageDone { .. } => self.images.inc(1),
            DisplayEvent::ImageStarted { .. }
            | DisplayEvent::StageFound { .. }
            | DisplayEvent::BeginsAnew { .. }
            | DisplayEvent::Notice { .. } => {}
        }
    }

    fn start(&mut self, name: &StageName) {
        if self.stages.len() >= MOST {
            return;
        }
        // A wide message never wraps: a line that does cannot be redrawn in place.
        let style = ProgressStyle::with_template("{spinner} {elapsed:>4} {wide_msg}");
        let spinner = ProgressBar::new_spinner().with_style(style.expect("the template is well-formed"));
        let spinner = self.all.insert_before(&self.images, spinner);
        spinner.set_message(self.cut(&name.to_string()));
        spinner.enable_steady_tick(TURN);
        self.stages.insert(name.clone(), spinner);
    }

    /// `text` as far as it fits beside the time.
    fn cut(&self, text: &str) -> String {
        let text = text.replace('\t', " ");
        console::truncate_str(&text, self.width.saturating_sub(BESIDE), "…").into_owned()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        for bar in self.stages.values().chain([&self.images]) {
            bar.finish_and_clear();
            self.all.remove(bar);
        }
    }
}
