//! Base64 and base32. A text that cannot be decoded gives Go's error text as the result, as sprig does.

use super::strings::one_string;
use crate::function::Functions;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Adds the functions of this file.
pub(super) fn register(all: &mut Functions) {
    one_string(all, "b64enc", |text| base64(text).into_bytes());
    one_string(all, "b32enc", |text| encode(text, BASE32, 5, 8));
    one_string(all, "b64dec", |text| decode_base64(text).unwrap_or_else(String::into_bytes));
    one_string(all, "b32dec", |text| decode_base32(text).unwrap_or_else(String::into_bytes));
}

/// Standard base64 with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&encode(bytes, BASE64, 6, 4)).into_owned()
}

/// Groups of `width` characters of `bits` bits each, padded.
fn encode(bytes: &[u8], alphabet: &[u8], bits: usize, width: usize) -> Vec<u8> {
    let group = bits * width / 8;
    let mut out = Vec::with_capacity(bytes.len().div_ceil(group) * width);
    for chunk in bytes.chunks(group) {
        let value = (0..group).fold(0u64, |value, at| value << 8 | u64::from(chunk.get(at).copied().unwrap_or(0)));
        let used = (chunk.len() * 8).div_ceil(bits);
        for at in 0..width {
            let index = (value >> (bits * (width - 1 - at))) as usize & (alphabet.len() - 1);
            out.push(if at < used { alphabet[index] } else { b'=' });
        }
    }
    out
}

fn value_of(alphabet: &[u8], byte: u8) -> Option<u64> {
    alphabet.iter().position(|letter| *letter == byte).map(|at| at as u64)
}

fn is_newline(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Appends the bytes of a group of which `used` characters were there.
fn push_group(out: &mut Vec<u8>, value: u64, bits: usize, width: usize, used: usize) {
    let group = bits * width / 8;
    let filled = value << (bits * (width - used));
    out.extend((0..used * bits / 8).map(|at| (filled >> (8 * (group - 1 - at))) as u8));
}

/// Decodes standard base64; line ends are skipped. The error is Go's, with the byte at which it stopped.
pub(super) fn decode_base64(source: &[u8]) -> Result<Vec<u8>, String> {
    let corrupt = |at: usize| Err(format!("illegal base64 data at input byte {at}"));
    let skip = |mut at: usize| {
        while source.get(at).is_some_and(|byte| is_newline(*byte)) {
            at += 1;
        }
        at
    };
    let mut out = Vec::new();
    let (mut value, mut used, mut at) = (0, 0, 0);
    while let Some(byte) = source.get(at).copied() {
        at += 1;
        if let Some(bits) = value_of(BASE64, byte) {
            value = value << 6 | bits;
            used += 1;
            if used == 4 {
                push_group(&mut out, value, 6, 4, 4);
                (value, used) = (0, 0);
            }
        } else if !is_newline(byte) {
            if byte != b'=' || used < 2 {
                return corrupt(at - 1);
            }
            if used == 2 {
                at = skip(at);
                match source.get(at) {
                    None => return corrupt(source.len()),
                    Some(b'=') => at += 1,
                    Some(_) => return corrupt(at - 1),
                }
            }
            at = skip(at);
            push_group(&mut out, value, 6, 4, used);
            return if at < source.len() { corrupt(at) } else { Ok(out) };
        }
    }
    if used == 0 { Ok(out) } else { corrupt(at - used) }
}

fn decode_base32(source: &[u8]) -> Result<Vec<u8>, String> {
    let source: Vec<u8> = source.iter().copied().filter(|byte| !is_newline(*byte)).collect();
    let total = source.len();
    let corrupt = |at: usize| Err(format!("illegal base32 data at input byte {at}"));
    let mut out = Vec::new();
    let mut rest = source.as_slice();
    while !rest.is_empty() {
        let (mut value, mut used) = (0, 0);
        while used < 8 {
            let Some((byte, after)) = rest.split_first() else { return corrupt(total - used) };
            rest = after;
            if *byte == b'=' && used >= 2 && rest.len() < 8 {
                if rest.len() + used < 7 {
                    return corrupt(total);
                }
                if let Some(at) = (0..7 - used).find(|at| rest.get(*at).is_some_and(|byte| *byte != b'=')) {
                    return corrupt(total - rest.len() + at - 1);
                }
                if matches!(used, 1 | 3 | 6) {
                    return corrupt(total - rest.len() - 1);
                }
                push_group(&mut out, value, 5, 8, used);
                return Ok(out);
            }
            let Some(bits) = value_of(BASE32, *byte) else { return corrupt(total - rest.len() - 1) };
            value = value << 5 | bits;
            used += 1;
        }
        push_group(&mut out, value, 5, 8, 8);
    }
    Ok(out)
}
