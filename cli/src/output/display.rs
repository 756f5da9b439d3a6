//! A build as it is seen: log and progress display together.

use std::sync::{Arc, Mutex, PoisonError};

use super::{build_log::BuildLog, events::DisplayEvent, printer::Printer, progress::Progress};

/// Shows what a build tells.
pub(crate) struct Display {
    printer: Arc<Printer>,
    // Held while a line is put together, never over an await.
    state: Mutex<(BuildLog, Option<Progress>)>,
}

impl Display {
    /// A display of a build of `images` images.
    pub(crate) fn new(printer: Arc<Printer>, images: usize) -> Self {
        let log = BuildLog::new(printer.palette.clone());
        let progress = printer.progress().map(|all| Progress::new(all, images, printer.width()));
        Self { printer, state: Mutex::new((log, progress)) }
    }

    /// Shows what happened.
    pub(crate) fn show(&self, event: &DisplayEvent) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (log, progress) = &mut *state;
        if let Some(progress) = progress {
            progress.take(event);
        }
        // Printed under the lock: lines of one build stay in the order in which they happened.
        let (level, text) = log.lines(event);
        self.printer.say(level, &text);
    }
}
