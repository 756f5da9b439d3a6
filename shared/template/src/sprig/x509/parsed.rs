//! A certificate as it is read: what a new one needs to know of its issuer.

use super::der::{self, Element, Reader};
use super::{key, names, rsa_key};

/// A certificate that was read.
pub(super) struct Parsed<'a> {
    /// Whose it is: a whole element.
    pub(super) subject: &'a [u8],
    /// How others name its key.
    pub(super) key_name: Option<&'a [u8]>,
    /// Its public key (algorithm, bytes), when that is of a known kind.
    pub(super) public: Option<(Vec<u8>, Vec<u8>)>,
}

type Outcome<T> = Result<T, String>;

/// Reads a certificate. Errors are Go's, down to the words.
pub(super) fn read(encoded: &[u8]) -> Outcome<Parsed<'_>> {
    let mut around = Reader(encoded);
    let mut outer = take(around.inside(der::SEQUENCE), "certificate")?;
    let mut body = take(outer.inside(der::SEQUENCE), "tbs certificate")?;
    let version = version(&mut body)?;
    match body.integer() {
        None => return malformed("serial number"),
        Some([first, ..]) if first & 0x80 != 0 => return Err("x509: negative serial number".to_owned()),
        Some(_) => {}
    }
    let algorithm = take(body.content(der::SEQUENCE), "signature algorithm identifier")?;
    if take(outer.content(der::SEQUENCE), "algorithm identifier")? != algorithm {
        return Err("x509: inner and outer signature algorithm identifiers don't match".to_owned());
    }
    identifier(algorithm)?;
    name(&take(body.element(der::SEQUENCE), "issuer")?)?;
    validity(take(body.inside(der::SEQUENCE), "validity")?)?;
    let subject = take(body.element(der::SEQUENCE), "issuer")?;
    name(&subject)?;
    let public = public(take(body.inside(der::SEQUENCE), "spki")?)?;
    let mut parsed = Parsed { subject: subject.whole, key_name: None, public };
    if version > 1 {
        take(body.optional(der::implicit(1)), "issuerUniqueID")?;
        take(body.optional(der::implicit(2)), "subjectUniqueID")?;
    }
    if version == 3 && body.is_next(der::explicit(3)) {
        let extensions = body.inside(der::explicit(3)).and_then(|mut inside| inside.inside(der::SEQUENCE));
        parsed.key_name = key_name(take(extensions, "extensions")?)?;
    }
    take(outer.bits(), "signature")?;
    if around.is_empty() { Ok(parsed) } else { Err("x509: trailing data".to_owned()) }
}

fn malformed<T>(what: &str) -> Outcome<T> {
    Err(format!("x509: malformed {what}"))
}

fn take<T>(found: Option<T>, what: &str) -> Outcome<T> {
    found.map_or_else(|| malformed(what), Ok)
}

/// 1 to 3.
fn version(body: &mut Reader<'_>) -> Outcome<u8> {
    if !body.is_next(der::explicit(0)) {
        return Ok(1);
    }
    match body.inside(der::explicit(0)).and_then(|mut inside| inside.integer()) {
        Some([number @ 0..=2]) => Ok(number + 1),
        Some([first, ..]) if first & 0x80 == 0 => Err("x509: invalid version".to_owned()),
        _ => malformed("version"),
    }
}

/// The name of an algorithm and its parameters.
fn identifier(content: &[u8]) -> Outcome<(&[u8], &[u8])> {
    let mut reader = Reader(content);
    let name = take(reader.object(), "OID")?;
    if reader.is_empty() {
        return Ok((name, &[]));
    }
    Ok((name, take(reader.any(), "parameters")?.whole))
}

fn name(element: &Element<'_>) -> Outcome<()> {
    let invalid = |what: &str| Err(format!("x509: invalid RDNSequence{what}"));
    let mut sets = Reader(element.content);
    while !sets.is_empty() {
        let Some(mut set) = sets.inside(der::SET) else { return invalid("") };
        while !set.is_empty() {
            let Some(mut attribute) = set.inside(der::SEQUENCE) else { return invalid(": invalid attribute") };
            if attribute.object().is_none() {
                return invalid(": invalid attribute type");
            }
            let Some(value) = attribute.any() else { return invalid(": invalid attribute value") };
            if value.tag == der::UTF8_STRING && std::str::from_utf8(value.content).is_err() {
                return invalid(": invalid attribute value: invalid UTF-8 string");
            }
        }
    }
    Ok(())
}

