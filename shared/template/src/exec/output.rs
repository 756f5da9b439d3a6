//! The output of a run, with the place in the templates that each of its lines comes from.

use std::sync::Arc;

use crate::parse::tree::Source;

/// Where a line of output comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Name of the template file.
    pub template: Arc<str>,
    /// Line in it, from 1.
    pub line: usize,
    /// Bytes before the place on that line, from 0.
    pub column: usize,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The output; bytes that are not UTF-8 are U+FFFD.
    pub text: String,
    /// For each line of the output, where it comes from; the last one may be empty.
    pub origins: Vec<Origin>,
}

impl Rendered {
    /// Where a line of the output, from 1, comes from.
    pub fn origin(&self, line: usize) -> Option<&Origin> {
        self.origins.get(line.checked_sub(1)?)
    }
}

/// Output being written.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    origins: Vec<Origin>,
    /// A line is open: its origin is known.
    open: bool,
    /// Lines of templates that functions executed since the last action was written: the text without its indentation,
    /// and its origin.
    nested: Vec<(Box<[u8]>, Origin)>,
}

/// More lines than this are not kept for finding origins of nested output.
const NESTED_LINES: usize = 100_000;

impl Output {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn finish(self) -> Rendered {
        let text = match String::from_utf8(self.bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        Rendered { text, origins: self.origins }
    }

    /// Writes plain text that stands at `start` of the source.
    pub(super) fn write_text(&mut self, source: &Arc<Source>, start: usize, text: &str) {
        let mut at = start;
        for line in text.split_inclusive('\n') {
            if !self.open {
                self.begin(origin(source, at));
            }
            self.open = !line.ends_with('\n');
            at += line.len();
        }
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Writes what an action at `position` gave, by `write`.
    pub(super) fn write_action<E>(
        &mut self,
        source: &Arc<Source>,
        position: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        let result = write(&mut self.bytes);
        let nested = std::mem::take(&mut self.nested);
        if self.bytes.len() == start {
            return result;
        }
        let (own, mut search) = (origin(source, position), 0);
        let written = self.bytes.split_off(start);
        for line in written.split_inclusive(|byte| *byte == b'\n') {
            let content = line.trim_ascii();
            let found =
                nested[search..].iter().take(1000).position(|(text, _)| !content.is_empty() && **text == *content);
            search += found.map_or(0, |index| index + 1);
            if !self.open {
                let from_nested = found.and_then(|_| nested.get(search - 1)).map(|(_, origin)| origin.clone());
                self.begin(from_nested.unwrap_or_else(|| own.clone()));
            }
            self.open = !line.ends_with(b"\n");
        }
        self.bytes.extend_from_slice(&written);
        result
    }

    /// Takes the bytes of a finished inner output, remembering where its lines come from.
    pub(super) fn take_nested(&mut self, inner: Output) -> Vec<u8> {
        let room = NESTED_LINES.saturating_sub(self.nested.len());
        let lines = inner.bytes.split(|byte| *byte == b'\n').zip(inner.origins).take(room);
        self.nested.extend(lines.map(|(line, origin)| (Box::from(line.trim_ascii()), origin)));
        inner.bytes
    }

    /// Forgets lines of nested output: what they were made for is done.
    pub(super) fn forget_nested(&mut self) {
        self.nested.clear();
    }

    fn begin(&mut self, origin: Origin) {
        self.origins.push(origin);
    }
}

fn origin(source: &Source, position: usize) -> Origin {
    let (line, column) = source.line_and_column(position);
    Origin { template: Arc::clone(&source.name), line, column }
}
