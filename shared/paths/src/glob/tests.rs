use proptest::prelude::*;

use super::*;

fn path(text: &str) -> TreePath {
    TreePath::new(text).expect(text)
}

fn glob(text: &str) -> Glob {
    Glob::new(text).expect(text)
}

#[test]
fn a_glob_selects_what_matches_and_all_below() {
    for (pattern, selected, left) in [
        ("src", &["src", "src/a", "src/a/b"][..], &["srcs", "a/src", "sr"][..]),
        ("src/", &["src/a"], &["source"]),
        ("/src", &["src/a"], &["x/src"]),
        ("./src", &["src/a"], &["x/src"]),
        ("src/*", &["src", "src/a", "src/a/b/c"], &["lib/a"]),
        ("src/**", &["src", "src/a", "src/a/b/c"], &["lib/a"]),
        ("src/**/*", &["src/a", "src/a/b/c"], &["lib/a"]),
        ("", &["a", "a/b"], &[]),
        (".", &["a", "a/b"], &[]),
        ("*", &["a", "a/b"], &[]),
        ("**", &["a", ".hidden/b"], &[]),
        ("**/*.rs", &["a.rs", "x/y/a.rs", "dir.rs/inside"], &["a.c", "x/rs"]),
        ("*.rs", &["a.rs", ".rs"], &["x/a.rs"]),
        ("src/*/lib", &["src/a/lib", "src/a/lib/x"], &["src/lib", "src/a/b/lib"]),
        ("src/**/lib", &["src/lib", "src/a/b/lib/x"], &["src/libs"]),
        ("werf-**.yaml", &["werf-.yaml", "werf-giterminism.yaml"], &["werf-a/b.yaml"]),
        ("{src,lib}/*.{rs,toml}", &["src/a.rs", "lib/b.toml"], &["bin/a.rs", "src/a.c"]),
        ("{a/b,c{d,e}}/x", &["a/b/x", "cd/x", "ce/x"], &["a/x", "c/x"]),
        ("a{,b}", &["a", "ab"], &["b"]),
        ("file[0-9]", &["file0", "file9/x"], &["filea", "file"]),
        ("file[^0-9]", &["filea"], &["file0", "file"]),
        ("file[!0-9]", &["filea"], &["file0"]),
        ("[a-]x", &["ax", "-x"], &["bx"]),
        ("[\\]]", &["]"], &["\\"]),
        ("\\*", &["*"], &["a"]),
        ("a\\{b", &["a{b"], &["ab"]),
        ("?.txt", &["a.txt", "я.txt"], &["ab.txt", ".txt"]),
        ("[а-я].txt", &["ж.txt"], &["z.txt"]),
        ("a b/c", &["a b/c"], &["a"]),
    ] {
        for name in selected {
            assert!(glob(pattern).selects(&path(name)), "{pattern} leaves {name}");
        }
        for name in left {
            assert!(!glob(pattern).selects(&path(name)), "{pattern} selects {name}");
        }
    }
}

#[test]
fn a_plain_match_takes_no_descendants() {
    for (pattern, name, expected) in [
        ("src", "src", true),
        ("src", "src/a", false),
        ("src/*", "src/a", true),
        ("src/*", "src/a/b", false),
        ("src/**", "src/a/b", true),
        (".werf/**/*.tmpl", ".werf/a.tmpl", true),
        (".werf/**/*.tmpl", ".werf/x/y/a.tmpl", true),
        (".werf/**/*.tmpl", ".werf/a.tmpl/x", false),
    ] {
        assert_eq!(glob(pattern).is_match(&path(name)), expected, "{pattern} {name}");
    }
}

#[test]
fn names_are_bytes() {
    let name = TreePath::new(b"a\xff\xfe.bin").expect("a path");
    assert!(glob("a??.bin").selects(&name));
    assert!(glob("a*").selects(&name));
    assert!(glob("a[^x]?.bin").selects(&name));
    assert!(!glob("a?.bin").selects(&name));
}

#[test]
fn what_is_no_glob_is_refused() {
    let long = "a".repeat(5000);
    let wide = "{a,b}".repeat(11);
    let deep = "{a,".repeat(40) + &"}".repeat(40);
    let many = "a/".repeat(64);
    for pattern in [
        "..", "a/../b", "{..,a}/b", "[", "[a", "[]", "[z-a]", "[a/b]", "{a", "{a,b", "a\\", "a\0b", &long, &wide,
        &deep, &many,
    ] {
        let error = validate(pattern).expect_err(pattern);
        assert!(error.to_string().contains("is no valid glob"), "{error}");
    }
    assert!(validate("a..b/c...").is_ok());
}

