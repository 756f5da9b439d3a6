//! Tests of execution: what the tables in `tests/cases` do not reach, as it needs objects, other functions or none.

use std::any::Any;
use std::borrow::Cow;

use crate::value::Kind;
use crate::{Function, FunctionError, Functions, GoString, Limits, Map, MissingKey, Object, Rendered, TemplateError};
use crate::{TemplateSet, Type, Value};

fn data() -> Value {
    let items = (1..=4).map(Value::int).collect();
    Value::map([("l", Value::list(items)), ("s", Value::from("hello")), ("n", Value::Nil), ("i", Value::int(1))])
}

fn show(result: Result<Rendered, TemplateError>) -> String {
    match result {
        Ok(rendered) => rendered.text,
        Err(error) => format!("! {error}"),
    }
}

fn render(functions: Functions, text: &str, data: Value) -> String {
    let mut set = TemplateSet::new(functions, Limits::default());
    show(set.parse("t", text).and_then(|()| set.execute("t", data)))
}

struct Files;

impl Object for Files {
    fn type_name(&self) -> Cow<'static, str> {
        "config.Files".into()
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        vec![("Root", Value::from("/app"))]
    }

    fn method(&self, name: &str) -> Option<Function> {
        match name {
            "Get" => Some(Function::new([Type::String], |_, arguments| match arguments[0].as_string() {
                Some(path) if path.as_bytes() == b"a" => Ok(Value::from("content")),
                _ => Err(FunctionError::new("no such file")),
            })),
            _ => None,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A nil pointer.
struct Nowhere;

impl Object for Nowhere {
    fn type_name(&self) -> Cow<'static, str> {
        "*config.Commit".into()
    }

    fn kind(&self) -> Kind {
        Kind::Pointer
    }

    fn is_nil(&self) -> bool {
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[test]
fn objects_have_methods_and_fields() {
    let rows = [
        ("{{ .Files.Get \"a\" }}", "content"),
        ("{{ \"a\" | .Files.Get | len }}", "7"),
        (
            "{{ .Files.Root }} {{ .Files }} {{ printf \"%+v %T\" .Files .Files }}",
            "/app {/app} {Root:/app} config.Files",
        ),
        (
            "{{ .Files.Get \"b\" }}",
            "! template: t:1:9: executing \"t\" at <.Files.Get>: error calling Get: no such file",
        ),
        (
            "{{ .Files.Get }}",
            "! template: t:1:9: executing \"t\" at <.Files.Get>: wrong number of args for Get: want 1 got 0",
        ),
        ("{{ .Files.Get 1 }}", "! template: t:1:14: executing \"t\" at <1>: expected string; found 1"),
        (
            "{{ .Files.Root 1 }}",
            "! template: t:1:9: executing \"t\" at <.Files.Root>: Root has arguments but cannot be invoked as function",
        ),
        (
            "{{ .Files.None }}",
            "! template: t:1:9: executing \"t\" at <.Files.None>: can't evaluate field None in type interface {}",
        ),
        (
            "{{ .Nil.Field }}",
            "! template: t:1:7: executing \"t\" at <.Nil.Field>: nil pointer evaluating interface {}.Field",
        ),
        ("{{ if .Nil }}some{{ else }}none{{ end }} {{ .Nil }}", "none <nil>"),
        ("{{ if .Files }}some{{ end }}", "some"),
    ];
    for (text, expected) in rows {
        let data = Value::map([("Files", Value::object(Files)), ("Nil", Value::object(Nowhere))]);
        assert_eq!(render(Functions::new(), text, data), expected, "{text}");
    }
}

#[test]
fn call_calls_function_values() {
    let add = Function::variadic([Type::INT64], Type::INT, |_, arguments| {
        Ok(Value::int(arguments.iter().filter_map(Value::as_int).sum()))
    });
    let rows = [
        ("{{ call .add 1 2 3 }}", "6"),
        (
            "{{ call .add }}",
            "! template: t:1:3: executing \"t\" at <call .add>: error calling call: wrong number of args for .add: got 0 want at least 1",
        ),
        (
            "{{ call .add nil }}",
            "! template: t:1:3: executing \"t\" at <call .add nil>: error calling call: arg 0: value is nil; should be of type int64",
        ),
        (
            "{{ call .add \"x\" }}",
            "! template: t:1:3: executing \"t\" at <call .add \"x\">: error calling call: arg 0: value has type string; should be int64",
        ),
        (
            "{{ .add }}",
            "! template: t:1:3: executing \"t\" at <{{.add}}>: can't print {{.add}} of type func(int64, ...int) interface {}",
        ),
    ];
    for (text, expected) in rows {
        let data = Value::map([("add", Value::Function(std::sync::Arc::new(add.clone())))]);
        assert_eq!(render(Functions::new(), text, data), expected, "{text}");
    }
}

fn including() -> Functions {
    let mut functions = Functions::new();
    functions.insert(
        "include",
        Function::new([Type::String, Type::Any], |call, arguments| {
            let name = arguments[0].as_string().map(GoString::to_string).unwrap_or_default();
            call.execute_template(&name, arguments[1].clone()).map(Value::String)
        }),
    );
    functions.insert(
        "set",
        Function::new([Type::any_map(), Type::String, Type::Any], |_, arguments| {
            if let (Some(map), Some(key)) = (arguments[0].as_map(), arguments[1].as_string()) {
                map.set(key, arguments[2].clone())?;
            }
            Ok(arguments[0].clone())
        }),
    );
    functions
}

#[test]
fn maps_are_shared_between_templates() {
    let text =
        "{{ define \"w\" }}{{ $_ := set . \"X\" 5 }}{{ end }}{{ include \"w\" . }}{{ .X }}{{ template \"w\" . }}";
    let map = Map::new();
    assert_eq!(render(including(), text, Value::Map(map.clone())), "5");
    assert_eq!(map.get("X").and_then(|value| value.as_int()), Some(5));
}

#[test]
fn an_error_in_an_included_template_points_into_it() {
    let mut set = TemplateSet::new(including(), Limits::default());
    set.parse("lib.tmpl", "\n{{ define \"inner\" }}\n  {{ index . 9 }}{{ end }}").expect("a template");
    set.parse("main", "x {{ include \"inner\" .l }}").expect("a template");
    let error = set.execute("main", data()).expect_err("an index out of range");
    assert_eq!(
        error.to_string(),
        "template: main:1:5: executing \"main\" at <include \"inner\" .l>: error calling include: template: \
         lib.tmpl:3:5: executing \"inner\" at <index . 9>: error calling index: index out of range: 9"
    );
    assert_eq!(error.position().map(ToString::to_string).as_deref(), Some("lib.tmpl:3:5"));
    let error = set.execute("none", data()).expect_err("no such template");
    assert_eq!(error.to_string(), "template: no template \"none\" associated with template \"none\"");
}

/// Where the first occurrence of each text in an output comes from.
fn places(rendered: &crate::Rendered, texts: &[&str]) -> Vec<String> {
    let place = |text: &&str| {
        let at = rendered.text.find(*text).expect("it is there");
        let origin = rendered.map.origin(at).expect("it has an origin");
        format!("{}:{}:{}", origin.file(), origin.line, origin.column)
    };
    texts.iter().map(place).collect()
}

#[test]
fn every_byte_knows_where_it_comes_from() {
    let mut set = TemplateSet::new(including(), Limits::default());
    set.parse_file("lib", ".werf/lib", "{{ define \"i\" }}a: 1\nb: {{ .i }}6{{ end }}").expect("a template");
    set.parse("main", "top\n{{ if .i }}\nin: {{ .i }}\n{{ end }}  {{ include \"i\" . | printf \"%s\" }}\n{{ .s }}")
        .expect("a template");
    let rendered = set.execute("main", data()).expect("output");
    assert_eq!(rendered.text, "top\n\nin: 1\n  a: 1\nb: 16\nhello");
    assert_eq!(
        places(&rendered, &["top", "op", "\n\n", "in", "  a", " a", "a", ": 1\nb", "b", "16", "6", "hello", "llo"]),
        [
            "main:1:0",
            "main:1:1",
            "main:1:3",
            "main:3:0",
            "main:4:9",
            "main:4:10",
            ".werf/lib:1:16",
            ".werf/lib:1:17",
            ".werf/lib:2:0",
            ".werf/lib:2:6",
            ".werf/lib:2:11",
            "main:5:3",
            "main:5:3"
        ]
    );
    let end = rendered.map.origin(rendered.text.len()).expect("the end comes from what is before it");
    assert_eq!((end.line, end.text.as_str()), (5, "{{ .s }}"));
    assert_eq!(crate::SourceMap::default().origin(0), None);
}

#[test]
fn kept_and_altered_output_leads_to_where_it_was_made() {
    let mut set = TemplateSet::new(including(), Limits::default());
    set.parse("lib", "{{ define \"i\" }}\n  one: {{ .i }}\n  two: 2\n{{ end }}").expect("a template");
    set.parse(
        "main",
        "{{ $x := include \"i\" . }}{{ $m := .m }}kept:{{ $x }}\n- {{ printf \"%s|\\n%s\" (include \"i\" .) $x }}end",
    )
    .expect("a template");
    let rendered = set.execute("main", data()).expect("output");
    assert_eq!(rendered.text, "kept:\n  one: 1\n  two: 2\n\n- \n  one: 1\n  two: 2\n|\n\n  one: 1\n  two: 2\nend");
    assert_eq!(
        places(&rendered, &["kept", "one", "1", "two", "- ", "|", "end"]),
        ["main:1:39", "lib:2:2", "lib:2:10", "lib:3:2", "main:2:0", "main:2:5", "main:2:43"]
    );
    let altered = crate::Rendered { text: rendered.text.clone(), map: rendered.map.clone() };
    let at = altered.text.rfind("two").expect("it is there twice more");
    let origin = altered.map.origin(at).expect("an origin");
    assert_eq!((&*origin.template, origin.line, origin.column, origin.text.as_str()), ("lib", 3, 2, "  two: 2"));
}

#[test]
fn origins_survive_bytes_that_are_no_text() {
    let mut set = TemplateSet::new(including(), Limits::default());
    set.parse("main", "a{{ printf \"\\xff\\xfe\" }}b\n{{ .i }}").expect("a template");
    let rendered = set.execute("main", data()).expect("output");
    assert_eq!(rendered.text, "a\u{fffd}\u{fffd}b\n1");
    assert_eq!(places(&rendered, &["a", "\u{fffd}", "b", "1"]), ["main:1:0", "main:1:4", "main:1:24", "main:2:3"]);
}

#[test]
fn a_missing_key_is_answered_as_asked() {
    let text = "{{ .none }}{{ .none.deeper }}";
    let rows = [
        (MissingKey::NoValue, "<no value><no value>"),
        (
            MissingKey::Zero,
            "! template: t:1:19: executing \"t\" at <.none.deeper>: nil pointer evaluating interface {}.deeper",
        ),
        (MissingKey::Error, "! template: t:1:3: executing \"t\" at <.none>: map has no entry for key \"none\""),
    ];
    for (missing_key, expected) in rows {
        let mut set = TemplateSet::new(Functions::new(), Limits::default()).with_missing_key(missing_key);
        set.parse("t", text).expect("a template");
        assert_eq!(show(set.execute("t", data())), expected);
    }
}

#[test]
fn an_empty_template_replaces_nothing() {
    let mut set = TemplateSet::new(Functions::new(), Limits::default());
    for (text, expected) in
        [("one", "one"), (" {{/* nothing */}} ", "one"), ("two", "two"), ("{{ define \"t2\" }}x{{ end }}", "two")]
    {
        set.parse("t", text).expect("a template");
        assert_eq!(show(set.execute("t", Value::NoValue)), expected);
    }
    assert!(set.parse("t", "{{ end }}").is_err());
    assert_eq!(set.names(), ["t", "t2"]);
    let copy = set.clone();
    set.parse("t", "three").expect("a template");
    assert_eq!(
        (show(copy.execute("t", Value::Nil)), show(set.execute("t", Value::Nil))),
        ("two".into(), "three".into())
    );
}
