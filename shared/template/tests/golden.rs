//! Renders every row of `cases/` and compares with `golden/`, which Go's own engine wrote: output and errors in full.
//!
//! `cases/` is read as `oracle/main.go` reads it; what a file and a line mean is said there. After a change of a case run
//! `oracle/run`, which needs Go; these tests do not.

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use slipway_render::{Refusal, Surroundings};
use slipway_template::sprig::{self, World};
use slipway_template::value::Object;
use slipway_template::{Function, FunctionError, Functions, GoString, Limits, TemplateSet, Type, Value};

/// The name of a row's template in messages.
const MAIN: &str = "case.tmpl";

/// Rows whose result may differ from Go's, each with the reason.
const DEVIATIONS: &[(&str, &str)] = &[
    ("cut/2", "what is rendered is text: half a character comes out as U+FFFD, where Go writes the odd byte"),
    ("werf/28", "what is no YAML is told in the words of another reader"),
];

/// Words of actions, each of which has rows of its own.
const ACTIONS: [&str; 11] =
    ["if", "else", "end", "with", "range", "break", "continue", "define", "template", "block", "nil"];

/// Functions that are built into the engine.
const BUILT_IN: [&str; 19] = [
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "index", "slice", "len", "print", "printf", "println",
    "html", "js", "urlquery", "call",
];

/// Functions that are refused on purpose, each with its own words.
const REFUSED: [&str; 1] = ["getHostByName"];

