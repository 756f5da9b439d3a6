//! The playbook of a stage: one play for the container itself.
//!
//! It is YAML in which every task begins on the line that it has in `werf.yaml`, so that what Ansible says of a place is
//! true for the user. Where that cannot be (an alias is written once and used later), a table has the user's line.

use std::fmt::Write as _;

use serde_json::{Map, Number, Value};
use slipway_config::TASK_BLOCKS;
use slipway_stages::TaskInput;

/// More lines than a configuration has: what is beyond is no line of one.
const MAX_LINE: u32 = 1 << 20;

/// A playbook and the table of its lines.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Playbook {
    /// YAML.
    pub(crate) text: String,
    /// A line `LINE USERS-LINE` per line that a task begins on.
    pub(crate) lines: String,
}

/// Why there is no playbook.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaybookError {
    /// Text that is no JSON; nobody but a faulty coordinator sends it.
    #[error("a task of Ansible cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
}

impl Playbook {
    /// The playbook of tasks.
    pub(crate) fn new(tasks: &[TaskInput]) -> Result<Self, PlaybookError> {
        let mut writer = Writer { text: String::new(), line: 1, taken: None, lines: String::new() };
        writer.text.push_str(r#"- {"hosts": "all", "gather_facts": false, "tasks": ["#);
        for (index, task) in tasks.iter().enumerate() {
            if index > 0 {
                writer.text.push(',');
            }
            let value: Value = serde_json::from_str(&task.text)?;
            writer.task(&value, &mut task.lines.iter().copied());
        }
        writer.text.push_str("]}\n");
        Ok(Self { text: writer.text, lines: writer.lines })
    }
}

struct Writer {
    text: String,
    /// The line that is written, from 1.
    line: u32,
    /// The user's line that the tasks of this line have.
    taken: Option<u32>,
    lines: String,
}

impl Writer {
    fn task(&mut self, task: &Value, lines: &mut dyn Iterator<Item = u32>) {
        self.go_to(lines.next().unwrap_or(self.line));
        let Value::Object(entries) = task else {
            return scalar(&mut self.text, task);
        };
        self.text.push('{');
        let mut first = true;
        let mut begin = |writer: &mut Self, key: &str| {
            if !std::mem::take(&mut first) {
                writer.text.push_str(", ");
            }
            string(&mut writer.text, key);
            writer.text.push_str(": ");
        };
        for (key, value) in entries.iter().filter(|(key, value)| tasks_of(key, value).is_none()) {
            begin(self, key);
            scalar(&mut self.text, value);
        }
        // In the order that their lines are in.
        for (key, tasks) in TASK_BLOCKS.iter().filter_map(|key| Some((key, tasks_of(key, entries.get(*key)?)?))) {
            begin(self, key);
            self.text.push('[');
            for (index, task) in tasks.iter().enumerate() {
                if index > 0 {
                    self.text.push(',');
                }
                self.task(task, lines);
            }
            self.text.push(']');
        }
        self.text.push('}');
    }

    /// Goes to the line for a task of the user's line `line`.
    fn go_to(&mut self, line: u32) {
        let line = line.clamp(1, MAX_LINE);
        if self.taken == Some(line) {
            return;
        }
        // The line is another task's, or is passed already.
        if self.line > line || (self.line == line && self.taken.is_some()) {
            self.next_line();
        }
        while self.line < line {
            self.next_line();
        }
        self.taken = Some(line);
        writeln!(self.lines, "{} {line}", self.line).expect("writing to a string succeeds");
    }

    fn next_line(&mut self) {
        self.text.push('\n');
        self.line += 1;
    }
}

/// The tasks of a block.
fn tasks_of<'v>(key: &str, value: &'v Value) -> Option<&'v Vec<Value>> {
    value.as_array().filter(|_| TASK_BLOCKS.contains(&key))
}

/// A value on one line, as YAML 1.1 reads it back.
fn scalar(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => text.push_str(&digits(number)),
        Value::String(value) => string(text, value),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                scalar(text, item);
            }
            text.push(']');
        }
        Value::Object(entries) => object(text, entries),
    }
}

fn object(text: &mut String, entries: &Map<String, Value>) {
    text.push('{');
    for (index, (key, value)) in entries.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        string(text, key);
        text.push_str(": ");
        scalar(text, value);
    }
    text.push('}');
}

/// What YAML 1.1 takes for a number needs a point before its exponent, and a sign in it.
fn digits(number: &Number) -> String {
    let plain = number.to_string();
    let Some((digits, exponent)) = plain.split_once('e') else { return plain };
    let point = if digits.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['-', '+']) { "" } else { "+" };
    format!("{digits}{point}e{sign}{exponent}")
}

/// A text in quotes: of ASCII only, for some of the rest breaks lines in YAML or is refused by it.
fn string(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            ' '..='~' => text.push(character),
            other if u32::from(other) <= 0xffff => {
                write!(text, "\\u{:04x}", u32::from(other)).expect("writing to a string succeeds");
            }
            other => write!(text, "\\U{:08x}", u32::from(other)).expect("writing to a string succeeds"),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(text: &str, lines: &[u32]) -> TaskInput {
        TaskInput { text: text.to_owned(), lines: lines.to_vec() }
    }

    #[test]
    fn every_task_begins_on_its_line() {
        let tasks = [
            task(r#"{"apt":"x"}"#, &[3]),
            task(r#"{"shell":"y"}"#, &[3]),
            task(r#"{"always":[{"raw":"c"}],"block":[{"raw":"a"},{"raw":"b"}],"when":"z"}"#, &[5, 8, 9, 6]),
        ];
        let playbook = Playbook::new(&tasks).expect("a playbook");
        let lines: Vec<&str> = playbook.text.lines().collect();
        assert_eq!(lines[2], r#"{"apt": "x"},{"shell": "y"},"#);
        assert_eq!(lines[4], r#"{"when": "z", "block": ["#);
        assert_eq!(lines[7..], [r#"{"raw": "a"},"#, r#"{"raw": "b"}], "always": ["#, r#"{"raw": "c"}]}]}"#]);
        // What is written above what comes before it has the next line, and the table says whose it is.
        assert_eq!(playbook.lines, "3 3\n5 5\n8 8\n9 9\n10 6\n");
    }

    #[test]
    fn values_are_read_back_as_they_were() {
        let written = |value: Value| {
            let mut text = String::new();
            scalar(&mut text, &value);
            text
        };
        assert_eq!(
            written(serde_json::json!({"a": [null, true, 493, 1.5, "yes"]})),
            r#"{"a": [null, true, 493, 1.5, "yes"]}"#
        );
        assert_eq!(written(serde_json::json!([1e300, 1.5e-9])), "[1.0e+300, 1.5e-9]");
        assert_eq!(
            written(Value::from("a\"\\\n\u{85}\u{2028}é\u{1f600}\u{7f}\u{1}")),
            r#""a\"\\\n\u0085\u2028\u00e9\U0001f600\u007f\u0001""#
        );
    }

    #[test]
    fn lines_beyond_reason_do_not_fill_the_memory() {
        let playbook = Playbook::new(&[task("{}", &[u32::MAX])]).expect("a playbook");
        assert!(playbook.text.len() < 2 << 20);
        assert!(Playbook::new(&[task("{", &[1])]).is_err());
    }
}
