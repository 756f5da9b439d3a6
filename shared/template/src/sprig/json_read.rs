//! Reading JSON as Go's `encoding/json` does: its values and its words for what is wrong.

use super::arguments::{Outcome, fail};
use super::runes;
use crate::function::FunctionError;
use crate::value::{Map, Value};

/// How deep lists and objects may be nested.
const DEPTH: usize = 500;

/// The value of a JSON text; numbers become `float64`.
pub(super) fn read(text: &[u8]) -> Outcome {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0, "looking for beginning of value")?;
    reader.skip_space();
    match reader.peek() {
        None => Ok(value),
        Some(_) => reader.unexpected("after top-level value"),
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn unexpected<T>(&self, place: &str) -> Result<T, FunctionError> {
        match self.peek() {
            // Go ends the text with a space, to see whether a number or a word is complete.
            None if place.starts_with("in ") && place != "in string literal" || place.starts_with("after decimal") => {
                fail(format!("invalid character ' ' {place}"))
            }
            None => fail("unexpected end of JSON input"),
            Some(byte) => fail(format!("invalid character {} {place}", quoted(byte))),
        }
    }

    fn value(&mut self, depth: usize, place: &str) -> Outcome {
        if depth > DEPTH {
            return fail("exceeded max depth");
        }
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => Ok(Value::string(self.string()?)),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Nil),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.unexpected(place),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Outcome {
        for wanted in word.bytes() {
            if self.peek() != Some(wanted) {
                return self.unexpected(&format!("in literal {word} (expecting {})", quoted(wanted)));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn object(&mut self, depth: usize) -> Outcome {
        self.at += 1;
        let map = Map::new();
        let mut place = "looking for beginning of object key string";
        loop {
            self.skip_space();
            match self.peek() {
                Some(b'}') if map.is_empty() && place.contains("beginning") => break,
                Some(b'"') => {}
                _ => return self.unexpected(place),
            }
            let key = self.string()?;
            self.skip_space();
            if self.peek() != Some(b':') {
                return self.unexpected("after object key");
            }
            self.at += 1;
            map.set(key, self.value(depth + 1, "looking for beginning of value")?)?;
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return self.unexpected("after object key:value pair"),
            }
            place = "looking for beginning of object key string";
            self.skip_space();
            if self.peek() == Some(b'}') {
                return self.unexpected(place);
            }
        }
        self.at += 1;
        Ok(Value::Map(map))
    }

    fn list(&mut self, depth: usize) -> Outcome {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::list(items));
        }
        loop {
            items.push(self.value(depth + 1, "looking for beginning of value")?);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return self.unexpected("after array element"),
            }
        }
        self.at += 1;
        Ok(Value::list(items))
    }

    fn digits(&mut self) -> bool {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at > start
    }

    fn number(&mut self) -> Outcome {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else if !self.digits() {
            return self.unexpected("in numeric literal");
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if !self.digits() {
                return self.unexpected("after decimal point in numeric literal");
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !self.digits() {
                return self.unexpected("in exponent of numeric literal");
            }
        }
        let text = String::from_utf8_lossy(&self.text[start..self.at]);
        match super::math::parse_float(&text) {
            Some(number) => Ok(Value::float(number)),
            None => fail(format!("json: cannot unmarshal number {text} into Go value of type float64")),
        }
    }

    fn string(&mut self) -> Result<String, FunctionError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                Some(b' '..) => {
                    let Some((character, width)) = runes::decode(&self.text[self.at..]) else { break };
                    out.push(character);
                    self.at += width;
                }
                _ => return self.unexpected("in string literal"),
            }
        }
        self.at += 1;
        Ok(out)
    }

    fn escape(&mut self) -> Result<char, FunctionError> {
        let character = match self.peek() {
            Some(same @ (b'"' | b'\\' | b'/')) => char::from(same),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return self.unexpected("in string escape code"),
        };
        self.at += 1;
        Ok(character)
    }

    /// `\uXXXX`, and a second one after it when the two are a surrogate pair.
    fn unicode(&mut self) -> Result<char, FunctionError> {
        let first = self.hexadecimal()?;
        if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 1;
            let second = self.hexadecimal()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or('\u{fffd}'));
            }
            self.at = back;
        }
        Ok(char::from_u32(first).unwrap_or('\u{fffd}'))
    }

    fn hexadecimal(&mut self) -> Result<u32, FunctionError> {
        self.at += 1;
        let mut code = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(16)) else {
                return self.unexpected("in \\u hexadecimal character escape");
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }
}

/// The byte as Go's JSON errors quote it.
fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        b' '..=b'~' => format!("'{}'", char::from(byte)),
        0x80.. if byte > 0xa0 && byte != 0xad => format!("'{}'", char::from(byte)),
        0x80.. => format!("'\\u{byte:04x}'"),
        7 => r"'\a'".to_owned(),
        8 => r"'\b'".to_owned(),
        11 => r"'\v'".to_owned(),
        12 => r"'\f'".to_owned(),
        _ => format!("'\\x{byte:02x}'"),
    }
}
