//! Reads a format and prints its arguments: `%[2]*.[1]*f` and everything simpler.

use super::layout::Layout;
use super::printer::Printer;
use crate::function::FunctionError;
use crate::unicode::{REPLACEMENT, decode};
use crate::value::Value;

/// Widths and precisions beyond this are not numbers but mistakes.
const LARGEST: i64 = 1_000_000;

struct Reader<'a> {
    format: &'a [u8],
    at: usize,
    arguments: &'a [Value],
    /// The argument that the next verb takes.
    next: usize,
    /// Some index like `[3]` was used: then leftovers are not told.
    reordered: bool,
    /// The indices of the current verb were right.
    good_index: bool,
    /// An index was read last.
    after_index: bool,
}

/// Prints the arguments by the format.
pub(super) fn run(printer: &mut Printer, format: &[u8], arguments: &[Value]) -> Result<(), FunctionError> {
    let mut reader =
        Reader { format, at: 0, arguments, next: 0, reordered: false, good_index: true, after_index: false };
    loop {
        let rest = &format[reader.at..];
        let literal = rest.iter().position(|byte| *byte == b'%').unwrap_or(rest.len());
        printer.write(&rest[..literal])?;
        reader.at += literal;
        if reader.at >= format.len() {
            break;
        }
        reader.at += 1;
        if !reader.directive(printer)? {
            break;
        }
    }
    if reader.reordered || reader.next >= arguments.len() {
        return Ok(());
    }
    printer.layout = Layout::default();
    printer.write(b"%!(EXTRA ")?;
    for (index, argument) in arguments[reader.next..].iter().enumerate() {
        if index > 0 {
            printer.write(b", ")?;
        }
        if !argument.is_absent() {
            printer.write(format!("{}=", argument.type_name()).as_bytes())?;
        }
        printer.print(argument, 'v')?;
    }
    printer.write(b")")
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.format.get(self.at).copied()
    }

    /// Reads and prints one directive after its `%`; whether the format goes on.
    fn directive(&mut self, printer: &mut Printer) -> Result<bool, FunctionError> {
        self.good_index = true;
        self.after_index = false;
        printer.layout = self.flags();
        self.index();
        self.width(printer)?;
        self.precision(printer)?;
        if !self.after_index {
            self.index();
        }
        if self.at >= self.format.len() {
            printer.write(b"%!(NOVERB)")?;
            return Ok(false);
        }
        let (character, length) = decode(&self.format[self.at..]);
        let verb = character.unwrap_or(REPLACEMENT);
        self.at += length;
        match self.arguments.get(self.next) {
            _ if verb == '%' => printer.write(b"%")?,
            _ if !self.good_index => printer.write(format!("%!{verb}(BADINDEX)").as_bytes())?,
            None => printer.write(format!("%!{verb}(MISSING)").as_bytes())?,
            Some(argument) => {
                if matches!(verb, 'v' | 'w') {
                    let layout = &mut printer.layout;
                    layout.sharp_v = std::mem::take(&mut layout.sharp);
                    layout.plus_v = std::mem::take(&mut layout.plus);
                }
                printer.print(argument, verb)?;
                self.next += 1;
            }
        }
        Ok(true)
    }

    fn flags(&mut self) -> Layout {
        let mut layout = Layout::default();
        loop {
            match self.peek() {
                Some(b'#') => layout.sharp = true,
                Some(b'0') => layout.zero = true,
                Some(b'+') => layout.plus = true,
                Some(b'-') => layout.minus = true,
                Some(b' ') => layout.space = true,
                _ => return layout,
            }
            self.at += 1;
        }
    }

    /// Reads `[n]` when it is there.
    fn index(&mut self) {
        self.after_index = false;
        if self.peek() != Some(b'[') {
            return;
        }
        self.reordered = true;
        let rest = &self.format[self.at..];
        let Some(close) = rest.iter().position(|byte| *byte == b']').filter(|_| rest.len() >= 3) else {
            self.good_index = false;
            self.at += 1;
            return;
        };
        let number = number_of(&rest[1..close]).and_then(|number| usize::try_from(number).ok());
        self.at += close + 1;
        self.after_index = number.is_some();
        match number.and_then(|number| number.checked_sub(1)).filter(|index| *index < self.arguments.len()) {
            Some(index) => self.next = index,
            None => self.good_index = false,
        }
    }

    fn width(&mut self, printer: &mut Printer) -> Result<(), FunctionError> {
        if self.peek() == Some(b'*') {
            self.at += 1;
            match self.number_argument() {
                Some(width) => {
                    printer.layout.width = usize::try_from(width.unsigned_abs()).ok();
                    if width < 0 {
                        printer.layout.minus = true;
                        printer.layout.zero = false;
                    }
                }
                None => printer.write(b"%!(BADWIDTH)")?,
            }
            self.after_index = false;
        } else {
            printer.layout.width = self.number();
            if self.after_index && printer.layout.width.is_some() {
                self.good_index = false;
            }
        }
        Ok(())
    }

    fn precision(&mut self, printer: &mut Printer) -> Result<(), FunctionError> {
        if self.peek() != Some(b'.') || self.at + 1 >= self.format.len() {
            return Ok(());
        }
        self.at += 1;
        if self.after_index {
            self.good_index = false;
        }
        self.index();
        if self.peek() == Some(b'*') {
            self.at += 1;
            match self.number_argument().and_then(|precision| usize::try_from(precision).ok()) {
                Some(precision) => printer.layout.precision = Some(precision),
                None => printer.write(b"%!(BADPREC)")?,
            }
            self.after_index = false;
        } else {
            printer.layout.precision = Some(self.number().unwrap_or(0));
        }
        Ok(())
    }

    /// The number that `*` stands for; the argument is used up either way.
    fn number_argument(&mut self) -> Option<i64> {
        let argument = self.arguments.get(self.next)?;
        self.next += 1;
        argument.as_int().filter(|number| number.unsigned_abs() <= LARGEST.unsigned_abs())
    }

    /// Digits in the format itself. A number too large swallows the rest of the format.
    fn number(&mut self) -> Option<usize> {
        let rest = &self.format[self.at..];
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 {
            return None;
        }
        match number_of(&rest[..length]) {
            Some(number) => {
                self.at += length;
                usize::try_from(number).ok()
            }
            None => {
                self.at = self.format.len();
                None
            }
        }
    }
}

/// The decimal number; `None` when it is not one, or is too large.
fn number_of(digits: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit))?;
    // Go looks at the size before each digit, not after the last one: one digit more may pass.
    let number = text.parse::<i64>().ok()?;
    (number / 10 <= LARGEST).then_some(number)
}
