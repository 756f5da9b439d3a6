//! Randomness.

use std::fmt::Write as _;

/// A random id of 32 hexadecimal characters (128 bits): no two are equal.
pub fn random_id() -> String {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).expect("the operating system hands out random bytes");
    bytes.iter().fold(String::with_capacity(32), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string succeeds");
        text
    })
}
