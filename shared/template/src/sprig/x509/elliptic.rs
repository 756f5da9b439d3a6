//! Private keys on elliptic curves.

use p256::ecdsa::signature::Signer;

use super::draws::Draws;
use super::fields::Fields;
use super::{der, names};

/// A private key on one of NIST's curves.
pub(super) enum EllipticKey {
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
    /// A key that is only handed on: there is no arithmetic of this curve here.
    P224,
}

/// The same for each curve with arithmetic.
macro_rules! each {
    ($key:expr, $signer:ident => $then:expr, $other:expr) => {
        match $key {
            EllipticKey::P256($signer) => Ok($then),
            EllipticKey::P384($signer) => Ok($then),
            EllipticKey::P521($signer) => Ok($then),
            EllipticKey::P224 => $other,
        }
    };
}

impl EllipticKey {
    /// A new key on P-256.
    pub(super) fn generate(draws: &mut Draws) -> EllipticKey {
        loop {
            // All but a vanishing part of the numbers of this length are keys.
            if let Ok(key) = p256::ecdsa::SigningKey::from_slice(&draws.take::<32>()) {
                return EllipticKey::P256(key);
            }
        }
    }

    /// Reads SEC 1. `curve` is what was said of it elsewhere. Errors are Go's, down to the words.
    pub(super) fn read(encoded: &[u8], curve: Option<&[u8]>) -> Result<EllipticKey, String> {
        let parts = Parts::read(encoded).map_err(|what| format!("x509: failed to parse EC private key: {what}"))?;
        if parts.version != 1 {
            return Err(format!("x509: unknown EC private key version {}", parts.version));
        }
        let curve = curve.or(parts.curve);
        let length = match curve {
            Some(names::P224) => 28,
            Some(names::P256) => 32,
            Some(names::P384) => 48,
            Some(names::P521) => 66,
            _ => return Err("x509: unknown elliptic curve".to_owned()),
        };
        let start = parts.scalar.len().saturating_sub(length);
        if parts.scalar[..start].iter().any(|byte| *byte != 0) {
            return Err("x509: invalid private key length".to_owned());
        }
        let short = &parts.scalar[start..];
        let mut scalar = vec![0; length - short.len()];
        scalar.extend_from_slice(short);
        EllipticKey::of(curve, &scalar)
    }

    fn of(curve: Option<&[u8]>, scalar: &[u8]) -> Result<EllipticKey, String> {
        let is_zero = scalar.iter().all(|byte| *byte == 0);
        let key = match curve {
            Some(names::P256) => p256::ecdsa::SigningKey::from_slice(scalar).ok().map(EllipticKey::P256),
            Some(names::P384) => p384::ecdsa::SigningKey::from_slice(scalar).ok().map(EllipticKey::P384),
            Some(names::P521) => p521::ecdsa::SigningKey::from_slice(scalar).ok().map(EllipticKey::P521),
            _ => (!is_zero).then(|| EllipticKey::P224),
        };
        let words = if is_zero { "ecdsa: invalid public key encoding" } else { "input overflows the modulus" };
        key.ok_or_else(|| words.to_owned())
    }

    /// The name of the curve, encoded.
    pub(super) fn curve(&self) -> &'static [u8] {
        match self {
            EllipticKey::P256(_) => names::P256,
            EllipticKey::P384(_) => names::P384,
            EllipticKey::P521(_) => names::P521,
            EllipticKey::P224 => names::P224,
        }
    }

    /// SEC 1 with the name of the curve and the public key.
    pub(super) fn encoded(&self) -> Result<Vec<u8>, String> {
        let scalar = each!(self, key => key.to_bytes().to_vec(), unsupported())?;
        let curve = der::element(der::OBJECT, self.curve());
        Ok(der::sequence(&[
            &der::unsigned(&[1]),
            &der::element(der::OCTET_STRING, &scalar),
            &der::element(der::explicit(0), &curve),
            &der::element(der::explicit(1), &der::bits(&self.public()?)),
        ]))
    }

    /// The public key: a point, uncompressed.
    pub(super) fn public(&self) -> Result<Vec<u8>, String> {
        each!(self, key => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(), unsupported())
    }

    /// The name of the signature, encoded.
    pub(super) fn algorithm(&self) -> &'static [u8] {
        match self {
            EllipticKey::P256(_) | EllipticKey::P224 => names::ECDSA_WITH_SHA256,
            EllipticKey::P384(_) => names::ECDSA_WITH_SHA384,
            EllipticKey::P521(_) => names::ECDSA_WITH_SHA512,
        }
    }

    /// Signs with the curve's own hash; the same message gives the same signature.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let signature = match self {
            EllipticKey::P256(key) => Signer::<p256::ecdsa::Signature>::sign(key, message).to_bytes().to_vec(),
            EllipticKey::P384(key) => Signer::<p384::ecdsa::Signature>::sign(key, message).to_bytes().to_vec(),
            EllipticKey::P521(key) => Signer::<p521::ecdsa::Signature>::sign(key, message).to_bytes().to_vec(),
            EllipticKey::P224 => return unsupported(),
        };
        let (first, second) = signature.split_at(signature.len() / 2);
        Ok(der::sequence(&[&der::unsigned(first), &der::unsigned(second)]))
    }
}

fn unsupported<T>() -> Result<T, String> {
    Err("not supported yet: keys on the curve P-224".to_owned())
}

/// Whether these bytes are read as SEC 1; of other keys that is worth a hint.
pub(super) fn is_sec1(encoded: &[u8]) -> bool {
    Parts::read(encoded).is_ok()
}

/// A key as it is written.
struct Parts<'a> {
    version: i64,
    scalar: &'a [u8],
    curve: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn read(encoded: &'a [u8]) -> Result<Parts<'a>, String> {
        let (mut fields, _) = Fields::of(encoded, "ecPrivateKey")?;
        let (version, scalar) = (fields.int()?, fields.octets()?);
        let mut rest = der::Reader(fields.rest());
        let curve = rest.inside(der::explicit(0)).and_then(|mut inside| inside.object());
        Ok(Parts { version, scalar, curve })
    }
}
