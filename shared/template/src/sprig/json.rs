//! Values as JSON, the way Go's `encoding/json` writes them.

use super::arguments::{Outcome, bytes, string};
use super::dict::{DEPTH, key_text};
use super::{encoding, json_read, runes};
use crate::function::{Call, Function, FunctionError, Functions};
use crate::value::{GoString, Map, Type, Value};

/// Adds the functions of this file.
pub(super) fn register(all: &mut Functions) {
    for (name, html, pretty) in [("Json", true, false), ("PrettyJson", true, true), ("RawJson", false, false)] {
        all.insert(format!("mustTo{name}"), writer(html, pretty, false));
        all.insert(format!("to{name}"), writer(html, pretty, html));
    }
    all.insert(
        "mustFromJson",
        Function::new([Type::String], |call, arguments| {
            let text = bytes(&arguments[0]);
            call.charge(text.len().saturating_mul(2))?;
            json_read::read(text)
        }),
    );
    all.insert(
        "fromJson",
        Function::new([Type::String], |call, arguments| {
            let text = bytes(&arguments[0]);
            call.charge(text.len().saturating_mul(2))?;
            Ok(json_read::read(text).unwrap_or(Value::Nil))
        }),
    );
}

fn writer(html: bool, pretty: bool, forgives: bool) -> Function {
    Function::new([Type::Any], move |call, arguments| match to_json(call, &arguments[0], html, pretty) {
        Err(FunctionError::Message(_)) if forgives => Ok(Value::from("")),
        outcome => outcome,
    })
}

/// `value` as JSON; `html` escapes `<`, `>` and `&`, `pretty` indents by two spaces. The error is Go's.
pub fn to_json(call: &mut Call<'_>, value: &Value, html: bool, pretty: bool) -> Outcome {
    let mut writer = Writer { call, html, pretty, out: Vec::new(), charged: 0 };
    writer.value(value, 0)?;
    let out = writer.out;
    Ok(string(out))
}

struct Writer<'a, 'b> {
    call: &'a mut Call<'b>,
    html: bool,
    pretty: bool,
    out: Vec<u8>,
    /// Bytes of the output that are already accounted for.
    charged: usize,
}

