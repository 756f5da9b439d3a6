//! `html`, `js` and `urlquery`.

use super::Answer;
use crate::format;
use crate::unicode::{decode, is_printable};
use crate::value::{GoString, Value};

/// The arguments as text, escaped.
pub(super) fn escaped(arguments: &[Value], escape: fn(&[u8]) -> Vec<u8>) -> Answer {
    let text = match arguments {
        [Value::String(text)] => text.clone(),
        _ => {
            let printable = |value: &Value| if value.is_absent() { Value::from("<no value>") } else { value.clone() };
            let arguments: Vec<Value> = arguments.iter().map(printable).collect();
            format::sprint(&arguments)?
        }
    };
    Ok(Value::String(GoString::from(escape(&text))))
}

/// For HTML text and attributes.
pub(super) fn html(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            0 => out.extend_from_slice("\u{FFFD}".as_bytes()),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            other => out.push(*other),
        }
    }
    out
}

/// For strings of JavaScript.
pub(super) fn js(text: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    while !rest.is_empty() {
        let (character, length) = decode(rest);
        let escaped = match character {
            Some('\\') => "\\\\".to_owned(),
            Some('\'') => "\\'".to_owned(),
            Some('"') => "\\\"".to_owned(),
            Some(other @ ('<' | '>' | '&' | '=')) => format!("\\u{:04X}", u32::from(other)),
            Some(other) if other < ' ' => format!("\\u{:04X}", u32::from(other)),
            Some(other) if !other.is_ascii() && !is_printable(other) => format!("\\u{:04X}", u32::from(other)),
            _ => String::new(),
        };
        if escaped.is_empty() {
            out.extend_from_slice(&rest[..length]);
        } else {
            out.extend_from_slice(escaped.as_bytes());
        }
        rest = &rest[length..];
    }
    out
}

/// For the query of a URL.
pub(super) fn urlquery(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b' ' => out.push(b'+'),
            b'-' | b'_' | b'.' | b'~' => out.push(*byte),
            other if other.is_ascii_alphanumeric() => out.push(*other),
            other => out.extend_from_slice(format!("%{other:02X}").as_bytes()),
        }
    }
    out
}
