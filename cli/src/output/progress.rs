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
        let bar = ProgressBar::new(u64::try_from(images).unwrap_or(u64::MAX));
        let style = ProgressStyle::with_template("[{elapsed_precise}] {pos}/{len} images {bar:20}");
        bar.set_style(style.expect("the template is well-formed"));
        let bar = all.add(bar);
        bar.enable_steady_tick(TURN);
        let terminal = console::Term::stderr().size_checked().map(|(_, columns)| columns);
        let width = usize::from(width.or(terminal).unwrap_or(WIDTH));
        Self { all: all.clone(), images: bar, stages: HashMap::new(), width }
    }

    /// Takes what happened.
    pub(crate) fn take(&mut self, event: &DisplayEvent) {
        match event {
            DisplayEvent::StageStarted { name, copy: _ } => self.start(name),
            DisplayEvent::StageLog { name, line } => {
                if let Some(spinner) = self.stages.get(name) {
                    spinner.set_message(self.cut(name, &escape::line(line, false)));
                }
            }
            DisplayEvent::StageStored { name, .. } => {
                if let Some(spinner) = self.stages.remove(name) {
                    spinner.finish_and_clear();
                }
            }
            DisplayEvent::ImageDone { .. } => self.images.inc(1),
            DisplayEvent::ImageStarted { .. } | DisplayEvent::StageFound { .. } => {}
        }
    }

    fn start(&mut self, name: &StageName) {
        if self.stages.len() >= MOST {
            return;
        }
        let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {msg}");
        let spinner = ProgressBar::new_spinner().with_style(style.expect("the template is well-formed"));
        let spinner = self.all.insert_before(&self.images, spinner);
        spinner.set_prefix(name.to_string());
        spinner.enable_steady_tick(TURN);
        self.stages.insert(name.clone(), spinner);
    }

    /// `text` as far as it fits beside the name and the time.
    fn cut(&self, name: &StageName, text: &str) -> String {
        let room = self.width.saturating_sub(name.to_string().len() + 12);
        console::truncate_str(text, room, "…").replace('\t', " ")
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stages.values().for_each(ProgressBar::finish_and_clear);
        self.images.finish_and_clear();
    }
}
