//! Private keys of RSA.

use rsa::pkcs1v15::SigningKey;
use rsa::signature::{RandomizedSigner, SignatureEncoding};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BoxedUint, PrivateKey};
use sha2::Sha256;

use super::der;
use super::draws::Draws;
use super::fields::Fields;

/// A key with fewer bits signs nothing.
const FEWEST_BITS: usize = 1024;
/// Past that many bits a signature takes minutes.
const MOST_BITS: usize = 16_384;

/// A private key of RSA, with two primes.
pub(super) struct RsaKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    /// The whole key as PKCS#1 has it.
    encoded: Vec<u8>,
    /// `None` for a key that is too weak to sign.
    signer: Option<PrivateKey>,
}

impl RsaKey {
    /// A new key.
    pub(super) fn generate(draws: &mut Draws, bits: usize) -> Result<RsaKey, String> {
        let key = PrivateKey::new(draws, bits).map_err(|error| error.to_string())?;
        let parts = [key.n_bytes(), key.e_bytes(), bytes(key.d()), bytes(&key.primes()[0]), bytes(&key.primes()[1])];
        let parts: Vec<&[u8]> = parts.iter().map(|part| &**part).collect();
        RsaKey::of(key, &parts).ok_or_else(|| "rsa: the key has no CRT values".to_owned())
    }

    /// The key with its parts: modulus, public and private exponent, primes.
    fn of(key: PrivateKey, parts: &[&[u8]]) -> Option<RsaKey> {
        let shortcuts = [key.dp().map(bytes)?, key.dq().map(bytes)?, key.crt_coefficient().as_ref().map(bytes)?];
        let all: Vec<&[u8]> = parts.iter().copied().chain(shortcuts.iter().map(|part| &**part)).collect();
        let (modulus, exponent) = (parts[0].to_vec(), parts[1].to_vec());
        Some(RsaKey { modulus, exponent, encoded: encode(&all), signer: Some(key) })
    }

    /// Reads PKCS#1. Errors are Go's, down to the words.
    pub(super) fn read(encoded: &[u8]) -> Result<RsaKey, String> {
        let (parts, is_followed) = Parts::read(encoded)?;
        if is_followed {
            return Err("asn1: syntax error: trailing data".to_owned());
        }
        if parts.version > 1 {
            return Err("x509: unsupported private key version".to_owned());
        }
        if parts.has_more {
            return Err("not supported yet: RSA keys of more than two primes".to_owned());
        }
        let given = parts.shortcuts.iter().flatten();
        if ![0, 2, 3, 4].map(|at| parts.numbers[at]).iter().chain(given).all(|part| der::is_positive(part)) {
            return Err("x509: private key contains zero or negative value".to_owned());
        }
        if !der::is_positive(parts.numbers[1]) {
            return Err("crypto/rsa: public exponent too small or negative".to_owned());
        }
        parts.check()
    }

    /// PKCS#1.
    pub(super) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// The public key as PKCS#1 has it.
    pub(super) fn public(&self) -> Vec<u8> {
        public(&self.modulus, &self.exponent)
    }

    /// Signs as `SHA256WithRSA`.
    pub(super) fn sign(&self, draws: &mut Draws, message: &[u8]) -> Result<Vec<u8>, String> {
        let Some(key) = &self.signer else {
            let bits = bit_length(&self.modulus);
            let more = "see https://go.dev/pkg/crypto/rsa#hdr-Minimum_key_size";
            return Err(format!("crypto/rsa: {bits}-bit keys are insecure ({more})"));
        };
        let signer = SigningKey::<Sha256>::new(key.clone());
        let signature = signer.try_sign_with_rng(draws, message).map_err(|error| format!("crypto/rsa: {error}"))?;
        Ok(signature.to_vec())
    }
}

/// A public key of RSA as PKCS#1 has it.
pub(super) fn public(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::unsigned(modulus), &der::unsigned(exponent)])
}

