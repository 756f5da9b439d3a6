//! Altered and invented templates for as long as one likes: `scripts/fuzz template SECONDS [SEED]`.
//!
//! Half of the inputs are made by a grammar of actions, pipelines and blocks, half of the cases that the tests hold; both
//! are then altered: words of templates are put in, parts cut out, moved or doubled. Whatever comes of it is lexed and
//! parsed or refused, and what was parsed is executed within small limits: nothing panics, every error has a place in the
//! text, every byte of output has an origin, and what is said to be copied is the same there.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::lex::{Lexer, LexerOptions, TokenKind};
use crate::sprig::{self, Frozen};
use crate::{
    Function, Functions, Limits, Object, Rendered, TemplateError, TemplateSet, Type, Value,
    value::{GoString, Kind},
};

const LIMITS: Limits =
    Limits { source_bytes: 1 << 16, output_bytes: 1 << 16, steps: 20_000, depth: 40, memory_bytes: 1 << 22 };

/// What means something to a template.
const WORDS: [&str; 60] = [
    "{{",
    "}}",
    "{{-",
    "-}}",
    "{{- ",
    " -}}",
    "{{/*",
    "*/}}",
    "/*",
    "*/",
    " ",
    "\t",
    "\r\n",
    "\n",
    "(",
    ")",
    "|",
    ".",
    ".a",
    ".b.c",
    "$",
    "$x",
    "$x.a",
    ":=",
    "=",
    ",",
    "\"",
    "`",
    "'",
    "'a'",
    "'\\x",
    "\\",
    "\\u00e9",
    "é",
    "\u{0}",
    "\u{feff}",
    "\u{10ffff}",
    "nil",
    "true",
    "0",
    "-1",
    "1e9",
    "0x",
    "0x1p-2",
    "1i",
    "1_0",
    "9223372036854775808",
    "end",
    "else",
    "else if",
    "else with",
    "if .",
    "range .l",
    "range $i, $x := .l",
    "with .a",
    "define \"x\"",
    "template \"x\" .",
    "block \"y\" .",
    "break",
    "continue",
];
/// The longest input, in bytes.
const LONGEST: usize = 1 << 13;
/// How deep the grammar nests.
const DEPTH: usize = 5;

/// xorshift: the same numbers for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 20).unwrap_or(0) % end.max(1)
    }

    fn of<'i, T: ?Sized>(&mut self, items: &[&'i T]) -> &'i T {
        items[self.below(items.len())]
    }
}

/// An object with a field and methods.
struct Thing;

impl Object for Thing {
    fn type_name(&self) -> std::borrow::Cow<'static, str> {
        "fuzz.Thing".into()
    }

    fn kind(&self) -> Kind {
        Kind::Pointer
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        vec![("Field", Value::int(7))]
    }

    fn method(&self, name: &str) -> Option<Function> {
        (name == "Get").then(|| Function::new([Type::String], |_, arguments| Ok(arguments[0].clone())))
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// sprig's functions, `include` and `tpl`; not those that take long by their nature.
fn functions() -> Functions {
    let mut all = sprig::functions(Arc::new(Frozen { now: 1_600_000_000 }));
    for slow in ["bcrypt", "htpasswd", "derivePassword"] {
        all.remove(slow);
    }
    let text = |value: &Value| value.as_string().map(GoString::to_string).unwrap_or_default();
    let include = Function::new([Type::String, Type::Any], move |call, arguments| {
        call.execute_template(&text(&arguments[0]), arguments[1].clone()).map(Value::String)
    });
    all.insert("include", include);
    let tpl = Function::new([Type::String, Type::Any], move |call, arguments| {
        call.parse_template("tpl", Some("file"), &text(&arguments[0]))?;
        call.execute_template("tpl", arguments[1].clone()).map(Value::String)
    });
    all.insert("tpl", tpl);
    all
}

fn data() -> Value {
    Value::map([
        ("a", Value::map([("b", Value::map([("c", Value::from("deep"))]))])),
        ("l", Value::list(vec![Value::int(1), Value::from("two"), Value::Nil, Value::list(vec![Value::Bool(true)])])),
        ("s", Value::from("text\n  more")),
        ("n", Value::int(-3)),
        ("f", Value::float(1.5)),
        ("o", Value::object(Thing)),
    ])
}

/// The templates of the case files.
fn seeds() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut seeds = Vec::new();
    for entry in fs::read_dir(folder).expect("the cases").flatten() {
        let content = fs::read_to_string(entry.path()).expect("a file of cases");
        let rows = content.lines().filter_map(|line| line.strip_prefix("= ").or_else(|| line.strip_prefix("! ")));
        seeds.extend(rows.map(|row| row.replace('⏎', "\n").replace('␍', "\r").replace('⇥', "\t")));
    }
    seeds
}

