//! Checksums, passwords and AES.

use std::fmt::Write;
use std::sync::Arc;

use aes::Aes256;
use aes::cipher::block_padding::NoPadding;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::arguments::{Outcome, bytes, fail, integer, string, text};
use super::encoding::{base64, decode_base64};
use super::random::take;
use super::strings::one_string;
use super::world::World;
use crate::function::{Function, FunctionError, Functions};
use crate::value::{Type, UintKind, Value};

/// bcrypt's work factor, as sprig has it.
const BCRYPT_COST: u32 = 10;
/// Steps that one slow hash counts for: they are meant to take long.
const SLOW_HASH_STEPS: u64 = 100_000;
const BLOCK: usize = 16;

/// Adds the functions of this file.
pub(super) fn register(all: &mut Functions, world: &Arc<dyn World>) {
    one_string(all, "sha1sum", |text| hexadecimal(&Sha1::digest(text)));
    one_string(all, "sha256sum", |text| hexadecimal(&Sha256::digest(text)));
    one_string(all, "sha512sum", |text| hexadecimal(&Sha512::digest(text)));
    one_string(all, "adler32sum", |text| adler32(text).to_string().into_bytes());
    register_passwords(all, world);
    let source = Arc::clone(world);
    all.insert(
        "encryptAES",
        Function::new([Type::String, Type::String], move |_, arguments| {
            encrypt(bytes(&arguments[0]), bytes(&arguments[1]), take(&*source)?)
        }),
    );
    all.insert(
        "decryptAES",
        Function::new([Type::String, Type::String], |_, arguments| decrypt(bytes(&arguments[0]), bytes(&arguments[1]))),
    );
}

fn register_passwords(all: &mut Functions, world: &Arc<dyn World>) {
    let source = Arc::clone(world);
    all.insert(
        "bcrypt",
        Function::new([Type::String], move |call, arguments| {
            call.step(SLOW_HASH_STEPS)?;
            bcrypt(&*source, bytes(&arguments[0]))
        }),
    );
    let source = Arc::clone(world);
    all.insert(
        "htpasswd",
        Function::new([Type::String, Type::String], move |call, arguments| {
            call.step(SLOW_HASH_STEPS)?;
            let user = text(&arguments[0]);
            if user.contains(':') {
                return Ok(string(format!("invalid username: {user}")));
            }
            let hash = bcrypt(&*source, bytes(&arguments[1]))?;
            Ok(string(format!("{user}:{}", text(&hash))))
        }),
    );
    let texts = [Type::Uint(UintKind::Uint32), Type::String, Type::String, Type::String, Type::String];
    all.insert(
        "derivePassword",
        Function::new(texts, |call, arguments| {
            call.step(SLOW_HASH_STEPS)?;
            derive(arguments)
        }),
    );
}

