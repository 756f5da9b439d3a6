//! What the other crates tell of themselves: warnings for everybody, the rest for the curious.

use std::{
    fmt::{Debug, Write as _},
    sync::Arc,
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    layer::{Context, SubscriberExt as _},
};

use super::printer::Printer;
use crate::flags::log::Level;

/// Beginning of the names of this program's crates.
const OWN: &str = "slipway";

/// Sends what this program's crates trace to the printer. Libraries are not listened to: what they warn of is for their
/// caller to judge.
pub(crate) fn install(printer: &Arc<Printer>) {
    let most = if printer.shows(Level::Debug) { LevelFilter::DEBUG } else { LevelFilter::INFO };
    let layer = Lines(Arc::clone(printer)).with_filter(Targets::new().with_target(OWN, most));
    // A second subscriber means that one has been installed already.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer));
}

struct Lines(Arc<Printer>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let text = text.message + &text.fields;
        match *event.metadata().level() {
            tracing::Level::ERROR | tracing::Level::WARN => self.0.warn(&text),
            tracing::Level::INFO => self.0.say(Level::Verbose, &text),
            tracing::Level::DEBUG | tracing::Level::TRACE => {
                self.0.say(Level::Debug, &format!("{}: {text}", event.metadata().target()));
            }
        }
    }
}

/// An event as one line: its message, then its fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string succeeds.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
