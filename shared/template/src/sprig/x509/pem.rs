//! PEM, as Go's `encoding/pem` writes and reads it.

use crate::sprig::arguments::find;
use crate::sprig::encoding::{base64, decode_base64};

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"\n-----END ";
const DASHES: &[u8] = b"-----";
const WIDTH: usize = 64;

/// A block of PEM.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// What stands after `BEGIN`.
    pub(super) kind: String,
    pub(super) bytes: Vec<u8>,
}

/// The block as text.
pub(super) fn write(kind: &str, bytes: &[u8]) -> String {
    let body = base64(bytes);
    let mut out = format!("-----BEGIN {kind}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII.
        let (line, after) = rest.split_at(rest.len().min(WIDTH));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str(&format!("-----END {kind}-----\n"));
    out
}

/// The first block of a text; what is around it is passed over, and so is what only looks like one.
pub(super) fn read(text: &[u8]) -> Option<Block> {
    let mut rest = text;
    loop {
        let end = find(rest, END)?;
        let after = &rest[end + END.len()..];
        // Of several beginnings before an end the last one counts.
        let begin = (0..end).rev().find(|at| rest[..end][*at..].starts_with(BEGIN));
        if let Some(begin) = begin.filter(|at| *at == 0 || rest[*at - 1] == b'\n')
            && let Some(block) = block(&rest[begin + BEGIN.len()..end + 1], after)
        {
            return Some(block);
        }
        rest = after;
    }
}

/// The block between its beginning (its kind first) and its end (`after` it).
fn block(inside: &[u8], after: &[u8]) -> Option<Block> {
    let (first, mut body) = line(inside);
    let kind = first.strip_suffix(DASHES)?;
    // Headers are not wanted, but may stand there.
    while let (header, next) = line(body)
        && header.contains(&b':')
    {
        body = next;
    }
    let closing = after.strip_prefix(kind)?.strip_prefix(DASHES)?;
    if !line(closing).0.is_empty() {
        return None;
    }
    let body: Vec<u8> = body.iter().copied().filter(|byte| !matches!(byte, b' ' | b'\t')).collect();
    let bytes = decode_base64(&body).ok()?;
    Some(Block { kind: String::from_utf8_lossy(kind).into_owned(), bytes })
}

/// The first line without the white space at its end, and the rest.
fn line(text: &[u8]) -> (&[u8], &[u8]) {
    let (mut line, rest) = match text.iter().position(|byte| *byte == b'\n') {
        Some(end) => (text[..end].strip_suffix(b"\r").unwrap_or(&text[..end]), &text[end + 1..]),
        None => (text, &text[text.len()..]),
    };
    while let [shorter @ .., b' ' | b'\t'] = line {
        line = shorter;
    }
    (line, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 47, 48, 49, 200] {
            let bytes: Vec<u8> = (0..length).collect();
            let text = write("SOME KIND", &bytes);
            assert!(text.lines().all(|line| line.len() <= 64), "{text}");
            let around = format!("before\n-----BEGIN SOME KIND-----\nnone\n{text}after");
            for text in [text.clone(), around, text.replace('\n', " \r\n")] {
                let block = Block { kind: "SOME KIND".to_owned(), bytes: bytes.clone() };
                assert_eq!(read(text.as_bytes()), Some(block), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_block_is_passed_over() {
        let good = write("A", b"text");
        let bad = [
            good.replace("END A", "END B"),
            good.replace("-----\n", "----\n"),
            good.replace("dGV4", "d!V4"),
            format!("x{good}"),
            good.replace("END A-----", "END A-----x"),
        ];
        for text in bad {
            assert_eq!(read(text.as_bytes()), None, "{text}");
            let both = format!("{text}\n{good}");
            assert_eq!(read(both.as_bytes()).map(|block| block.bytes), Some(b"text".to_vec()), "{both}");
        }
        let with_headers = good.replace("A-----\nd", "A-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nd");
        assert_eq!(read(with_headers.as_bytes()).map(|block| block.bytes), Some(b"text".to_vec()));
    }
}
