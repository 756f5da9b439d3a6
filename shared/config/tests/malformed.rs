//! Wrong configurations: each is refused at the right place, with a message and a hint that help.

mod images;
mod stapel;

use slipway_config::parse;

/// What comes before the images of most rows; the images begin in line 4.
const META: &str = "configVersion: 1\nproject: p\n---\n";

/// A wrong configuration: its name, its text (`META` is put in front unless it begins with `!`), the place and
/// message that are expected, and the hint.
struct Row(&'static str, &'static str, &'static str, &'static str);

fn check(rows: &[Row]) {
    for Row(name, text, message, hint) in rows {
        let text = match text.strip_prefix('!') {
            Some(whole) => whole.to_owned(),
            None => format!("{META}{text}"),
        };
        let shown = match parse("werf.yaml", &text) {
            Ok(_) => panic!("{name}: was accepted\n{text}"),
            Err(problems) => problems.to_string(),
        };
        assert!(shown.contains(&format!("werf.yaml:{message}")), "{name}: expected {message:?} in\n{shown}");
        assert!(shown.contains(hint), "{name}: expected the hint {hint:?} in\n{shown}");
    }
}

#[test]
fn yaml() {
    check(&[
        Row("no yaml", "image: a: b\n", "4:9: this is not valid YAML: mapping values", "quote a value that holds `: `"),
        Row("tab indent", "image: a\nshell:\n\tinstall: x\n", "6:", "indent by spaces"),
        Row("open bracket", "image: [a\n", "5:1: this is not valid YAML", "every quote and bracket"),
        Row("open quote", "image: \"a\n", "4:8: this is not valid YAML", "every quote and bracket"),
        Row("duplicate key", "image: a\nfrom: b\nfrom: c\n", "6:1: duplicate key `from`", "it stands in line 5"),
        Row("template left", "image: a\nfrom: {{ .Base }}\n", "5:", "meant as text"),
        Row("unknown alias", "image: *x\n", "4:8: this is not valid YAML", "check the indentation"),
        Row("list document", "- image: a\n", "4:1: a document must be a mapping, not a list", "`key: value` lines"),
        Row("text document", "hello\n", "4:1: a document must be a mapping, not a string", "`key: value` lines"),
        Row("document in document", "image: a\nfrom: b\n--- x\n", "6:1: a second YAML document", "nothing else but a"),
        Row("NUL", "image: a\nfrom: \"b\\0\"\n", "5:7: the text holds a NUL", "remove `\\0`"),
        Row("merge of a text", "image: a\n<<: x\n", "5:5: `<<` merges mappings", "the anchor of a mapping"),
    ]);
}

#[test]
fn meta_section() {
    check(&[
        Row("nothing", "!", " the meta section is missing: no document has `configVersion`", "project: NAME"),
        Row("no meta", "!image: a\nfrom: b\n", " the meta section is missing", "`configVersion: 1`"),
        Row("no configVersion", "!project: p\n", "1:1: the meta section has no `configVersion`", "configVersion: 1"),
        Row(
            "null configVersion",
            "!configVersion:\nproject: p\n",
            "1:1: `configVersion` has no value",
            "configVersion: 1",
        ),
        Row("other configVersion", "!configVersion: 2\nproject: p\n", "1:16: `configVersion` must be 1, not `2`", "1`"),
        Row("no project", "!configVersion: 1\n", "1:1: 'project' is missing", "write `project: NAME`"),
        Row("empty project", "!configVersion: 1\nproject: \"\"\n", "2:10: 'project' is empty", "lower-case letters"),
        Row(
            "bad project",
            "!configVersion: 1\nproject: My_App\n",
            "2:10: bad project name `My_App`",
            "lower-case letters",
        ),
        Row("dash at the end", "!configVersion: 1\nproject: app-\n", "2:10: bad project name `app-`", "both ends"),
        Row(
            "long project",
            "!configVersion: 1\nproject: aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeef\n",
            "2:10: bad project name",
            "up to 50",
        ),
        Row("two metas", "configVersion: 1\nproject: q\n", "4:1: duplicate meta config section", "merge the two"),
        Row(
            "unknown key",
            "!configVersion: 1\nprojects: p\n",
            "2:1: unknown key `projects`",
            "did you mean `project`?",
        ),
        Row(
            "unknown deploy key",
            "!configVersion: 1\nproject: p\ndeploy:\n  namspace: x\n",
            "4:3: unknown key `namspace` in `deploy`",
            "did you mean `namespace`?",
        ),
        Row(
            "empty namespace",
            "!configVersion: 1\nproject: p\ndeploy: {namespace: ''}\n",
            "3:21: `namespace` is empty",
            "or remove it",
        ),
        Row(
            "empty release",
            "!configVersion: 1\nproject: p\ndeploy: {helmRelease: ''}\n",
            "3:23: `helmRelease` is empty",
            "or remove",
        ),
        Row(
            "empty chart",
            "!configVersion: 1\nproject: p\ndeploy: {helmChartDir: ''}\n",
            "3:24: `helmChartDir` is empty",
            "or remove",
        ),
        Row(
            "platform",
            "!configVersion: 1\nproject: p\nbuild: {platform: linux}\n",
            "3:19: `build.platform`: `linux` is no",
            "linux/amd64",
        ),
        Row(
            "worktree flag",
            "!configVersion: 1\nproject: p\ngitWorktree: {allowUnshallow: 1}\n",
            "3:31: `allowUnshallow` must be a boolean, not a number",
            "true",
        ),
        Row(
            "quoted flag",
            "!configVersion: 1\nproject: p\ncleanup: {disable: \"yes\"}\n",
            "3:20: `disable` must be a boolean, not a string",
            "without quotes",
        ),
    ]);
}

