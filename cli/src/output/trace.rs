//! What the other crates tell of themselves: warnings for everybody, the rest for the curious.

use std::{
    fmt::{Debug, Write as _},
    sync::Arc,
};

use slipway_process::Clock;
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

/// Sends what this program's crates trace to the printer as JSON, an object a line.
pub(crate) fn install_json(printer: &Arc<Printer>, level: Level, clock: Arc<dyn Clock>) {
    let most = match level {
        Level::Quiet => LevelFilter::WARN,
        Level::Normal | Level::Verbose => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    let layer = Objects { printer: Arc::clone(printer), clock }.with_filter(Targets::new().with_target(OWN, most));
    // A second subscriber means that one has been installed already.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer));
}

struct Objects {
    printer: Arc<Printer>,
    clock: Arc<dyn Clock>,
}

impl<S: Subscriber> Layer<S> for Objects {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut object = Object::default();
        let millis = i64::try_from(self.clock.unix_millis()).unwrap_or(i64::MAX);
        let time = jiff::Timestamp::from_millisecond(millis).map(|time| format!("{time:.3}")).unwrap_or_default();
        let metadata = event.metadata();
        object.0.insert("time".to_owned(), time.into());
        object.0.insert("level".to_owned(), metadata.level().as_str().to_ascii_lowercase().into());
        object.0.insert("target".to_owned(), metadata.target().into());
        event.record(&mut object);
        self.printer.raw(&serde_json::Value::Object(object.0).to_string());
    }
}

/// An event as an object: its fields beside what it says.
#[derive(Default)]
struct Object(serde_json::Map<String, serde_json::Value>);

impl Visit for Object {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }
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