/// Invents templates.
struct Grammar<'c> {
    chance: &'c mut Chance,
    names: &'c [&'c str],
    out: String,
}

impl Grammar<'_> {
    fn parts(&mut self, depth: usize) {
        for _ in 0..self.chance.below(4) {
            self.part(depth);
        }
    }

    fn part(&mut self, depth: usize) {
        let kind = self.chance.below(if depth < DEPTH { 12 } else { 4 });
        match kind {
            0 => self.put(&["text ", "\n", "  line\n", "é", "{ }", "a: b\n"]),
            1..=3 => self.action(|grammar| grammar.declared(depth)),
            4 | 5 => self.block("if", depth),
            6 => self.block("with", depth),
            7 | 8 => self.block("range", depth),
            9 => self.named("define", depth),
            10 => self.named("block", depth),
            _ => self.action(|grammar| {
                grammar.put(&[
                    "template \"x\" .",
                    "template \"y\"",
                    "break",
                    "continue",
                    "/* note */",
                    "template \"z\" .",
                ]);
            }),
        }
    }

    fn block(&mut self, word: &str, depth: usize) {
        self.action(|grammar| {
            grammar.out += word;
            grammar.out.push(' ');
            if word == "range" {
                grammar.put(&["", "", "$i := ", "$i, $x := ", "$x = "]);
            }
            grammar.pipeline(depth + 1);
        });
        self.parts(depth + 1);
        if self.chance.below(3) == 0 {
            self.action(|grammar| grammar.put(&["else", "else", "else if .a", "else with .l"]));
            self.parts(depth + 1);
        }
        self.action(|grammar| grammar.out += "end");
    }

    fn named(&mut self, word: &str, depth: usize) {
        self.action(|grammar| {
            grammar.out += word;
            grammar.put(&[" \"x\"", " \"y\"", " `z`"]);
            if word == "block" {
                grammar.out.push(' ');
                grammar.pipeline(depth + 1);
            }
        });
        self.parts(depth + 1);
        self.action(|grammar| grammar.out += "end");
    }

    fn action(&mut self, inner: impl FnOnce(&mut Self)) {
        self.put(&["{{ ", "{{", "{{- "]);
        inner(self);
        self.put(&[" }}", "}}", " -}}"]);
    }

    fn declared(&mut self, depth: usize) {
        self.put(&["", "", "", "$x := ", "$y := ", "$x = "]);
        self.pipeline(depth);
    }

    fn pipeline(&mut self, depth: usize) {
        self.command(depth);
        for _ in 0..self.chance.below(3) {
            self.out += " | ";
            self.call(depth);
        }
    }

    fn command(&mut self, depth: usize) {
        if self.chance.below(2) == 0 { self.call(depth) } else { self.operand(depth) }
    }

    fn call(&mut self, depth: usize) {
        let name = self.chance.of(self.names);
        self.out += name;
        for _ in 0..self.chance.below(4) {
            self.out.push(' ');
            self.operand(depth);
        }
    }

    fn operand(&mut self, depth: usize) {
        if depth < DEPTH && self.chance.below(5) == 0 {
            self.out.push('(');
            self.pipeline(depth + 1);
            self.out.push(')');
            return self.put(&["", "", ".a", ".Field"]);
        }
        self.put(&[
            ".",
            ".a",
            ".a.b.c",
            ".l",
            ".s",
            ".n",
            ".f",
            ".o",
            ".o.Field",
            ".o.Get",
            "$",
            "$.l",
            "$x",
            "$y",
            "nil",
            "true",
            "false",
            "0",
            "1",
            "-7",
            "3.5",
            "1e3",
            "0x1F",
            "1i",
            "'q'",
            "\"text\"",
            "\"a,b,c\"",
            "\"\\n\"",
            "`raw`",
            "\"%d %v\"",
            "\"2006-01-02\"",
            "\"x\"",
            "\"{{ . }}\"",
            "\"^a+$\"",
            "\"1.2.3\"",
            "\"{\\\"k\\\": [1]}\"",
        ]);
    }

    fn put(&mut self, choices: &[&str]) {
        let chosen = self.chance.of(choices);
        self.out += chosen;
    }
}

/// One change of the characters of a text.
fn change(chance: &mut Chance, text: &mut String, other: &str) {
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let first = chance.below(places.len());
    let last = (first + chance.below(8)).min(places.len() - 1);
    let range = places[first]..places[last];
    match chance.below(5) {
        0 => text.replace_range(range, ""),
        1 | 2 => text.insert_str(places[first], chance.of(&WORDS)),
        3 => text.replace_range(range, chance.of(&WORDS)),
        _ => {
            let theirs: Vec<char> = other.chars().collect();
            let start = chance.below(theirs.len());
            let part: String = theirs[start..].iter().take(1 + chance.below(20)).collect();
            text.insert_str(places[first], &part);
        }
    }
}

