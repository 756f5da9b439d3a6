//! A value with its types, for `dump_debug`.

use slipway_template::{Call, FunctionError, GoString, List, Map, Value, format};

/// How deep a dump looks.
const DEPTH: usize = 50;
/// Steps that one value of a dump counts as.
const STEPS: u64 = 10;

/// The value, a line for each part: type, size, content.
pub(crate) fn dump(call: &mut Call<'_>, value: &Value) -> Result<String, FunctionError> {
    let mut out = String::new();
    write(call, &mut out, value, 0)?;
    Ok(out)
}

fn write(call: &mut Call<'_>, out: &mut String, value: &Value, depth: usize) -> Result<(), FunctionError> {
    call.step(STEPS)?;
    let before = out.len();
    let name = value.type_name();
    match value {
        Value::NoValue | Value::Nil => out.push_str("(interface {}) <nil>"),
        Value::String(text) => *out += &format!("(string) (len={}) {}", text.len(), quoted(text)?),
        Value::List(_) | Value::Map(_) if depth > DEPTH => *out += &format!("({name}) …"),
        Value::List(list) => {
            *out += &format!("({name}) (len={} cap={}) {{\n", list.len(), list.capacity());
            items(call, out, list, depth)?;
        }
        Value::Map(map) => {
            *out += &format!("({name}) (len={}) {{\n", map.len());
            entries(call, out, map, depth)?;
        }
        other => *out += &format!("({name}) {}", format::sprintf(b"%v", std::slice::from_ref(other))?),
    }
    call.charge(out.len() - before)
}

fn items(call: &mut Call<'_>, out: &mut String, list: &List, depth: usize) -> Result<(), FunctionError> {
    for item in list.items() {
        indent(out, depth + 1);
        write(call, out, item, depth + 1)?;
        out.push_str(",\n");
    }
    indent(out, depth);
    out.push('}');
    Ok(())
}

fn entries(call: &mut Call<'_>, out: &mut String, map: &Map, depth: usize) -> Result<(), FunctionError> {
    for (key, item) in map.entries() {
        indent(out, depth + 1);
        write(call, out, &key.to_value(), depth + 1)?;
        out.push_str(": ");
        write(call, out, &item, depth + 1)?;
        out.push_str(",\n");
    }
    indent(out, depth);
    out.push('}');
    Ok(())
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n(' ', depth));
}

fn quoted(text: &GoString) -> Result<GoString, FunctionError> {
    format::sprintf(b"%q", &[Value::String(text.clone())])
}
