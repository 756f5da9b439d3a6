//! Keys and certificates.
//!
//! Reading order: `certificate` is what templates are given, `key` a private key of any kind (`rsa_key` and `elliptic` are
//! two of them), `issue` makes certificates, `parsed` reads them. Below lie `pem`, `der`, `fields` (reading with Go's
//! messages), `names`, and `draws`, the randomness of a key.

mod certificate;
mod der;
mod draws;
mod elliptic;
mod fields;
mod issue;
mod key;
mod names;
mod parsed;
mod pem;
mod rsa_key;

use std::net::IpAddr;
use std::sync::Arc;

use certificate::Certificate;
use draws::Draws;
use issue::Wanted;
use key::PrivateKey;

use super::arguments::{Outcome, bytes, fail, integer, print, string, text};
use super::encoding::decode_base64;
use super::time::Time;
use super::world::World;
use crate::function::{Call, Function, FunctionError, Functions};
use crate::value::{GoString, Type, Value};

/// Bits of the keys of certificates and of a bare key, as sprig has them.
const CERTIFICATE_BITS: usize = 2048;
const KEY_BITS: usize = 4096;

/// Steps that a new key counts for: some take seconds.
const RSA_STEPS: u64 = 250_000;
const BARE_RSA_STEPS: u64 = 1_500_000;
const DSA_STEPS: u64 = 5_000_000;
/// Steps that a signature counts for.
const SIGNATURE_STEPS: u64 = 10_000;

/// Adds the functions of this file.
pub(super) fn register(all: &mut Functions, world: &Arc<dyn World>) {
    let source = Arc::clone(world);
    all.insert(
        "genPrivateKey",
        Function::new([Type::String], move |call, arguments| new_key(call, &*source, &arguments[0]))
            .returning(Type::String),
    );
    all.insert(
        "buildCustomCert",
        Function::new([Type::String, Type::String], |_, arguments| custom(bytes(&arguments[0]), bytes(&arguments[1])))
            .returning(Certificate::go_type()),
    );
    for (name, own_key) in [("genCA", false), ("genCAWithKey", true)] {
        let mut parameters = vec![Type::String, Type::INT];
        parameters.extend(own_key.then_some(Type::String));
        let source = Arc::clone(world);
        let make = Function::new(parameters, move |call, arguments| {
            let request = Request { call, world: &*source, name: &arguments[0], days: &arguments[1] };
            request.make(None, arguments.get(2), None)
        });
        all.insert(name, make.returning(Certificate::go_type()));
    }
    let signed = [
        ("genSelfSignedCert", false, false),
        ("genSelfSignedCertWithKey", false, true),
        ("genSignedCert", true, false),
        ("genSignedCertWithKey", true, true),
    ];
    for (name, has_issuer, own_key) in signed {
        let mut parameters = vec![Type::String, Type::any_list(), Type::any_list(), Type::INT];
        parameters.extend(has_issuer.then(Certificate::go_type));
        parameters.extend(own_key.then_some(Type::String));
        let source = Arc::clone(world);
        let make = Function::new(parameters, move |call, arguments| {
            let request = Request { call, world: &*source, name: &arguments[0], days: &arguments[3] };
            let issuer = if has_issuer { arguments.get(4) } else { None };
            let key = if own_key { arguments.last() } else { None };
            request.make(Some((&arguments[1], &arguments[2])), key, issuer)
        });
        all.insert(name, make.returning(Certificate::go_type()));
    }
}

fn new_key(call: &mut Call<'_>, world: &dyn World, kind: &Value) -> Outcome {
    let mut draws = Draws::new(world);
    let key = match &*text(kind) {
        "" | "rsa" => {
            call.step(BARE_RSA_STEPS)?;
            PrivateKey::rsa(&mut draws, KEY_BITS)
        }
        "dsa" => {
            call.step(DSA_STEPS)?;
            PrivateKey::dsa(&mut draws)
        }
        "ecdsa" => Ok(PrivateKey::elliptic(&mut draws)),
        "ed25519" => Ok(PrivateKey::ed25519(&mut draws)),
        _ => return Ok(string([b"Unknown type ", bytes(kind)].concat())),
    };
    Ok(match key.and_then(|key| key.to_pem()) {
        Ok(pem) => Value::from(pem),
        Err(what) => Value::from(format!("failed to generate private key: {what}")),
    })
}

/// A certificate and key from outside, both base64 over PEM. Whether they belong together is not asked.
fn custom(cert: &[u8], key: &[u8]) -> Outcome {
    let Ok(cert) = decode_base64(cert) else { return fail("unable to decode base64 certificate") };
    let Ok(key) = decode_base64(key) else { return fail("unable to decode base64 private key") };
    parsed::read(&certificate_of(&cert)?).map_err(|what| unparsed("decodedCert", &what))?;
    private_key(&key)?;
    Ok(Value::object(Certificate { cert: GoString::from(cert), key: GoString::from(key) }))
}

