//! What an ELF program says of itself.

/// Whether a program names a dynamic loader (a `PT_INTERP` segment); `None` when it is no 64-bit little-endian ELF program.
pub(crate) fn needs_interpreter(bytes: &[u8]) -> Option<bool> {
    const INTERPRETER: u64 = 3;
    if !is_elf(bytes) {
        return None;
    }
    let (start, size, count) = (number(bytes, 0x20, 8)?, number(bytes, 0x36, 2)?, number(bytes, 0x38, 2)?);
    for index in 0..count {
        let at = usize::try_from(start.checked_add(index * size)?).ok()?;
        if number(bytes, at, 4)? == INTERPRETER {
            return Some(true);
        }
    }
    Some(false)
}

/// The machine that a program is for, by Rust's name; `None` when it is none of those that are built for.
pub(crate) fn machine(bytes: &[u8]) -> Option<&'static str> {
    if !is_elf(bytes) {
        return None;
    }
    match number(bytes, 0x12, 2)? {
        62 => Some("x86_64"),
        183 => Some("aarch64"),
        _ => None,
    }
}

/// Class 2 is 64 bits, data 1 is little-endian.
fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF\x02\x01")
}

fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(size)?)?;
    Some(field.iter().rev().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte)))
}
