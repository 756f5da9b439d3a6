//! The images that a user asks for by name or pattern, and what these need.

use std::collections::{HashMap, HashSet};

use crate::{Config, Image, ImageName, raw::suggestion};

/// The longest pattern, in bytes.
const LONGEST: usize = 100;
/// Characters that no pattern holds.
const FORBIDDEN: [char; 3] = ['&', '|', '$'];

/// A pattern that selects nothing, or is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SelectError {
    /// No image has such a name.
    #[error("no image matches pattern `{pattern}`; {hint}")]
    Unknown {
        /// The pattern as given.
        pattern: String,
        /// Similar names, or all.
        hint: String,
    },
    /// `**` in a pattern.
    #[error("recursive glob (**) not supported in `{0}`; write `*` for a part of a name without `/`")]
    Recursive(String),
    /// A pattern longer than any name needs.
    #[error("pattern too long: {0} bytes; up to {LONGEST} are taken")]
    TooLong(usize),
    /// A character that a shell should have taken.
    #[error("special characters not allowed in `{0}`: `&`, `|` and `$`; quote patterns for the shell")]
    Special(String),
    /// A bracket or backslash that is not closed or followed.
    #[error("invalid pattern `{0}`; close every `[`, and write a character after `\\`")]
    Invalid(String),
}

/// The images that `patterns` select, in the order of declaration: names, globs (`*`, `?`, `[a-z]`, not across
/// `/`), and exclusions (`!` before either). Only exclusions: all images but these. None: all images. An artifact
/// is selected by its exact name only. A name given in full is selected even when a pattern excludes it.
///
/// # Errors
/// [`SelectError`] when a pattern is malformed, or one that is no exclusion matches nothing.
pub fn select<'a>(config: &'a Config, patterns: &[String]) -> Result<Vec<&'a Image>, SelectError> {
    let mut included: Vec<&str> = Vec::new();
    let mut excluded: Vec<&str> = Vec::new();
    for pattern in patterns {
        check_pattern(pattern)?;
        match pattern.strip_prefix('!') {
            Some(rest) => excluded.push(rest),
            None => included.push(pattern),
        }
    }
    let mut chosen: HashSet<&str> = HashSet::new();
    if included.is_empty() {
        chosen.extend(images(config).map(|(_, name)| name));
    }
    for pattern in &included {
        let before = chosen.len();
        let matching: Vec<&str> = matching(config, pattern).collect();
        if matching.is_empty() && chosen.len() == before {
            return Err(unknown(config, pattern));
        }
        chosen.extend(matching);
    }
    chosen.retain(|name| included.contains(name) || !excluded.iter().any(|pattern| matches(pattern, name)));
    let is_chosen = |image: &&Image| image.names.iter().any(|name| chosen.contains(shown(name)));
    Ok(config.images.iter().filter(is_chosen).collect())
}