fn validity(mut times: Reader<'_>) -> Outcome<()> {
    for _ in 0..2 {
        let (kind, length) = match times.0.first() {
            Some(&der::UTC_TIME) => ("UTCTime", 13),
            Some(&der::GENERALIZED_TIME) => ("GeneralizedTime", 15),
            _ => return Err("x509: unsupported time format".to_owned()),
        };
        let text = take(times.any(), kind)?.content;
        let is_time =
            text.len() == length && text.strip_suffix(b"Z").is_some_and(|digits| digits.iter().all(u8::is_ascii_digit));
        take(is_time.then_some(()), kind)?;
    }
    Ok(())
}

/// The public key, when it is of a known kind.
fn public(mut info: Reader<'_>) -> Outcome<Option<(Vec<u8>, Vec<u8>)>> {
    let (name, parameters) = identifier(take(info.content(der::SEQUENCE), "public key algorithm identifier")?)?;
    let bytes = take(info.bits(), "subjectPublicKey")?;
    let known = [names::RSA, names::ELLIPTIC, names::ED25519, names::X25519, names::DSA].contains(&name);
    let wrong = |what: &str| Err(format!("x509: {what}"));
    let bytes = match name {
        names::RSA if parameters != der::NULL => return wrong("RSA key missing NULL parameters"),
        names::RSA => rsa_public(bytes)?,
        names::ELLIPTIC => match Reader(parameters).object() {
            None => return wrong("invalid ECDSA parameters"),
            Some(names::P224 | names::P256 | names::P384 | names::P521) if bytes.first() == Some(&4) => bytes.to_vec(),
            Some(names::P224 | names::P256 | names::P384 | names::P521) => {
                return Err("ecdsa: invalid uncompressed public key".to_owned());
            }
            Some(_) => return wrong("unsupported elliptic curve"),
        },
        names::ED25519 if !parameters.is_empty() => return wrong("Ed25519 key encoded with illegal parameters"),
        names::ED25519 if bytes.len() != 32 => return wrong("wrong Ed25519 public key size"),
        _ => bytes.to_vec(),
    };
    Ok(known.then(|| (key::algorithm(name, parameters), bytes)))
}

fn rsa_public(bytes: &[u8]) -> Outcome<Vec<u8>> {
    let Some(mut numbers) = Reader(bytes).inside(der::SEQUENCE) else {
        return Err("x509: invalid RSA public key".to_owned());
    };
    let Some(modulus) = numbers.integer() else { return Err("x509: invalid RSA modulus".to_owned()) };
    let Some(exponent) = numbers.integer().filter(|digits| digits.len() <= 8) else {
        return Err("x509: invalid RSA public exponent".to_owned());
    };
    for (what, number) in [("modulus", modulus), ("public exponent", exponent)] {
        if !der::is_positive(number) {
            return Err(format!("x509: RSA {what} is not a positive number"));
        }
    }
    Ok(rsa_key::public(modulus, exponent))
}

/// How the extensions name the key.
fn key_name(mut extensions: Reader<'_>) -> Outcome<Option<&[u8]>> {
    let (mut seen, mut found) = (Vec::new(), None);
    while !extensions.is_empty() {
        let mut extension = take(extensions.inside(der::SEQUENCE), "extension")?;
        let name = take(extension.object(), "extension OID field")?;
        let critical = match take(extension.optional(der::BOOLEAN), "extension critical field")? {
            None | Some([0]) => false,
            Some([0xff]) => true,
            Some(_) => return malformed("extension critical field"),
        };
        let value = take(extension.content(der::OCTET_STRING), "extension value field")?;
        if seen.contains(&name) {
            let name = names::dotted(name);
            return Err(format!("x509: certificate contains duplicate extension with OID \"{name}\""));
        }
        seen.push(name);
        if name == names::SUBJECT_KEY {
            if critical {
                return Err("x509: subject key identifier incorrectly marked critical".to_owned());
            }
            let Some(id) = Reader(value).content(der::OCTET_STRING) else {
                return Err("x509: invalid subject key identifier".to_owned());
            };
            found = Some(id).filter(|id| !id.is_empty());
        }
    }
    Ok(found)
}
