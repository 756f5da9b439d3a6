//! Writing, as libyaml lays a document out: two blanks of indentation, lists not indented below their key, lines folded
//! after column 80.

use std::{cmp::Ordering, fmt::Write as _};

use super::{DEPTH, YamlError, YamlValue, scalar};

/// Where plain and quoted texts are folded.
const WIDTH: usize = 80;
/// The longest key that is written before its colon on one line, in bytes.
const SIMPLE_KEY: usize = 128;

/// `value` as a YAML document, with a line break at the end. Keys are sorted as yaml.v2 sorts them: numbers by value,
/// digits within texts as numbers.
///
/// # Errors
/// [`YamlError`] when lists and mappings nest too deep.
pub fn write_value(value: &YamlValue) -> Result<String, YamlError> {
    let mut writer = Writer { out: String::new(), column: 0, whitespace: true, indention: true };
    writer.node(value, Context { indent: -1, in_mapping: false, simple_key: false }, 0)?;
    if !writer.out.ends_with('\n') {
        writer.out.push('\n');
    }
    Ok(writer.out)
}

#[derive(Clone, Copy)]
struct Context {
    indent: isize,
    in_mapping: bool,
    simple_key: bool,
}

struct Writer {
    out: String,
    /// In characters.
    column: usize,
    /// The last character was a blank, or there is none.
    whitespace: bool,
    /// Nothing but indentation and indicators stands on the line.
    indention: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

impl Writer {
    fn node(&mut self, value: &YamlValue, context: Context, depth: usize) -> Result<(), YamlError> {
        if depth > DEPTH {
            return Err(YamlError(format!("lists and mappings nested more than {DEPTH} deep cannot be written")));
        }
        match value {
            YamlValue::List(items) if items.is_empty() => self.collection("[]"),
            YamlValue::Mapping(entries) if entries.is_empty() => self.collection("{}"),
            YamlValue::List(items) => {
                let indent = deeper(context.indent, context.in_mapping && !self.indention);
                for item in items {
                    self.indent(indent);
                    self.indicator("-", true, true);
                    self.node(item, Context { indent, in_mapping: false, simple_key: false }, depth + 1)?;
                }
            }
            YamlValue::Mapping(entries) => {
                let indent = deeper(context.indent, false);
                for (key, value) in sorted(entries) {
                    self.entry(key, value, indent, depth)?;
                }
            }
            YamlValue::Null => self.scalar("null", Style::Plain, context),
            YamlValue::Bool(flag) => self.scalar(if *flag { "true" } else { "false" }, Style::Plain, context),
            YamlValue::Int(number) => self.scalar(&number.to_string(), Style::Plain, context),
            YamlValue::Uint(number) => self.scalar(&number.to_string(), Style::Plain, context),
            YamlValue::Float(number) => self.scalar(&float(*number), Style::Plain, context),
            YamlValue::Text(bytes) => self.text(bytes, context),
        }
        Ok(())
    }

    fn entry(&mut self, key: &YamlValue, value: &YamlValue, indent: isize, depth: usize) -> Result<(), YamlError> {
        self.indent(indent);
        let context = Context { indent, in_mapping: true, simple_key: false };
        if is_simple(key) {
            self.node(key, Context { simple_key: true, ..context }, depth + 1)?;
            self.indicator(":", false, false);
        } else {
            self.indicator("?", true, true);
            self.node(key, context, depth + 1)?;
            self.indent(indent);
            self.indicator(":", true, true);
        }
        self.node(value, context, depth + 1)
    }

    fn collection(&mut self, brackets: &str) {
        self.indicator(brackets, true, false);
    }

    fn text(&mut self, bytes: &[u8], context: Context) {
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.indicator("!!binary", true, false);
            let encoded = scalar::to_base64(bytes);
            let style = if encoded.contains('\n') { Style::Literal } else { Style::Plain };
            return self.scalar(&encoded, style, context);
        };
        let style = match text {
            _ if text.contains('\n') => Style::Literal,
            _ if scalar::is_text(text) => Style::Plain,
            _ => Style::Double,
        };
        self.scalar(text, style, context);
    }