fn input(chance: &mut Chance, seeds: &[&str], names: &[&str]) -> String {
    let mut text = if chance.below(2) == 0 {
        chance.of(seeds).to_owned()
    } else {
        let mut grammar = Grammar { chance, names, out: String::new() };
        (0..3).for_each(|_| grammar.parts(0));
        grammar.out
    };
    for _ in 0..chance.below(5) {
        let other = chance.of(seeds);
        change(chance, &mut text, other);
    }
    let end = (0..=LONGEST.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
    text
}

/// Lexes a text: it ends, and tokens stand in the text in their order.
fn lex(text: &str) {
    let mut lexer = Lexer::new(text, LexerOptions { break_is_function: false, continue_is_function: false });
    let mut after = 0;
    for _ in 0..=2 * text.len() + 2 {
        let token = lexer.token();
        match token.kind {
            TokenKind::End | TokenKind::Error => return,
            _ => {
                assert!(token.position >= after, "tokens are in order");
                assert_eq!(text.get(token.position..token.position + token.text.len()), Some(&*token.text));
                after = token.position + token.text.len();
            }
        }
    }
    panic!("the lexer does not end");
}

/// Holds a template to what is promised; whether it was rendered.
fn hold(empty: &TemplateSet, text: &str) -> bool {
    lex(text);
    let mut set = empty.clone();
    let result = set.parse("fuzz", text).and_then(|()| set.execute("fuzz", data()));
    match result {
        Ok(rendered) => {
            check_map(text, &rendered);
            true
        }
        Err(error) => {
            check_error(text, &error);
            false
        }
    }
}

fn check_map(text: &str, rendered: &Rendered) {
    for (at, byte) in rendered.text.bytes().enumerate() {
        let origin = rendered.map.origin(at).expect("every byte has an origin");
        let there = origin.text.as_bytes().get(origin.column).copied();
        // The end of a line is not part of its text.
        let same = there.is_none_or(|there| there == byte) || byte == b'\n' || byte == b'\r';
        assert!(same || !rendered.map.is_copy(at), "byte {at} is another one at {origin:?}");
        assert!(&*origin.template == "tpl" || text.lines().nth(origin.line - 1).is_some() || origin.text.is_empty());
    }
}

fn check_error(text: &str, error: &TemplateError) {
    let shown = error.to_string();
    assert!(shown.starts_with("template: "), "{shown}");
    if let Some(place) = error.position() {
        let lines = text.split('\n').count();
        assert!(place.name != "fuzz" || (1..=lines + 1).contains(&place.line), "{place:?}");
        assert!(place.column.is_none_or(|column| column <= LONGEST), "{place:?}");
    }
    assert!(!error.reason().is_empty());
}

/// A number that whoever starts the run may give.
#[expect(clippy::disallowed_methods, reason = "whoever starts the run says how long")]
fn given(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
#[ignore = "runs as long as scripts/fuzz says"]
#[expect(clippy::disallowed_methods, reason = "a run ends by the clock")]
fn template() {
    let seconds = given("SLIPWAY_TEST_FUZZ_SECONDS", 5);
    let seed = given("SLIPWAY_TEST_FUZZ_SEED", 0x5eed).max(1);
    let seeds = seeds();
    let seeds: Vec<&str> = seeds.iter().map(String::as_str).collect();
    let all = functions();
    let names: Vec<&str> = all
        .names()
        .chain(["and", "or", "not", "eq", "lt", "index", "slice", "len", "print", "printf", "html", "call"])
        .collect();
    let empty = TemplateSet::new(all.clone(), LIMITS);
    let mut chance = Chance(seed);
    let start = Instant::now();
    let (mut runs, mut rendered, mut longest) = (0_u64, 0_u64, Duration::ZERO);
    while start.elapsed() < Duration::from_secs(seconds) {
        let text = input(&mut chance, &seeds, &names);
        let before = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| hold(&empty, &text))) {
            Ok(done) => rendered += u64::from(done),
            Err(panic) => {
                eprintln!("seed {seed}, input {runs}:\n{text:?}");
                resume_unwind(panic);
            }
        }
        if before.elapsed() > longest {
            longest = before.elapsed();
            if longest > Duration::from_secs(1) {
                eprintln!("seed {seed}, input {runs} took {longest:?}:\n{text:?}");
            }
        }
        runs += 1;
    }
    assert!(runs > 0 && rendered > 0);
    eprintln!("seed {seed}: {runs} inputs ({rendered} rendered) in {seconds} s, the longest took {longest:?}");
}
