//! Output of a running build: bytes to lines, markers out of them, the last lines kept.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::{
    Logs,
    script::Marker,
    scrub::{Masks, Scrubber},
};

/// The longest line that is passed on; what is longer is cut into pieces of this size.
pub const MAX_LINE: usize = 64 * 1024;
/// Characters of a command in a message.
const COMMAND_SHOWN: usize = 200;
/// Lines kept for the error message.
pub const TAIL_LINES: usize = 20;
/// Bytes kept of each of them.
const TAIL_LINE: usize = 2000;
/// More than a marker ever takes.
pub(crate) const MARKER_ROOM: usize = 128;

/// At most 200 characters of a command in one line, for a message: blanks are not told apart.
pub fn shortened(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(COMMAND_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Which stream bytes came from: their lines are kept apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Splits output into lines and sends them on.
#[derive(Debug)]
pub struct Output {
    logs: Logs,
    marker: Option<Marker>,
    out: Part,
    err: Part,
    line: Option<u32>,
    tail: VecDeque<String>,
}

/// One stream: what is held back of it, and its unfinished line.
#[derive(Debug)]
struct Part {
    scrubber: Scrubber,
    line: Vec<u8>,
}

impl Output {
    /// Output to `logs`, from which `marker` is taken out and what `masks` says is masked.
    pub fn new(logs: Logs, marker: Option<Marker>, masks: &Masks) -> Self {
        let part = |marker| Part { scrubber: Scrubber::new(masks.clone(), marker), line: Vec::new() };
        let (out, err) = (part(marker.clone()), part(None));
        Self { logs, marker, out, err, line: None, tail: VecDeque::new() }
    }

    /// Takes bytes; sends the lines that they complete. Waits while the reader is behind.
    pub async fn push(&mut self, from: Stream, bytes: &[u8]) {
        if self.part(from).scrubber.is_idle() {
            return self.take(from, bytes).await;
        }
        let clean = self.part(from).scrubber.push(bytes);
        self.take(from, &clean).await;
    }

    fn part(&mut self, of: Stream) -> &mut Part {
        match of {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        }
    }

    async fn take(&mut self, from: Stream, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let buffer = match from {
                Stream::Out => &mut self.out.line,
                Stream::Err => &mut self.err.line,
            };
            buffer.extend_from_slice(piece);
            if from == Stream::Out && take_marker(buffer, self.marker.as_ref(), &mut self.line) {
                continue;
            }
            if buffer.ends_with(b"\n") {
                let line = std::mem::take(buffer);
                self.send_cut(visible(&line)).await;
            } else {
                let cut = cut_pieces(buffer);
                for line in cut {
                    self.send(line).await;
                }
            }
        }
    }

    /// Sends what is left without a line end; answers the line of the command that ran last, and the last lines.
    pub async fn finish(mut self) -> (Option<u32>, Vec<String>) {
        for stream in [Stream::Out, Stream::Err] {
            let held = self.part(stream).scrubber.finish();
            self.take(stream, &held).await;
        }
        for rest in [std::mem::take(&mut self.out.line), std::mem::take(&mut self.err.line)] {
            if !rest.is_empty() {
                self.send_cut(visible(&rest)).await;
            }
        }
        (self.line, self.tail.into())
    }

    async fn send_cut(&mut self, line: &[u8]) {
        if line.is_empty() {
            return self.send(Vec::new()).await;
        }
        for piece in line.chunks(MAX_LINE) {
            self.send(piece.to_vec()).await;
        }
    }

    async fn send(&mut self, line: Vec<u8>) {
        let kept = &line[..line.len().min(TAIL_LINE)];
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(String::from_utf8_lossy(kept).into_owned());
        // A reader that went away does not stop the build.
        let _ = self.logs.send(line).await;
    }
}

/// Takes a marker off the buffer's end: what stands before it is the unfinished line of the command before.
fn take_marker(buffer: &mut Vec<u8>, marker: Option<&Marker>, line: &mut Option<u32>) -> bool {
    let Some(marker) = marker.filter(|_| buffer.ends_with(Marker::end())) else { return false };
    let start = marker.start();
    let from = buffer.len().saturating_sub(MARKER_ROOM);
    let Some(at) = buffer[from..].windows(start.len()).rposition(|window| window == start) else { return false };
    let number = &buffer[from + at + start.len()..buffer.len() - Marker::end().len()];
    let Some(number) = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok()) else { return false };
    *line = Some(number);
    buffer.truncate(from + at);
    true
}

/// Whole pieces of a line that grows too long; enough stays for a marker that may be arriving.
fn cut_pieces(buffer: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    while buffer.len() >= MAX_LINE + MARKER_ROOM {
        let rest = buffer.split_off(MAX_LINE);
        pieces.push(std::mem::replace(buffer, rest));
    }
    // Progress bars rewrite their line for as long as they run: only the last state counts.
    if buffer.len() > MAX_LINE / 2
        && let Some(at) = buffer[..buffer.len() - 1].iter().rposition(|byte| *byte == b'\r')
    {
        buffer.drain(..=at);
    }
    pieces
}

/// What a terminal would show of a line: without its end, and only what follows the last carriage return.
fn visible(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.rsplit(|byte| *byte == b'\r').next().unwrap_or(line)
}
