//! The history of an image, in the words of BuildKit.

use serde_json::{Value, json};
use slipway_dockerfile::{Files, Source, Variables};

/// Whose words these are.
const COMMENT: &str = "buildkit.dockerfile.v0";
/// What follows an instruction that made a layer.
const LAYERED: &str = " # buildkit";

/// One entry.
pub(super) fn entry(created: Option<&str>, by: &str, is_empty: bool) -> Value {
    let mut entry = json!({ "created_by": by, "comment": COMMENT });
    if let Some(created) = created {
        entry["created"] = Value::from(created);
    }
    if is_empty {
        entry["empty_layer"] = Value::from(true);
    }
    entry
}

/// The entry with a time, where it has none.
pub(super) fn dated(mut entry: Value, created: &str) -> Value {
    if let Some(fields) = entry.as_object_mut() {
        fields.entry("created").or_insert_with(|| Value::from(created));
    }
    entry
}

/// What a `RUN` is called: the arguments in force come before the command.
pub fn run(arguments: &[String], variables: &Variables) -> String {
    let declared: Vec<String> = variables
        .arguments()
        .into_iter()
        .map(|(name, value)| format!("{name}={}", value.unwrap_or_default()))
        .collect();
    let count = (!declared.is_empty()).then(|| format!("|{}", declared.len()));
    let words: Vec<String> = count.into_iter().chain(declared).chain(arguments.iter().cloned()).collect();
    format!("RUN {}{LAYERED}", words.join(" "))
}

/// What a `COPY` or an `ADD` is called.
pub fn files(files: &Files) -> String {
    let source = |source: &Source| match source {
        Source::Path(path) => path.clone(),
        Source::Content(content) => format!("<<{}", content.name),
    };
    let mut words = vec![if files.add { "ADD" } else { "COPY" }.to_owned()];
    words.extend(files.chown.iter().map(|owner| format!("--chown={owner}")));
    words.extend(files.chmod.iter().map(|mode| format!("--chmod={mode}")));
    words.extend(files.sources.iter().map(source));
    words.push(files.to.clone());
    format!("{}{LAYERED}", words.join(" "))
}

/// A list as Go's `%q` writes it.
pub(super) fn quoted(list: &[String]) -> String {
    let words: Vec<String> = list.iter().map(|word| quote(word)).collect();
    format!("[{}]", words.join(" "))
}

/// A time as Go's `%q` writes it.
pub(super) fn time(nanos: i64) -> String {
    let seconds = nanos / 1_000_000_000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let below = nanos % 1_000_000_000;
    let fraction = format!("{below:09}");
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let text = match (hours, minutes) {
        _ if nanos > 0 && nanos < 1_000_000_000 => {
            let millis = format!("{}.{:06}", nanos / 1_000_000, nanos % 1_000_000);
            format!("{}ms", millis.trim_end_matches('0').trim_end_matches('.'))
        }
        (0, 0) => format!("{seconds}{point}{fraction}s"),
        (0, _) => format!("{minutes}m{seconds}{point}{fraction}s"),
        _ => format!("{hours}h{minutes}m{seconds}{point}{fraction}s"),
    };
    format!("\"{text}\"")
}

/// A number as Go's `%q` writes it: as the character that it is of.
pub(super) fn count(number: i64) -> String {
    match u8::try_from(number) {
        Ok(byte) if !byte.is_ascii_graphic() && byte != b' ' => format!("'\\x{byte:02x}'"),
        Ok(byte) => format!("'{}'", char::from(byte)),
        Err(_) => number.to_string(),
    }
}

/// A text in double quotes as Go writes it.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_are_written_as_go_does() {
        let times = [0, 30_000_000_000, 90_000_000_000, 1_500_000, 3_661_500_000_000].map(time);
        assert_eq!(times, ["\"0s\"", "\"30s\"", "\"1m30s\"", "\"1.5ms\"", "\"1h1m1.5s\""]);
        assert_eq!([0, 3, 65].map(count), ["'\\x00'", "'\\x03'", "'A'"]);
    }

    #[test]
    fn lists_are_quoted_as_go_does() {
        let list = ["a".to_owned(), "it's \"b\"\n".to_owned(), "\u{1}é".to_owned()];
        assert_eq!(quoted(&list), r#"["a" "it's \"b\"\n" "\x01é"]"#);
    }
}
