//! Which span of which trace: W3C trace context.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};
use slipway_process::fill_random;

/// The variable in which one program tells another what its work belongs to.
pub const TRACEPARENT: &str = "TRACEPARENT";

/// A span among all spans of the world, as text `00-TRACE-SPAN-FLAGS`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SpanContext {
    pub(crate) trace: [u8; 16],
    pub(crate) span: [u8; 8],
    /// Whether whoever began the trace wants it recorded.
    pub(crate) sampled: bool,
}

/// A text that names no span.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no trace context; it looks like 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
pub struct ContextError(String);

impl SpanContext {
    /// The first span of the trace that `seed` names: the same trace for the same seed.
    pub(crate) fn root(seed: &str) -> Self {
        let hash = Sha256::digest(seed);
        let mut trace = [0; 16];
        trace.copy_from_slice(&hash[..16]);
        Self { trace, span: random(), sampled: true }
    }

    /// Another span of the same trace.
    pub(crate) fn sibling(self) -> Self {
        Self { span: random(), ..self }
    }

    /// The span of the same trace that `seed` names.
    pub(crate) fn named(self, seed: &str) -> Self {
        let mut span = [0; 8];
        span.copy_from_slice(&Sha256::digest(seed)[..8]);
        Self { span, ..self }
    }
}

fn random() -> [u8; 8] {
    let mut bytes = [0; 8];
    fill_random(&mut bytes);
    bytes
}

impl fmt::Display for SpanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-0{}", hex::encode(self.trace), hex::encode(self.span), u8::from(self.sampled))
    }
}

impl FromStr for SpanContext {
    type Err = ContextError;

    fn from_str(text: &str) -> Result<Self, ContextError> {
        read(text.trim()).ok_or_else(|| {
            let shown = text.chars().take(100).map(|c| if c.is_control() { ' ' } else { c });
            ContextError(shown.collect())
        })
    }
}

fn read(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let version = bytes::<1>(parts.next()?)?;
    let (trace, span, flags) = (bytes(parts.next()?)?, bytes(parts.next()?)?, bytes::<1>(parts.next()?)?);
    // A later version may say more.
    let is_known = version == [0] && parts.next().is_none() || version != [0] && version != [0xff];
    let is_there = trace != [0; 16] && span != [0; 8];
    (is_known && is_there).then_some(SpanContext { trace, span, sampled: flags[0] & 1 == 1 })
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    hex::decode_to_slice(text, &mut bytes).ok().filter(|()| is_lower)?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_is_read_as_it_is_written() {
        let context: SpanContext = PARENT.parse().expect("a context");
        assert_eq!(context.to_string(), PARENT);
        let unwanted: SpanContext = PARENT.replace("-01", "-00").parse().expect("a context");
        assert!(context.sampled && !unwanted.sampled);
        let later = format!("{}-more", PARENT.replacen("00", "01", 1));
        assert_eq!(later.parse(), Ok(context));
    }

    #[test]
    fn what_is_no_context_is_refused() {
        let zero_trace = PARENT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32));
        let zero_span = PARENT.replace("b7ad6b7169203331", &"0".repeat(16));
        let (upper, more) = (PARENT.to_uppercase(), format!("{PARENT}-more"));
        let forbidden = PARENT.replacen("00", "ff", 1);
        for text in ["", "00", "00-1-2-3", &zero_trace, &zero_span, &upper, &more, &forbidden] {
            assert!(text.parse::<SpanContext>().is_err(), "{text}");
        }
        let shown = "x\n".repeat(1000).parse::<SpanContext>().expect_err("no context").to_string();
        assert!(shown.len() < 250 && !shown.contains('\n'), "{shown}");
    }

    #[test]
    fn seeds_name_the_same_trace_and_span_everywhere() {
        let (one, other) = (SpanContext::root("build-1"), SpanContext::root("build-1"));
        assert_eq!(one.trace, other.trace);
        assert_ne!(one.span, other.span);
        assert_ne!(one.trace, SpanContext::root("build-2").trace);
        assert_eq!(one.named("a-1"), other.named("a-1"));
        assert_ne!(one.named("a-1"), one.named("a-2"));
    }
}
