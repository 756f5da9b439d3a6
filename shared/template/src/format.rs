//! Go's `fmt`: verbs, flags, widths, and the marks it leaves where an argument does not fit its verb.

pub mod float;
mod layout;
mod printer;
mod printf;
pub mod quote;

use crate::function::FunctionError;
use crate::value::{GoString, Value};
use printer::Printer;

/// The longest text that one call formats, in bytes.
const LONGEST: usize = 64 << 20;

/// `fmt.Sprintf`. The error is about a text too long or values nested too deep.
pub fn sprintf(format: &[u8], arguments: &[Value]) -> Result<GoString, FunctionError> {
    let mut printer = Printer::new(LONGEST);
    printf::run(&mut printer, format, arguments)?;
    Ok(GoString::from(printer.finish()))
}

/// `fmt.Sprint`: a space between operands when neither is a string.
pub fn sprint(arguments: &[Value]) -> Result<GoString, FunctionError> {
    if let [Value::String(text)] = arguments {
        return Ok(text.clone());
    }
    let mut out = Vec::new();
    append(&mut out, arguments, LONGEST)?;
    Ok(GoString::from(out))
}

/// `fmt.Sprintln`: always a space between operands, a newline at the end.
pub fn sprintln(arguments: &[Value]) -> Result<GoString, FunctionError> {
    let mut printer = Printer::new(LONGEST);
    for (index, argument) in arguments.iter().enumerate() {
        if index > 0 {
            printer.write(b" ")?;
        }
        printer.print(argument, 'v')?;
    }
    printer.write(b"\n")?;
    Ok(GoString::from(printer.finish()))
}

/// Appends what `Sprint` gives; at most `longest` bytes more.
pub(crate) fn append(out: &mut Vec<u8>, arguments: &[Value], longest: usize) -> Result<(), FunctionError> {
    let mut printer = Printer::appending(std::mem::take(out), longest);
    let mut after_string = false;
    for (index, argument) in arguments.iter().enumerate() {
        let is_string = matches!(argument, Value::String(_));
        if index > 0 && !is_string && !after_string {
            printer.write(b" ")?;
        }
        printer.print(argument, 'v')?;
        after_string = is_string;
    }
    *out = printer.finish();
    Ok(())
}

/// Appends one value as an action prints it: a pointer to a struct as that struct.
pub(crate) fn append_followed(out: &mut Vec<u8>, value: &Value, longest: usize) -> Result<(), FunctionError> {
    let mut printer = Printer::appending(std::mem::take(out), longest);
    printer.follows = true;
    let printed = printer.print(value, 'v');
    *out = printer.finish();
    printed
}