/// The first block of a text; sprig does not ask of what kind it is.
fn certificate_of(text: &[u8]) -> Result<Vec<u8>, FunctionError> {
    let block = pem::read(text).ok_or_else(|| FunctionError::new("unable to decode certificate"))?;
    Ok(block.bytes)
}

/// `variable` is what sprig calls the certificate.
fn unparsed(variable: &str, what: &str) -> FunctionError {
    FunctionError::new(format!("error parsing certificate: {variable}.Bytes: {what}"))
}

fn private_key(text: &[u8]) -> Result<PrivateKey, FunctionError> {
    PrivateKey::read(text).map_err(|what| FunctionError::new(format!("error parsing private key: {what}")))
}

/// What the makers of certificates have in common.
struct Request<'r, 'c> {
    call: &'r mut Call<'c>,
    world: &'r dyn World,
    name: &'r Value,
    days: &'r Value,
}

impl Request<'_, '_> {
    /// The certificate. With neither alternative names nor an issuer it is one of an authority. Without a key it gets a
    /// new one.
    fn make(self, names: Option<(&Value, &Value)>, key: Option<&Value>, issuer: Option<&Value>) -> Outcome {
        let mut draws = Draws::new(self.world);
        let read =
            |key| PrivateKey::read(key).map_err(|what| FunctionError::new(format!("parsing private key: {what}")));
        let own = key.map(|key| read(bytes(key))).transpose()?;
        let signer = issuer.and_then(Certificate::of);
        let encoded = signer.map(|signer| certificate_of(signer.cert.as_bytes())).transpose()?;
        let signing = match (&encoded, signer) {
            (Some(encoded), Some(signer)) => {
                let parent = parsed::read(encoded).map_err(|what| unparsed("decodedSignerCert", &what))?;
                Some((parent, private_key(signer.key.as_bytes())?))
            }
            _ => None,
        };
        let wanted = self.wanted(names, draws.take())?;
        self.call.step(SIGNATURE_STEPS)?;
        let holder = match own {
            Some(key) => key,
            None => {
                self.call.step(RSA_STEPS)?;
                let key = PrivateKey::rsa(&mut draws, CERTIFICATE_BITS);
                key.map_err(|what| FunctionError::new(format!("error generating rsa key: {what}")))?
            }
        };
        let issuer = signing.as_ref().map(|(parent, key)| (parent, key));
        let failed = |what| FunctionError::new(format!("error creating certificate: {what}"));
        let cert = issue::issue(&wanted, &holder, issuer, &mut draws).map_err(failed)?;
        let key = holder.to_pem().map_err(failed)?;
        let cert = pem::write("CERTIFICATE", &cert);
        Ok(Value::object(Certificate { cert: GoString::from(cert), key: GoString::from(key) }))
    }

    fn wanted(&self, names: Option<(&Value, &Value)>, serial: [u8; 16]) -> Result<Wanted, FunctionError> {
        let (addresses, hosts) = match names {
            Some((addresses, hosts)) => (
                items(addresses, "error parsing ip")?.iter().map(address).collect::<Result<_, _>>()?,
                items(hosts, "error processing alternate dns name")?,
            ),
            None => (Vec::new(), Vec::new()),
        };
        let (seconds, nanoseconds) = self.world.now();
        let now = Time::utc(seconds, nanoseconds);
        // As in Go a number of days that is too large comes round.
        let end = now.plus(integer(self.days).wrapping_mul(24 * 3_600_000_000_000));
        Ok(Wanted {
            name: bytes(self.name).to_vec(),
            addresses,
            hosts: hosts.iter().map(|host| host.as_bytes().to_vec()).collect(),
            valid: (now.seconds, end.seconds),
            serial,
            is_authority: names.is_none(),
        })
    }
}

/// The texts of a list.
fn items(list: &Value, what: &str) -> Result<Vec<GoString>, FunctionError> {
    let Value::List(list) = list else { return Ok(Vec::new()) };
    let text = |item: &Value| match item {
        Value::String(text) => Ok(text.clone()),
        other => fail(format!("{what}: {} is not a string", print(other)?.to_text())),
    };
    list.items().iter().map(text).collect()
}

fn address(text: &GoString) -> Result<IpAddr, FunctionError> {
    let text = text.to_text();
    text.parse().map_err(|_| FunctionError::new(format!("error parsing ip: {text}")))
}