    fn scalar(&mut self, text: &str, style: Style, context: Context) {
        let indent = if context.indent < 0 { 2 } else { context.indent + 2 };
        let folds = !context.simple_key;
        match Allowed::of(text).style(style, text, context.simple_key) {
            Style::Plain => {
                if !self.whitespace {
                    self.put(' ');
                }
                self.folded(text, indent, folds, false);
                self.whitespace = false;
                self.indention = false;
            }
            Style::Single => {
                self.indicator("'", true, false);
                self.folded(text, indent, folds, true);
                self.indicator("'", false, false);
            }
            Style::Double => self.double_quoted(text, indent, folds),
            Style::Literal => self.literal(text, indent),
        }
    }

    /// A plain or single-quoted text; its line breaks are doubled, its long lines broken at blanks.
    fn folded(&mut self, text: &str, indent: isize, folds: bool, quoted: bool) {
        let characters: Vec<char> = text.chars().collect();
        let (mut spaces, mut breaks) = (false, false);
        for (at, character) in characters.iter().copied().enumerate() {
            if character == ' ' {
                let inner = !quoted || (at > 0 && at + 1 < characters.len());
                let single = characters.get(at + 1) != Some(&' ');
                if folds && !spaces && self.column > WIDTH && inner && single {
                    self.indent(indent);
                } else {
                    self.put(' ');
                }
                spaces = true;
            } else if is_break(character) {
                if !breaks && character == '\n' {
                    self.line();
                }
                self.write_break(character);
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.indent(indent);
                }
                if quoted && character == '\'' {
                    self.put('\'');
                }
                self.put(character);
                self.indention = false;
                (spaces, breaks) = (false, false);
            }
        }
    }

    fn double_quoted(&mut self, text: &str, indent: isize, folds: bool) {
        self.indicator("\"", true, false);
        let characters: Vec<char> = text.chars().collect();
        let mut spaces = false;
        for (at, character) in characters.iter().copied().enumerate() {
            if character == ' ' {
                if folds && !spaces && self.column > WIDTH && at > 0 && at + 1 < characters.len() {
                    self.indent(indent);
                    if characters.get(at + 1) == Some(&' ') {
                        self.put('\\');
                    }
                } else {
                    self.put(' ');
                }
                spaces = true;
                continue;
            }
            spaces = false;
            if is_printable(character) && !is_break(character) && !matches!(character, '"' | '\\') {
                self.put(character);
            } else {
                escaped(character).chars().for_each(|part| self.put(part));
            }
        }
        self.indicator("\"", false, false);
    }

    fn literal(&mut self, text: &str, indent: isize) {
        self.indicator("|", true, false);
        if text.starts_with(|first: char| first == ' ' || is_break(first)) {
            self.indicator("2", false, false);
        }
        let mut last = text.chars().rev();
        match (last.next().is_some_and(is_break), last.next()) {
            (false, _) => self.indicator("-", false, false),
            (true, None) => self.indicator("+", false, false),
            (true, Some(before)) if is_break(before) => self.indicator("+", false, false),
            (true, Some(_)) => {}
        }
        self.line();
        self.indention = true;
        self.whitespace = true;
        let mut breaks = true;
        for character in text.chars() {
            if is_break(character) {
                self.write_break(character);
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.indent(indent);
                }
                self.put(character);
                self.indention = false;
                breaks = false;
            }
        }
    }

    fn indicator(&mut self, text: &str, needs_space: bool, is_indention: bool) {
        if needs_space && !self.whitespace {
            self.put(' ');
        }
        text.chars().for_each(|character| self.put(character));
        self.whitespace = false;
        self.indention = self.indention && is_indention;
    }

    fn indent(&mut self, indent: isize) {
        let indent = usize::try_from(indent).unwrap_or(0);
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.line();
        }
        while self.column < indent {
            self.put(' ');
        }
        self.whitespace = true;
        self.indention = true;
    }

    fn put(&mut self, character: char) {
        self.out.push(character);
        self.column += 1;
    }

    fn line(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    fn write_break(&mut self, character: char) {
        if character == '\n' {
            return self.line();
        }
        self.out.push(character);
        self.column = 0;
    }
}

