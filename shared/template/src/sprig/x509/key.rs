//! Private keys of every kind: made, written and read as sprig does it with Go's libraries.

use dsa::signature::rand_core::TryCryptoRng;
use ed25519_dalek::Signer;

use super::draws::Draws;
use super::elliptic::{self, EllipticKey};
use super::fields::Fields;
use super::rsa_key::{self, RsaKey};
use super::{der, names, pem};

/// A private key.
pub(super) enum PrivateKey {
    Rsa(Box<RsaKey>),
    Elliptic(Box<EllipticKey>),
    Ed25519(Box<ed25519_dalek::SigningKey>),
    /// The key as it is written: it signs nothing here.
    Dsa(Vec<u8>),
    /// Its bytes: such a key signs nothing at all.
    X25519(Vec<u8>),
}

type Outcome<T> = Result<T, String>;

impl PrivateKey {
    /// A new key of RSA.
    pub(super) fn rsa(draws: &mut Draws, bits: usize) -> Outcome<PrivateKey> {
        Ok(PrivateKey::Rsa(Box::new(RsaKey::generate(draws, bits)?)))
    }

    /// A new key on P-256.
    pub(super) fn elliptic(draws: &mut Draws) -> PrivateKey {
        PrivateKey::Elliptic(Box::new(EllipticKey::generate(draws)))
    }

    /// A new key of Ed25519.
    pub(super) fn ed25519(draws: &mut Draws) -> PrivateKey {
        PrivateKey::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(&draws.take())))
    }

    /// A new key of DSA, with parameters of its own: 2048 and 256 bits.
    pub(super) fn dsa(draws: &mut Draws) -> Outcome<PrivateKey> {
        let key = dsa_key(draws).map_err(|error| error.to_string())?;
        let public = key.verifying_key();
        let shared = public.components();
        let numbers = [shared.p().as_ref(), shared.q().as_ref(), shared.g().as_ref(), public.y().as_ref(), key.x()];
        let numbers = numbers.map(|number| der::unsigned(&number.to_be_bytes()));
        let parts: Vec<&[u8]> = numbers.iter().map(Vec::as_slice).collect();
        Ok(PrivateKey::Dsa(der::sequence(&[&der::unsigned(&[]), &parts.concat()])))
    }

    /// The first key of a text. Errors are sprig's and Go's, down to the words.
    pub(super) fn read(text: &[u8]) -> Outcome<PrivateKey> {
        let Some(block) = pem::read(text) else { return Err("no PEM data in input".to_owned()) };
        if block.kind == "PRIVATE KEY" {
            return read_pkcs8(&block.bytes).map_err(|what| format!("decoding PEM as PKCS#8: {what}"));
        }
        let Some(kind) = block.kind.strip_suffix(" PRIVATE KEY") else {
            return Err(format!("no private key data in PEM block of type {}", block.kind));
        };
        let key = match kind {
            "RSA" => read_rsa(&block.bytes),
            "EC" => read_elliptic(&block.bytes, None),
            "DSA" => read_dsa(&block.bytes),
            _ => return Err(format!("invalid private key type {}", block.kind)),
        };
        key.map_err(|what| format!("parsing {kind} private key from PEM: {what}"))
    }

    /// The key as PEM, in the form that is usual for its kind.
    pub(super) fn to_pem(&self) -> Outcome<String> {
        Ok(match self {
            PrivateKey::Rsa(key) => pem::write("RSA PRIVATE KEY", key.encoded()),
            PrivateKey::Elliptic(key) => pem::write("EC PRIVATE KEY", &key.encoded()?),
            PrivateKey::Dsa(encoded) => pem::write("DSA PRIVATE KEY", encoded),
            PrivateKey::Ed25519(key) => pem::write("PRIVATE KEY", &pkcs8(names::ED25519, &key.to_bytes())),
            PrivateKey::X25519(key) => pem::write("PRIVATE KEY", &pkcs8(names::X25519, key)),
        })
    }

    /// The public key: its algorithm (a whole element) and its bytes.
    pub(super) fn public(&self) -> Outcome<(Vec<u8>, Vec<u8>)> {
        match self {
            PrivateKey::Rsa(key) => Ok((algorithm(names::RSA, der::NULL), key.public())),
            PrivateKey::Elliptic(key) => {
                let curve = der::element(der::OBJECT, key.curve());
                Ok((algorithm(names::ELLIPTIC, &curve), key.public()?))
            }
            PrivateKey::Ed25519(key) => Ok((algorithm(names::ED25519, &[]), key.verifying_key().to_bytes().to_vec())),
            PrivateKey::Dsa(_) => Err("x509: unsupported public key type: *dsa.PublicKey".to_owned()),
            PrivateKey::X25519(_) => Err("not supported yet: certificates of X25519 keys".to_owned()),
        }
    }

    /// The algorithm of this key's signatures, as a whole element; an error for a key that signs nothing.
    pub(super) fn signature_algorithm(&self) -> Outcome<Vec<u8>> {
        match self {
            PrivateKey::Rsa(_) => Ok(algorithm(names::SHA256_WITH_RSA, der::NULL)),
            PrivateKey::Elliptic(key) => Ok(algorithm(key.algorithm(), &[])),
            PrivateKey::Ed25519(_) => Ok(algorithm(names::ED25519, &[])),
            PrivateKey::Dsa(_) | PrivateKey::X25519(_) => {
                Err("x509: certificate private key does not implement crypto.Signer".to_owned())
            }
        }
    }

    /// Signs a message with [`PrivateKey::signature_algorithm`].
    pub(super) fn sign(&self, draws: &mut Draws, message: &[u8]) -> Outcome<Vec<u8>> {
        match self {
            PrivateKey::Rsa(key) => key.sign(draws, message),
            PrivateKey::Elliptic(key) => key.sign(message),
            PrivateKey::Ed25519(key) => Ok(key.sign(message).to_bytes().to_vec()),
            PrivateKey::Dsa(_) | PrivateKey::X25519(_) => self.signature_algorithm(),
        }
    }
}

