//! Paths with slashes.

use super::strings::one_string;
use crate::function::{Function, Functions};
use crate::value::{Type, Value};

/// Adds the functions of this file.
pub(super) fn register(all: &mut Functions) {
    for (plain, system) in [("base", "osBase"), ("dir", "osDir"), ("clean", "osClean"), ("ext", "osExt")] {
        let body: fn(&[u8]) -> Vec<u8> = match plain {
            "base" => base,
            "dir" => |path| clean(&path[..after_slash(path)]),
            "clean" => clean,
            _ => extension,
        };
        one_string(all, plain, body);
        one_string(all, system, body);
    }
    for name in ["isAbs", "osIsAbs"] {
        all.insert(
            name,
            Function::new([Type::String], |_, arguments| {
                Ok(Value::Bool(super::arguments::bytes(&arguments[0]).starts_with(b"/")))
            }),
        );
    }
}

/// Where the last element begins.
fn after_slash(path: &[u8]) -> usize {
    path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1)
}

fn base(path: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        return b".".to_vec();
    }
    let Some(end) = path.iter().rposition(|byte| *byte != b'/') else { return b"/".to_vec() };
    let path = &path[..=end];
    path[after_slash(path)..].to_vec()
}

fn extension(path: &[u8]) -> Vec<u8> {
    let name = &path[after_slash(path)..];
    name.iter().rposition(|byte| *byte == b'.').map_or_else(Vec::new, |at| name[at..].to_vec())
}

/// The shortest path for the same place, by its text alone.
fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.starts_with(b"/");
    let mut elements: Vec<&[u8]> = Vec::new();
    for element in path.split(|byte| *byte == b'/') {
        match element {
            b"" | b"." => {}
            b".." if elements.last().is_some_and(|last| *last != b"..") => {
                elements.pop();
            }
            b".." if rooted => {}
            _ => elements.push(element),
        }
    }
    let joined = elements.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/", joined.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}
