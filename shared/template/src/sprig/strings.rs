//! Strings: trimming, cutting, quoting, joining, searching.

use super::arguments::{
    Outcome, bytes, charge_items, fail, find, integer, print, repeat, replace_all, split, string, to_string, to_strings,
};
use super::runes;
use crate::format::quote::{Style, quote};
use crate::function::{Call, Function, FunctionError, Functions};
use crate::value::{GoString, Map, Type, Value};

/// Adds the functions of this file.
pub(super) fn register(all: &mut Functions) {
    one_string(all, "trim", |text| trim(text, runes::is_space).to_vec());
    one_string(all, "nospace", no_space);
    one_string(all, "initials", initials);
    all.insert("hello", Function::new([], |_, _| Ok(Value::from("Hello!"))).returning(Type::String));
    register_trimming(all);
    register_cutting(all);
    register_tests(all);
    register_printing(all);
    register_splitting(all);
}

/// A function from a string to a string.
pub(super) fn one_string(all: &mut Functions, name: &str, body: fn(&[u8]) -> Vec<u8>) {
    let function = Function::new([Type::String], move |_, arguments| Ok(string(body(bytes(&arguments[0])))));
    all.insert(name, function.returning(Type::String));
}

fn two_strings(all: &mut Functions, name: &str, body: fn(&[u8], &[u8]) -> Value) {
    let function = Function::new([Type::String, Type::String], move |_, arguments| {
        Ok(body(bytes(&arguments[0]), bytes(&arguments[1])))
    });
    all.insert(name, function);
}

fn register_trimming(all: &mut Functions) {
    for name in ["trimAll", "trimall"] {
        two_strings(all, name, |set, text| {
            let set: Vec<char> = runes::chars(set).collect();
            string(trim(text, |character| set.contains(&character)))
        });
    }
    two_strings(all, "trimSuffix", |suffix, text| string(text.strip_suffix(suffix).unwrap_or(text)));
    two_strings(all, "trimPrefix", |prefix, text| string(text.strip_prefix(prefix).unwrap_or(text)));
}

fn register_tests(all: &mut Functions) {
    two_strings(all, "contains", |part, text| Value::Bool(find(text, part).is_some()));
    two_strings(all, "hasPrefix", |prefix, text| Value::Bool(text.starts_with(prefix)));
    two_strings(all, "hasSuffix", |suffix, text| Value::Bool(text.ends_with(suffix)));
}

fn register_cutting(all: &mut Functions) {
    all.insert(
        "trunc",
        Function::new([Type::INT, Type::String], |_, arguments| {
            Ok(string(truncate(integer(&arguments[0]), bytes(&arguments[1]))))
        }),
    );
    all.insert(
        "substr",
        Function::new([Type::INT, Type::INT, Type::String], |_, arguments| {
            substring(integer(&arguments[0]), integer(&arguments[1]), bytes(&arguments[2]))
        }),
    );
    all.insert(
        "abbrev",
        Function::new([Type::INT, Type::String], |_, arguments| {
            let (width, text) = (integer(&arguments[0]), bytes(&arguments[1]));
            Ok(string(if width < 4 { text.to_vec() } else { abbreviate(text, 0, width) }))
        }),
    );
    all.insert(
        "abbrevboth",
        Function::new([Type::INT, Type::INT, Type::String], |_, arguments| {
            let (left, right, text) = (integer(&arguments[0]), integer(&arguments[1]), bytes(&arguments[2]));
            let too_narrow = right < 4 || left > 0 && right < 7;
            Ok(string(if too_narrow { text.to_vec() } else { abbreviate(text, left, right) }))
        }),
    );
    all.insert(
        "plural",
        Function::new([Type::String, Type::String, Type::INT], |_, arguments| {
            Ok(arguments[usize::from(integer(&arguments[2]) != 1)].clone())
        }),
    );
}

