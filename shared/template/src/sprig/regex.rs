//! Regular expressions: matching, finding, replacing, splitting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use regex::{Captures, Regex};

use super::arguments::{Outcome, charge_items, fail, integer, string, text};
use super::pattern;
use super::strings::one_string;
use crate::function::{Call, Function, Functions};
use crate::value::{GoString, List, Type, Value};

/// Compiled expressions that are kept; when there are more, all are dropped.
const KEPT: usize = 256;

/// Adds the functions of this file.
pub(super) fn register(all: &mut Functions) {
    let cache = Arc::new(Cache::default());
    one_string(all, "regexQuoteMeta", |text| {
        let meta = br"\.+*?()|[]{}^$";
        text.iter().flat_map(|byte| meta.contains(byte).then_some(b'\\').into_iter().chain([*byte])).collect()
    });
    register_one(all, &cache, "egexMatch", &[Type::String, Type::String], |_, regex, arguments| {
        Ok(Value::Bool(regex.is_match(&text(&arguments[1]))))
    });
    register_one(all, &cache, "egexFind", &[Type::String, Type::String], |_, regex, arguments| {
        Ok(string(regex.find(&text(&arguments[1])).map_or("", |found| found.as_str())))
    });
    register_one(all, &cache, "egexFindAll", &[Type::String, Type::String, Type::INT], find_all);
    register_one(all, &cache, "egexSplit", &[Type::String, Type::String, Type::INT], split);
    let three = [Type::String, Type::String, Type::String];
    register_one(all, &cache, "egexReplaceAll", &three, |call, regex, arguments| {
        let template = text(&arguments[2]);
        replace(call, regex, &text(&arguments[1]), |captures, out| expand(captures, &template, out))
    });
    register_one(all, &cache, "egexReplaceAllLiteral", &three, |call, regex, arguments| {
        let replacement = text(&arguments[2]);
        replace(call, regex, &text(&arguments[1]), |_, out| out.push_str(&replacement))
    });
}

type Body = fn(&mut Call<'_>, &Regex, &[Value]) -> Outcome;

/// Under `r…` and `mustR…`: they differ only in what they say of a bad expression.
fn register_one(all: &mut Functions, cache: &Arc<Cache>, tail: &str, parameters: &[Type], body: Body) {
    for must in [true, false] {
        let (cache, is_match) = (Arc::clone(cache), tail == "egexMatch");
        let function = Function::new(parameters, move |call: &mut Call<'_>, arguments: &[Value]| {
            let expression = text(&arguments[0]);
            call.step(1 + text(&arguments[1]).len() as u64 / 64)?;
            match cache.get(&expression) {
                Ok(regex) => body(call, &regex, arguments),
                Err(_) if is_match && !must => Ok(Value::Bool(false)),
                Err(error) if must => fail(error),
                Err(error) => fail(format!("regexp: Compile({}): {error}", backquoted(&expression))),
            }
        });
        all.insert(if must { format!("mustR{tail}") } else { format!("r{tail}") }, function);
    }
}

/// Quoted as Go's regexp package does it in panics: in backquotes where they can be.
fn backquoted(text: &str) -> String {
    let plain = text.chars().all(|character| character != '`' && (!character.is_control() || character == '\t'));
    if plain { format!("`{text}`") } else { crate::error::quoted(text) }
}

/// Compiled expressions by their text, good and bad.
#[derive(Default)]
struct Cache(Mutex<HashMap<String, Result<Arc<Regex>, String>>>);

impl Cache {
    fn get(&self, expression: &str) -> Result<Arc<Regex>, String> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.get(expression) {
            return known.clone();
        }
        let compiled = pattern::compile(expression).map(Arc::new);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(expression.to_owned(), compiled.clone());
        compiled
    }
}

/// At most `limit` items; all when it is negative.
fn at_most(limit: i64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

fn find_all(call: &mut Call<'_>, regex: &Regex, arguments: &[Value]) -> Outcome {
    let source = text(&arguments[1]);
    let limit = at_most(integer(&arguments[2]));
    let found: Vec<GoString> =
        regex.find_iter(&source).take(limit).map(|found| GoString::from(found.as_str())).collect();
    charge_items(call, found.len())?;
    Ok(Value::List(if found.is_empty() { List::nil(Type::String) } else { List::strings(found) }))
}

fn split(call: &mut Call<'_>, regex: &Regex, arguments: &[Value]) -> Outcome {
    let source = text(&arguments[1]);
    let limit = integer(&arguments[2]);
    if limit == 0 {
        return Ok(Value::List(List::nil(Type::String)));
    }
    if source.is_empty() && !text(&arguments[0]).is_empty() {
        return Ok(Value::strings([""]));
    }
    let mut pieces: Vec<GoString> = Vec::new();
    let (mut begin, mut end) = (0, 0);
    for found in regex.find_iter(&source).take(at_most(limit)) {
        if pieces.len() + 1 == at_most(limit) {
            break;
        }
        end = found.start();
        if found.end() != 0 {
            pieces.push(GoString::from(&source[begin..end]));
        }
        begin = found.end();
    }
    if end != source.len() {
        pieces.push(GoString::from(&source[begin..]));
    }
    charge_items(call, pieces.len())?;
    Ok(Value::strings(pieces))
}

fn replace(
    call: &mut Call<'_>,
    regex: &Regex,
    source: &str,
    mut one: impl FnMut(&Captures<'_>, &mut String),
) -> Outcome {
    let mut out = String::with_capacity(source.len());
    let (mut copied, mut charged) = (0, 0);
    for captures in regex.captures_iter(source) {
        let Some(whole) = captures.get(0) else { continue };
        out.push_str(&source[copied..whole.start()]);
        one(&captures, &mut out);
        copied = whole.end();
        call.charge(out.len() - charged)?;
        charged = out.len();
    }
    out.push_str(&source[copied..]);
    Ok(string(out))
}

/// Go's `Expand`: `$1`, `$name`, `${name}`, `$$`; a name is the longest run of letters, digits and underscores. What
/// names no group is empty; a `$` before anything else stays.
fn expand(captures: &Captures<'_>, template: &str, out: &mut String) {
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        match reference(rest) {
            Some((name, after)) => {
                out.push_str(group(captures, name));
                rest = after;
            }
            None => out.push('$'),
        }
    }
    out.push_str(rest);
}

/// The name at the start, and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let is_word = |character: char| character == '_' || character.is_alphanumeric();
    let (body, braced) = text.strip_prefix('{').map_or((text, false), |body| (body, true));
    let length = body.find(|character| !is_word(character)).unwrap_or(body.len());
    let (name, after) = body.split_at(length);
    let after = if braced { after.strip_prefix('}')? } else { after };
    (!name.is_empty()).then_some((name, after))
}

fn group<'a>(captures: &Captures<'a>, name: &str) -> &'a str {
    let digits = name.bytes().all(|byte| byte.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
    let found = if digits {
        name.parse().ok().and_then(|number| captures.get(number))
    } else {
        captures.name(&format!("_{name}"))
    };
    found.map_or("", |found| found.as_str())
}
