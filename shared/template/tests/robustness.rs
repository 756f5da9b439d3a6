//! Whatever the text of a template, it renders or is refused with an error that has a place: no panic, no endless run.

use slipway_template::{
    Function, FunctionError, Functions, LimitError, Limits, Map, TemplateError, TemplateSet, Type, Value,
};

const LIMITS: Limits =
    Limits { source_bytes: 1 << 16, output_bytes: 1 << 16, steps: 20_000, depth: 40, memory_bytes: 1 << 22 };

/// A generator of numbers that is the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

/// `include`, `tpl`, `list` and `set`: what templates build loops and cycles with.
fn functions() -> Functions {
    let mut functions = Functions::new();
    functions.insert(
        "include",
        Function::new([Type::String, Type::Any], |call, arguments| {
            let name = arguments[0].as_string().map(ToString::to_string).unwrap_or_default();
            call.execute_template(&name, arguments[1].clone()).map(Value::String)
        }),
    );
    functions.insert(
        "tpl",
        Function::new([Type::String, Type::Any], |call, arguments| {
            let text = arguments[0].as_string().map(ToString::to_string).unwrap_or_default();
            call.parse_template("tpl", None, &text)?;
            call.execute_template("tpl", arguments[1].clone()).map(Value::String)
        }),
    );
    functions.insert("list", Function::variadic([], Type::Any, |_, items| Ok(Value::list(items.to_vec()))));
    functions.insert(
        "set",
        Function::new([Type::any_map(), Type::String, Type::Any], |_, arguments| {
            let (Some(map), Some(key)) = (arguments[0].as_map(), arguments[1].as_string()) else {
                return Err(FunctionError::new("not a map and a key"));
            };
            map.set(key, arguments[2].clone())?;
            Ok(arguments[0].clone())
        }),
    );
    functions.insert("dict", Function::new([], |_, _| Ok(Value::Map(Map::new()))));
    functions
}

fn render(limits: Limits, text: &str) -> Result<String, TemplateError> {
    let mut set = TemplateSet::new(functions(), limits);
    set.parse("file", text)?;
    let data = Value::map([
        ("a", Value::map([("b", Value::from("c"))])),
        ("l", Value::list(vec![Value::int(1), Value::from("two"), Value::Nil])),
        ("s", Value::from("text")),
    ]);
    set.execute("file", data).map(|rendered| {
        for at in 0..rendered.text.len() {
            assert!(rendered.map.origin(at).is_some(), "byte {at} of {:?} has an origin", rendered.text);
        }
        rendered.text
    })
}

/// The templates of the case files.
fn templates() -> Vec<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder of cases") {
        let content = std::fs::read_to_string(entry.expect("a case file").path()).expect("a readable case file");
        let rows = content.lines().filter_map(|line| line.strip_prefix("= ").or_else(|| line.strip_prefix("! ")));
        texts.extend(rows.map(|row| row.replace('⏎', "\n")));
    }
    texts
}

#[test]
fn mutated_templates_neither_panic_nor_hang() {
    const PIECES: [&str; 32] = [
        "{{",
        "}}",
        "{{-",
        "-}}",
        " ",
        "(",
        ")",
        "|",
        ".",
        "$",
        ":=",
        "=",
        ",",
        "\"",
        "`",
        "'",
        "\\",
        "\n",
        "é",
        "\u{0}",
        "end",
        "else",
        "if",
        "range",
        "with",
        "define \"x\"",
        "template \"x\" .",
        "break",
        "1e9",
        "0x",
        "/*",
        "*/",
    ];
    let texts = templates();
    assert!(texts.len() > 300, "the cases are there");
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let (mut rendered, mut refused) = (0, 0);
    for round in 0..6000 {
        let mut text: Vec<char> = texts[dice.below(texts.len())].chars().collect();
        for _ in 0..1 + dice.below(4) {
            let at = dice.below(text.len() + 1);
            match dice.below(4) {
                0 if !text.is_empty() => {
                    drop(text.drain(at.min(text.len() - 1)..(at + 1 + dice.below(5)).min(text.len())))
                }
                1 => {
                    let other: Vec<char> = texts[dice.below(texts.len())].chars().collect();
                    let from = dice.below(other.len());
                    text.splice(at..at, other[from..].iter().copied().take(12));
                }
                _ => drop(text.splice(at..at, PIECES[dice.below(PIECES.len())].chars()).count()),
            }
        }
        let text: String = text.into_iter().collect();
        match render(LIMITS, &text) {
            Ok(_) => rendered += 1,
            Err(error) => {
                refused += 1;
                let shown = error.to_string();
                assert!(shown.starts_with("template: "), "round {round}: {shown} of {text:?}");
                assert!(error.position().is_some(), "round {round}: a place for {shown} of {text:?}");
            }
        }
    }
    assert!(rendered > 100 && refused > 1000, "{rendered} rendered, {refused} refused");
}

