//! Randomness.

use std::fmt::Write as _;

/// Fills `bytes` with random ones, fit for secrets.
pub fn fill_random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system hands out random bytes");
}

/// A random id of 32 hexadecimal characters (128 bits): no two are equal.
pub fn random_id() -> String {
    let mut bytes = [0_u8; 16];
    fill_random(&mut bytes);
    bytes.iter().fold(String::with_capacity(32), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string succeeds");
        text
    })
}
