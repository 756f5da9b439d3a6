//! Renders every row of `cases/` and compares with `golden/`, which Go's own engine wrote: output and errors in full.
//!
//! `cases/` is read as `oracle/main.go` reads it; what a file and a line mean is said there. After a change of a case run
//! `oracle/run`, which needs Go; these tests do not.

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use slipway_template::sprig::{self, World};
use slipway_template::value::Object;
use slipway_template::{Function, FunctionError, Functions, GoString, Limits, TemplateSet, Type, Value};

/// The name of a row's template in messages.
const MAIN: &str = "case.tmpl";

/// Rows whose result may differ from Go's, each with the reason.
const DEVIATIONS: &[(&str, &str)] =
    &[("cut/2", "what is rendered is text: half a character comes out as U+FFFD, where Go writes the odd byte")];

/// Names of functions that only the configuration's own set has; rows that call them are counted, not run.
const ELSEWHERE: [&str; 2] = ["fromYaml", "toYaml"];

#[derive(Clone, Default)]
struct Row {
    name: String,
    text: String,
    data: String,
    files: Vec<(String, String)>,
    globs: Option<BTreeMap<String, BTreeMap<String, String>>>,
    environment: BTreeMap<String, String>,
}

/// A clock that stands still, and a sequence in place of randomness.
struct Still;

impl World for Still {
    fn now(&self) -> (i64, u32) {
        (1_600_000_000, 0)
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = (at * 37 + 11) as u8;
        }
    }
}

/// `.Files` of a row.
struct Files(BTreeMap<String, BTreeMap<String, String>>);

impl Object for Files {
    fn type_name(&self) -> Cow<'static, str> {
        Cow::Borrowed("main.files")
    }

    fn method(&self, name: &str) -> Option<Function> {
        let globs = self.0.clone();
        let find = move |path: &str| globs.values().find_map(|found| found.get(path).cloned());
        let globs = self.0.clone();
        match name {
            "Get" => Some(Function::new([Type::String], move |_, arguments| {
                let path = argument(&arguments[0]);
                find(&path).map(Value::from).ok_or_else(|| FunctionError::new(format!("file {path:?} not found")))
            })),
            "Exists" => Some(Function::new([Type::String], move |_, arguments| {
                Ok(Value::Bool(find(&argument(&arguments[0])).is_some()))
            })),
            "Glob" => Some(Function::new([Type::String], move |_, arguments| {
                let pattern = argument(&arguments[0]);
                match globs.get(&pattern) {
                    Some(found) => Ok(Value::map(found.iter().map(|(path, text)| (path, Value::from(text.as_str()))))),
                    None => Err(FunctionError::new(format!("{{{{ .Files.Glob {pattern:?} }}}}: no matches found"))),
                }
            })),
            _ => None,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn argument(value: &Value) -> String {
    value.as_string().map(|text| text.to_text().into_owned()).unwrap_or_default()
}

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn expand(text: &str) -> String {
    text.replace('⏎', "\n").replace('␍', "\r").replace('⇥', "\t")
}

fn read(path: &Path) -> Vec<Row> {
    let content = std::fs::read_to_string(path).expect("a well-formed case");
    let (mut rows, mut current, mut group, mut number) = (Vec::new(), Row::default(), String::new(), 0);
    for line in content.split('\n') {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "" | "#" => {}
            "@group" => (group, number, current) = (rest.to_owned(), 0, Row::default()),
            "@data" => current.data = rest.to_owned(),
            "@file" => {
                let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
                current.files.push((name.to_owned(), expand(text)));
            }
            "@globs" => current.globs = Some(serde_json::from_str(rest).expect("a well-formed case")),
            "@env" => current.environment = serde_json::from_str(rest).expect("a well-formed case"),
            "=" | "!" => {
                number += 1;
                rows.push(Row { name: format!("{group}/{number}"), text: expand(rest), ..current.clone() });
            }
            other => panic!("{}: a line begins with {other:?}", path.display()),
        }
    }
    rows
}

fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(flag) => Value::Bool(*flag),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(whole) => Value::int(whole),
            None => Value::float(number.as_f64().expect("a well-formed case")),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => Value::list(items.iter().map(value).collect()),
        serde_json::Value::Object(entries) => Value::map(entries.iter().map(|(key, item)| (key, value(item)))),
    }
}

