//! Corners of YAML, as werf's reader (YAML 1.1) takes them.

use slipway_config::{Config, DockerfileImage, ImageKind, StapelImage, parse};

const META: &str = "configVersion: 1\nproject: p\n---\n";

fn read(text: &str) -> Config {
    parse("werf.yaml", &format!("{META}{text}")).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

fn refused(text: &str) -> String {
    parse("werf.yaml", &format!("{META}{text}")).expect_err(text).to_string()
}

fn dockerfile(text: &str) -> DockerfileImage {
    match read(text).images.remove(0).kind {
        ImageKind::Dockerfile(image) => image,
        ImageKind::Stapel(_) => panic!("a Stapel image"),
    }
}

fn stapel(text: &str) -> StapelImage {
    match read(text).images.remove(0).kind {
        ImageKind::Stapel(image) => *image,
        ImageKind::Dockerfile(_) => panic!("a Dockerfile image"),
    }
}

#[test]
fn booleans_of_yaml_1_1_are_booleans() {
    for (written, meant) in [
        ("yes", true),
        ("Yes", true),
        ("YES", true),
        ("on", true),
        ("On", true),
        ("true", true),
        ("True", true),
        ("y", true),
        ("no", false),
        ("off", false),
        ("OFF", false),
        ("False", false),
        ("n", false),
    ] {
        let config = read(&format!("image: a\nfrom: b\nfinal: {written}\n"));
        assert_eq!(config.images[0].is_final, meant, "{written}");
    }
    for quoted in ["'yes'", "\"on\"", "!!str true", "yEs", "1"] {
        let said = refused(&format!("image: a\nfrom: b\nfinal: {quoted}\n"));
        assert!(said.contains("`final` must be a boolean"), "{quoted}: {said}");
    }
}

#[test]
fn build_arguments_are_what_yaml_1_1_reads() {
    for (written, value) in [
        ("yes", "true"),
        ("on", "true"),
        ("off", "false"),
        ("'yes'", "yes"),
        ("0755", "493"),
        ("0o17", "15"),
        ("0x1F", "31"),
        ("0b101", "5"),
        ("1_000", "1000"),
        ("-12", "-12"),
        ("08", "8"),
        ("'0755'", "0755"),
        ("1.10", "1.1"),
        ("1.0", "1"),
        ("1e3", "1000"),
        ("1e21", "1e+21"),
        ("0.00001", "1e-05"),
        ("1.2.3", "1.2.3"),
        ("2020-01-02", "2020-01-02"),
        ("1:30", "1:30"),
        ("~", ""),
        ("", ""),
        ("null", ""),
        ("'null'", "null"),
        (".inf", "+Inf"),
        ("!!str 0755", "0755"),
        ("text", "text"),
    ] {
        let image = dockerfile(&format!("image: a\ndockerfile: D\nargs:\n  A: {written}\n"));
        assert_eq!(image.args["A"], value, "{written}");
    }
}

#[test]
fn texts_stay_as_they_were_written() {
    let image = stapel(
        "image: a\nfrom: b\nfromCacheVersion: 1.10\ngit: [{to: /app, owner: 0755, group: 1_000}]\n\
         docker: {ENV: {A: yes, B: 0755, C: 1.0, D: ~}, USER: 1000}\n",
    );
    assert_eq!(image.from_cache_version.as_deref(), Some("1.10"));
    let owner = (image.git[0].owner.as_deref(), image.git[0].group.as_deref());
    assert_eq!(owner, (Some("0755"), Some("1_000")));
    let docker = image.docker.expect("a change");
    let env: Vec<(&str, &str)> = docker.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(env, [("A", "yes"), ("B", "0755"), ("C", "1.0"), ("D", "")]);
}

#[test]
fn merge_keys_bring_what_is_not_written() {
    let image = dockerfile(
        "image: a\ndockerfile: D\nargs:\n  <<: &base {A: 1, B: 2}\n  B: mine\n---\nimage: b\ndockerfile: D\n",
    );
    assert_eq!((image.args["A"].as_str(), image.args["B"].as_str()), ("1", "mine"));
    // The first of several wins; a quoted key is a key like any other.
    let image = dockerfile("image: a\ndockerfile: D\nargs: {<<: [{A: 1}, {A: 2, B: 3}], '<<': x}\n");
    assert_eq!((image.args["A"].as_str(), image.args["B"].as_str()), ("1", "3"));
    assert_eq!(image.args["<<"], "x");
}

#[test]
fn anchors_stand_for_what_they_name_and_end_with_their_document() {
    let image = stapel("image: a\nfrom: &name b\nfromCacheVersion: *name\nshell: {install: &x [c, d], setup: *x}\n");
    assert_eq!(image.from_cache_version.as_deref(), Some("b"));
    let [install, setup] = image.shell.stages.values().map(|stage| stage.commands.len()).collect::<Vec<_>>()[..] else {
        panic!("two stages")
    };
    assert_eq!((install, setup), (2, 2));
    let said = refused("image: a\nfrom: &name b\n---\nimage: c\nfrom: *name\n");
    assert!(said.contains("unknown anchor"), "{said}");
}

#[test]
fn tabs_stand_between_keys_values_and_comments_and_do_not_indent() {
    let image = stapel("image:\ta\nfrom:\t\tb\t# base\nshell:\t# commands\n  install:\t\n  - make\tall\n");
    assert_eq!(image.shell.stages.values().next().expect("a stage").commands[0].text, "make\tall");
    assert!(refused("image: a\nfrom: b\nshell:\n\tinstall: x\n").contains("indent by spaces"));
}

#[test]
fn line_breaks_of_any_kind_are_line_breaks() {
    for text in ["image: a\r\nfrom: b\r\nshell:\r\n  install: |\r\n    x\r\n    y\r\n", "\u{feff}image: a\rfrom: b\r"] {
        let config = parse("werf.yaml", &format!("{}{text}", META.replace('\n', "\r\n"))).expect(text);
        assert_eq!(config.images[0].name().0, "a");
    }
    let image = stapel("image: a\r\nfrom: b\r\nshell:\r\n  install: |\r\n    x\r\n    y\r\n");
    assert_eq!(image.shell.stages.values().next().expect("a stage").commands[0].text, "x\ny\n");
    let said = refused("image: a\r\nfrom: b\r\nfrm: c\r\n");
    assert!(said.starts_with("werf.yaml:6:1: unknown key `frm`"), "{said}");
}

#[test]
fn limits_are_named() {
    let bomb: String = (1..9)
        .map(|level| format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", ")))
        .collect();
    let said = refused(&format!("image: a\nfrom: b\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n{bomb}"));
    assert!(said.contains("too large: more than 1000000 values or 64 MiB of text, aliases counted"), "{said}");
    for deep in ["[".repeat(101), "- ".repeat(101), "{a: ".repeat(101)] {
        let said = refused(&format!("image: a\nfrom: b\nx:\n  {deep}\n"));
        assert!(said.contains("nested more than 100 deep"), "{said}");
    }
}

#[test]
fn duplicate_keys_are_refused_at_any_level() {
    for (text, place) in [
        ("image: a\nfrom: b\nfrom: c\n", "6:1"),
        ("image: a\nfrom: b\ndocker: {ENV: {A: 1, A: 2}}\n", "6:22"),
        ("image: a\nfrom: b\ngit:\n- to: /a\n  \"to\": /b\n", "8:3"),
    ] {
        let said = refused(text);
        assert!(said.starts_with(&format!("werf.yaml:{place}: duplicate key")), "{said}");
    }
}