#[derive(Clone, Default)]
struct Row {
    name: String,
    text: String,
    data: String,
    files: Vec<(String, String)>,
    globs: Option<BTreeMap<String, BTreeMap<String, String>>>,
    environment: BTreeMap<String, String>,
    /// A function that is taken away.
    without: String,
    /// The root value has functions in it.
    is_callable: bool,
    /// It is one at an edge.
    is_edge: bool,
    /// Go fails too.
    fails: bool,
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
            "@callable" => current.is_callable = true,
            "@without" => current.without = rest.to_owned(),
            "=" | "~" | "!" => {
                number += 1;
                rows.push(Row {
                    name: format!("{group}/{number}"),
                    text: expand(rest),
                    is_edge: word == "~",
                    fails: word == "!",
                    ..current.clone()
                });
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

/// What werf's own functions ask of a row.
struct Told(BTreeMap<String, String>);

impl Surroundings for Told {
    fn read(&self, path: &str) -> Result<Vec<u8>, Refusal> {
        Err(Refusal::new(format!("file {path:?} not found")))
    }

    fn glob(&self, _: &str) -> Result<Vec<String>, Refusal> {
        Ok(Vec::new())
    }

    fn is_file(&self, _: &str) -> Result<bool, Refusal> {
        Ok(false)
    }

    fn is_directory(&self, _: &str) -> Result<bool, Refusal> {
        Ok(false)
    }

    fn variable(&self, name: &str) -> Result<Option<String>, Refusal> {
        Ok(self.0.get(name).cloned())
    }

    fn is_debugging(&self) -> bool {
        false
    }

    fn say(&self, _: &str) {}
}

/// sprig's functions, and those of werf.
fn functions(environment: &BTreeMap<String, String>) -> Functions {
    let mut all = sprig::functions(Arc::new(Still));
    all.extend(slipway_render::functions(Arc::new(Told(environment.clone()))));
    all
}

fn greet() -> Function {
    let body = |arguments: &[Value]| format!("hello {}+{}", argument(&arguments[0]), arguments.len() - 1);
    Function::variadic([Type::String], Type::Any, move |_, arguments| Ok(Value::from(body(arguments))))
        .returning(Type::String)
}

fn refuse() -> Function {
    let body = |arguments: &[Value]| FunctionError::new(format!("refused: {}", argument(&arguments[0])));
    Function::new([Type::String], move |_, arguments| Err(body(arguments))).returning(Type::String)
}

fn render(row: &Row) -> Result<GoString, String> {
    let mut all = functions(&row.environment);
    all.remove(&row.without);
    let mut set = TemplateSet::new(all, Limits::default());
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
    if let (Some(root), true) = (data.as_map(), row.is_callable) {
        root.set("greet", Value::Function(Arc::new(greet()))).expect("a well-formed case");
        root.set("refuse", Value::Function(Arc::new(refuse()))).expect("a well-formed case");
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
    let (mut rows, mut equal, mut wrong) = (0, 0, Vec::new());
    for path in paths {
        let golden = std::fs::read_to_string(directory("golden").join(path.file_name().expect("a well-formed case")))
            .expect("a well-formed case");
        let cases = read(&path);
        assert_eq!(cases.len(), golden.lines().count(), "{}: run oracle/run anew", path.display());
        for (row, expected) in cases.iter().zip(golden.lines()) {
            rows += 1;
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
    eprintln!("{rows} rows: {equal} as Go, {} otherwise", wrong.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The words of a template, but for those in string literals.
fn words(template: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quote, mut before) = (None, ' ');
    for character in template.chars() {
        match quote {
            Some(open) if character == open && (before != '\\' || open == '`') => quote = None,
            Some(_) => {}
            None if matches!(character, '"' | '`') => quote = Some(character),
            None if character.is_alphanumeric() || character == '_' => words.last_mut().expect("one").push(character),
            // A field or a variable is no function.
            None if matches!(character, '.' | '$') => words.push(".".to_owned()),
            None => words.push(String::new()),
        }
        before = if before == '\\' && character == '\\' { ' ' } else { character };
    }
    words
}

/// How many rows a word has: in all, at an edge, refused.
#[derive(Default, Clone, Copy)]
struct Count {
    all: usize,
    edges: usize,
    errors: usize,
}

/// Counts the rows of every word. An error is counted for the words that it names; where it names none of a row's
/// functions, for the first of them.
fn counts(functions: &[&str]) -> (usize, BTreeMap<String, Count>) {
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    let mut rows = 0;
    for entry in std::fs::read_dir(directory("cases")).expect("the cases") {
        let path = entry.expect("a file of cases").path();
        let golden = std::fs::read_to_string(directory("golden").join(path.file_name().expect("a name")));
        for (row, line) in read(&path).iter().zip(golden.expect("the golden file").lines()) {
            rows += 1;
            let found: Vec<String> =
                words(&row.text).into_iter().filter(|word| functions.contains(&word.as_str())).collect();
            let mut named: Vec<String> =
                line.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned).collect();
            if !found.iter().any(|word| named.contains(word)) {
                named.extend(found.first().cloned());
            }
            for word in std::collections::BTreeSet::from_iter(found) {
                let is_named = named.contains(&word);
                let count = counts.entry(word).or_default();
                count.all += 1;
                count.edges += usize::from(row.is_edge);
                count.errors += usize::from(row.fails && is_named);
            }
        }
    }
    (rows, counts)
}

#[test]
fn every_action_and_function_has_rows_an_edge_and_an_error() {
    let all = functions(&BTreeMap::new());
    let names: Vec<&str> = all.names().filter(|name| !REFUSED.contains(name)).chain(BUILT_IN).chain(ACTIONS).collect();
    let (rows, counts) = counts(&names);
    let mut lacking = Vec::new();
    for name in &names {
        let Count { all, edges, errors } = counts.get(*name).copied().unwrap_or_default();
        if all < 3 || edges < 1 || errors < 1 {
            lacking.push(format!("{name}: {all} rows, {edges} of them at an edge, {errors} errors"));
        }
    }
    eprintln!("{rows} rows for {} actions and functions", names.len());
    assert!(
        rows >= 900 && lacking.is_empty(),
        "{rows} rows; with fewer than three, or without an edge or an error:\n{}",
        lacking.join("\n")
    );
}