/// sprig's functions, and those of werf that the rows use.
fn functions(environment: &BTreeMap<String, String>) -> Functions {
    let mut all = sprig::functions(Arc::new(Still));
    all.insert(
        "include",
        Function::new([Type::String, Type::Any], |call, arguments| {
            Ok(Value::String(call.execute_template(&argument(&arguments[0]), arguments[1].clone())?))
        }),
    );
    all.insert(
        "tpl",
        Function::new([Type::String, Type::Any], |call, arguments| {
            call.parse_template("tpl", None, &argument(&arguments[0]))?;
            Ok(Value::String(call.execute_template("tpl", arguments[1].clone())?))
        }),
    );
    all.insert(
        "required",
        Function::new([Type::String, Type::Any], |_, arguments| {
            let missing = arguments[1].is_absent() || arguments[1].as_string().is_some_and(|text| text.is_empty());
            if missing { Err(FunctionError::new(argument(&arguments[0]))) } else { Ok(arguments[1].clone()) }
        }),
    );
    for name in ELSEWHERE {
        all.insert(name, Function::new([Type::Any], |_, _| Err(FunctionError::new("not here"))));
    }
    let environment = environment.clone();
    all.insert("env", Function::variadic([Type::Any], Type::String, move |_, arguments| env(&environment, arguments)));
    all
}

fn env(environment: &BTreeMap<String, String>, arguments: &[Value]) -> Result<Value, FunctionError> {
    if arguments.len() > 2 {
        return Err(FunctionError::new("more than 1 optional argument prohibited"));
    }
    let name = argument(&arguments[0]);
    let given = environment.get(&name);
    match (given, arguments.get(1)) {
        (None, Some(fallback)) => Ok(fallback.clone()),
        (Some(given), Some(fallback)) if given.is_empty() => Ok(fallback.clone()),
        (Some(given), _) => Ok(Value::from(given.as_str())),
        (None, None) => Err(FunctionError::new(format!(
            "the environment variable {name:?} must be set or default must be provided"
        ))),
    }
}

fn render(row: &Row) -> Result<GoString, String> {
    let mut set = TemplateSet::new(functions(&row.environment), Limits::default());
    for (name, text) in &row.files {
        set.parse(name, text).map_err(|error| error.to_string())?;
    }
    set.parse(MAIN, &row.text).map_err(|error| error.to_string())?;
    let data = if row.data.is_empty() {
        Value::Nil
    } else {
        value(&serde_json::from_str(&row.data).expect("a well-formed case"))
    };
    if let (Some(root), Some(globs)) = (data.as_map(), &row.globs) {
        root.set("Files", Value::object(Files(globs.clone()))).expect("a well-formed case");
    }
    let rendered = set.execute(MAIN, data).map_err(|error| error.to_string())?;
    Ok(GoString::from(rendered.text.as_bytes()))
}

fn escape(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => out.push_str(r"\n"),
                '\r' => out.push_str(r"\r"),
                '\t' => out.push_str(r"\t"),
                '\\' => out.push_str(r"\\"),
                '\0'..' ' | '\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(character))),
                other => out.push(other),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

#[test]
fn every_row_gives_what_go_gives() {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory("cases"))
        .expect("a well-formed case")
        .map(|entry| entry.expect("a well-formed case").path())
        .collect();
    paths.sort();
    let (mut rows, mut equal, mut elsewhere, mut wrong) = (0, 0, 0, Vec::new());
    for path in paths {
        let golden = std::fs::read_to_string(directory("golden").join(path.file_name().expect("a well-formed case")))
            .expect("a well-formed case");
        let cases = read(&path);
        assert_eq!(cases.len(), golden.lines().count(), "{}: run oracle/run anew", path.display());
        for (row, expected) in cases.iter().zip(golden.lines()) {
            rows += 1;
            if ELSEWHERE.iter().any(|name| row.text.contains(name)) {
                elsewhere += 1;
                continue;
            }
            let actual = match render(row) {
                Ok(text) => format!("{} = {}", row.name, escape(&text)),
                Err(error) => format!("{} ! {}", row.name, escape(error.as_bytes())),
            };
            if actual == expected {
                equal += 1;
            } else if !DEVIATIONS.iter().any(|(name, _)| *name == row.name) {
                wrong.push(format!("  {}\n  Go   {expected}\n  ours {actual}\n", row.text));
            }
        }
    }
    eprintln!("{rows} rows: {equal} as Go, {} otherwise, {elsewhere} of functions outside this crate", wrong.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
