//! `wrap` and `wrapWith`: breaking a line at spaces.

use super::arguments::{bytes, find, integer, string};
use crate::function::{Call, Function, FunctionError, Functions};
use crate::value::Type;

/// Adds the functions of this file.
pub(super) fn register(all: &mut Functions) {
    all.insert(
        "wrap",
        Function::new([Type::INT, Type::String], |call, arguments| {
            Ok(string(wrap(call, bytes(&arguments[1]), integer(&arguments[0]), b"\n", false)?))
        }),
    );
    all.insert(
        "wrapWith",
        Function::new([Type::INT, Type::String, Type::String], |call, arguments| {
            let (width, text) = (integer(&arguments[0]), bytes(&arguments[2]));
            let separator = Some(bytes(&arguments[1])).filter(|given| !given.is_empty()).unwrap_or(b"\n");
            Ok(string(wrap(call, text, width, separator, true)?))
        }),
    );
}

/// The text in lines of at most `width` bytes. A word that is longer is broken, or left too long.
fn wrap(
    call: &mut Call<'_>,
    text: &[u8],
    width: i64,
    separator: &[u8],
    break_words: bool,
) -> Result<Vec<u8>, FunctionError> {
    let width = usize::try_from(width).unwrap_or(0).max(1);
    call.charge(text.len().saturating_add((text.len() / width).saturating_mul(separator.len())))?;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while rest.len() > width {
        if rest[0] == b' ' {
            rest = &rest[1..];
            continue;
        }
        let space = rest[..=width].iter().rposition(|byte| *byte == b' ');
        let (line, next) = match space {
            Some(at) => (at, at + 1),
            None if break_words => (width, width),
            None => match find(&rest[width..], b" ") {
                Some(at) => (width + at, width + at + 1),
                None => break,
            },
        };
        out.extend_from_slice(&rest[..line]);
        out.extend_from_slice(separator);
        rest = &rest[next..];
    }
    out.extend_from_slice(rest);
    Ok(out)
}