fn hexadecimal(digest: &[u8]) -> Vec<u8> {
    let mut out = String::with_capacity(digest.len() * 2);
    for byte in digest {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out.into_bytes()
}

fn adler32(text: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    let (low, high) = text.iter().fold((1u32, 0u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % MODULUS;
        (low, (high + low) % MODULUS)
    });
    high << 16 | low
}

fn bcrypt(world: &dyn World, password: &[u8]) -> Outcome {
    if password.len() > 72 {
        return Ok(Value::from("failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes"));
    }
    match bcrypt::hash_with_salt(password, BCRYPT_COST, take(world)?) {
        Ok(hash) => Ok(string(hash.format_for_version(bcrypt::Version::TwoA))),
        Err(error) => Ok(string(format!("failed to encrypt string with bcrypt: {error}"))),
    }
}

/// The key is the password, cut or filled with zeros to 32 bytes.
fn key(password: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    let length = password.len().min(32);
    key[..length].copy_from_slice(&password[..length]);
    key
}

fn encrypt(password: &[u8], plain: &[u8], vector: [u8; BLOCK]) -> Outcome {
    if plain.is_empty() {
        return Ok(Value::from(""));
    }
    let padding = BLOCK - plain.len() % BLOCK;
    let mut padded = plain.to_vec();
    padded.resize(plain.len() + padding, padding as u8);
    let cipher = cbc::Encryptor::<Aes256>::new(&key(password).into(), &vector.into());
    let sealed = cipher.encrypt_padded_vec::<NoPadding>(&padded);
    Ok(string(base64(&[vector.as_slice(), &sealed].concat())))
}

fn decrypt(password: &[u8], sealed: &[u8]) -> Outcome {
    if sealed.is_empty() {
        return Ok(Value::from(""));
    }
    let sealed = decode_base64(sealed).map_err(FunctionError::new)?;
    let Some((vector, body)) = sealed.split_first_chunk::<BLOCK>() else {
        let capacity = sealed.len().div_ceil(3) * 3;
        return fail(format!("runtime error: slice bounds out of range [:16] with capacity {capacity}"));
    };
    let cipher = cbc::Decryptor::<Aes256>::new(&key(password).into(), &(*vector).into());
    let Ok(plain) = cipher.decrypt_padded_vec::<NoPadding>(body) else {
        return fail("crypto/cipher: input not full blocks");
    };
    let Some(padding) = plain.last() else { return fail("runtime error: index out of range [-1]") };
    match plain.len().checked_sub(usize::from(*padding)) {
        Some(end) => Ok(string(&plain[..end])),
        None => {
            let end = plain.len() as i64 - i64::from(*padding);
            fail(format!("runtime error: slice bounds out of range [:{end}]"))
        }
    }
}

const NAMESPACE: &[u8] = b"com.lyndir.masterpassword";

/// Shapes of derived passwords; each letter stands for a set of characters.
fn shapes(kind: &[u8]) -> Option<&'static [&'static str]> {
    Some(match kind {
        b"maximum" => &["anoxxxxxxxxxxxxxxxxx", "axxxxxxxxxxxxxxxxxno"],
        b"long" => &[
            "CvcvnoCvcvCvcv",
            "CvcvCvcvnoCvcv",
            "CvcvCvcvCvcvno",
            "CvccnoCvcvCvcv",
            "CvccCvcvnoCvcv",
            "CvccCvcvCvcvno",
            "CvcvnoCvccCvcv",
            "CvcvCvccnoCvcv",
            "CvcvCvccCvcvno",
            "CvcvnoCvcvCvcc",
            "CvcvCvcvnoCvcc",
            "CvcvCvcvCvccno",
            "CvccnoCvccCvcv",
            "CvccCvccnoCvcv",
            "CvccCvccCvcvno",
            "CvcvnoCvccCvcc",
            "CvcvCvccnoCvcc",
            "CvcvCvccCvccno",
            "CvccnoCvcvCvcc",
            "CvccCvcvnoCvcc",
            "CvccCvcvCvccno",
        ],
        b"medium" => &["CvcnoCvc", "CvcCvcno"],
        b"short" => &["Cvcn"],
        b"basic" => &["aaanaaan", "aannaaan", "aaannaaa"],
        b"pin" => &["nnnn"],
        _ => return None,
    })
}

fn characters(class: char) -> &'static [u8] {
    match class {
        'V' => b"AEIOU",
        'C' => b"BCDFGHJKLMNPQRSTVWXYZ",
        'v' => b"aeiou",
        'c' => b"bcdfghjklmnpqrstvwxyz",
        'a' => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz",
        'n' => b"0123456789",
        'o' => b"@&%?,=[]_:-+*$#!'^~;()/.",
        _ => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()",
    }
}

/// The Master Password scheme.
fn derive(arguments: &[Value]) -> Outcome {
    let counter = integer(&arguments[0]) as u32;
    let [kind, password, user, site] = [1, 2, 3, 4].map(|at| bytes(&arguments[at]));
    let Some(shapes) = shapes(kind) else {
        return Ok(string(format!("cannot find password template {}", text(&arguments[1]))));
    };
    let named = |name: &[u8]| [NAMESPACE, &(name.len() as u32).to_be_bytes(), name].concat();
    let failed = |error: &dyn std::fmt::Display| fail(format!("failed to derive password: {error}"));
    let parameters = match scrypt::Params::new(15, 8, 2) {
        Ok(parameters) => parameters,
        Err(error) => return failed(&error),
    };
    let mut secret = [0; 64];
    if let Err(error) = scrypt::scrypt(password, &named(user), &parameters, &mut secret) {
        return failed(&error);
    }
    let mut code = match Hmac::<Sha256>::new_from_slice(&secret) {
        Ok(code) => code,
        Err(error) => return failed(&error),
    };
    code.update(&named(site));
    code.update(&counter.to_be_bytes());
    let seed = code.finalize().into_bytes();
    let shape = shapes[usize::from(seed[0]) % shapes.len()];
    let picked: Vec<u8> = shape
        .chars()
        .zip(&seed[1..])
        .map(|(class, byte)| {
            let set = characters(class);
            set[usize::from(*byte) % set.len()]
        })
        .collect();
    Ok(string(picked))
}
