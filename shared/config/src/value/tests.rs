use super::*;

fn text(text: &str) -> YamlValue {
    YamlValue::Text(text.as_bytes().to_vec())
}

fn read(source: &str) -> Vec<(YamlValue, YamlValue)> {
    read_mapping(source).unwrap_or_else(|error| panic!("{source}: {error}"))
}

#[test]
fn scalars_are_read_as_yaml_1_1_reads_them() {
    for (written, value) in [
        ("yes", YamlValue::Bool(true)),
        ("Off", YamlValue::Bool(false)),
        ("~", YamlValue::Null),
        ("", YamlValue::Null),
        ("0755", YamlValue::Int(493)),
        ("0o17", YamlValue::Int(15)),
        ("-0x1F", YamlValue::Int(-31)),
        ("0b11", YamlValue::Int(3)),
        ("1_000", YamlValue::Int(1000)),
        ("08", YamlValue::Float(8.0)),
        ("1.", YamlValue::Float(1.0)),
        (".5", YamlValue::Float(0.5)),
        ("1e3", YamlValue::Float(1000.0)),
        ("1e999", text("1e999")),
        ("-", YamlValue::List(vec![YamlValue::Null])),
        ("18446744073709551615", YamlValue::Uint(u64::MAX)),
        ("-9223372036854775808", YamlValue::Int(i64::MIN)),
        (".inf", YamlValue::Float(f64::INFINITY)),
        ("2020-01-02", text("2020-01-02")),
        ("1:30", text("1:30")),
        ("\"yes\"", text("yes")),
        ("!!str 12", text("12")),
        ("!!float 3", YamlValue::Float(3.0)),
        ("!!binary aGk=", text("hi")),
        ("!own x", text("x")),
    ] {
        assert_eq!(read(&format!("a:\n  {written}\n")), [(text("a"), value)], "{written}");
    }
}

#[test]
fn keys_are_texts_above_and_anything_below() {
    assert_eq!(
        read("1: {1: a, yes: b, ~: c}"),
        [(
            text("1"),
            YamlValue::Mapping(vec![
                (YamlValue::Int(1), text("a")),
                (YamlValue::Bool(true), text("b")),
                (YamlValue::Null, text("c")),
            ])
        )]
    );
    assert_eq!(
        read("a: &x {b: 1}\nc: {<<: *x, b: 2}\n")[1].1,
        YamlValue::Mapping(vec![(text("b"), YamlValue::Int(1)), (text("b"), YamlValue::Int(2)),])
    );
    assert_eq!(read("# nothing\n"), []);
    assert_eq!(read("a:\tb\n"), [(text("a"), text("b"))]);
}

#[test]
fn what_is_no_mapping_is_refused() {
    for (source, message) in [
        ("- a", "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!seq into map[string]interface {}"),
        (
            "some words",
            "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!str `some words` into map[string]interface {}",
        ),
        (
            "words that go on",
            "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!str `words t...` into map[string]interface {}",
        ),
        ("a: !!int x", "yaml: cannot decode !!str `x` as a !!int"),
        ("a: {<<: 1}", "yaml: map merge requires map or sequence of maps as the value"),
    ] {
        assert_eq!(read_mapping(source).expect_err(source).to_string(), message);
    }
    for source in ["a: [", "a: *b", "a: &a [*a]", "\"", "a: b: c", "? [x]\n: y", "a: {[x]: y}"] {
        assert!(read_mapping(source).is_err(), "{source}");
    }
}

#[test]
fn aliases_do_not_grow_without_end() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let before = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", [before.as_str(); 10].join(", "));
    }
    assert!(read_mapping(&bomb).expect_err("too much").to_string().contains("excessive aliasing"));
    assert!(read_mapping(&format!("a: {}", "[".repeat(100_000))).is_err());
    assert!(read_mapping(&format!("a: {}{}", "[".repeat(2000), "]".repeat(2000))).is_err());
}

#[test]
fn what_is_written_is_read_again() {
    let long = "word ".repeat(40) + "end";
    for value in [
        "",
        " x",
        "x ",
        "yes",
        "1",
        "1:30",
        "2020-01-02",
        "a: b",
        "a #b",
        "- a",
        "-a",
        "'",
        "\"",
        "a\nb",
        "a\n",
        "a\n\n",
        " a\n b",
        "\ta",
        "a\t",
        "é",
        "\u{feff}",
        "\u{85}",
        "😀",
        "a \nb",
        "---",
        "null",
        "<<",
        "#",
        "%a",
        "a:b",
        "[a",
        long.as_str(),
    ] {
        let mapping = vec![(text("k"), text(value)), (text("l"), YamlValue::List(vec![text(value)]))];
        let written = write_value(&YamlValue::Mapping(mapping.clone())).expect("it can be written");
        assert_eq!(read(&written), mapping, "{written}");
    }
}

#[test]
fn documents_are_laid_out_as_go_lays_them_out() {
    let value = read("b: [x, ['y', z], {c: 1, a: 2}, [], {}]\na10: {d: ~}\na9: |\n  two\n  lines\n2: 1.5e10\n");
    let written = "\"2\": 1.5e+10\na9: |\n  two\n  lines\na10:\n  d: null\nb:\n- x\n- - \"y\"\n  - z\n- a: 2\n  c: 1\n- []\n- {}\n";
    assert_eq!(write_value(&YamlValue::Mapping(value)).expect("it can be written"), written);
}