impl Writer<'_, '_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), FunctionError> {
        if depth > DEPTH {
            let name = value.type_name();
            return Err(FunctionError::new(format!("json: unsupported value: encountered a cycle via {name}")));
        }
        self.call.step(1)?;
        self.call.charge(self.out.len() - self.charged)?;
        self.charged = self.out.len();
        match value {
            Value::NoValue | Value::Nil => self.out.extend(b"null"),
            Value::Bool(flag) => self.out.extend(flag.to_string().as_bytes()),
            Value::Int(number, _) => self.out.extend(number.to_string().as_bytes()),
            Value::Uint(number, _) => self.out.extend(number.to_string().as_bytes()),
            Value::Float(number, kind) => {
                let text = float(*number, *kind == crate::value::FloatKind::Float32)?;
                self.out.extend(text.as_bytes());
            }
            Value::String(text) => self.string(text),
            Value::List(list) if list.is_nil() => self.out.extend(b"null"),
            Value::List(list) => match list.to_bytes() {
                Some(bytes) => self.string(encoding::base64(&bytes).as_bytes()),
                None => self.items(b"[]", list.items(), depth, |writer, item| writer.value(item, depth + 1))?,
            },
            Value::Map(map) => self.map(map, depth)?,
            Value::Object(object) if object.is_nil() => self.out.extend(b"null"),
            Value::Object(object) => match object.text() {
                Some(text) => self.string(&json_text(value).unwrap_or(text)),
                None => {
                    let fields = object.fields();
                    self.items(b"{}", &fields, depth, |writer, (name, field)| {
                        writer.entry(name.as_bytes(), field, depth)
                    })?;
                }
            },
            Value::Complex(..) | Value::Function(_) => return Err(unsupported(value)),
        }
        Ok(())
    }

    fn map(&mut self, map: &Map, depth: usize) -> Result<(), FunctionError> {
        let key_type = map.key_type().kind();
        if matches!(key_type, crate::value::Kind::Interface | crate::value::Kind::Bool) {
            return Err(unsupported(&Value::Map(map.clone())));
        }
        if map.is_nil() {
            self.out.extend(b"null");
            return Ok(());
        }
        let mut entries: Vec<(GoString, Value)> =
            map.entries().into_iter().filter_map(|(key, value)| Some((key_text(&key)?, value))).collect();
        entries.sort_by(|one, two| one.0.cmp(&two.0));
        self.items(b"{}", &entries, depth, |writer, (key, value)| writer.entry(key, value, depth))
    }

    fn entry(&mut self, key: &[u8], value: &Value, depth: usize) -> Result<(), FunctionError> {
        self.string(key);
        self.out.extend_from_slice(if self.pretty { b": " } else { b":" });
        self.value(value, depth + 1)
    }

    fn items<T>(
        &mut self,
        brackets: &[u8; 2],
        items: &[T],
        depth: usize,
        one: impl Fn(&mut Self, &T) -> Result<(), FunctionError>,
    ) -> Result<(), FunctionError> {
        self.out.push(brackets[0]);
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            self.line(depth + 1);
            one(self, item)?;
        }
        if !items.is_empty() {
            self.line(depth);
        }
        self.out.push(brackets[1]);
        Ok(())
    }

    fn line(&mut self, depth: usize) {
        if self.pretty {
            self.out.push(b'\n');
            self.out.resize(self.out.len() + 2 * depth, b' ');
        }
    }

    fn string(&mut self, text: &[u8]) {
        self.out.push(b'"');
        let mut rest = text;
        while let Some((character, width)) = runes::decode(rest) {
            match character {
                '"' => self.out.extend(b"\\\""),
                '\\' => self.out.extend(b"\\\\"),
                '\n' => self.out.extend(b"\\n"),
                '\r' => self.out.extend(b"\\r"),
                '\t' => self.out.extend(b"\\t"),
                '\u{8}' => self.out.extend(b"\\b"),
                '\u{c}' => self.out.extend(b"\\f"),
                '\u{fffd}' if width == 1 => self.out.extend(b"\\ufffd"),
                '\0'..' ' | '\u{2028}' | '\u{2029}' => self.escape(character),
                '<' | '>' | '&' if self.html => self.escape(character),
                _ => self.out.extend_from_slice(&rest[..width]),
            }
            rest = &rest[width..];
        }
        self.out.push(b'"');
    }

    fn escape(&mut self, character: char) {
        self.out.extend(format!("\\u{:04x}", u32::from(character)).as_bytes());
    }
}

/// What an object that knows better than its `String` method writes itself as.
fn json_text(value: &Value) -> Option<GoString> {
    let Value::Object(object) = value else { return None };
    object.as_any().downcast_ref::<super::time::Time>().map(|time| GoString::from(time.rfc3339()))
}

fn unsupported(value: &Value) -> FunctionError {
    FunctionError::new(format!("json: unsupported type: {}", value.type_name()))
}

/// A float with the fewest digits that read back the same: plainly, or with an exponent when far from 1.
fn float(number: f64, single: bool) -> Result<String, FunctionError> {
    if !number.is_finite() {
        let name = if number.is_nan() {
            "NaN"
        } else if number > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        };
        return Err(FunctionError::new(format!("json: unsupported value: {name}")));
    }
    let size = number.abs();
    let far = size != 0.0 && !(1e-6..1e21).contains(&size);
    Ok(match (far, single) {
        (false, false) => format!("{number}"),
        (false, true) => format!("{}", number as f32),
        (true, false) => signed_exponent(&format!("{number:e}")),
        (true, true) => signed_exponent(&format!("{:e}", number as f32)),
    })
}

/// `1e21` is written `1e+21`.
fn signed_exponent(text: &str) -> String {
    if text.contains("e-") { text.to_owned() } else { text.replace('e', "e+") }
}
