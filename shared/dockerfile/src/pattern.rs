//! Shell patterns inside of `${name#pattern}`, `${name%pattern}` and `${name/pattern/replacement}`.
//!
//! `*` is any text, `?` any one character, brackets mean themselves. A backslash, whatever the file's escape character
//! is, takes `*`, `?`, `\`, `}` and `/` as they are; before anything else it is a mistake.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Steps that all matching together may take.
const STEPS_LIMIT: usize = 20_000_000;

/// How much matching work is left.
pub(crate) struct Steps(AtomicUsize);

impl Steps {
    pub(crate) fn new() -> Self {
        Self(AtomicUsize::new(STEPS_LIMIT))
    }

    fn take(&self, count: usize) -> Result<(), String> {
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(count));
        taken.map(drop).map_err(|_| "matching the pattern takes too long; use shorter values".to_owned())
    }
}

/// A compiled pattern.
pub(crate) struct Pattern(Vec<Part>);

enum Part {
    One(char),
    Any,
    Many,
}

/// Which of several matches is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Shortest,
    Longest,
}

impl Pattern {
    /// Reads a pattern.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' => Part::Many,
                '?' => Part::Any,
                '\\' => match chars.next() {
                    Some(plain @ ('*' | '?' | '\\' | '}' | '/')) => Part::One(plain),
                    Some(other) => return Err(format!("`\\{other}` is no escape that a pattern knows")),
                    None => return Err("the pattern ends with a backslash".to_owned()),
                },
                other => Part::One(other),
            });
        }
        Ok(Self(parts))
    }

    /// `value` without the prefix that matches.
    pub(crate) fn trim_prefix(&self, value: &str, length: Length, steps: &Steps) -> Result<String, String> {
        let chars: Vec<char> = value.chars().collect();
        let end = self.ends(&chars, length, steps)?.unwrap_or(0);
        Ok(chars[end..].iter().collect())
    }

    /// `value` without the suffix that matches.
    pub(crate) fn trim_suffix(&self, value: &str, length: Length, steps: &Steps) -> Result<String, String> {
        let mirrored = Self(self.0.iter().rev().map(Part::same).collect());
        let chars: Vec<char> = value.chars().rev().collect();
        let end = mirrored.ends(&chars, length, steps)?.unwrap_or(0);
        Ok(chars[end..].iter().rev().collect())
    }

    /// `value` with the longest match, or every one, replaced. An empty match counts, except right behind another.
    pub(crate) fn replace(&self, value: &str, with: &str, all: bool, steps: &Steps) -> Result<String, String> {
        let chars: Vec<char> = value.chars().collect();
        let mut replaced = String::new();
        let mut at = 0;
        let mut last = None;
        while at <= chars.len() {
            let length = self.ends(&chars[at..], Length::Longest, steps)?;
            let length = length.filter(|length| *length > 0 || last != Some(at));
            if let Some(length) = length {
                steps.take(with.len())?;
                replaced.push_str(with);
                at += length;
                last = Some(at);
            }
            if !all && last.is_some() {
                break;
            }
            if length.is_none_or(|length| length == 0) {
                replaced.extend(chars.get(at));
                at += 1;
            }
        }
        replaced.extend(chars.iter().skip(at));
        Ok(replaced)
    }

    /// Where a match that starts at the front ends.
    fn ends(&self, chars: &[char], length: Length, steps: &Steps) -> Result<Option<usize>, String> {
        let mut states = vec![false; self.0.len() + 1];
        states[0] = true;
        self.skip_many(&mut states);
        let mut found = None;
        for at in 0..=chars.len() {
            steps.take(states.len())?;
            if states[self.0.len()] {
                found = Some(at);
                if length == Length::Shortest {
                    return Ok(found);
                }
            }
            let Some(c) = chars.get(at) else { break };
            if !self.advance(&mut states, *c) {
                break;
            }
        }
        Ok(found)
    }

    /// Reads one character; false when nothing can match any more.
    fn advance(&self, states: &mut Vec<bool>, c: char) -> bool {
        let mut next = vec![false; states.len()];
        for (at, part) in self.0.iter().enumerate().filter(|(at, _)| states[*at]) {
            match part {
                Part::One(own) if *own == c => next[at + 1] = true,
                Part::One(_) => {}
                Part::Any => next[at + 1] = true,
                Part::Many => next[at] = true,
            }
        }
        self.skip_many(&mut next);
        *states = next;
        states.contains(&true)
    }

    /// `*` also matches nothing.
    fn skip_many(&self, states: &mut [bool]) {
        for (at, part) in self.0.iter().enumerate() {
            if states[at] && matches!(part, Part::Many) {
                states[at + 1] = true;
            }
        }
    }
}

impl Part {
    fn same(&self) -> Self {
        match self {
            Self::One(c) => Self::One(*c),
            Self::Any => Self::Any,
            Self::Many => Self::Many,
        }
    }
}