fn limit_of(limits: Limits, text: &str) -> LimitError {
    match render(limits, text) {
        Err(TemplateError::Limit { limit, position }) => {
            assert!(position.is_some(), "{limit} has a place");
            limit
        }
        other => panic!("{text:.60}: {other:?}"),
    }
}

#[test]
fn every_limit_ends_the_run_and_names_itself() {
    assert_eq!(
        limit_of(LIMITS, "{{ define `x` }}{{ template `x` }}{{ end }}{{ template `x` }}"),
        LimitError::Depth(40)
    );
    assert_eq!(
        limit_of(LIMITS, "{{ define `x` }}{{ include `x` . }}{{ end }}{{ include `x` . }}"),
        LimitError::Depth(40)
    );
    assert_eq!(
        limit_of(LIMITS, "{{ define `x` }}{{ tpl `{{ include \"x\" . }}` . }}{{ end }}{{ include `x` . }}"),
        LimitError::Depth(40)
    );
    assert_eq!(limit_of(LIMITS, "{{ range 1000000000 }}{{ end }}"), LimitError::Steps(20_000));
    assert_eq!(limit_of(LIMITS, "{{ range 10000 }}0123456789{{ end }}"), LimitError::Output(1 << 16));
    assert_eq!(
        limit_of(LIMITS, "{{ $x := `0123456789abcdef` }}{{ range 30 }}{{ $x = print $x $x }}{{ end }}"),
        LimitError::Memory(1 << 22)
    );
    assert_eq!(limit_of(LIMITS, &"x".repeat(1 << 17)), LimitError::Source(1 << 16));
    let shown = render(LIMITS, "a\n{{ range 1000000000 }}{{ end }}").expect_err("a limit").to_string();
    assert_eq!(
        shown,
        "template: file:2:9: the run takes more than the limit of 20000 steps; does a template repeat itself without end?"
    );
}

#[test]
fn values_that_hold_themselves_print_as_an_error() {
    let shown =
        render(LIMITS, "{{ $d := dict }}{{ $_ := set $d `self` $d }}{{ $d }}").expect_err("a cycle").to_string();
    assert!(shown.contains("nested deeper than"), "{shown}");
    let doubled = "{{ $x := list 1 }}{{ range 60 }}{{ $x = list $x $x }}{{ end }}{{ $x }}";
    assert_eq!(limit_of(LIMITS, doubled), LimitError::Output(1 << 16));
}

#[test]
fn deep_values_and_deep_text_do_not_exhaust_the_stack() {
    let limits = Limits { steps: 10_000_000, memory_bytes: 1 << 30, ..Limits::default() };
    let text = "{{ $x := list }}{{ range 300000 }}{{ $x = list $x }}{{ end }}{{ len $x }}";
    assert_eq!(render(limits, text).expect("a deep list"), "1");
    for (open, close) in [("{{ (", ") }}"), ("{{ if . }}", "{{ end }}"), ("{{ block `b` . }}", "{{ end }}")] {
        let inner = if open.starts_with("{{ (") { "1" } else { "" };
        for depth in [200, 100_000] {
            let (head, tail) = if open.starts_with("{{ (") {
                (format!("{{{{ {}", "(".repeat(depth)), format!("{} }}}}", ")".repeat(depth)))
            } else {
                (open.repeat(depth), close.repeat(depth))
            };
            let result = render(limits, &format!("{head}{inner}{tail}"));
            assert!(depth == 200 || result.is_err(), "{open} {depth}: {result:?}");
        }
    }
    let chain = format!("{{{{ if not . }}}}{}x{{{{ end }}}}", "{{ else if not . }}".repeat(50_000));
    assert_eq!(render(limits, &chain).expect("a long chain"), "");
}
