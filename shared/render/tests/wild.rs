//! What configurations of real projects do that surprises: a test for each habit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use slipway_config::{Config, ImageKind, Position, Problems, giterminism};
use slipway_render::{Commit, Configuration, Limits, Refusal, Rendering, Surroundings, TemplateFile, World, render};

const META: &str = "project: shop\nconfigVersion: 1\n---\n";

/// Files and variables of a test.
#[derive(Default)]
struct Told {
    files: BTreeMap<String, String>,
    said: Mutex<Vec<String>>,
}

impl Surroundings for Told {
    fn read(&self, path: &str) -> Result<Vec<u8>, Refusal> {
        let found = self.files.get(path).map(|text| text.clone().into_bytes());
        found.ok_or_else(|| Refusal::new(format!("the file {path:?} not found")).with_hint("commit it"))
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, Refusal> {
        // Which files a glob takes is tested where globs are.
        let taken: &[&str] = match pattern {
            ".werf/werf-**.yaml" => &[".werf/werf-one.yaml", ".werf/werf-two.yaml"],
            "images/*/{Dockerfile,werf.inc.yaml}" => &["images/a/werf.inc.yaml", "images/b/werf.inc.yaml"],
            _ => &[],
        };
        Ok(taken.iter().map(|path| (*path).to_owned()).collect())
    }

    fn is_file(&self, path: &str) -> Result<bool, Refusal> {
        Ok(self.files.contains_key(path))
    }

    fn is_directory(&self, path: &str) -> Result<bool, Refusal> {
        Ok(self.files.keys().any(|file| file.starts_with(&format!("{path}/"))))
    }

    fn variable(&self, name: &str) -> Result<Option<String>, Refusal> {
        match name {
            "REGISTRY" => Ok(Some("registry.example.org/base".to_owned())),
            "EMPTY" => Ok(Some(String::new())),
            "UNSET" => Ok(None),
            _ => Err(Refusal::new(format!("env name {name:?} not allowed by giterminism")).with_hint("allow it")),
        }
    }

    fn is_debugging(&self) -> bool {
        true
    }

    fn say(&self, text: &str) {
        self.said.lock().expect("no test panics with it").push(text.to_owned());
    }
}

struct Still;

impl World for Still {
    fn now(&self) -> (i64, u32) {
        (0, 0)
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

fn rendering_with(
    limits: Limits,
    text: &str,
    templates: &[(&str, &str)],
    files: &[(&str, &str)],
) -> Result<Rendering, Problems> {
    let configuration = Configuration {
        file: "werf.yaml".to_owned(),
        text: text.to_owned(),
        templates: templates
            .iter()
            .map(|(name, text)| TemplateFile {
                name: (*name).to_owned(),
                file: format!(".werf/{name}"),
                text: (*text).to_owned(),
            })
            .collect(),
        environment: "prod".to_owned(),
        commit: Commit { hash: "c0ffee".to_owned(), human: "2024".to_owned(), unix: 1_714_979_289 },
    };
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    let told: Arc<dyn Surroundings> = Arc::new(Told { files, ..Told::default() });
    render(&configuration, &told, Arc::new(Still), limits)
}

fn rendered(text: &str, templates: &[(&str, &str)], files: &[(&str, &str)]) -> String {
    rendering_with(Limits::default(), text, templates, files).unwrap_or_else(|problems| panic!("{problems}")).text
}

fn plain(text: &str) -> String {
    rendered(text, &[], &[])
}

/// What is rendered after the meta section, read.
fn read(text: &str) -> Config {
    let text = plain(&format!("{META}{text}"));
    slipway_config::parse("werf.yaml", &text).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

fn refused(text: &str) -> String {
    let rendering = rendering_with(Limits::default(), &format!("{META}{text}"), &[], &[]);
    let rendering = rendering.unwrap_or_else(|problems| panic!("{problems}"));
    slipway_config::parse("werf.yaml", &rendering.text)
        .expect_err("it is wrong")
        .traced(|at| rendering.origin(at))
        .to_string()
}

#[test]
fn the_root_is_one_map_that_all_files_share() {
    let text = "{{ set . \"A\" 1 | len }} {{ include \"sets\" . }}{{ tpl \"{{ $_ := set . `C` (list .B) }}\" . }}{{ .A }} {{ .B }} {{ .C }}";
    let sets = "{{ define \"sets\" }}{{ $_ := set . \"B\" (add .A 1) }}{{ end }}";
    assert_eq!(rendered(text, &[("lib.tmpl", sets)], &[]), "4 1 2 [2]");
    // The value may come last, through a pipe.
    assert_eq!(plain("{{ $_ := list 1 2 | set . \"L\" }}{{ .L }}"), "[1 2]");
    let copies = "{{ $m := dict \"in\" (dict \"x\" 1) }}{{ $c := deepCopy $m }}{{ $_ := set $c.in \"x\" 2 }}{{ $m.in.x }}{{ $c.in.x }}\
                  {{ $o := merge (dict) $m }}{{ $_ := set $o.in \"x\" 3 }}{{ $m.in.x }}{{ $_ := unset $m \"in\" }}{{ hasKey $m \"in\" }}";
    assert_eq!(plain(copies), "123false");
}

#[test]
fn files_found_by_a_glob_are_templates_within_templates() {
    let files = [
        (
            ".werf/werf-one.yaml",
            "{{ define \"shared\" }}from {{ .Name }}{{ end }}{{ $ctx := dict \"Files\" .Files \"Name\" \"inner\" }}{{ range $path, $content := .Files.Glob \"images/*/{Dockerfile,werf.inc.yaml}\" }}{{ tpl $content $ctx }}{{ end }}",
        ),
        (".werf/werf-two.yaml", "{{ include \"shared\" (dict \"Name\" \"two\") }}\n"),
        ("images/a/werf.inc.yaml", "a {{ .Name }} {{ include \"shared\" . }}\n"),
        ("images/b/werf.inc.yaml", "b {{ .Name }}\n"),
    ];
    let text = "{{ range $path, $content := .Files.Glob (printf \"%s/werf-**.yaml\" \".werf\") }}# {{ $path }}\n{{ tpl $content $ }}{{ end }}";
    let expected = "# .werf/werf-one.yaml\na inner from inner\nb inner\n# .werf/werf-two.yaml\nfrom two\n";
    assert_eq!(rendered(text, &[], &files), expected);
    let none = rendering_with(Limits::default(), "{{ .Files.Glob \"none/*\" }}", &[], &[])
        .expect_err("nothing is found")
        .to_string();
    assert!(
        none.starts_with("werf.yaml:1:10: error calling Glob: {{ .Files.Glob \"none/*\" }}: no matches found\n"),
        "{none}"
    );
}

#[test]
fn contexts_are_values_and_the_root_can_be_another_one() {
    let text = "{{ $ctx := dict \"F\" .Files \"C\" .Commit \"Root\" . }}{{ include \"use\" (list $ctx \"x.txt\") }}";
    let uses = "{{ define \"use\" }}{{- $ := index . 0 }}{{- $path := index . 1 }}{{ $.F.Get $path }} {{ $.C.Hash }} {{ $.Root.Env }} \
                {{ $.F.Exists \"no\" }} {{ with $.F }}{{ .Exists \"x.txt\" }}{{ .IsDir \"x.txt\" }}{{ end }}{{ end }}";
    assert_eq!(rendered(text, &[("use.tmpl", uses)], &[("x.txt", "content")]), "content c0ffee prod false truefalse");
}

#[test]
fn texts_are_taken_apart_as_sprig_does() {
    for (text, expected) in [
        ("{{ $p := split \"/\" \"a/b/c\" }}{{ $p._0 }}-{{ $p._2 }}", "a-c"),
        ("{{ regexReplaceAll \"([a-z]+)-([0-9]+)\" \"web-12\" \"${2}.${1}\" }}", "12.web"),
        (
            "{{ div (mul .Commit.Date.Unix 2) 86400 }} {{ add .Commit.Date.Unix 1 }} {{ kindOf .Commit.Date.Unix }}",
            "39698 1714979290 string",
        ),
        (
            "{{ range list \"node-manager\" \"040-node_manager\" \"HTTPServer\" \"a2b-c3\" }}{{ . | camelcase | untitle }} {{ end }}",
            "nodeManager 040NodeManager httpserver a2bC3 ",
        ),
        (
            "{{ $x := 0 }}{{ range $i := until 9 }}{{ if eq $i 2 }}{{ continue }}{{ end }}{{ if gt $i 4 }}{{ break }}{{ end }}{{ $x = add $x $i }}{{ end }}{{ $x }}",
            "8",
        ),
        ("{{ $v := \"no\" }}{{ if true }}{{ $v = \"yes\" }}{{ end }}{{ $v }}", "yes"),
        ("{{ (splitList \"/\" \"a/b\") | last }} {{ regexSplit \"[/-]\" \"a/b-c\" -1 }}", "b [a b c]"),
    ] {
        assert_eq!(plain(text), expected, "{text}");
    }
}

#[test]
fn documents_may_hold_nothing_but_templates() {
    let config = read(
        "{{- $_ := set . \"Base\" \"alpine:3\" }}\n--- # the first\nimage: a\nfrom: {{ .Base }}\n---\n# only a comment\n---\n\n---\n{{- \"\" }}\nimage: b\nfrom: alpine:3\n---\n{{- $_ := set . \"X\" 1 }}\n",
    );
    let names: Vec<String> = config.images.iter().map(|image| image.name().to_string()).collect();
    assert_eq!(names, ["a", "b"]);
    // What eats the line break after three dashes makes them no separator.
    assert!(refused("image: a\nfrom: x\n---\n{{- \"\" }}image: b\nfrom: y\n").contains("---image: b"));
}

#[test]
fn yaml_is_taken_as_it_is_written_in_the_wild() {
    let config = read(
        "image: a\t# a tab before the comment\nfrom:\t\"alpine:3\"\nfromCacheVersion: 3\ngit:\n- {add: /, to: /app, owner: 1000, group: 0755}\ndocker:\n  ENV: {A: 1, B: true, C: 1.50, D: yes}\n",
    );
    let ImageKind::Stapel(stapel) = &config.images[0].kind else { panic!("a Stapel image") };
    assert_eq!(stapel.git[0].owner.as_deref(), Some("1000"));
    assert_eq!(stapel.git[0].group.as_deref(), Some("0755"));
    let text = format!("{META}image: a\nfrom: {{{{ env \"REGISTRY\" }}}}:1\nshell:\n  install: |\n    one\n    two\n")
        .replace('\n', "\r\n");
    let text = plain(&text);
    let config = slipway_config::parse("werf.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.images.len(), 1);
}

#[test]
fn images_are_named_and_based_in_many_ways() {
    let config = read(
        "image: base/one\nfrom: alpine:3\n---\nimage: two\nfromImage: base/one\n---\nimage: three\nfrom: two\nimport:\n- {from: base/one, add: /x, after: install}\n- {from: 'busybox:1', add: /y, before: setup}\ngit:\n- {to: /app}\n---\nimage: four\nfromImage: alpine:3.20\n",
    );
    let of = |name: &str| config.images.iter().find(|image| image.name().0 == name).expect("it is there");
    let ImageKind::Stapel(three) = &of("three").kind else { panic!("a Stapel image") };
    assert_eq!(three.imports[0].to, "/x");
    assert!(three.git[0].add.is_root());
    assert_eq!(config.images.len(), 4);
}

#[test]
fn commands_and_ports_are_written_in_three_ways() {
    for cmd in ["[\"a\", \"b c\"]", "a b", "'[\"a\", \"b c\"]'"] {
        let config = read(&format!(
            "image: a\nfrom: alpine:3\ndocker:\n  CMD: {cmd}\n  ENTRYPOINT: {cmd}\n  EXPOSE: \"80 8080 81\"\n"
        ));
        assert_eq!(config.images.len(), 1, "{cmd}");
    }
}

#[test]
fn wrong_files_are_told_well() {
    let stage =
        refused("image: a\nfrom: alpine:3\nshell:\n{{- range list \"instal\" }}\n  {{ . }}: make\n{{- end }}\n");
    assert!(stage.starts_with("werf.yaml:8:6: unknown key `instal` in `shell`\n   8 |   {{ . }}: make\n"), "{stage}");
    assert!(
        stage.contains("\n  as rendered, line 7:\n   7 |   instal: make\n")
            && stage.ends_with("did you mean `install`?"),
        "{stage}"
    );
    let two = giterminism::parse("werf-giterminism.yaml", "giterminismConfigVersion: 1\n---\nconfig: {}\n");
    assert!(two.is_err(), "two documents");
    let invented = refused("image: a\nfrom: alpine:3\ninvented: 1\n");
    assert!(invented.contains("werf.yaml:6:1: unknown key `invented`"), "{invented}");
    assert!(!invented.contains("as rendered"), "what no template made is shown once: {invented}");
}

#[test]
fn the_functions_that_real_projects_call_are_there() {
    let met = "env set eq trimSuffix include tpl list ne fromYaml dict append printf splitList camelcase untitle regexSplit last not \
               split index nindent regexMatch or and unset hasKey default toJson mul div fail len ternary join regexReplaceAll \
               semverCompare trim trimPrefix merge trunc required replace fromJson toString quote indent keys values get pick omit \
               deepCopy mustMerge regexFind regexFindAll until untilStep add sub mod max min int int64 atoi b64enc sha256sum lower upper \
               title kebabcase snakecase contains hasPrefix hasSuffix first rest initial reverse uniq without has compact concat \
               sortAlpha coalesce empty kindOf kindIs typeOf dig tuple cat repeat substr toYaml semver date now dump_debug";
    let here = slipway_render::functions(Arc::new(Told::default()));
    let sprig = slipway_template::sprig::functions(Arc::new(Still));
    let built_in = ["eq", "ne", "index", "or", "and", "not", "len", "printf"];
    for name in met.split_whitespace() {
        assert!(here.contains(name) || sprig.contains(name) || built_in.contains(&name), "{name}");
    }
    assert!(!sprig.contains("expandenv") && !here.contains("expandenv") && !sprig.contains("env"));
}

#[test]
fn refusals_bring_their_advice() {
    for (text, expected) in [
        (
            "{{ env \"OTHER\" }}",
            "werf.yaml:1:4: error calling env: env name \"OTHER\" not allowed by giterminism\n   1 | {{ env \"OTHER\" }}\n     |    ^\n  allow it",
        ),
        (
            "{{ env \"UNSET\" }}",
            "werf.yaml:1:4: error calling env: the environment variable \"UNSET\" must be set or default must be provided\n   1 | {{ env \"UNSET\" }}\n     |    ^",
        ),
        (
            "é {{ .Files.Get \"no\" }}",
            "werf.yaml:1:12: error calling Get: {{ .Files.Get \"no\" }}: the file \"no\" not found\n   1 | é {{ .Files.Get \"no\" }}\n     |            ^\n  commit it",
        ),
        (
            "{{ required \"say X\" .X }}",
            "werf.yaml:1:4: error calling required: say X\n   1 | {{ required \"say X\" .X }}\n     |    ^",
        ),
    ] {
        let problems = rendering_with(Limits::default(), text, &[], &[]).expect_err(text);
        assert_eq!(problems.to_string(), expected);
    }
    assert_eq!(plain("{{ env \"UNSET\" \"d\" }}{{ env \"EMPTY\" \"e\" }}{{ env \"EMPTY\" }}"), "de");
}

#[test]
fn every_limit_is_named_where_it_is_reached() {
    let limits = Limits { source_bytes: 1000, output_bytes: 2000, steps: 5000, depth: 20, memory_bytes: 100_000 };
    let long = "x".repeat(1001);
    for (text, files, said) in [
        ("{{ range 1000000 }}{{ end }}", "", "werf.yaml:1:10: the run takes more than the limit of 5000 steps"),
        ("{{ range 300 }}0123456789{{ end }}", "", "werf.yaml:1:16: the output is longer than the limit of 2000 bytes"),
        (
            "{{ define \"x\" }}{{ include \"x\" . }}{{ end }}{{ include \"x\" . }}",
            "",
            "templates are executing within templates deeper than the limit of 20 levels",
        ),
        (
            "{{ $x := repeat 200000 \"ab\" }}",
            "",
            "werf.yaml:1:10: the values made during the run take more than the limit of 100000 bytes",
        ),
        ("{{ tpl (.Files.Get \"f\") . }}", long.as_str(), "the template is longer than the limit of 1000 bytes"),
        (long.as_str(), "", "werf.yaml:1: the template is longer than the limit of 1000 bytes"),
    ] {
        let shown = rendering_with(limits, text, &[], &[("f", files)]).expect_err(text).to_string();
        assert!(shown.contains(said), "`{said}` is not in: {shown}");
    }
}

#[test]
fn every_place_of_a_rendering_leads_to_a_template() {
    let files = [("inc.yaml", "one: {{ .Env }}\n{{ if true }}\ntwo: 2\n{{ end }}")];
    let text = "top: 1\n{{ tpl (.Files.Get \"inc.yaml\") . | indent 2 }}\n{{ include \"t.tmpl\" . | nindent 4 }}\nlast: {{ .Env }}";
    let templates = [("t.tmpl", "{{ define \"unused\" }}{{ end }}three: 3\nfour: {{ .Env }}")];
    let rendering =
        rendering_with(Limits::default(), text, &templates, &files).unwrap_or_else(|problems| panic!("{problems}"));
    for (needle, place) in [
        ("top", "werf.yaml:1:1"),
        ("one", "inc.yaml:1:1"),
        ("prod", "inc.yaml:1:9"),
        ("two", "inc.yaml:3:1"),
        ("2\n", "inc.yaml:3:6"),
        ("three", ".werf/t.tmpl:1:31"),
        ("four", ".werf/t.tmpl:2:1"),
        ("last", "werf.yaml:4:1"),
    ] {
        let (at, line) =
            rendering.text.lines().enumerate().find(|(_, line)| format!("{line}\n").contains(needle)).expect(needle);
        let column = line.find(needle.trim_end()).expect(needle);
        let position =
            Position { line: u32::try_from(at + 1).expect("few"), column: u32::try_from(column + 1).expect("few") };
        assert_eq!(rendering.place(position), place, "{needle} in:\n{}", rendering.text);
    }
    let last = u32::try_from(rendering.text.lines().count()).expect("few");
    assert_eq!(rendering.place_of_line(last), "werf.yaml:4");
    assert_eq!(rendering.origin(Position { line: 99, column: 1 }), None);
    assert_eq!(Rendering::plain("f", "a\nb".to_owned()).place(Position { line: 2, column: 1 }), "f:2:1");
}
