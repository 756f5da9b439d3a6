//! Variables in a word, as BuildKit's shell lexer expands them.
//!
//! Known are `$x`, `${x}`, `${x:-w}`, `${x-w}`, `${x:+w}`, `${x+w}`, `${x:?e}`, `${x?e}`, `${x#p}`, `${x##p}`,
//! `${x%p}`, `${x%%p}`, `${x/p/r}` and `${x//p/r}`, quotes, and the escape character.

use std::{collections::BTreeMap, iter::Peekable, str::Chars};

use crate::{
    Fault,
    pattern::{Length, Pattern, Steps},
    scope::{Scope, Value},
    shown,
};

/// Longest result of one expansion, in bytes.
const WORD_LIMIT: usize = 1024 * 1024;
/// How deep `${a:-${b:-…}}` may go.
const DEPTH_LIMIT: usize = 32;

/// A word after expansion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Expanded {
    /// The text; what is unknown stands as empty.
    pub(crate) text: String,
    /// Whether the base image decides a part of it.
    pub(crate) unknown: bool,
}

/// Expands words.
pub(crate) struct Lexer {
    escape: char,
    steps: Steps,
}

impl Lexer {
    /// A lexer for files with this escape character.
    pub(crate) fn new(escape: char) -> Self {
        Self { escape, steps: Steps::new() }
    }

    /// The value of an argument before the first `FROM`: the given one, else its default with the arguments before it.
    pub(crate) fn argument(
        &self,
        given: &BTreeMap<String, String>,
        before: &Scope,
        (line, name, default): (u32, &str, Option<&str>),
    ) -> Result<Value, Fault> {
        match (given.get(name), default) {
            (Some(given), _) => Ok(Value::Set(given.clone())),
            (None, Some(default)) => {
                let expanded = self.expand(default, before).map_err(|why| Fault::new(line, why))?;
                Ok(Value::Set(expanded.text))
            }
            (None, None) => Ok(Value::Unset),
        }
    }

    /// Expands `word` with the variables of `scope`; quotes and escapes are resolved. The error says what is wrong.
    pub(crate) fn expand(&self, word: &str, scope: &Scope) -> Result<Expanded, String> {
        self.read(word, scope, true)
    }

    /// The same for a whole text, in which quotes are characters like all others.
    pub(crate) fn expand_text(&self, text: &str, scope: &Scope) -> Result<String, String> {
        self.read(text, scope, false).map(|expanded| expanded.text)
    }

    fn read(&self, word: &str, scope: &Scope, quotes: bool) -> Result<Expanded, String> {
        let chars = word.chars().peekable();
        let mut cursor = Cursor { chars, lexer: self, scope, quotes, unknown: false, depth: 0, written: 0 };
        let text = cursor.until(None, false).map_err(|why| format!("`{}`: {why}", shown(word)))?;
        Ok(Expanded { text, unknown: cursor.unknown })
    }
}

/// What goes on inside of one word.
struct Cursor<'a> {
    chars: Peekable<Chars<'a>>,
    lexer: &'a Lexer,
    scope: &'a Scope,
    /// Whether quotes keep what is in them.
    quotes: bool,
    unknown: bool,
    depth: usize,
    written: usize,
}

/// A variable's value at hand.
struct Current {
    text: String,
    set: bool,
    unknown: bool,
}