fn deeper(indent: isize, stays: bool) -> isize {
    match indent {
        ..0 => 0,
        _ if stays => indent,
        _ => indent + 2,
    }
}

/// The styles that a text may be written in.
struct Allowed {
    plain: bool,
    single: bool,
    block: bool,
    multiline: bool,
}

impl Allowed {
    fn of(text: &str) -> Self {
        let mut allowed = Self { plain: true, single: true, block: !text.is_empty(), multiline: false };
        let characters: Vec<char> = text.chars().collect();
        let indicators = has_indicators(&characters) || text.starts_with("---") || text.starts_with("...");
        let (mut break_space, mut space_break, mut special) = (false, false, false);
        for (at, character) in characters.iter().copied().enumerate() {
            let before = at.checked_sub(1).map(|before| characters[before]);
            special |= !is_printable(character);
            break_space |= character == ' ' && before.is_some_and(is_break);
            space_break |= is_break(character) && before == Some(' ');
            allowed.multiline |= is_break(character);
        }
        let blank = |character: Option<&char>| character.is_some_and(|c| *c == ' ' || is_break(*c));
        let edges = blank(characters.first()) || blank(characters.last());
        allowed.plain = !(edges || break_space || space_break || special || allowed.multiline || indicators);
        allowed.single = !(break_space || space_break || special);
        allowed.block &= characters.last() != Some(&' ') && !space_break && !special;
        allowed
    }

    fn style(&self, wanted: Style, text: &str, simple_key: bool) -> Style {
        let mut style = if simple_key && self.multiline { Style::Double } else { wanted };
        if style == Style::Plain && (!self.plain || (text.is_empty() && simple_key)) {
            style = Style::Single;
        }
        if style == Style::Single && !self.single {
            style = Style::Double;
        }
        if style == Style::Literal && (!self.block || simple_key) {
            style = Style::Double;
        }
        style
    }
}

/// Whether a plain text of these characters would be read as something else.
fn has_indicators(characters: &[char]) -> bool {
    let mut before_is_blank = true;
    for (at, character) in characters.iter().copied().enumerate() {
        let blank_follows = characters.get(at + 1).is_none_or(|next| matches!(next, ' ' | '\t'));
        let found = match character {
            '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`'
                if at == 0 =>
            {
                true
            }
            '?' | '-' if at == 0 => blank_follows,
            ':' => blank_follows,
            '#' => before_is_blank,
            _ => false,
        };
        if found {
            return true;
        }
        before_is_blank = matches!(character, ' ' | '\t') || is_break(character);
    }
    false
}