fn register_printing(all: &mut Functions) {
    all.insert("toString", Function::new([Type::Any], |_, arguments| Ok(Value::String(to_string(&arguments[0])?))));
    all.insert(
        "quote",
        Function::variadic([], Type::Any, |_, arguments| {
            quoted(arguments, |value| Ok(quote(&to_string(value)?, Style::Printable)))
        })
        .returning(Type::String),
    );
    all.insert(
        "squote",
        Function::variadic([], Type::Any, |_, arguments| {
            quoted(arguments, |value| Ok([b"'", print(value)?.as_bytes(), b"'"].concat()))
        })
        .returning(Type::String),
    );
    all.insert(
        "cat",
        Function::variadic([], Type::Any, |_, arguments| {
            let words: Result<Vec<GoString>, _> =
                arguments.iter().filter(|value| !value.is_absent()).map(print).collect();
            Ok(string(join(&words?, b" ")))
        })
        .returning(Type::String),
    );
    all.insert(
        "repeat",
        Function::new([Type::INT, Type::String], |call, arguments| {
            Ok(string(repeat(call, bytes(&arguments[1]), integer(&arguments[0]))?))
        }),
    );
    all.insert(
        "indent",
        Function::new([Type::INT, Type::String], |call, arguments| {
            Ok(string(indent(call, integer(&arguments[0]), bytes(&arguments[1]))?))
        }),
    );
    all.insert(
        "nindent",
        Function::new([Type::INT, Type::String], |call, arguments| {
            let mut out = b"\n".to_vec();
            out.extend(indent(call, integer(&arguments[0]), bytes(&arguments[1]))?);
            Ok(string(out))
        }),
    );
    all.insert(
        "replace",
        Function::new([Type::String, Type::String, Type::String], |call, arguments| {
            let [old, new, source] = [0, 1, 2].map(|at| bytes(&arguments[at]));
            Ok(string(replace_all(call, source, old, new)?))
        }),
    );
}

fn register_splitting(all: &mut Functions) {
    all.insert(
        "split",
        Function::new([Type::String, Type::String], |call, arguments| {
            numbered(call, split(bytes(&arguments[1]), bytes(&arguments[0]), None))
        }),
    );
    all.insert(
        "splitn",
        Function::new([Type::String, Type::INT, Type::String], |call, arguments| {
            let limit = integer(&arguments[1]);
            if limit == 0 {
                return numbered(call, Vec::new());
            }
            numbered(call, split(bytes(&arguments[2]), bytes(&arguments[0]), usize::try_from(limit).ok()))
        }),
    );
    all.insert(
        "splitList",
        Function::new([Type::String, Type::String], |call, arguments| {
            let pieces = split(bytes(&arguments[1]), bytes(&arguments[0]), None);
            charge_items(call, pieces.len())?;
            Ok(Value::strings(pieces))
        }),
    );
    all.insert(
        "join",
        Function::new([Type::String, Type::Any], |call, arguments| {
            let words = to_strings(&arguments[1])?;
            let separator = bytes(&arguments[0]);
            call.charge(words.iter().map(|word| word.len() + separator.len()).sum())?;
            Ok(string(join(&words, separator)))
        }),
    );
    all.insert(
        "toStrings",
        Function::new([Type::Any], |call, arguments| {
            let words = to_strings(&arguments[0])?;
            charge_items(call, words.len())?;
            Ok(Value::strings(words))
        }),
    );
    all.insert(
        "sortAlpha",
        Function::new([Type::Any], |call, arguments| {
            let mut words = match &arguments[0] {
                Value::List(_) => to_strings(&arguments[0])?,
                other => vec![to_string(other)?],
            };
            charge_items(call, words.len())?;
            words.sort();
            Ok(Value::strings(words))
        }),
    );
}

fn join(words: &[GoString], separator: &[u8]) -> Vec<u8> {
    words.iter().map(GoString::as_bytes).collect::<Vec<_>>().join(separator)
}

fn trim(text: &[u8], unwanted: impl Fn(char) -> bool) -> &[u8] {
    let mut rest = text;
    while let Some((character, width)) = runes::decode(rest)
        && unwanted(character)
    {
        rest = &rest[width..];
    }
    while !rest.is_empty() {
        let start = last_start(rest);
        if !runes::decode(&rest[start..]).is_some_and(|(character, _)| unwanted(character)) {
            break;
        }
        rest = &rest[..start];
    }
    rest
}