#[test]
fn many_stars_take_no_time() {
    let pattern = "a*".repeat(500) + "b";
    assert!(!glob(&pattern).selects(&path(&"a".repeat(4000))));
    let deep = "**/a/".repeat(31) + "b";
    assert!(!glob(&deep).selects(&path(&"a/".repeat(2000))));
}

#[test]
fn walks_enter_only_what_may_hold_a_match() {
    for (pattern, directory, expected) in [
        ("src/a", "", Reach::Some),
        ("src/a", "src", Reach::Some),
        ("src/a", "src/a", Reach::All),
        ("src/a", "src/a/b", Reach::All),
        ("src/a", "lib", Reach::Nothing),
        ("src/*/x", "src/b", Reach::Some),
        ("src/*/x", "src/b/y", Reach::Nothing),
        ("**/x", "a/b/c", Reach::Some),
        ("*.txt", "dir", Reach::Nothing),
        ("", "dir", Reach::All),
        ("src/**", "src", Reach::All),
        ("{a,b/c}", "b", Reach::Some),
    ] {
        assert_eq!(glob(pattern).reach_below(&path(directory)), expected, "{pattern} {directory}");
    }
}

/// The rule as it is written down, without care for time.
fn naive(pattern: &[char], name: &[char]) -> bool {
    match pattern {
        [] => name.is_empty(),
        ['*', '*', '/', rest @ ..] => {
            naive(rest, name) || (0..name.len()).any(|i| name[i] == '/' && naive(rest, &name[i + 1..]))
        }
        ['*', rest @ ..] => {
            let end = name.iter().position(|c| *c == '/').unwrap_or(name.len());
            (0..=end).any(|i| naive(rest, &name[i..]))
        }
        ['?', rest @ ..] => matches!(name, [c, tail @ ..] if *c != '/' && naive(rest, tail)),
        [wanted, rest @ ..] => matches!(name, [c, tail @ ..] if c == wanted && naive(rest, tail)),
    }
}

fn naive_selects(pattern: &str, name: &str) -> bool {
    let mut parts: Vec<&str> = pattern.split('/').collect();
    while parts.last().is_some_and(|part| matches!(*part, "*" | "**")) {
        parts.pop();
    }
    let stripped: Vec<char> = parts.join("/").chars().collect();
    let ends = name.match_indices('/').map(|(i, _)| i).chain([name.len()]);
    stripped.is_empty() || ends.into_iter().any(|end| naive(&stripped, &name[..end].chars().collect::<Vec<_>>()))
}

proptest! {
    #[test]
    fn the_fast_matcher_agrees_with_the_naive_one(
        pattern in prop::collection::vec("(\\*\\*|[ab*?]{1,4})", 1..5),
        name in prop::collection::vec("[ab]{1,4}", 1..6),
    ) {
        // Inside a segment `**` is `*`; the naive matcher knows it as a segment only.
        let single = |part: &String| if part == "**" { part.clone() } else { part.replace("**", "*").replace("**", "*") };
        let pattern = pattern.iter().map(single).collect::<Vec<_>>().join("/");
        let name = name.join("/");
        prop_assert_eq!(glob(&pattern).selects(&path(&name)), naive_selects(&pattern, &name));
    }

    #[test]
    fn a_selected_file_is_reached(
        pattern in "(\\*\\*/)?[ab*?]{1,3}(/[ab*?]{1,3}){0,3}",
        name in prop::collection::vec("[ab]{1,3}", 1..6),
    ) {
        let glob = glob(&pattern);
        let file = path(&name.join("/"));
        if glob.selects(&file) {
            let mut directory = file.parent();
            while let Some(above) = directory {
                prop_assert_ne!(glob.reach_below(&above), Reach::Nothing);
                directory = above.parent();
            }
        }
    }

    #[test]
    fn everything_below_a_selected_directory_is_selected(
        pattern in "(\\*\\*/)?[ab*?]{1,3}(/[ab*?]{1,3}){0,3}",
        directory in prop::collection::vec("[ab]{1,3}", 0..4),
        below in prop::collection::vec("[ab]{1,3}", 1..3),
    ) {
        let (glob, directory) = (glob(&pattern), path(&directory.join("/")));
        if glob.reach_below(&directory) == Reach::All {
            prop_assert!(glob.selects(&directory.join(below.join("/").as_bytes())));
        }
    }

    #[test]
    fn no_text_breaks_the_parser(text in "\\PC{0,40}", shape in "[a{},*?/\\[\\]\\\\!^.-]{0,40}") {
        let _ = Glob::new(&text).map(|glob| glob.selects(&path("a/b")));
        let _ = Glob::new(&shape).map(|glob| glob.selects(&path("a/b")));
    }
}
