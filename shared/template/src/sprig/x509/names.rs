//! The encoded names of objects that certificates and keys speak of.

/// 1.2.840.113549.1.1.1
pub(super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.113549.1.1.11
pub(super) const SHA256_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
/// 1.2.840.10040.4.1
pub(super) const DSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01];
/// 1.2.840.10045.2.1
pub(super) const ELLIPTIC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.3.101.112
pub(super) const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// 1.3.101.110
pub(super) const X25519: &[u8] = &[0x2b, 0x65, 0x6e];
/// 1.2.840.10045.4.3.2
pub(super) const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// 1.2.840.10045.4.3.3
pub(super) const ECDSA_WITH_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
/// 1.2.840.10045.4.3.4
pub(super) const ECDSA_WITH_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04];
/// 1.3.132.0.33
pub(super) const P224: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x21];
/// 1.2.840.10045.3.1.7
pub(super) const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.3.132.0.34
pub(super) const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// 1.3.132.0.35
pub(super) const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
/// 2.5.4.3
pub(super) const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 2.5.29.14
pub(super) const SUBJECT_KEY: &[u8] = &[0x55, 0x1d, 0x0e];
/// 2.5.29.15
pub(super) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
/// 2.5.29.17
pub(super) const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
/// 2.5.29.19
pub(super) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
/// 2.5.29.35
pub(super) const AUTHORITY_KEY: &[u8] = &[0x55, 0x1d, 0x23];
/// 2.5.29.37
pub(super) const EXTENDED_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
/// 1.3.6.1.5.5.7.3.1
pub(super) const SERVER: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
/// 1.3.6.1.5.5.7.3.2
pub(super) const CLIENT: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];

/// The name as people write it, `1.2.840.113549`.
pub(super) fn dotted(encoded: &[u8]) -> String {
    let mut parts: Vec<u128> = Vec::new();
    let mut part = 0_u128;
    for byte in encoded {
        part = part << 7 | u128::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if parts.is_empty() {
                let root = (part / 40).min(2);
                parts.push(root);
                part -= root * 40;
            }
            parts.push(part);
            part = 0;
        }
    }
    parts.iter().map(u128::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dotted() {
        let table = [
            (RSA, "1.2.840.113549.1.1.1"),
            (SHA256_WITH_RSA, "1.2.840.113549.1.1.11"),
            (DSA, "1.2.840.10040.4.1"),
            (ELLIPTIC, "1.2.840.10045.2.1"),
            (ED25519, "1.3.101.112"),
            (X25519, "1.3.101.110"),
            (ECDSA_WITH_SHA256, "1.2.840.10045.4.3.2"),
            (ECDSA_WITH_SHA384, "1.2.840.10045.4.3.3"),
            (ECDSA_WITH_SHA512, "1.2.840.10045.4.3.4"),
            (P224, "1.3.132.0.33"),
            (P256, "1.2.840.10045.3.1.7"),
            (P384, "1.3.132.0.34"),
            (P521, "1.3.132.0.35"),
            (COMMON_NAME, "2.5.4.3"),
            (SUBJECT_KEY, "2.5.29.14"),
            (KEY_USAGE, "2.5.29.15"),
            (ALTERNATIVE_NAMES, "2.5.29.17"),
            (BASIC_CONSTRAINTS, "2.5.29.19"),
            (AUTHORITY_KEY, "2.5.29.35"),
            (EXTENDED_USAGE, "2.5.29.37"),
            (SERVER, "1.3.6.1.5.5.7.3.1"),
            (CLIENT, "1.3.6.1.5.5.7.3.2"),
            (&[0x88, 0x37], "2.999"),
        ];
        for (encoded, name) in table {
            assert_eq!(dotted(encoded), name);
        }
    }
}
