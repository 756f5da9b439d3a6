//! Traces of builds, sent to a collector by OTLP.
//!
//! One build is one trace, over every process that takes part in it: what a span belongs to travels between them as a W3C
//! trace context ([`SpanContext`]). A process whose environment names no collector records nothing and passes on what it
//! was given. A collector that is away changes nothing in a build.
//!
//! What a span says is chosen span by span, and is never free text: names, digests and numbers, no output, no messages.
//!
//! Reading order: [`context`] (which span), [`settings`] (which collector), [`span`], [`tracer`], `otlp` (how spans look on
//! their way), `export` (how they are sent).

pub mod context;
mod export;
mod otlp;
pub mod settings;
pub mod span;
pub mod tracer;

pub use context::{ContextError, SpanContext};
pub use settings::{Settings, SettingsError};
pub use span::Span;
pub use tracer::Tracer;