impl Cursor<'_> {
    /// Reads up to `stop`, or to the end. Within patterns (`raw`) escapes are kept for the pattern to read.
    fn until(&mut self, stop: Option<char>, raw: bool) -> Result<String, String> {
        let mut text = String::new();
        while let Some(&c) = self.chars.peek() {
            if Some(c) == stop {
                self.chars.next();
                return Ok(text);
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    self.append(&mut text, &value)?;
                }
                '\'' if self.quotes => self.single_quoted(&mut text)?,
                '"' if self.quotes => self.double_quoted(&mut text, raw)?,
                other => {
                    self.chars.next();
                    self.plain(other, raw, &mut text);
                }
            }
        }
        match stop {
            None => Ok(text),
            Some('}') => Err("a `}` is missing".to_owned()),
            Some(other) => Err(format!("a `{other}` is missing")),
        }
    }

    fn plain(&mut self, c: char, raw: bool, text: &mut String) {
        if c != self.lexer.escape {
            text.push(c);
            return;
        }
        if raw {
            text.push(c);
        }
        text.extend(self.chars.next());
    }

    fn single_quoted(&mut self, text: &mut String) -> Result<(), String> {
        self.chars.next();
        for c in self.chars.by_ref() {
            if c == '\'' {
                return Ok(());
            }
            text.push(c);
        }
        Err("a single quote is opened and never closed".to_owned())
    }

    fn double_quoted(&mut self, text: &mut String, raw: bool) -> Result<(), String> {
        self.chars.next();
        while let Some(&c) = self.chars.peek() {
            if c == '$' {
                let value = self.dollar()?;
                self.append(text, &value)?;
                continue;
            }
            self.chars.next();
            if c == '"' {
                return Ok(());
            }
            if c != self.lexer.escape {
                text.push(c);
                continue;
            }
            if raw {
                text.push(c);
            }
            match self.chars.peek().copied() {
                Some(escaped) if escaped == '"' || escaped == '$' || escaped == self.lexer.escape => {
                    self.chars.next();
                    text.push(escaped);
                }
                // Before any other character it is no escape.
                Some(_) => text.push(c),
                None => {}
            }
        }
        Err("a double quote is opened and never closed".to_owned())
    }

    /// Reads a `$` and what belongs to it.
    fn dollar(&mut self) -> Result<String, String> {
        self.chars.next();
        if self.chars.peek() != Some(&'{') {
            let name = self.name();
            return Ok(if name.is_empty() { "$".to_owned() } else { self.value(&name) });
        }
        self.chars.next();
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err(format!("more than {DEPTH_LIMIT} `${{` inside of each other"));
        }
        let value = self.braced();
        self.depth -= 1;
        value
    }

    /// Reads what follows `${`.
    fn braced(&mut self) -> Result<String, String> {
        let name = self.name();
        if name.is_empty() {
            return Err(match self.chars.peek() {
                None => "a `}` is missing".to_owned(),
                Some(_) => "after `${` a variable's name is expected".to_owned(),
            });
        }
        match self.chars.next() {
            None => Err("a `}` is missing".to_owned()),
            Some('}') => Ok(self.value(&name)),
            Some(':') => match self.chars.next() {
                Some(sign @ ('-' | '+' | '?')) => self.substitution(&name, sign, true),
                Some(sign @ ('#' | '%')) => self.trimmed(&name, sign),
                Some(other) => Err(format!("`:{other}` after the name is no known substitution")),
                None => Err("a `}` is missing".to_owned()),
            },
            Some(sign @ ('-' | '+' | '?')) => self.substitution(&name, sign, false),
            Some(sign @ ('#' | '%')) => self.trimmed(&name, sign),
            Some('/') => self.replaced(&name),
            Some(other) => Err(format!("`{other}` after the name is no known substitution")),
        }
    }

    /// `-`, `+` and `?`; with a `:` before them an empty value counts as unset.
    fn substitution(&mut self, name: &str, sign: char, empty_is_unset: bool) -> Result<String, String> {
        let word = self.until(Some('}'), false)?;
        let current = self.current(name);
        self.unknown |= current.unknown;
        let set = current.set && !(empty_is_unset && current.text.is_empty());
        match sign {
            '-' => Ok(if set { current.text } else { word }),
            '+' => Ok(if set { word } else { String::new() }),
            _ if set || current.unknown => Ok(current.text),
            _ if word.is_empty() => Err(format!("the variable {name} is not set")),
            _ => Err(format!("the variable {name} is not set: {}", shown(&word))),
        }
    }

    /// `#` takes a prefix off, `%` a suffix; doubled, the longest one.
    fn trimmed(&mut self, name: &str, sign: char) -> Result<String, String> {
        let word = self.until(Some('}'), true)?;
        let (word, length) = match word.strip_prefix(sign) {
            Some(word) => (word, Length::Longest),
            None => (word.as_str(), Length::Shortest),
        };
        let pattern = Pattern::new(word)?;
        let value = self.value(name);
        match sign {
            '#' => pattern.trim_prefix(&value, length, &self.lexer.steps),
            _ => pattern.trim_suffix(&value, length, &self.lexer.steps),
        }
    }

    /// `/` replaces the first match, `//` every one.
    fn replaced(&mut self, name: &str) -> Result<String, String> {
        let all = self.chars.next_if_eq(&'/').is_some();
        let word = self.until(Some('/'), true)?;
        let with = self.until(Some('}'), true)?;
        let pattern = Pattern::new(&word)?;
        let value = self.value(name);
        pattern.replace(&value, &with, all, &self.lexer.steps)
    }

    /// A name: letters, digits and `_`; or digits alone; or one of the shell's special characters.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.chars.peek().copied() {
            Some(c) if c.is_ascii_digit() => {
                while let Some(digit) = self.chars.next_if(|c| c.is_ascii_digit()) {
                    name.push(digit);
                }
            }
            Some(c) if "@*#?-$!".contains(c) => name.extend(self.chars.next()),
            Some(_) | None => {
                while let Some(c) = self.chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    name.push(c);
                }
            }
        }
        name
    }

    fn value(&mut self, name: &str) -> String {
        let current = self.current(name);
        self.unknown |= current.unknown;
        current.text
    }

    fn current(&self, name: &str) -> Current {
        match self.scope.find(name) {
            Value::Set(text) => Current { text: text.clone(), set: true, unknown: false },
            Value::Unset => Current { text: String::new(), set: false, unknown: false },
            Value::Unknown => Current { text: String::new(), set: false, unknown: true },
        }
    }

    /// Adds a value to the result and watches its length.
    fn append(&mut self, text: &mut String, value: &str) -> Result<(), String> {
        self.written += value.len();
        if self.written > WORD_LIMIT {
            return Err(format!("it expands to more than {WORD_LIMIT} bytes"));
        }
        text.push_str(value);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