fn is_break(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_printable(character: char) -> bool {
    matches!(character, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

fn escaped(character: char) -> String {
    let short = match character {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{a0}' => '_',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        other => {
            let code = u32::from(other);
            return match code {
                ..=0xff => format!("\\x{code:02X}"),
                0x100..=0xffff => format!("\\u{code:04X}"),
                _ => format!("\\U{code:08X}"),
            };
        }
    };
    format!("\\{short}")
}

fn is_simple(key: &YamlValue) -> bool {
    match key {
        YamlValue::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.len() <= SIMPLE_KEY && !text.contains(is_break),
            Err(_) => bytes.len() <= SIMPLE_KEY / 2,
        },
        YamlValue::List(items) => items.is_empty(),
        YamlValue::Mapping(entries) => entries.is_empty(),
        YamlValue::Null | YamlValue::Bool(_) | YamlValue::Int(_) | YamlValue::Uint(_) | YamlValue::Float(_) => true,
    }
}

/// Go's `strconv.FormatFloat(number, 'g', -1, 64)`, with YAML's words for what is no number.
fn float(number: f64) -> String {
    if number.is_nan() {
        return ".nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..21).contains(&exponent) && (exponent < 6 || number == 0.0) {
        return format!("{number}");
    }
    let mut text = digits.to_owned();
    let sign = if exponent < 0 { '-' } else { '+' };
    let _ = write!(text, "e{sign}{:02}", exponent.unsigned_abs());
    text
}

/// The entries by their keys; of equal keys the last one.
fn sorted(entries: &[(YamlValue, YamlValue)]) -> Vec<(&YamlValue, &YamlValue)> {
    let mut sorted: Vec<(&YamlValue, &YamlValue)> = entries.iter().map(|(key, value)| (key, value)).collect();
    sorted.sort_by(|one, two| order(one.0, two.0));
    sorted.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            earlier.1 = later.1;
        }
        same
    });
    sorted
}

fn order(one: &YamlValue, two: &YamlValue) -> Ordering {
    if let (Some(first), Some(second)) = (as_number(one), as_number(two)) {
        return first.total_cmp(&second).then_with(|| rank(one).cmp(&rank(two)));
    }
    match (one, two) {
        (YamlValue::Text(one), YamlValue::Text(two)) => {
            natural(&String::from_utf8_lossy(one), &String::from_utf8_lossy(two))
        }
        _ => rank(one).cmp(&rank(two)),
    }
}

/// Bools and numbers are compared with one another.
fn as_number(value: &YamlValue) -> Option<f64> {
    match value {
        YamlValue::Bool(flag) => Some(f64::from(u8::from(*flag))),
        YamlValue::Int(number) => Some(*number as f64),
        YamlValue::Uint(number) => Some(*number as f64),
        YamlValue::Float(number) => Some(*number),
        YamlValue::Null | YamlValue::Text(_) | YamlValue::List(_) | YamlValue::Mapping(_) => None,
    }
}

fn rank(value: &YamlValue) -> u8 {
    match value {
        YamlValue::Bool(_) => 0,
        YamlValue::Int(_) => 1,
        YamlValue::Uint(_) => 2,
        YamlValue::Float(_) => 3,
        YamlValue::Null => 4,
        YamlValue::Mapping(_) => 5,
        YamlValue::List(_) => 6,
        YamlValue::Text(_) => 7,
    }
}

/// Texts with digits in them compared as numbers; letters after everything else.
fn natural(one: &str, two: &str) -> Ordering {
    let (one, two): (Vec<char>, Vec<char>) = (one.chars().collect(), two.chars().collect());
    let Some(at) = one.iter().zip(&two).position(|(one, two)| one != two) else { return one.len().cmp(&two.len()) };
    let (first, second) = (one[at], two[at]);
    match (first.is_alphabetic(), second.is_alphabetic()) {
        (true, true) => return first.cmp(&second),
        (false, true) => return Ordering::Less,
        (true, false) => return Ordering::Greater,
        (false, false) => {}
    }
    let digits_before = one[..at].iter().rev().take_while(|c| c.is_numeric());
    let significant = (first == '0' || second == '0') && digits_before.into_iter().any(|digit| *digit != '0');
    let number = |characters: &[char]| {
        let digits: Vec<u64> = characters[at..]
            .iter()
            .map_while(|c| c.is_numeric().then(|| u64::from(u32::from(*c)).wrapping_sub(48)))
            .collect();
        let start = u64::from(significant);
        (digits.iter().fold(start, |number, digit| number.wrapping_mul(10).wrapping_add(*digit)) as i64, digits.len())
    };
    number(&one).cmp(&number(&two)).then_with(|| first.cmp(&second))
}
