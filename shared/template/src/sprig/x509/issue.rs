//! Makes certificates.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use super::draws::Draws;
use super::key::PrivateKey;
use super::parsed::Parsed;
use super::{der, names};
use crate::error::quoted;
use crate::sprig::civil::Civil;

/// What a certificate is to say. It is for servers and clients alike.
pub(super) struct Wanted {
    /// The common name of the subject.
    pub(super) name: Vec<u8>,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) hosts: Vec<Vec<u8>>,
    /// First and last moment, in seconds since 1970.
    pub(super) valid: (i64, i64),
    pub(super) serial: [u8; 16],
    /// Whether its key may sign other certificates.
    pub(super) is_authority: bool,
}

type Outcome<T> = Result<T, String>;

/// The certificate of `holder`, signed by the issuer: its certificate and its key; without one by the holder itself.
pub(super) fn issue(
    wanted: &Wanted,
    holder: &PrivateKey,
    issuer: Option<(&Parsed<'_>, &PrivateKey)>,
    draws: &mut Draws,
) -> Outcome<Vec<u8>> {
    let signer = issuer.map_or(holder, |(_, key)| key);
    let algorithm = signer.signature_algorithm()?;
    let (key_algorithm, key) = holder.public()?;
    let subject = subject(&wanted.name)?;
    let (issued_by, issuer_key) = match issuer {
        Some((parent, _)) => (parent.subject, parent.key_name.filter(|_| parent.subject != subject)),
        None => (subject.as_slice(), None),
    };
    if let Some((Parsed { public: Some(public), .. }, key)) = issuer
        && *public != key.public()?
    {
        return Err("x509: provided PrivateKey doesn't match parent's PublicKey".to_owned());
    }
    let extensions = extensions(wanted, &key, issuer_key)?;
    let body = der::sequence(&[
        &der::element(der::explicit(0), &der::unsigned(&[2])),
        &der::unsigned(&wanted.serial),
        &algorithm,
        issued_by,
        &der::sequence(&[&time(wanted.valid.0), &time(wanted.valid.1)]),
        &subject,
        &der::sequence(&[&key_algorithm, &der::bits(&key)]),
        &der::element(der::explicit(3), &extensions),
    ]);
    let signature = signer.sign(draws, &body)?;
    Ok(der::sequence(&[&body, &algorithm, &der::bits(&signature)]))
}

/// A name with nothing but a common name; with nothing at all when that is empty.
fn subject(name: &[u8]) -> Outcome<Vec<u8>> {
    if name.is_empty() {
        return Ok(der::sequence(&[]));
    }
    let is_printable = |byte: &u8| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(byte);
    let tag = if name.iter().all(is_printable) { der::PRINTABLE_STRING } else { der::UTF8_STRING };
    if std::str::from_utf8(name).is_err() {
        return Err("asn1: string not valid UTF-8".to_owned());
    }
    let attribute = der::sequence(&[&der::element(der::OBJECT, names::COMMON_NAME), &der::element(tag, name)]);
    Ok(der::sequence(&[&der::element(der::SET, &attribute)]))
}

/// Years from 1950 to 2049 are written with two digits.
fn time(seconds: i64) -> Vec<u8> {
    let at = Civil::of(seconds);
    let rest = format!("{:02}{:02}{:02}{:02}{:02}Z", at.month, at.day, at.hour, at.minute, at.second);
    if (1950..2050).contains(&at.year) {
        return der::element(der::UTC_TIME, format!("{:02}{rest}", at.year % 100).as_bytes());
    }
    der::element(der::GENERALIZED_TIME, format!("{:04}{rest}", at.year).as_bytes())
}

fn extensions(wanted: &Wanted, key: &[u8], issuer_key: Option<&[u8]>) -> Outcome<Vec<u8>> {
    // Bits 0 and 2: signatures and the encryption of keys; bit 5: signatures of certificates.
    let usage = if wanted.is_authority { [2, 0xa4] } else { [5, 0xa0] };
    let usages = [names::SERVER, names::CLIENT].map(|name| der::element(der::OBJECT, name));
    let constraints: &[u8] = if wanted.is_authority { &[der::BOOLEAN, 1, 0xff] } else { &[] };
    let mut all = vec![
        extension(names::KEY_USAGE, true, &der::element(der::BIT_STRING, &usage)),
        extension(names::EXTENDED_USAGE, false, &der::sequence(&[&usages[0], &usages[1]])),
        extension(names::BASIC_CONSTRAINTS, true, &der::sequence(&[constraints])),
    ];
    if wanted.is_authority {
        let digest = Sha256::digest(key);
        all.push(extension(names::SUBJECT_KEY, false, &der::element(der::OCTET_STRING, &digest[..20])));
    }
    if let Some(id) = issuer_key {
        all.push(extension(names::AUTHORITY_KEY, false, &der::sequence(&[&der::element(der::implicit(0), id)])));
    }
    if !wanted.hosts.is_empty() || !wanted.addresses.is_empty() {
        all.push(extension(names::ALTERNATIVE_NAMES, wanted.name.is_empty(), &alternatives(wanted)?));
    }
    Ok(der::element(der::SEQUENCE, &all.concat()))
}

fn extension(name: &[u8], is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if is_critical { &[der::BOOLEAN, 1, 0xff] } else { &[] };
    der::sequence(&[&der::element(der::OBJECT, name), critical, &der::element(der::OCTET_STRING, value)])
}

fn alternatives(wanted: &Wanted) -> Outcome<Vec<u8>> {
    let mut names = Vec::new();
    for host in &wanted.hosts {
        if !host.is_ascii() {
            let host = quoted(&String::from_utf8_lossy(host));
            return Err(format!("x509: {host} cannot be encoded as an IA5String"));
        }
        names.push(der::element(der::implicit(2), host));
    }
    names.extend(wanted.addresses.iter().map(|address| match address.to_canonical() {
        IpAddr::V4(address) => der::element(der::implicit(7), &address.octets()),
        IpAddr::V6(address) => der::element(der::implicit(7), &address.octets()),
    }));
    Ok(der::element(der::SEQUENCE, &names.concat()))
}
