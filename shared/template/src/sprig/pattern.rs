//! Go's regular expressions (RE2) translated to those of the `regex` crate, which differ in the details: Go's `\d`,
//! `\s`, `\w` and `\b` are ASCII, `[` and `&&` mean nothing within brackets, `\Q…\E` quotes, a lone `{` is literal.

use regex::Regex;

/// Bytes a compiled expression may take.
const SIZE_LIMIT: usize = 4 << 20;

/// Compiles an expression. The error is Go's: `error parsing regexp: WHAT: ` and the part in backquotes.
pub(super) fn compile(expression: &str) -> Result<Regex, String> {
    let mut translation = Translation { source: expression, at: 0, out: String::new(), groups: 0 };
    translation.run().map_err(|(what, part)| format!("error parsing regexp: {what}: `{part}`"))?;
    let built = regex::RegexBuilder::new(&translation.out).size_limit(SIZE_LIMIT).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => format!("error parsing regexp: expression too large: `{expression}`"),
        _ if expression.contains("(?P<") || expression.contains("(?<") => {
            format!("error parsing regexp: invalid named capture: `{expression}`")
        }
        _ => format!("error parsing regexp: invalid or unsupported Perl syntax: `{expression}`"),
    })
}

/// Names of the classes that are written `[:name:]` within brackets.
const CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// What is wrong, and the part of the expression where it is.
type Wrong<'a> = (&'static str, &'a str);

struct Translation<'a> {
    source: &'a str,
    at: usize,
    out: String,
    /// Groups that are open.
    groups: usize,
}

/// What stands before a place, for a repetition that follows.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    Something,
    /// A repetition that began at this byte.
    Repetition(usize),
}

