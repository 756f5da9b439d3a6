//! Number literals: each is kept as every type that can hold it, as Go's ideal constants are.

use crate::format::quote::{CharacterError, unquote_character};
use crate::lex::TokenKind;

/// A number literal.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Number {
    /// As written.
    pub(crate) text: Box<str>,
    pub(crate) int: Option<i64>,
    pub(crate) uint: Option<u64>,
    pub(crate) float: Option<f64>,
    /// Real and imaginary part.
    pub(crate) complex: Option<(f64, f64)>,
}

impl Number {
    /// Reads the text of a token; the error is Go's.
    pub(crate) fn parse(text: &str, kind: TokenKind) -> Result<Number, String> {
        let number = Number { text: text.into(), ..Number::default() };
        match kind {
            TokenKind::CharConstant => number.character(),
            TokenKind::Complex => number.pair(),
            _ => number.plain(),
        }
    }

    /// Whether the number counts as a float when nobody says which type is wanted.
    pub(crate) fn is_written_as_float(&self) -> bool {
        let text = &*self.text;
        let is_hexadecimal = (text.starts_with("0x") || text.starts_with("0X")) && !text.contains(['p', 'P']);
        self.float.is_some() && !is_hexadecimal && !text.starts_with('\'') && text.contains(['.', 'e', 'E', 'p', 'P'])
    }

    fn character(mut self) -> Result<Number, String> {
        let code = unquote_character(self.text.as_bytes()).map_err(|error| match error {
            CharacterError::Syntax => "invalid syntax".to_owned(),
            CharacterError::Malformed => format!("malformed character constant: {}", self.text),
        })?;
        self.int = Some(i64::from(code));
        self.uint = Some(u64::from(code));
        self.float = Some(f64::from(code));
        Ok(self)
    }

    /// `1+2i`.
    fn pair(mut self) -> Result<Number, String> {
        let illegal = || "syntax error scanning complex number".to_owned();
        let body = self.text.strip_suffix('i').ok_or_else(illegal)?;
        let is_sign = |at: &usize| {
            let bytes = body.as_bytes();
            matches!(bytes[*at], b'+' | b'-') && !matches!(bytes[*at - 1], b'e' | b'E' | b'p' | b'P')
        };
        let at = (1..body.len()).find(is_sign).ok_or_else(illegal)?;
        let real = parse_float(&body[..at]).ok_or_else(illegal)?;
        let imaginary = parse_float(&body[at..]).ok_or_else(illegal)?;
        self.set_complex(real, imaginary);
        Ok(self)
    }

    fn set_complex(&mut self, real: f64, imaginary: f64) {
        self.complex = Some((real, imaginary));
        if imaginary == 0.0 {
            self.float = Some(real);
            self.int = exact_int(real);
            self.uint = exact_uint(real);
        }
    }

    fn plain(mut self) -> Result<Number, String> {
        if let Some(imaginary) = self.text.strip_suffix('i').and_then(parse_float) {
            self.set_complex(0.0, imaginary);
            return Ok(self);
        }
        self.uint = parse_uint(&self.text);
        self.int = parse_int(&self.text);
        if self.int == Some(0) {
            self.uint = Some(0);
        }
        self.float = match (self.int, self.uint) {
            (Some(int), _) => Some(int as f64),
            (None, Some(uint)) => Some(uint as f64),
            (None, None) => None,
        };
        if self.float.is_some() {
            return Ok(self);
        }
        let quoted = crate::error::quoted(&self.text);
        let Some(float) = parse_float(&self.text) else { return Err(format!("illegal number syntax: {quoted}")) };
        if !self.text.contains(['.', 'e', 'E', 'p', 'P']) {
            return Err(format!("integer overflow: {quoted}"));
        }
        self.float = Some(float);
        self.int = exact_int(float);
        self.uint = exact_uint(float);
        Ok(self)
    }
}

fn exact_int(float: f64) -> Option<i64> {
    let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&float);
    (fits && float.fract() == 0.0).then_some(float as i64)
}

fn exact_uint(float: f64) -> Option<u64> {
    ((0.0..18_446_744_073_709_551_616.0).contains(&float) && float.fract() == 0.0).then_some(float as u64)
}

/// `strconv.ParseUint(text, 0, 64)`.
fn parse_uint(text: &str) -> Option<u64> {
    if !underscores_are_right(text) {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let (digits, base) = match lower.as_bytes() {
        [b'0', b'x', ..] => (&lower[2..], 16),
        [b'0', b'o', ..] => (&lower[2..], 8),
        [b'0', b'b', ..] => (&lower[2..], 2),
        [b'0', _, ..] => (&lower[1..], 8),
        _ => (&lower[..], 10),
    };
    let digits: String = digits.chars().filter(|character| *character != '_').collect();
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(&digits, base).ok()
}

/// `strconv.ParseInt(text, 0, 64)`.
fn parse_int(text: &str) -> Option<i64> {
    match text.as_bytes().first()? {
        b'-' => 0_i64.checked_sub_unsigned(parse_uint(&text[1..])?),
        b'+' => i64::try_from(parse_uint(&text[1..])?).ok(),
        _ => i64::try_from(parse_uint(text)?).ok(),
    }
}

/// `strconv.ParseFloat(text, 64)` of what the lexer takes for a number; `None` also when it is too large.
fn parse_float(text: &str) -> Option<f64> {
    if !underscores_are_right(text) {
        return None;
    }
    let plain: String = text.chars().filter(|character| *character != '_').collect();
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let size = match unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        Some(hexadecimal) => parse_hexadecimal(hexadecimal)?,
        None if unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') => unsigned.parse().ok()?,
        None => return None,
    };
    if size.is_infinite() {
        return None;
    }
    Some(if plain.starts_with('-') { -size } else { size })
}

/// `1.8p3`, what follows `0x`. The exponent is obligatory.
fn parse_hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (mut bits, mut scale) = (0_u64, 0_i64);
    for (index, character) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = u64::from(character.to_digit(16)?);
        if bits >> 59 == 0 {
            bits = bits << 4 | digit;
            scale -= if index >= whole.len() { 4 } else { 0 };
        } else {
            // What no longer fits only tells whether there is something below the last bit.
            bits |= u64::from(digit != 0);
            scale += if index < whole.len() { 4 } else { 0 };
        }
    }
    let exponent: i64 = exponent.parse().ok()?;
    let mut scale = exponent.saturating_add(scale).clamp(-5000, 5000);
    let mut number = bits as f64;
    while scale != 0 {
        let step = scale.clamp(-1000, 1000);
        number *= 2_f64.powi(step as i32);
        scale -= step;
    }
    Some(number)
}

/// Underscores stand between digits, or between the prefix of a base and a digit.
fn underscores_are_right(text: &str) -> bool {
    if !text.contains('_') {
        return true;
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text).as_bytes();
    let has_prefix = matches!(unsigned, [b'0', b'x' | b'X' | b'o' | b'O' | b'b' | b'B', ..]);
    let is_hexadecimal = matches!(unsigned, [b'0', b'x' | b'X', ..]);
    let is_digit = |byte: u8| byte.is_ascii_digit() || (is_hexadecimal && byte.is_ascii_hexdigit());
    (0..unsigned.len()).filter(|at| unsigned[*at] == b'_').all(|at| {
        let before = at > 0 && (is_digit(unsigned[at - 1]) || (has_prefix && at == 2));
        before && unsigned.get(at + 1).is_some_and(|byte| is_digit(*byte))
    })
}