/// Where the last character begins.
fn last_start(text: &[u8]) -> usize {
    let end = text.len();
    let candidates = (2..=4.min(end)).rev().map(|width| end - width);
    candidates.into_iter().find(|start| runes::width(&text[*start..]) == end - start).unwrap_or(end - 1)
}

/// goutils looks at bytes as if each were a character; so do these two.
fn no_space(text: &[u8]) -> Vec<u8> {
    if !text.iter().any(|byte| runes::is_space(char::from(*byte))) {
        return text.to_vec();
    }
    let kept = text.iter().map(|byte| char::from(*byte)).filter(|character| !runes::is_space(*character));
    kept.collect::<String>().into_bytes()
}

fn initials(text: &[u8]) -> Vec<u8> {
    let mut out = String::new();
    let mut after_gap = true;
    for character in text.iter().map(|byte| char::from(*byte)) {
        let gap = runes::is_space(character);
        if !gap && after_gap {
            out.push(character);
        }
        after_gap = gap;
    }
    out.into_bytes()
}

fn truncate(count: i64, text: &[u8]) -> &[u8] {
    let length = text.len() as i64;
    match count {
        0.. if length > count => &text[..count as usize],
        ..0 if length.saturating_add(count) > 0 => &text[(length + count) as usize..],
        _ => text,
    }
}

fn substring(start: i64, end: i64, text: &[u8]) -> Outcome {
    let length = text.len() as i64;
    if start < 0 {
        return match usize::try_from(end) {
            Err(_) => fail(format!("runtime error: slice bounds out of range [:{end}]")),
            Ok(_) if end > length => {
                fail(format!("runtime error: slice bounds out of range [:{end}] with length {length}"))
            }
            Ok(end) => Ok(string(&text[..end])),
        };
    }
    let end = if end < 0 || end > length { length } else { end };
    if start > end {
        return fail(format!("runtime error: slice bounds out of range [{start}:{end}]"));
    }
    Ok(string(&text[start as usize..end as usize]))
}

fn abbreviate(text: &[u8], offset: i64, width: i64) -> Vec<u8> {
    let length = text.len() as i64;
    if length <= width {
        return text.to_vec();
    }
    let room = width - 3;
    let mut offset = offset.min(length);
    if length - offset < room {
        offset = length - room;
    }
    if offset <= 4 {
        return [&text[..room as usize], b"..."].concat();
    }
    if width < 7 {
        return Vec::new();
    }
    if offset + room < length {
        let rest = &text[offset as usize..];
        let inner = if room < 4 { Vec::new() } else { abbreviate(rest, 0, room) };
        return [b"...", inner.as_slice()].concat();
    }
    [b"...", &text[(length - room) as usize..]].concat()
}

fn indent(call: &mut Call<'_>, spaces: i64, text: &[u8]) -> Result<Vec<u8>, FunctionError> {
    let pad = repeat(call, b" ", spaces)?;
    let mut out = pad.clone();
    out.extend(replace_all(call, text, b"\n", &[b"\n", pad.as_slice()].concat())?);
    Ok(out)
}

fn quoted(arguments: &[Value], one: impl Fn(&Value) -> Result<Vec<u8>, FunctionError>) -> Outcome {
    let words: Result<Vec<Vec<u8>>, _> = arguments.iter().filter(|value| !value.is_absent()).map(one).collect();
    Ok(string(words?.join(&b' ')))
}

/// `map[string]string` of the pieces under `_0`, `_1`, …
fn numbered(call: &mut Call<'_>, pieces: Vec<&[u8]>) -> Outcome {
    charge_items(call, pieces.len())?;
    let map = Map::typed(Type::String, Type::String);
    for (at, piece) in pieces.into_iter().enumerate() {
        map.set(format!("_{at}"), string(piece))?;
    }
    Ok(Value::Map(map))
}
