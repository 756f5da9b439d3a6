//! Prints values by a verb.

use super::layout::{Integer, Layout};
use crate::function::FunctionError;
use crate::limits::LimitError;
use crate::value::{FloatKind, Kind, List, Map, MapKey, Object, Type, Value};

/// How deep values within values are printed; deeper ones are those that hold themselves.
const DEPTH: usize = 500;

/// A text being printed.
pub(super) struct Printer {
    out: Vec<u8>,
    longest: usize,
    pub(super) layout: Layout,
    /// Printing the value of a `%!` mark: methods of objects are not asked.
    marking: bool,
    /// A pointer to a struct prints as that struct, without `&`.
    pub(super) follows: bool,
}

type Printed = Result<(), FunctionError>;

impl Printer {
    pub(super) fn new(longest: usize) -> Printer {
        Printer::appending(Vec::new(), longest)
    }

    pub(super) fn appending(out: Vec<u8>, longest: usize) -> Printer {
        let longest = out.len().saturating_add(longest);
        Printer { out, longest, layout: Layout::default(), marking: false, follows: false }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Printed {
        if self.out.len().saturating_add(bytes.len()) > self.longest {
            return Err(LimitError::Output(self.longest).into());
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Prints one argument by the verb.
    pub(super) fn print(&mut self, argument: &Value, verb: char) -> Printed {
        if argument.is_absent() {
            return match verb {
                'T' | 'v' => self.write(&self.layout.pad(b"<nil>")),
                _ => self.mark(argument, verb),
            };
        }
        match verb {
            'T' => self.write(&self.layout.text(argument.type_name().as_bytes())),
            'p' => self.pointer(argument, 'p'),
            // The verb of wrapped errors, which no value of a template is; numbers and strings come to this by themselves.
            'w' => self.mark(argument, verb),
            _ => self.value(argument, verb, 0),
        }
    }

    /// `%!VERB(TYPE=VALUE)`: the value does not fit the verb.
    fn mark(&mut self, value: &Value, verb: char) -> Printed {
        self.write(format!("%!{verb}(").as_bytes())?;
        if value.is_absent() {
            self.write(b"<nil>")?;
        } else {
            self.write(format!("{}=", value.type_name()).as_bytes())?;
            let before = std::mem::replace(&mut self.marking, true);
            let printed = self.value(value, 'v', 0);
            self.marking = before;
            printed?;
        }
        self.write(b")")
    }

    fn value(&mut self, value: &Value, verb: char, depth: usize) -> Printed {
        if depth > DEPTH {
            return Err(LimitError::Nesting(DEPTH).into());
        }
        match value {
            // Only elements of lists and maps come here: an argument that is nil was printed before.
            Value::NoValue | Value::Nil if self.layout.sharp_v => self.write(b"interface {}(nil)"),
            Value::NoValue | Value::Nil => self.write(b"<nil>"),
            Value::Bool(flag) => match verb {
                't' | 'v' => self.write(&self.layout.pad(if *flag { b"true" } else { b"false" })),
                _ => self.mark(value, verb),
            },
            Value::Int(number, _) => self.integer(value, number.unsigned_abs(), *number as u64, *number < 0, verb),
            Value::Uint(number, _) => self.unsigned(value, *number, verb),
            Value::Float(number, kind) => match float_verb(verb) {
                Some((letter, usual)) => self.write(&self.layout.float(*number, *kind, letter, usual)),
                None => self.mark(value, verb),
            },
            Value::Complex(real, imaginary) => self.complex(value, *real, *imaginary, verb),
            Value::String(text) => self.string(value, text, verb),
            Value::List(list) => self.list(list, verb, depth),
            Value::Map(map) => self.map(map, verb, depth),
            Value::Object(object) => self.object(value, &**object, verb, depth),
            Value::Function(_) => self.pointer(value, verb),
        }
    }

    fn unsigned(&mut self, value: &Value, number: u64, verb: char) -> Printed {
        if verb == 'v' && self.layout.sharp_v {
            return self.address(number, true);
        }
        self.integer(value, number, number, false, verb)
    }

    /// An integer in hexadecimal, with `0x` or without.
    fn address(&mut self, number: u64, prefix: bool) -> Printed {
        let integer = Integer { size: number, negative: false, base: 16, verb: 'v', upper: false };
        self.write(&Layout { sharp: prefix, ..self.layout }.integer(&integer))
    }

    fn integer(&mut self, value: &Value, size: u64, code: u64, negative: bool, verb: char) -> Printed {
        let base = match verb {
            'v' | 'd' => 10,
            'b' => 2,
            'o' | 'O' => 8,
            'x' | 'X' => 16,
            'c' => return self.write(&self.layout.character(code)),
            'q' => return self.write(&self.layout.quoted_character(code)),
            'U' => return self.write(&self.layout.code_point(code)),
            _ => return self.mark(value, verb),
        };
        self.write(&self.layout.integer(&Integer { size, negative, base, verb, upper: verb == 'X' }))
    }

    fn complex(&mut self, value: &Value, real: f64, imaginary: f64, verb: char) -> Printed {
        let Some((letter, usual)) = float_verb(verb) else { return self.mark(value, verb) };
        self.write(b"(")?;
        self.write(&self.layout.float(real, FloatKind::Float64, letter, usual))?;
        let signed = Layout { plus: true, ..self.layout };
        self.write(&signed.float(imaginary, FloatKind::Float64, letter, usual))?;
        self.write(b"i)")
    }

    fn string(&mut self, value: &Value, text: &[u8], verb: char) -> Printed {
        match verb {
            'v' if self.layout.sharp_v => self.write(&self.layout.quoted(text)),
            'v' | 's' => self.write(&self.layout.text(text)),
            'x' | 'X' => self.write(&self.layout.hexadecimal(text, verb == 'X')),
            'q' => self.write(&self.layout.quoted(text)),
            _ => self.mark(value, verb),
        }
    }

    fn list(&mut self, list: &List, verb: char, depth: usize) -> Printed {
        if matches!(verb, 's' | 'q' | 'x' | 'X')
            && let Some(bytes) = list.to_bytes()
        {
            return self.string(&Value::Nil, &bytes, verb);
        }
        let separator: &[u8] = if self.layout.sharp_v { b", " } else { b" " };
        if self.layout.sharp_v {
            let own = match list.element_type() {
                // Go writes the type's other name when bytes are the argument itself.
                Type::Uint(crate::value::UintKind::Uint8) if depth == 0 => "[]byte".to_owned(),
                element => format!("[]{element}"),
            };
            self.write(own.as_bytes())?;
            if list.is_nil() {
                return self.write(b"(nil)");
            }
        }
        self.write(if self.layout.sharp_v { b"{" } else { b"[" })?;
        for (index, item) in list.items().iter().enumerate() {
            if index > 0 {
                self.write(separator)?;
            }
            self.value(item, verb, depth + 1)?;
        }
        self.write(if self.layout.sharp_v { b"}" } else { b"]" })
    }

    fn map(&mut self, map: &Map, verb: char, depth: usize) -> Printed {
        let sharp = self.layout.sharp_v;
        if sharp {
            self.write(format!("map[{}]{}", map.key_type(), map.value_type()).as_bytes())?;
            if map.is_nil() {
                return self.write(b"(nil)");
            }
        }
        self.write(if sharp { b"{" } else { b"map[" })?;
        for (index, (key, value)) in map.entries().into_iter().enumerate() {
            if index > 0 {
                self.write(if sharp { b", " } else { b" " })?;
            }
            self.value(&MapKey::to_value(&key), verb, depth + 1)?;
            self.write(b":")?;
            self.value(&value, verb, depth + 1)?;
        }
        self.write(if sharp { b"}" } else { b"]" })
    }

    fn object(&mut self, value: &Value, object: &dyn Object, verb: char, depth: usize) -> Printed {
        let is_textual = matches!(verb, 'v' | 's' | 'x' | 'X' | 'q') && !self.layout.sharp_v && !self.marking;
        if is_textual && let Some(text) = object.text() {
            return self.string(&Value::Nil, &text, verb);
        }
        if object.kind() == Kind::Pointer {
            if object.is_nil() || depth > 0 {
                return self.pointer(value, verb);
            }
            if !self.follows {
                self.write(b"&")?;
            }
        }
        if self.layout.sharp_v {
            let name = object.type_name();
            self.write(name.strip_prefix('*').unwrap_or(&name).as_bytes())?;
        }
        self.write(b"{")?;
        for (index, (name, field)) in object.fields().into_iter().enumerate() {
            if index > 0 {
                self.write(if self.layout.sharp_v { b", " } else { b" " })?;
            }
            if self.layout.plus_v || self.layout.sharp_v {
                self.write(format!("{name}:").as_bytes())?;
            }
            self.value(&field, verb, depth + 1)?;
        }
        self.write(b"}")
    }

    /// A value by its place in memory.
    fn pointer(&mut self, value: &Value, verb: char) -> Printed {
        let place = match value {
            _ if value.is_nil() => 0,
            Value::List(list) => list.address(),
            Value::Map(map) => map.address(),
            Value::Function(function) => function.address(),
            Value::Object(object) if object.kind() == Kind::Pointer => std::sync::Arc::as_ptr(object).addr(),
            _ => return self.mark(value, verb),
        } as u64;
        match verb {
            'v' if self.layout.sharp_v => {
                self.write(format!("({})(", value.type_name()).as_bytes())?;
                if place == 0 {
                    self.write(b"nil")?;
                } else {
                    self.address(place, true)?;
                }
                self.write(b")")
            }
            'v' if place == 0 => self.write(&self.layout.pad(b"<nil>")),
            'v' | 'p' => self.address(place, !self.layout.sharp),
            'b' | 'o' | 'd' | 'x' | 'X' => self.unsigned(value, place, verb),
            _ => self.mark(value, verb),
        }
    }
}

/// The letter and the usual precision with which a verb writes floating-point numbers.
fn float_verb(verb: char) -> Option<(u8, Option<usize>)> {
    match verb {
        'v' => Some((b'g', None)),
        'b' | 'g' | 'G' | 'x' | 'X' => Some((verb as u8, None)),
        'f' | 'e' | 'E' => Some((verb as u8, Some(6))),
        'F' => Some((b'f', Some(6))),
        _ => None,
    }
}
