use super::*;

/// `text` as a tree, written in one line: `[a, {k: v}]`.
fn shown(text: &str) -> String {
    let mut problems = Vec::new();
    let node = read(text, 1, &mut Budget::new(), &mut problems);
    match (node, problems.first()) {
        (_, Some(problem)) => {
            let position = problem.position.expect("a position");
            format!("{}:{} {}", position.line, position.column, problem.message)
        }
        (Some(node), None) => flow(&node),
        (None, None) => "(empty)".to_owned(),
    }
}

fn flow(node: &Node) -> String {
    match &node.kind {
        Kind::Scalar(scalar) => scalar.text.clone(),
        Kind::Sequence(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Kind::Mapping(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|entry| format!("{}: {}", entry.key, flow(&entry.value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

#[test]
fn documents_become_trees() {
    for (text, tree) in [
        ("a: 1\nb: [x, 'y']\n", "{a: 1, b: [x, y]}"),
        ("a: &x {k: v}\nb: *x\n", "{a: {k: v}, b: {k: v}}"),
        ("a: &x {k: v, l: w}\nb:\n  <<: *x\n  k: mine\n", "{a: {k: v, l: w}, b: {k: mine, l: w}}"),
        ("a: &x {k: 1}\nb: &y {k: 2, l: 3}\nc: {<<: [*x, *y]}\n", "{a: {k: 1}, b: {k: 2, l: 3}, c: {k: 1, l: 3}}"),
        ("owner: 0755\nv: 1_000\nw: yes\n", "{owner: 0755, v: 1_000, w: yes}"),
        ("a:\t# comment\n  b: 1\n", "{a: {b: 1}}"),
        ("a: 1\t# comment\nb: 2 \t\n", "{a: 1, b: 2}"),
        ("a:\tx\n", "{a: x}"),
        ("a: |\n  x:\t# no comment\n", "{a: x:\t# no comment\n}"),
        ("# nothing\n", "(empty)"),
        ("", "(empty)"),
    ] {
        assert_eq!(shown(text), tree, "{text:?}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, message) in [
        ("a: 1\nb: 2\na: 3\n", "3:1 duplicate key `a`"),
        ("a: *nowhere\n", "1:4 this is not valid YAML"),
        ("a: &x [*x]\n", "1:8 an alias stands inside of what it names"),
        ("{{ .Values }}: 1\n", "1:2 a key must be a plain word"),
        ("a: b: c\n", "1:5 this is not valid YAML: mapping values are not allowed in this context"),
        ("a: 1\n--- x\nb: 2\n", "2:1 a second YAML document"),
        ("a: {<<: 5}\n", "1:9 `<<` merges mappings, not a number"),
        ("a: [1, 2\n", "this is not valid YAML"),
        ("a: \"x\n", "this is not valid YAML"),
    ] {
        let shown = shown(text);
        assert!(shown.contains(message), "{text:?}: {shown}");
    }
}

#[test]
fn bombs_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(shown(&text).contains("too large"), "{}", shown(&text));
    assert!(shown(&"[".repeat(5000)).contains("nested more than 100 deep"));
    assert!(shown(&"- ".repeat(5000)).contains("nested more than 100 deep"));
    assert!(shown(&"{a: ".repeat(5000)).contains("nested more than 100 deep"));
}

#[test]
fn scalars_mean_what_yaml_1_1_says() {
    let plain = |text: &str| Scalar { text: text.to_owned(), plain: true, tag: None }.meaning();
    for text in ["yes", "On", "TRUE", "y"] {
        assert_eq!(plain(text), Meaning::Bool(true), "{text}");
    }
    for text in ["no", "off", "False", "n"] {
        assert_eq!(plain(text), Meaning::Bool(false), "{text}");
    }
    for text in ["0", "-1", "0755", "1_000", "0x1F", "1.5", "1e3", ".5", "-.inf", ".nan", "0b101"] {
        assert_eq!(plain(text), Meaning::Number, "{text}");
    }
    for text in ["1.2.3", "a", "0x", ".", "-", "infinity", "nan", "1:2", "yEs"] {
        assert_eq!(plain(text), Meaning::Text, "{text}");
    }
    assert_eq!(plain("~"), Meaning::Null);
    assert_eq!(Scalar { text: "yes".to_owned(), plain: false, tag: None }.meaning(), Meaning::Text);
}