impl<'a> Translation<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn run(&mut self) -> Result<(), Wrong<'a>> {
        let mut before = Before::Nothing;
        while let Some(character) = self.rest().chars().next() {
            before = match character {
                '\\' => {
                    self.escape(false)?;
                    Before::Something
                }
                '[' => {
                    self.class()?;
                    Before::Something
                }
                '(' => {
                    self.open()?;
                    Before::Nothing
                }
                ')' => {
                    if self.groups == 0 {
                        return Err(("unexpected )", self.source));
                    }
                    self.groups -= 1;
                    self.copy(1);
                    Before::Something
                }
                '|' => {
                    self.copy(1);
                    Before::Nothing
                }
                '*' | '+' | '?' => self.repetition(before, 1)?,
                '{' => match counted(self.rest()) {
                    Some((length, valid)) => {
                        if !valid {
                            return Err(("invalid repeat count", &self.rest()[..length]));
                        }
                        self.repetition(before, length)?
                    }
                    None => self.literal(character),
                },
                '}' | ']' | '&' | '-' | '~' | '#' | ' ' | '/' => self.literal(character),
                other => {
                    self.copy(other.len_utf8());
                    Before::Something
                }
            };
        }
        if self.groups > 0 { Err(("missing closing )", self.source)) } else { Ok(()) }
    }

    fn copy(&mut self, length: usize) {
        self.out.push_str(&self.rest()[..length]);
        self.at += length;
    }

    fn literal(&mut self, character: char) -> Before {
        push_literal(&mut self.out, character);
        self.at += character.len_utf8();
        Before::Something
    }

    fn repetition(&mut self, before: Before, length: usize) -> Result<Before, Wrong<'a>> {
        let start = self.at;
        let lazy = usize::from(self.rest()[length..].starts_with('?'));
        match before {
            Before::Nothing => return Err(("missing argument to repetition operator", &self.rest()[..length])),
            Before::Repetition(first) => {
                return Err(("invalid nested repetition operator", &self.source[first..start + length + lazy]));
            }
            Before::Something => self.copy(length + lazy),
        }
        Ok(Before::Repetition(start))
    }

    /// `(`, `(?:`, `(?i)`, `(?P<name>`. Only Go's flags are let through.
    fn open(&mut self) -> Result<(), Wrong<'a>> {
        self.groups += 1;
        let Some(inside) = self.rest().strip_prefix("(?") else {
            self.copy(1);
            return Ok(());
        };
        if inside.starts_with("P<") || inside.starts_with('<') {
            let Some(end) = self.rest().find('>') else { return Err(("invalid named capture", self.rest())) };
            let name = &self.rest()[self.rest().find('<').unwrap_or(0) + 1..end];
            if name.is_empty() || !name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_') {
                return Err(("invalid named capture", &self.rest()[..=end]));
            }
            // The crate wants names that begin with a letter; Go takes any word.
            self.out.push_str(&format!("(?P<_{name}>"));
            self.at += end + 1;
            return Ok(());
        }
        let length = inside.find(|character: char| !"imsU-".contains(character)).unwrap_or(inside.len());
        let flags = &inside[..length];
        let closed = inside[length..].starts_with([':', ')']);
        let valid =
            flags.matches('-').count() <= 1 && !flags.ends_with('-') && !(flags.is_empty() && inside.starts_with(')'));
        if !closed || !valid {
            let shown = (length + 1).min(inside.len());
            let shown = (shown..=inside.len()).find(|end| inside.is_char_boundary(*end)).unwrap_or(inside.len());
            return Err(("invalid or unsupported Perl syntax", &self.rest()[..2 + shown]));
        }
        if inside[length..].starts_with(')') {
            self.groups -= 1;
        }
        self.copy(2 + length + 1);
        Ok(())
    }

    /// An escape, within brackets or not.
    fn escape(&mut self, in_class: bool) -> Result<(), Wrong<'a>> {
        let rest = self.rest();
        let Some(character) = rest[1..].chars().next() else {
            return Err(("trailing backslash at end of expression", ""));
        };
        let length = 1 + character.len_utf8();
        let outside = |text: &'static str| (!in_class).then_some(text);
        let replaced = match character {
            'd' => Some(if in_class { "0-9" } else { "[0-9]" }),
            'D' => Some("[^0-9]"),
            's' => Some(if in_class { r"\t\n\f\r " } else { r"[\t\n\f\r ]" }),
            'S' => Some(r"[^\t\n\f\r ]"),
            'w' => Some(if in_class { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
            'W' => Some("[^0-9A-Za-z_]"),
            'b' => outside(r"(?-u:\b)"),
            'B' => outside(r"(?-u:\B)"),
            'A' => outside(r"\A"),
            'z' => outside(r"\z"),
            'a' => Some(r"\a"),
            'f' => Some(r"\f"),
            'n' => Some(r"\n"),
            'r' => Some(r"\r"),
            't' => Some(r"\t"),
            'v' => Some(r"\v"),
            _ => None,
        };
        if let Some(replaced) = replaced {
            self.out.push_str(replaced);
            self.at += length;
            return Ok(());
        }
        match character {
            'Q' if !in_class => self.quoted(),
            'p' | 'P' => self.unicode_class()?,
            'x' => self.hexadecimal()?,
            '0'..='7' => self.octal()?,
            _ if character.is_ascii_punctuation() => {
                push_literal(&mut self.out, character);
                self.at += length;
            }
            _ => return Err(("invalid escape sequence", &rest[..length])),
        }
        Ok(())
    }

    fn quoted(&mut self) {
        let body = &self.rest()[2..];
        let (body, closing) = body.find(r"\E").map_or((body, 0), |end| (&body[..end], 2));
        for character in body.chars() {
            push_literal(&mut self.out, character);
        }
        self.at += 2 + body.len() + closing;
    }

    fn unicode_class(&mut self) -> Result<(), Wrong<'a>> {
        let rest = self.rest();
        let length = match rest[2..].chars().next() {
            Some('{') => rest.find('}').map(|end| end + 1),
            Some(letter) => Some(2 + letter.len_utf8()),
            None => None,
        };
        let Some(length) = length else { return Err(("invalid character class range", rest)) };
        // Go has `\p{^Greek}` for what is not Greek.
        let negated = rest[..length].contains("{^");
        let text = rest[..length].replace("{^", "{");
        let text = match (negated, text.starts_with(r"\p")) {
            (true, true) => text.replacen('p', "P", 1),
            (true, false) => text.replacen('P', "p", 1),
            (false, _) => text,
        };
        if Regex::new(&text).is_err() {
            return Err(("invalid character class range", &rest[..length]));
        }
        self.out.push_str(&text);
        self.at += length;
        Ok(())
    }

    fn hexadecimal(&mut self) -> Result<(), Wrong<'a>> {
        let rest = self.rest();
        let (digits, length) = match rest[2..].strip_prefix('{') {
            Some(body) => body.find('}').map_or(("", rest.len()), |end| (&body[..end], end + 4)),
            None => (rest.get(2..4).unwrap_or(""), 4.min(rest.len())),
        };
        let code = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
        match code {
            Some(character) if !digits.starts_with('+') => push_literal(&mut self.out, character),
            // Go reads digits until the number is too large, and shows what it has read.
            _ => return Err(("invalid escape sequence", rest.get(..length).unwrap_or(rest).trim_end_matches('}'))),
        }
        self.at += length;
        Ok(())
    }

    /// `\0` to `\377`; `\1` to `\7` alone would be a back reference, which RE2 does not have.
    fn octal(&mut self) -> Result<(), Wrong<'a>> {
        let digits = self.rest()[1..].bytes().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
        if digits == 1 && !self.rest().starts_with(r"\0") {
            return Err(("invalid escape sequence", &self.rest()[..2]));
        }
        let code = u32::from_str_radix(&self.rest()[1..=digits], 8).unwrap_or(0);
        push_literal(&mut self.out, char::from_u32(code).unwrap_or('\u{fffd}'));
        self.at += 1 + digits;
        Ok(())
    }

    /// `[…]`.
    fn class(&mut self) -> Result<(), Wrong<'a>> {
        let start = self.at;
        let unclosed = ("missing closing ]", &self.source[start..]);
        self.copy(1);
        if self.rest().starts_with('^') {
            self.copy(1);
        }
        let mut first = true;
        loop {
            let Some(character) = self.rest().chars().next() else { return Err(unclosed) };
            match character {
                ']' if !first => break,
                '[' if self.rest().starts_with("[:") && self.rest().contains(":]") => self.named_class()?,
                _ => self.class_item()?,
            }
            first = false;
        }
        self.copy(1);
        Ok(())
    }

    fn named_class(&mut self) -> Result<(), Wrong<'a>> {
        let end = self.rest().find(":]").map_or(self.rest().len(), |end| end + 2);
        let text = &self.rest()[..end];
        let name = text.trim_start_matches("[:").trim_start_matches('^').trim_end_matches(":]");
        if !CLASSES.contains(&name) {
            return Err(("invalid character class range", text));
        }
        self.copy(end);
        Ok(())
    }

    /// One character, escape or range of the class.
    fn class_item(&mut self) -> Result<(), Wrong<'a>> {
        let start = self.at;
        let low = self.class_character()?;
        let rest = self.rest();
        let is_range = rest.starts_with('-') && rest.len() > 1 && !rest[1..].starts_with(']');
        let Some(low) = low.filter(|_| is_range) else { return Ok(()) };
        self.copy(1);
        let high = self.class_character()?;
        if high.is_none_or(|high| high < low) {
            return Err(("invalid character class range", &self.source[start..self.at]));
        }
        Ok(())
    }

    /// Writes one character or escape; the character, when it is a single one.
    fn class_character(&mut self) -> Result<Option<char>, Wrong<'a>> {
        let Some(character) = self.rest().chars().next() else { return Err(("missing closing ]", self.source)) };
        if character != '\\' {
            self.literal(character);
            return Ok(Some(character));
        }
        let before = self.out.len();
        let escaped = self.rest()[1..].chars().next();
        self.escape(true)?;
        let written = &self.out[before..];
        if let Some(code) = written.strip_prefix(r"\x{").and_then(|code| code.strip_suffix('}')) {
            return Ok(u32::from_str_radix(code, 16).ok().and_then(char::from_u32));
        }
        Ok(match escaped {
            Some('a') => Some('\u{7}'),
            Some('f') => Some('\u{c}'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('v') => Some('\u{b}'),
            _ => None,
        })
    }
}

/// The character so that it means itself wherever it stands.
fn push_literal(out: &mut String, character: char) {
    if character.is_alphanumeric() || character == '_' {
        out.push(character);
    } else {
        out.push_str(&format!("\\x{{{:X}}}", u32::from(character)));
    }
}

/// Length of `{n}`, `{n,}` or `{n,m}` at the start, and whether RE2 takes those counts.
fn counted(text: &str) -> Option<(usize, bool)> {
    let end = text.find('}')?;
    let (low, high) = text[1..end].split_once(',').map_or((&text[1..end], None), |(low, high)| (low, Some(high)));
    let number = |digits: &str| {
        let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let valid = valid && (digits.len() == 1 || !digits.starts_with('0'));
        valid.then(|| digits.parse::<u32>().unwrap_or(u32::MAX))
    };
    let low = number(low)?;
    let high = match high {
        Some("") | None => None,
        Some(high) => Some(number(high)?),
    };
    Some((end + 1, low <= 1000 && high.is_none_or(|high| high <= 1000 && low <= high)))
}
