//! Where each byte of an output comes from.

use std::sync::Arc;

use crate::parse::tree::Source;

/// A place in a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Name of the template, as messages of the engine say it.
    pub template: Arc<str>,
    /// The file it was read from, where that is known and called otherwise.
    pub file: Option<Arc<str>>,
    /// Line in it, from 1.
    pub line: usize,
    /// Bytes before the place on that line, from 0.
    pub column: usize,
    /// The text of that line.
    pub text: String,
}

impl Origin {
    /// The file, or the template's name where there is no other.
    pub fn file(&self) -> &str {
        self.file.as_deref().unwrap_or(&self.template)
    }
}

/// From bytes of an output to places in templates. Plain text leads to where it stands, what an action wrote to that
/// action; output of a template that a function executed, to the places within that template, as long as its lines are
/// still recognised in what the action wrote.
#[derive(Debug, Clone, Default)]
pub struct SourceMap {
    spans: Vec<Span>,
}

/// Output from `start` on, up to the next span.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) source: Arc<Source>,
    /// Where its first byte stands in the source; where all of it comes from, when it is no copy.
    pub(crate) offset: usize,
    /// It is a copy of the source.
    pub(crate) is_copy: bool,
}

impl SourceMap {
    pub(crate) fn new(spans: Vec<Span>) -> SourceMap {
        SourceMap { spans }
    }

    /// Whether the byte at `at` of the output is a copy of the one it comes from.
    #[cfg(test)]
    pub(crate) fn is_copy(&self, at: usize) -> bool {
        let span = self.spans.partition_point(|span| span.start <= at).checked_sub(1);
        span.and_then(|span| self.spans.get(span)).is_some_and(|span| span.is_copy)
    }

    /// Where the byte at `at` of the output comes from; the end of the output comes from where its last byte does.
    /// `None` when there is no output.
    pub fn origin(&self, at: usize) -> Option<Origin> {
        let span = self.spans.get(self.spans.partition_point(|span| span.start <= at).checked_sub(1)?)?;
        let offset = if span.is_copy { span.offset + (at - span.start) } else { span.offset };
        let source = &span.source;
        let (line, column) = source.line_and_column(offset.min(source.text.len()));
        Some(Origin {
            template: Arc::clone(&source.name),
            file: source.file.clone(),
            line,
            column,
            text: source.line(line).to_owned(),
        })
    }
}

/// Appends the spans of `from..to` to `out`, where those bytes now begin at `start`.
pub(crate) fn splice(out: &mut Vec<Span>, spans: &[Span], (from, to): (usize, usize), start: usize) {
    let first = spans.partition_point(|span| span.start <= from).saturating_sub(1);
    for span in spans[first..].iter().take_while(|span| span.start < to) {
        let skipped = from.saturating_sub(span.start);
        let offset = if span.is_copy { span.offset + skipped } else { span.offset };
        let start = start + span.start.saturating_sub(from);
        out.push(Span { start, source: Arc::clone(&span.source), offset, is_copy: span.is_copy });
    }
}
