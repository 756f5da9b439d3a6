//! The output of a run, with the place in the templates that its bytes come from.

use std::collections::HashMap;
use std::sync::Arc;

use crate::parse::tree::Source;
use crate::source_map::{SourceMap, Span, splice};
use crate::value::{GoString, Value};

/// The result of a run.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The output; bytes that are not UTF-8 are U+FFFD.
    pub text: String,
    /// Where its bytes come from.
    pub map: SourceMap,
}

/// Output being written.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

/// More texts, or spans of them, than this are not remembered.
const MADE_TEXTS: usize = 100_000;
const MADE_SPANS: usize = 1_000_000;
/// So many lines of used texts are looked through for one line of output.
const LOOK_AHEAD: usize = 1000;

/// Texts that templates made while functions executed them, with where their bytes come from: by it the output of
/// `include` leads into the included template, also when it was indented or kept in a variable.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// By their address: it stays theirs, as they are kept.
    texts: HashMap<usize, Text>,
    spans: usize,
    /// Those that functions of the action at hand were given or made.
    used: Vec<Text>,
}

#[derive(Debug, Clone)]
struct Text {
    bytes: GoString,
    spans: Arc<[Span]>,
}

impl Made {
    /// Remembers a text.
    pub(super) fn add(&mut self, bytes: &GoString, spans: Vec<Span>) {
        if bytes.is_empty() {
            return;
        }
        self.spans += spans.len();
        if self.spans > MADE_SPANS || self.texts.len() >= MADE_TEXTS {
            self.texts.clear();
            self.spans = spans.len();
        }
        let text = Text { bytes: bytes.clone(), spans: spans.into() };
        self.used.push(text.clone());
        self.texts.insert(bytes.as_ptr().addr(), text);
    }

    /// Notes which of the texts a function is given.
    pub(super) fn note(&mut self, arguments: &[Value]) {
        if self.texts.is_empty() {
            return;
        }
        for argument in arguments {
            if let Some(text) = self.find(argument)
                && self.used.last().is_none_or(|last| last.bytes.as_ptr() != text.bytes.as_ptr())
            {
                let text = text.clone();
                self.used.push(text);
            }
        }
    }

    /// Sets the used ones aside while a function executes a template.
    pub(super) fn set_aside(&mut self) -> SetAside {
        SetAside(std::mem::take(&mut self.used))
    }

    /// Takes them back.
    pub(super) fn take_back(&mut self, aside: SetAside) {
        self.used = aside.0;
    }

    fn find(&self, value: &Value) -> Option<&Text> {
        self.texts.get(&value.as_string()?.as_ptr().addr())
    }
}

/// Used texts of an action that is waiting.
pub(super) struct SetAside(Vec<Text>);

impl Output {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn finish(self) -> Rendered {
        let Output { bytes, spans } = self;
        match String::from_utf8(bytes) {
            Ok(text) => Rendered { text, map: SourceMap::new(spans) },
            Err(error) => lossy(error.as_bytes(), spans),
        }
    }

    /// The bytes of a finished output and where they come from.
    pub(super) fn into_parts(self) -> (Vec<u8>, Vec<Span>) {
        (self.bytes, self.spans)
    }

    /// Writes plain text that stands at `start` of the source.
    pub(super) fn write_text(&mut self, source: &Arc<Source>, start: usize, text: &str) {
        self.spans.push(Span { start: self.bytes.len(), source: Arc::clone(source), offset: start, is_copy: true });
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Writes the value of an action at `offset` of the source, by `write`.
    pub(super) fn write_action<E>(
        &mut self,
        (source, offset): (&Arc<Source>, usize),
        value: &Value,
        made: &mut Made,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        let result = write(&mut self.bytes);
        if self.bytes.len() == start {
            made.used.clear();
            return result;
        }
        if let Some(text) = made.find(value) {
            splice(&mut self.spans, &text.spans, (0, text.bytes.len()), start);
        } else {
            self.spans.push(Span { start, source: Arc::clone(source), offset, is_copy: false });
            if !made.used.is_empty() {
                self.recognise(start, &made.used);
            }
        }
        made.used.clear();
        result
    }

    /// Finds lines of texts in the bytes from `start` on, whose only span is that of their action.
    fn recognise(&mut self, start: usize, texts: &[Text]) {
        let Some(action) = self.spans.last().cloned() else { return };
        let known: Vec<(&[u8], &Text, usize)> = texts.iter().flat_map(lines).collect();
        let mut search = 0;
        let mut at = start;
        let mut is_action = true;
        for line in self.bytes[start..].split_inclusive(|byte| *byte == b'\n') {
            let content = line.trim_ascii();
            let begin = at + (content.as_ptr().addr() - line.as_ptr().addr());
            let window = known[search..].iter().take(LOOK_AHEAD);
            let found = window.clone().position(|(text, ..)| !content.is_empty() && *text == content);
            if !is_action {
                self.spans.push(Span { start: at, ..action.clone() });
                is_action = true;
            }
            if let Some((_, text, from)) = found.and_then(|found| known.get(search + found)) {
                search += found.map_or(0, |found| found + 1);
                splice(&mut self.spans, &text.spans, (*from, from + content.len()), begin);
                is_action = false;
            }
            at += line.len();
        }
    }
}

/// The lines of a text without the blanks around them, each with its place; empty ones are left out.
fn lines(text: &Text) -> impl Iterator<Item = (&[u8], &Text, usize)> {
    let base = text.bytes.as_ptr().addr();
    let contents = text.bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    contents.filter(|content| !content.is_empty()).map(move |content| (content, text, content.as_ptr().addr() - base))
}

/// The text with U+FFFD in place of what is not UTF-8, and the spans moved by what that adds.
fn lossy(bytes: &[u8], mut spans: Vec<Span>) -> Rendered {
    let mut text = String::with_capacity(bytes.len());
    let mut spans_left = spans.iter_mut().peekable();
    let mut read = 0;
    for chunk in bytes.utf8_chunks() {
        let end = read + chunk.valid().len() + chunk.invalid().len();
        while let Some(span) = spans_left.next_if(|span| span.start < end) {
            span.start = text.len() + (span.start - read).min(chunk.valid().len());
        }
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
        read = end;
    }
    Rendered { text, map: SourceMap::new(spans) }
}
