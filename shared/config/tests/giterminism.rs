//! `werf-giterminism.yaml`: every key, what is refused, and the configuration held against it.

use slipway_config::{Giterminism, giterminism, parse};
use slipway_paths::TreePath;

fn path(text: &str) -> TreePath {
    TreePath::new(text).expect(text)
}

/// A configuration with these lines below `config`.
fn allowing(text: &str) -> Giterminism {
    let text = format!("giterminismConfigVersion: 1\n{text}\n");
    giterminism::parse("werf-giterminism.yaml", &text).unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

type Predicate = fn(&Giterminism) -> bool;

/// Each key alone, and what it allows.
const KEYS: &[(&str, Predicate)] = &[
    ("cli: {allowCustomTags: true}", |g| g.allows_custom_tags()),
    ("config: {allowUncommitted: yes}", |g| g.allows_uncommitted_config()),
    ("config: {allowUncommittedTemplates: [.werf/**/*.tmpl]}", |g| {
        g.allows_uncommitted_template(&path(".werf/a/b.tmpl"))
    }),
    ("config: {goTemplateRendering: {allowEnvVariables: [NAME]}}", |g| g.allows_env("NAME")),
    ("config: {goTemplateRendering: {allowUncommittedFiles: [conf/*]}}", |g| g.allows_template_file(&path("conf/a"))),
    ("config: {secrets: {allowEnvVariables: [TOKEN]}}", |g| g.allows_secret_env("TOKEN")),
    ("config: {secrets: {allowFiles: [~/.aws/credentials]}}", |g| g.allows_secret_file("~/.aws/credentials")),
    ("config: {secrets: {allowValueIds: [plain]}}", |g| g.allows_secret_value("plain")),
    ("config: {stapel: {allowFromLatest: true}}", |g| g.allows_from_latest()),
    ("config: {stapel: {git: {allowBranch: true}}}", |g| g.allows_branch()),
    ("config: {stapel: {mount: {allowBuildDir: true}}}", |g| g.allows_build_dir_mount()),
    ("config: {stapel: {mount: {allowFromPaths: [/a/b/c]}}}", |g| g.allows_from_path_mount("/a/b/c")),
    ("config: {dockerfile: {allowUncommitted: [Dockerfile]}}", |g| {
        g.allows_uncommitted_dockerfile(&path("Dockerfile"))
    }),
    ("config: {dockerfile: {allowUncommittedDockerignoreFiles: ['**/.dockerignore']}}", |g| {
        g.allows_uncommitted_dockerignore(&path("app/.dockerignore"))
    }),
    ("config: {dockerfile: {allowContextAddFiles: [app/dir]}}", |g| g.allows_context_add_file(&path("app/dir/file"))),
    ("helm: {allowUncommittedFiles: [.helm/**/*]}", |g| g.allows_helm_file(&path(".helm/x"))),
    ("includes: {allowIncludesUpdate: true}", |g| g.allows_includes_update()),
];

#[test]
fn every_key_allows_one_thing_and_nothing_else() {
    for (text, _) in KEYS {
        let allowed = allowing(text);
        for (other, predicate) in KEYS {
            assert_eq!(predicate(&allowed), text == other, "{text} and what {other} allows");
        }
    }
    for (text, predicate) in KEYS {
        assert!(!predicate(&Giterminism::default()), "{text}");
        assert!(predicate(&Giterminism::everything()), "{text}");
    }
}

#[test]
fn nothing_below_a_key_allows_nothing() {
    for text in ["", "config:", "config: {}", "config: {stapel: {git: }, dockerfile: {allowUncommitted: []}}", "cli: ~"]
    {
        let allowed = allowing(text);
        assert!(KEYS.iter().all(|(_, predicate)| !predicate(&allowed)), "{text}");
    }
}

#[test]
fn the_version_is_a_number_or_a_text() {
    for text in ["1", "\"1\"", "'1'", "1 # note"] {
        let text = format!("# note\n---\ngiterminismConfigVersion: {text}\r\n");
        assert!(giterminism::parse("g", &text).is_ok(), "{text}");
    }
}

#[test]
fn paths_are_globs_that_take_what_lies_below() {
    for (glob, taken, not_taken) in [
        ("app/file", &["app/file"][..], &["app/file2", "app", "file", "x/app/file"][..]),
        ("app/dir/", &["app/dir", "app/dir/a", "app/dir/a/b"], &["app/dirs", "app/d"]),
        ("**/*", &["a", "a/b/c"], &[]),
        ("**", &["a", "a/b/c"], &[]),
        ("*.out", &["a.out", "a.out/x"], &["b/a.out"]),
        ("**/*.out", &["a.out", "b/c/a.out"], &["a.outer"]),
        ("a/{b,c}/?", &["a/b/x", "a/c/y/z"], &["a/d/x", "a/b"]),
        ("/rooted", &["rooted"], &["x/rooted"]),
    ] {
        let allowed = allowing(&format!("config: {{dockerfile: {{allowContextAddFiles: ['{glob}']}}}}"));
        for given in taken {
            assert!(allowed.allows_context_add_file(&path(given)), "{glob} takes {given}");
        }
        for given in not_taken {
            assert!(!allowed.allows_context_add_file(&path(given)), "{glob} does not take {given}");
        }
    }
}

#[test]
fn paths_of_the_host_begin_where_their_glob_does() {
    for (glob, taken, not_taken) in [
        ("/a/b/c", &["/a/b/c", "/a/b/c/d", "/a/./b/c/"][..], &["a/b/c", "~/a/b/c", "/a/b", "/a/b/c/../../x"][..]),
        ("cache", &["cache", "./cache/x"], &["/cache", "~/cache"]),
        ("~/.cache", &["~/.cache/x"], &["/.cache", ".cache", "~"]),
        ("**/*", &["/a", "b", "~/c", "../d"], &[]),
        ("/**", &["/a/b"], &["b", "~/c"]),
    ] {
        let allowed = allowing(&format!("config: {{stapel: {{mount: {{allowFromPaths: ['{glob}']}}}}}}"));
        for given in taken {
            assert!(allowed.allows_from_path_mount(given), "{glob} takes {given}");
        }
        for given in not_taken {
            assert!(!allowed.allows_from_path_mount(given), "{glob} does not take {given}");
        }
    }
}

#[test]
fn fixture_58_variables_are_plain_names_or_expressions_between_slashes() {
    for (given, taken, not_taken) in [
        ("NAME", &["NAME"][..], &["NAMES", "name", ""][..]),
        ("/NA.*/", &["NAME", "NA"], &["XNAME", "N"]),
        ("NA.*", &["NA.*"], &["NAME"]),
        ("/A|B/", &["A", "B"], &["AX", "XB", "AB"]),
        ("/", &["/"], &["", "x"]),
        ("//", &[""], &["x"]),
    ] {
        let allowed = allowing(&format!("config: {{goTemplateRendering: {{allowEnvVariables: ['{given}']}}}}"));
        for name in taken {
            assert!(allowed.allows_env(name), "{given} takes {name}");
        }
        for name in not_taken {
            assert!(!allowed.allows_env(name), "{given} does not take {name}");
        }
    }
    // Names of secrets are plain.
    assert!(!allowing("config: {secrets: {allowEnvVariables: ['/NA.*/']}}").allows_secret_env("NAME"));
}

#[test]
fn all_problems_are_shown_at_once_and_a_huge_file_is_none() {
    let text = "giterminismConfigVersion: 3\ncli: 1\nconfig: {allowUncommitted: x, x: 1}\n";
    let problems = giterminism::parse("g.yaml", text).expect_err("problems");
    assert_eq!(problems.list.len(), 4, "{problems}");
    let problems = giterminism::parse("g.yaml", &"#".repeat((1 << 20) + 1)).expect_err("too large");
    assert!(problems.to_string().contains("up to 1048576 are read"), "{problems}");
}

const PROJECT: &str = "configVersion: 1\nproject: p\n---\nimage: a\nfrom: b\nfromLatest: true\n\
    git: [{url: 'https://h/x', branch: main, to: /x}]\nmount:\n- {from: build_dir, to: /m}\n- {fromPath: /a/b/c, to: /n}\n\
    secrets: [{env: TOKEN}, {src: ~/key}, {id: plain, value: hush}]\n---\nimage: d\ndockerfile: D\ncontext: app\n\
    contextAddFiles: [file1, dir1/]\n";

#[test]
fn fixture_59_what_comes_from_outside_of_the_commit_must_be_allowed() {
    let config = parse("werf.yaml", PROJECT).expect("a configuration");
    let all = Giterminism::default().check(&config, "werf.yaml", PROJECT, "g.yaml").expect_err("nothing is allowed");
    let shown = all.to_string();
    let found = "the configuration with potential external dependency found in the werf config: ";
    let rows = [
        ("6:1", "fromLatest directive not allowed by giterminism", "config: {stapel: {allowFromLatest: true}}"),
        ("7:28", "git branch directive not allowed", "config: {stapel: {git: {allowBranch: true}}}"),
        ("9:10", "\"mount { from: build_dir, ... }\" not allowed", "config: {stapel: {mount: {allowBuildDir: true}}}"),
        (
            "10:14",
            "\"mount { fromPath: /a/b/c, ... }\" not allowed",
            "config: {stapel: {mount: {allowFromPaths: ['**/*']}}}",
        ),
        ("11:17", "secret \"TOKEN\" is not allowed by giterminism", "config: {secrets: {allowEnvVariables: [TOKEN]}}"),
        ("11:31", "secret \"~/key\" is not allowed by giterminism", "config: {secrets: {allowFiles: [~/key]}}"),
        ("11:39", "secret \"plain\" is not allowed by giterminism", "config: {secrets: {allowValueIds: [plain]}}"),
        (
            "16:19",
            "contextAddFile \"app/file1\" not allowed",
            "config: {dockerfile: {allowContextAddFiles: [app/file1]}}",
        ),
        (
            "16:26",
            "contextAddFile \"app/dir1\" not allowed",
            "config: {dockerfile: {allowContextAddFiles: [app/dir1]}}",
        ),
    ];
    assert_eq!(all.list.len(), rows.len(), "{shown}");
    assert!(!shown.contains("hush"), "a secret is shown:\n{shown}");
    for (place, message, allowed) in rows {
        let line = format!("werf.yaml:{place}: {found}{message}");
        assert!(shown.contains(&line), "expected {line:?} in\n{shown}");
        let rest = allowing(allowed).check(&config, "werf.yaml", PROJECT, "g.yaml").expect_err("the others");
        assert_eq!(rest.list.len(), rows.len() - 1, "{allowed}:\n{rest}");
        assert!(!rest.to_string().contains(&line), "{allowed}:\n{rest}");
    }
    // Each says how to allow it.
    for key in ["config.stapel.allowFromLatest: true", "config.stapel.git.allowBranch: true", "allowBuildDir: true"] {
        assert!(shown.contains(&format!("{key}` in g.yaml")), "{key}:\n{shown}");
    }
    assert!(shown.contains("adding `app/file1` to `config.dockerfile.allowContextAddFiles` in g.yaml"), "{shown}");
    assert!(Giterminism::everything().check(&config, "werf.yaml", PROJECT, "g.yaml").is_ok());
}
