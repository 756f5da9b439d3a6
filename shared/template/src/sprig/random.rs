//! Random strings, numbers and identifiers.

use std::sync::Arc;

use super::arguments::{Outcome, bytes, fail, integer, string};
use super::world::World;
use super::{encoding, runes};
use crate::function::{Call, Function, FunctionError, Functions};
use crate::value::{Type, Value};

/// Adds the functions of this file.
pub(super) fn register(all: &mut Functions, world: &Arc<dyn World>) {
    let letters = || ('a'..='z').chain('A'..='Z');
    let alphabets: [(&str, Vec<char>); 4] = [
        ("randAlphaNum", letters().chain('0'..='9').collect()),
        ("randAlpha", letters().collect()),
        ("randNumeric", ('0'..='9').collect()),
        ("randAscii", (' '..='~').collect()),
    ];
    for (name, alphabet) in alphabets {
        let world = Arc::clone(world);
        all.insert(
            name,
            Function::new([Type::INT], move |call, arguments| {
                random_text(call, &*world, &alphabet, integer(&arguments[0]))
            }),
        );
    }
    let source = Arc::clone(world);
    all.insert(
        "randBytes",
        Function::new([Type::INT], move |call, arguments| {
            let Ok(count) = usize::try_from(integer(&arguments[0])) else {
                return fail("runtime error: makeslice: len out of range");
            };
            call.charge(count.saturating_mul(2))?;
            let mut random = vec![0; count];
            source.fill_random(&mut random);
            Ok(string(encoding::base64(&random)))
        }),
    );
    let source = Arc::clone(world);
    all.insert(
        "randInt",
        Function::new([Type::INT, Type::INT], move |_, arguments| {
            let (low, high) = (integer(&arguments[0]), integer(&arguments[1]));
            match u64::try_from(high.wrapping_sub(low)) {
                Ok(width) if width > 0 => Ok(Value::int(low.wrapping_add(below(&*source, width) as i64))),
                _ => fail("invalid argument to Intn"),
            }
        }),
    );
    let source = Arc::clone(world);
    all.insert("uuidv4", Function::new([], move |_, _| Ok(string(uuid(&*source)))).returning(Type::String));
    let source = Arc::clone(world);
    all.insert(
        "shuffle",
        Function::new([Type::String], move |_, arguments| {
            let mut characters: Vec<char> = runes::chars(bytes(&arguments[0])).collect();
            for at in (1..characters.len()).rev() {
                characters.swap(at, below(&*source, at as u64 + 1) as usize);
            }
            Ok(string(characters.into_iter().collect::<String>()))
        }),
    );
}

/// A number below `width`, each as likely as any other.
fn below(world: &dyn World, width: u64) -> u64 {
    let mut random = [0; 16];
    world.fill_random(&mut random);
    // 128 bits over at most 64 bits of width: the bias is beyond notice.
    (u128::from_le_bytes(random) % u128::from(width)) as u64
}

fn random_text(call: &mut Call<'_>, world: &dyn World, alphabet: &[char], count: i64) -> Outcome {
    let count = usize::try_from(count).unwrap_or(0);
    call.charge(count.saturating_mul(9))?;
    let mut random = vec![0u8; count.saturating_mul(8)];
    world.fill_random(&mut random);
    let pick = |bytes: &[u8]| {
        let number = bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        alphabet[(number % alphabet.len() as u64) as usize]
    };
    Ok(string(random.chunks(8).map(pick).collect::<String>()))
}

fn uuid(world: &dyn World) -> String {
    let mut random = [0u8; 16];
    world.fill_random(&mut random);
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

/// Random bytes for a function that needs them.
pub(super) fn take<const COUNT: usize>(world: &dyn World) -> Result<[u8; COUNT], FunctionError> {
    let mut random = [0; COUNT];
    world.fill_random(&mut random);
    Ok(random)
}