#[test]
fn cleanup() {
    let policies = |policy: &str| format!("!configVersion: 1\nproject: p\ncleanup:\n  keepPolicies:\n  - {policy}\n");
    for (name, policy, message, hint) in [
        (
            "no references",
            "imagesPerReference: {last: 1}",
            "5:5: an entry of `keepPolicies` has no `references`",
            "references: {",
        ),
        (
            "neither",
            "references: {limit: {last: 1}}",
            "5:17: `references` needs either `tag` or `branch`",
            "one policy for tags",
        ),
        (
            "both",
            "references: {tag: a, branch: b}",
            "5:17: `references` needs either `tag` or `branch`",
            "one policy for tags",
        ),
        ("bad regex", "references: {tag: '/v(/'}", "5:23: bad regular expression `/v(/`", "between slashes"),
        (
            "operator",
            "references: {tag: a, limit: {operator: Xor}}",
            "5:44: unsupported `operator` `Xor`",
            "`And` or `Or`",
        ),
        ("duration", "references: {tag: a, limit: {in: 5 days}}", "5:38: `in` is no duration", "such as `168h`"),
        ("number", "references: {tag: a, limit: {last: few}}", "5:40: `last` must be a whole number", "from -1"),
    ] {
        let text: &'static str = policies(policy).leak();
        check(&[Row(name, text, message, hint)]);
    }
    check(&[Row(
        "no list",
        "!configVersion: 1\nproject: p\ncleanup: {keepPolicies: {}}\n",
        "3:25: `keepPolicies` must be a list, not a mapping",
        "begin every entry",
    )]);
}

#[test]
fn no_secret_is_shown() {
    let texts = [
        "image: a\nfrom: b\nsecrets:\n- {value: s3cret}\n",
        "image: a\nfrom: b\nsecrets:\n- {id: x, value: s3cret, vaule: s3cret}\n",
        "image: a\nfrom: b\ngit:\n- {url: 'https://me:s3cret@h/a b', to: x}\n",
        "image: a\nfrom: b\ngit:\n- url: https://me:s3cret@h/a\n  to: x\n  basicAuth: {username: u, password: s3cret}\n",
    ];
    for text in texts {
        let problems = parse("werf.yaml", &format!("{META}{text}")).expect_err(text).to_string();
        assert!(!problems.contains("s3cret"), "{problems}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let text = format!("{META}image: a\nfrm: b\n---\nimage: c\nfromImage: d\nshell: 5\n");
    let problems = parse("werf.yaml", &text).expect_err("wrong");
    let places: Vec<u32> = problems.list.iter().filter_map(|problem| Some(problem.position?.line)).collect();
    assert_eq!(places, [4, 5, 8, 9]);
    assert!(problems.to_string().ends_with("\n4 problems"), "{problems}");
}