/// `images` and all images that they need, in the order of declaration.
pub fn closure<'a>(config: &'a Config, images: &[&'a Image]) -> Vec<&'a Image> {
    let index: HashMap<&ImageName, usize> = config
        .images
        .iter()
        .enumerate()
        .flat_map(|(number, image)| image.names.iter().map(move |name| (name, number)))
        .collect();
    let mut kept = vec![false; config.images.len()];
    let mut pending: Vec<&ImageName> = images.iter().map(|image| image.name()).collect();
    while let Some(name) = pending.pop() {
        let Some(number) = index.get(name).copied() else { continue };
        if std::mem::replace(&mut kept[number], true) {
            continue;
        }
        let image = &config.images[number];
        pending.extend(image.needs());
    }
    config.images.iter().zip(kept).filter(|(_, kept)| *kept).map(|(image, _)| image).collect()
}

/// All names of images, without artifacts.
fn images(config: &Config) -> impl Iterator<Item = (&Image, &str)> {
    let images = config.images.iter().filter(|image| !image.artifact);
    images.flat_map(|image| image.names.iter().map(move |name| (image, shown(name))))
}

/// The name as a user writes it: `~` for the nameless image.
fn shown(name: &ImageName) -> &str {
    if name.0.is_empty() { "~" } else { &name.0 }
}

fn matching<'a>(config: &'a Config, pattern: &'a str) -> impl Iterator<Item = &'a str> {
    let artifacts = config.images.iter().filter(|image| image.artifact).flat_map(|image| &image.names).map(shown);
    let names = images(config).map(|(_, name)| name).filter(move |name| *name == pattern || matches(pattern, name));
    names.chain(artifacts.filter(move |name| *name == pattern))
}

fn unknown(config: &Config, pattern: &str) -> SelectError {
    let names: Vec<&str> = images(config).map(|(_, name)| name).collect();
    SelectError::Unknown { pattern: pattern.to_owned(), hint: suggestion(pattern, &names, "images") }
}

fn check_pattern(pattern: &str) -> Result<(), SelectError> {
    if pattern.len() > LONGEST {
        return Err(SelectError::TooLong(pattern.len()));
    }
    if pattern.contains("**") {
        return Err(SelectError::Recursive(pattern.to_owned()));
    }
    if pattern.contains(FORBIDDEN) || pattern.chars().any(char::is_control) {
        return Err(SelectError::Special(pattern.escape_debug().to_string()));
    }
    if compile(pattern.strip_prefix('!').unwrap_or(pattern)).is_none() || pattern == "!" || pattern.is_empty() {
        return Err(SelectError::Invalid(pattern.to_owned()));
    }
    Ok(())
}

/// A part of a pattern.
enum Part {
    /// Any number of characters but `/`.
    Star,
    /// One of (or none of, when the flag is set) these ranges; never `/` for a negated class.
    Class(bool, Vec<(char, char)>),
}

/// The parts of `pattern`. `None` = it is malformed.
fn compile(pattern: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut characters = pattern.chars().peekable();
    while let Some(c) = characters.next() {
        parts.push(match c {
            '*' => Part::Star,
            '?' => Part::Class(true, Vec::new()),
            '\\' => characters.next().map(|c| Part::Class(false, vec![(c, c)]))?,
            '[' => class(&mut characters)?,
            c => Part::Class(false, vec![(c, c)]),
        });
    }
    Some(parts)
}

/// A class, its opening bracket being read already.
fn class(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Part> {
    let negated = characters.next_if(|c| matches!(c, '^' | '!')).is_some();
    let mut ranges = Vec::new();
    loop {
        let first = match characters.next()? {
            ']' if !ranges.is_empty() => return Some(Part::Class(negated, ranges)),
            ']' | '-' => return None,
            '\\' => characters.next()?,
            c => c,
        };
        let mut last = first;
        if characters.next_if_eq(&'-').is_some() {
            last = match characters.next()? {
                ']' | '-' => return None,
                '\\' => characters.next()?,
                c => c,
            };
        }
        ranges.push((first, last));
    }
}

/// Whether `pattern` covers the whole of `name`. Linear in the product of the lengths, whatever the pattern.
fn matches(pattern: &str, name: &str) -> bool {
    let Some(parts) = compile(pattern) else { return false };
    let name: Vec<char> = name.chars().collect();
    let (mut part, mut at) = (0, 0);
    // The star seen last, and where in the name to go on when it takes one character more.
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        match parts.get(part) {
            Some(Part::Star) => {
                star = Some((part, at));
                part += 1;
                continue;
            }
            Some(Part::Class(negated, ranges)) if in_class(*negated, ranges, name[at]) => {
                part += 1;
                at += 1;
                continue;
            }
            Some(Part::Class(..)) | None => {}
        }
        match star {
            Some((seen, from)) if name[from] != '/' => {
                star = Some((seen, from + 1));
                part = seen + 1;
                at = from + 1;
            }
            Some(_) | None => return false,
        }
    }
    parts[part..].iter().all(|part| matches!(part, Part::Star))
}

fn in_class(negated: bool, ranges: &[(char, char)], c: char) -> bool {
    let found = ranges.iter().any(|(first, last)| (*first..=*last).contains(&c));
    if negated { !found && c != '/' } else { found }
}

#[cfg(test)]
mod tests;