/// An algorithm with its parameters (whole elements).
pub(super) fn algorithm(name: &[u8], parameters: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::element(der::OBJECT, name), parameters])
}

fn dsa_key<R: TryCryptoRng>(draws: &mut R) -> Result<dsa::SigningKey, R::Error> {
    let parameters = dsa::Components::try_generate_from_rng_with_key_size(draws, dsa::KeySize::DSA_2048_256)?;
    dsa::SigningKey::try_generate_from_rng_with_components(draws, parameters)
}

fn pkcs8(name: &[u8], key: &[u8]) -> Vec<u8> {
    let key = der::element(der::OCTET_STRING, key);
    der::sequence(&[&der::unsigned(&[]), &algorithm(name, &[]), &der::element(der::OCTET_STRING, &key)])
}

/// What Go says of a key that another of its functions would have read.
fn misplaced<T>(reader: &str) -> Outcome<T> {
    Err(format!("x509: failed to parse private key (use {reader} instead for this key format)"))
}

fn read_rsa(encoded: &[u8]) -> Outcome<PrivateKey> {
    if rsa_key::is_pkcs1(encoded) {
        return RsaKey::read(encoded).map(|key| PrivateKey::Rsa(Box::new(key)));
    }
    if elliptic::is_sec1(encoded) {
        return misplaced("ParseECPrivateKey");
    }
    if Pkcs8::read(encoded).is_ok() {
        return misplaced("ParsePKCS8PrivateKey");
    }
    RsaKey::read(encoded).map(|key| PrivateKey::Rsa(Box::new(key)))
}

fn read_elliptic(encoded: &[u8], curve: Option<&[u8]>) -> Outcome<PrivateKey> {
    if !elliptic::is_sec1(encoded) && Pkcs8::read(encoded).is_ok() {
        return misplaced("ParsePKCS8PrivateKey");
    }
    if !elliptic::is_sec1(encoded) && rsa_key::is_pkcs1(encoded) {
        return misplaced("ParsePKCS1PrivateKey");
    }
    EllipticKey::read(encoded, curve).map(|key| PrivateKey::Elliptic(Box::new(key)))
}

fn read_dsa(encoded: &[u8]) -> Outcome<PrivateKey> {
    let (mut fields, _) = Fields::of(encoded, "DSAKeyFormat")?;
    fields.int()?;
    for _ in 0..5 {
        fields.big()?;
    }
    Ok(PrivateKey::Dsa(encoded.to_vec()))
}

/// A key in its wrapping.
struct Pkcs8<'a> {
    algorithm: &'a [u8],
    parameters: &'a [u8],
    key: &'a [u8],
}

impl<'a> Pkcs8<'a> {
    fn read(encoded: &'a [u8]) -> Outcome<Pkcs8<'a>> {
        let (mut fields, _) = Fields::of(encoded, "pkcs8")?;
        fields.int()?;
        let mut algorithm = fields.structure("AlgorithmIdentifier")?;
        let name = algorithm.object()?;
        Ok(Pkcs8 { algorithm: name, parameters: algorithm.rest(), key: fields.octets()? })
    }

    /// The bytes of a key that has no parameters; `kind` is for messages.
    fn bare(&self, kind: &str) -> Outcome<&'a [u8]> {
        if !self.parameters.is_empty() {
            return Err(format!("x509: invalid {kind} private key parameters"));
        }
        let invalid = |what: &str| format!("x509: invalid {kind} private key: {what}");
        der::Reader(self.key).content(der::OCTET_STRING).ok_or_else(|| invalid("asn1: syntax error: data truncated"))
    }
}

fn read_pkcs8(encoded: &[u8]) -> Outcome<PrivateKey> {
    let wrapped = match Pkcs8::read(encoded) {
        Ok(wrapped) => wrapped,
        Err(_) if elliptic::is_sec1(encoded) => return misplaced("ParseECPrivateKey"),
        Err(_) if rsa_key::is_pkcs1(encoded) => return misplaced("ParsePKCS1PrivateKey"),
        Err(what) => return Err(what),
    };
    let embedded =
        |kind: &str, what: String| format!("x509: failed to parse {kind} private key embedded in PKCS#8: {what}");
    match wrapped.algorithm {
        names::RSA => read_rsa(wrapped.key).map_err(|what| embedded("RSA", what)),
        names::ELLIPTIC => {
            let curve = der::Reader(wrapped.parameters).object();
            read_elliptic(wrapped.key, curve).map_err(|what| embedded("EC", what))
        }
        names::ED25519 => {
            let seed = wrapped.bare("Ed25519")?;
            let wrong = |_| format!("x509: invalid Ed25519 private key length: {}", seed.len());
            let seed = seed.try_into().map_err(wrong)?;
            Ok(PrivateKey::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(seed))))
        }
        names::X25519 => match wrapped.bare("X25519")? {
            key if key.len() == 32 => Ok(PrivateKey::X25519(key.to_vec())),
            _ => Err("crypto/ecdh: invalid private key size".to_owned()),
        },
        other => {
            let name = names::dotted(other);
            Err(format!("x509: PKCS#8 wrapping contained private key with unknown algorithm: {name}"))
        }
    }
}
