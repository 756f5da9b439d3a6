//! Lines on their way to the user.

use std::{
    collections::HashSet,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use console::Style;
use indicatif::{MultiProgress, ProgressDrawTarget};
use slipway_process::Clock;

use super::{escape, redact::Redactor, timestamp::TimeFormat};
use crate::flags::log::{ColorMode, Level, LogFlags};

/// Most bytes of lines that are kept back; what comes then is left out.
const MOST_HELD: usize = 16 << 20;

/// What the printer must know of its surroundings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// Whether standard error is a terminal.
    pub(crate) terminal: bool,
    /// Whether `NO_COLOR` is set or the terminal is said to be dumb.
    pub(crate) plain: bool,
    /// What must never be shown.
    pub(crate) redactor: Redactor,
}

/// The colours of things.
#[derive(Clone, Debug)]
pub(crate) struct Palette {
    colors: bool,
}

impl Palette {
    /// Colours, or none.
    pub(crate) fn new(colors: bool) -> Self {
        Self { colors }
    }

    /// Whether there are any.
    pub(crate) fn colors(&self) -> bool {
        self.colors
    }

    /// Names of images and stages.
    pub(crate) fn name(&self, text: &str) -> String {
        self.paint(Style::new().yellow().bold(), text)
    }

    /// What was spared.
    pub(crate) fn reused(&self, text: &str) -> String {
        self.paint(Style::new().cyan(), text)
    }

    /// What is of less interest.
    pub(crate) fn faint(&self, text: &str) -> String {
        self.paint(Style::new().dim(), text)
    }

    /// What should be changed.
    pub(crate) fn warning(&self, text: &str) -> String {
        self.paint(Style::new().magenta().bold(), text)
    }

    /// What went wrong.
    pub(crate) fn error(&self, text: &str) -> String {
        self.paint(Style::new().red().bold(), text)
    }

    fn paint(&self, style: Style, text: &str) -> String {
        style.force_styling(self.colors).apply_to(text).to_string()
    }
}

/// Prints. Shared by everything that has something to say.
pub(crate) struct Printer {
    level: Level,
    pretty: bool,
    width: Option<u16>,
    /// Colours and names.
    pub(crate) palette: Palette,
    time: Option<TimeFormat>,
    clock: Arc<dyn Clock>,
    redactor: Redactor,
    warned: Mutex<HashSet<String>>,
    /// Lines that are kept back; `None` = nothing is.
    held: Mutex<Option<String>>,
    /// Draws the progress display, and nothing where there is no terminal.
    progress: Option<MultiProgress>,
}

impl Printer {
    /// A printer as the flags want it.
    pub(crate) fn new(flags: &LogFlags, surroundings: Surroundings, clock: Arc<dyn Clock>) -> Self {
        let colors = match flags.color {
            ColorMode::On => true,
            ColorMode::Off => false,
            ColorMode::Auto => surroundings.terminal && !surroundings.plain,
        };
        let live = surroundings.terminal && flags.pretty && flags.level >= Level::Normal;
        Self {
            level: flags.level,
            pretty: flags.pretty,
            width: flags.width,
            palette: Palette::new(colors),
            time: flags.time.as_deref().map(TimeFormat::new),
            clock,
            redactor: surroundings.redactor,
            warned: Mutex::default(),
            held: Mutex::default(),
            progress: live.then(MultiProgress::new),
        }
    }

    /// Whether icons are wanted.
    pub(crate) fn pretty(&self) -> bool {
        self.pretty
    }

    /// Where progress is drawn; `None` where there is no terminal.
    pub(crate) fn progress(&self) -> Option<&MultiProgress> {
        self.progress.as_ref()
    }

    /// The width that the user chose, in columns.
    pub(crate) fn width(&self) -> Option<u16> {
        self.width
    }

    /// Whether lines of this level are shown.
    pub(crate) fn shows(&self, level: Level) -> bool {
        level <= self.level
    }

    /// Says something of the given level; may hold several lines.
    pub(crate) fn say(&self, level: Level, text: &str) {
        if self.shows(level) {
            self.write(text);
        }
    }

    /// Says what happens.
    pub(crate) fn info(&self, text: &str) {
        self.say(Level::Normal, text);
    }

    /// Warns. The same warning is given once.
    pub(crate) fn warn(&self, text: &str) {
        let first = self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned());
        if first {
            self.write(&format!("{} {text}", self.palette.warning("WARNING:")));
        }
    }

    /// Says why the command ends.
    pub(crate) fn error(&self, text: &str) {
        self.write(&format!("{} {text}", self.palette.error("Error:")));
    }

    /// Says something that words its own beginning.
    pub(crate) fn raw(&self, text: &str) {
        self.write(text);
    }

    /// Keeps everything back until [`Printer::release`].
    pub(crate) fn hold(&self) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
    }

    /// Says `first`, if anything, then all that was kept back.
    pub(crate) fn release(&self, first: Option<&str>) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(first) = first {
            self.info(first);
        }
        if let Some(held) = held {
            self.put(&held);
        }
    }

    /// Gives the terminal to somebody else: until it is taken back, lines are kept back and nothing is redrawn.
    pub(crate) fn lend(&self) {
        self.hold();
        if let Some(progress) = &self.progress {
            // What is drawn already is wiped off; when that fails, there is nobody to see it.
            let _ = progress.clear();
            progress.set_draw_target(ProgressDrawTarget::hidden());
        }
    }

    /// Takes the terminal back, and shows what was kept back.
    pub(crate) fn take_back(&self) {
        if let Some(progress) = &self.progress {
            progress.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.release(None);
    }

    /// Hands out data.
    ///
    /// # Errors
    /// When standard output cannot be written to; a reader that has gone is no error.
    pub(crate) fn data(&self, bytes: &[u8]) -> io::Result<()> {
        let write = || {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        };
        let written = match &self.progress {
            Some(progress) => progress.suspend(write),
            None => write(),
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    fn write(&self, text: &str) {
        let time = self.time.as_ref().map(|format| format.write(self.clock.unix_millis()));
        let lines = render(text, time.as_deref(), &self.redactor);
        match &mut *self.held.lock().unwrap_or_else(PoisonError::into_inner) {
            // Whoever has the terminal may keep it for long.
            Some(held) if held.len() > MOST_HELD => {}
            Some(held) => held.push_str(&lines),
            None => self.put(&lines),
        }
    }

    fn put(&self, lines: &str) {
        // Nobody is left to be told when standard error is gone.
        let write = || drop(io::stderr().lock().write_all(lines.as_bytes()));
        match &self.progress {
            Some(progress) => progress.suspend(write),
            None => write(),
        }
    }
}

/// The bytes of some lines: harmless, without secrets, each with the time before it.
fn render(text: &str, time: Option<&str>, redactor: &Redactor) -> String {
    let text = redactor.redact(text);
    let time = time.map(|time| format!("{time} ")).unwrap_or_default();
    let mut rendered = String::with_capacity(text.len() + 1);
    for line in text.trim_end_matches('\n').split('\n') {
        rendered.push_str(&time);
        rendered.push_str(&escape::harmless(line, true));
        rendered.push('\n');
    }
    rendered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_its_time_and_no_secret() {
        let redactor = Redactor::new(vec!["hush".into()]);
        assert_eq!(render("a hush\n\u{1b}[2Jb\n", Some("12:00"), &redactor), "12:00 a ***\n12:00 b\n");
        assert_eq!(render("", None, &redactor), "\n");
    }
}