/// Whether these bytes are read as PKCS#1; of other keys that is worth a hint.
pub(super) fn is_pkcs1(encoded: &[u8]) -> bool {
    Parts::read(encoded).is_ok()
}

/// A key as it is written.
struct Parts<'a> {
    version: i64,
    /// Modulus, public and private exponent, primes.
    numbers: [&'a [u8]; 5],
    /// The private exponent for each prime, and the coefficient.
    shortcuts: [Option<&'a [u8]>; 3],
    has_more: bool,
}

impl<'a> Parts<'a> {
    /// The parts, and whether something follows them.
    fn read(encoded: &'a [u8]) -> Result<(Parts<'a>, bool), String> {
        let (mut fields, is_followed) = Fields::of(encoded, "pkcs1PrivateKey")?;
        let version = fields.int()?;
        let modulus = fields.big()?;
        let before = fields.rest();
        fields.int()?;
        // The number was read as one that fits an `int`; its bytes are wanted.
        let exponent = der::Reader(before).integer().unwrap_or_default();
        let numbers = [modulus, exponent, fields.big()?, fields.big()?, fields.big()?];
        let shortcuts = [fields.optional_big()?, fields.optional_big()?, fields.optional_big()?];
        Ok((Parts { version, numbers, shortcuts, has_more: fields.is_next(der::SEQUENCE) }, is_followed))
    }

    fn check(&self) -> Result<RsaKey, String> {
        let bits = bit_length(self.numbers[0]);
        if bits > MOST_BITS {
            return Err(format!("RSA keys of more than {MOST_BITS} bits are not supported: this one has {bits}"));
        }
        if bits < FEWEST_BITS {
            let [Some(first), Some(second), Some(coefficient)] = self.shortcuts else {
                return Err(format!("not supported yet: an RSA key of {bits} bits without CRT values"));
            };
            let all = [&self.numbers[..], &[first, second, coefficient]].concat();
            let (modulus, exponent) = (self.numbers[0].to_vec(), self.numbers[1].to_vec());
            return Ok(RsaKey { modulus, exponent, encoded: encode(&all), signer: None });
        }
        let [modulus, exponent, private, first, second] = self.numbers.map(BoxedUint::from_be_slice_vartime);
        let key =
            PrivateKey::from_components(modulus, exponent, private, vec![first, second]).map_err(
                |error| match error {
                    rsa::Error::InvalidModulus => "crypto/rsa: p * q != n".to_owned(),
                    other => format!("crypto/rsa: {other}"),
                },
            )?;
        let key = RsaKey::of(key, &self.numbers).ok_or("crypto/rsa: invalid CRT coefficient")?;
        self.compare(&key)?;
        Ok(key)
    }

    /// Compares what was given with what follows from the primes.
    fn compare(&self, key: &RsaKey) -> Result<(), String> {
        let (ours, _) = Parts::read(&key.encoded)?;
        for (at, (given, right)) in self.shortcuts.iter().zip(ours.shortcuts).enumerate() {
            if given.is_some() && *given != right {
                let what = if at == 2 { "coefficient" } else { "exponent" };
                return Err(format!("crypto/rsa: invalid CRT {what}"));
            }
        }
        Ok(())
    }
}

fn encode(numbers: &[&[u8]]) -> Vec<u8> {
    let version = der::unsigned(&[]);
    let numbers: Vec<Vec<u8>> = numbers.iter().map(|digits| der::unsigned(digits)).collect();
    let parts: Vec<&[u8]> = std::iter::once(&version).chain(&numbers).map(Vec::as_slice).collect();
    der::sequence(&parts)
}

fn bytes(number: &BoxedUint) -> Box<[u8]> {
    number.to_be_bytes()
}

fn bit_length(digits: &[u8]) -> usize {
    let start = digits.iter().position(|byte| *byte != 0).unwrap_or(digits.len());
    let first = digits.get(start).map_or(0, |byte| byte.leading_zeros() as usize);
    (digits.len() - start) * 8 - first
}
