use proptest::prelude::*;

use super::*;

fn path(text: &str) -> TreePath {
    TreePath::new(text).expect(text)
}

fn ignoring(lines: &[&str]) -> ContextFilter {
    ContextFilter { ignore: lines.iter().map(ToString::to_string).collect(), ..ContextFilter::default() }
}

fn taking(sources: &[&str]) -> ContextFilter {
    ContextFilter { sources: Some(sources.iter().map(ToString::to_string).collect()), ..ContextFilter::default() }
}

#[test]
fn patterns_follow_dockers_rules() {
    for (line, ignored, left) in [
        ("docs", &["docs", "docs/a", "docs/a/b"][..], &["a/docs", "docs2"][..]),
        ("/docs/", &["docs/a"], &["a/docs"]),
        ("./docs//x/..", &["docs/a"], &["a/docs"]),
        ("/../docs", &["docs/a"], &["a/docs"]),
        ("*/temp*", &["a/temporary.txt", "a/temp"], &["temp", "a/b/temp"]),
        ("temp?", &["tempa", "tempb/x"], &["temp", "tempab"]),
        ("*", &["a", "a/b"], &[]),
        ("**", &["a", "a/b"], &[]),
        ("**/*.go", &["a.go", "x/y/a.go"], &["a.rs", "go"]),
        ("**/foo", &["foo", "a/foo", "a/b/foo/c"], &["xfoo", "a/xfoo"]),
        ("**foo", &["foo", "xfoo", "a/xfoo"], &["foox"]),
        ("foo/**", &["foo/a", "foo/a/b"], &["foo", "foobar"]),
        ("foo**", &["foo", "foobar", "foo/x"], &["afoo"]),
        ("a/**/b", &["a/b", "a/x/b", "a/x/y/b/c"], &["a/xb", "b"]),
        ("a**b", &["ab", "ax/b", "ax/y/b"], &["axb", "ax/yb"]),
        ("**/a/**", &["a/x", "y/a/x"], &["a", "y/a"]),
        ("file[0-9].txt", &["file1.txt"], &["filea.txt"]),
        ("file[^0-9].txt", &["filea.txt"], &["file1.txt"]),
        ("\\*", &["*"], &["a"]),
        ("{a,b}", &["{a,b}"], &["a", "b"]),
        (".", &[], &["a", "a/b"]),
        ("../a", &[], &["a"]),
        ("  spaced  ", &["spaced"], &[]),
        ("б?", &["бя"], &["бяя"]),
    ] {
        let filter = ignoring(&[line]);
        for name in ignored {
            assert!(!filter.keeps(&path(name)), "{line} leaves {name}");
        }
        for name in left {
            assert!(filter.keeps(&path(name)), "{line} ignores {name}");
        }
    }
}

#[test]
fn the_last_match_decides() {
    let lines = ["pkg/**/*.go", "!**/*_test.go", "!README_ru.md", "**/*.md", "!README.md", "docs", ".git"];
    let filter = ignoring(&lines);
    for (name, kept) in [
        ("pkg/a/b.go", false),
        ("pkg/a/b_test.go", true),
        ("README_ru.md", false),
        ("README.md", true),
        ("docs/x.txt", false),
        (".git/HEAD", false),
        ("main.go", true),
    ] {
        assert_eq!(filter.keeps(&path(name)), kept, "{name}");
    }
}

#[test]
fn files_below_an_ignored_directory_can_be_taken_back() {
    let filter = ignoring(&["*", "! src/keep", "src/keep/not"]);
    assert!(filter.keeps(&path("src/keep/a")));
    assert!(!filter.keeps(&path("src/keep/not/a")));
    for (directory, walked) in
        [("", true), ("src", true), ("src/keep", true), ("src/keep/x", true), ("src/keep/not", false), ("lib", false)]
    {
        assert_eq!(filter.may_keep_below(&path(directory)), walked, "{directory}");
    }
    assert!(!ignoring(&["node_modules/**", "!other"]).may_keep_below(&path("node_modules")));
    assert!(ignoring(&["node_modules", "!**/keep"]).may_keep_below(&path("node_modules/x")));
}

#[test]
fn sources_name_what_is_copied() {
    for (sources, kept, left) in [
        (&["."][..], &["a", "a/b"][..], &[][..]),
        (&["/"], &["a", "a/b"], &[]),
        (&[""], &["a"], &[]),
        (&["src"], &["src/a", "src/a/b"], &["lib", "srcs"]),
        (&["src/", "./go.mod"], &["src/a", "go.mod"], &["go.sum"]),
        (&["*.md"], &["a.md"], &["x/a.md", "a.txt"]),
        (&["src/*"], &["src/a", "src/a/b"], &["lib/a"]),
        (&["**/a"], &["x/a"], &["a", "x/y/a"]),
        (&["{a,b}"], &["{a,b}"], &["a"]),
        (&["../up"], &["up/x"], &["x"]),
        (&["a[!b]"], &["a!", "ab"], &["ac"]),
        (&[], &[], &["a"]),
    ] {
        let filter = taking(sources);
        for name in kept {
            assert!(filter.keeps(&path(name)), "{sources:?} leaves {name}");
        }
        for name in left {
            assert!(!filter.keeps(&path(name)), "{sources:?} takes {name}");
        }
    }
    assert!(taking(&["src/a"]).may_keep_below(&path("src")));
    assert!(!taking(&["src/a"]).may_keep_below(&path("lib")));
}

#[test]
fn bad_lines_are_refused() {
    for line in ["!", "! ", "[", "[]", "[b-a]", "a\\"] {
        assert!(validate(line).is_err(), "{line}");
    }
    assert!(!ignoring(&["["]).keeps(&path("a")));
}

#[test]
fn many_stars_take_no_time() {
    let filter = ignoring(&["a*".repeat(300).as_str(), "**/a".repeat(100).as_str()]);
    assert!(filter.keeps(&path(&format!("b{}", "a".repeat(3000)))));
}

proptest! {
    #[test]
    fn a_kept_file_is_reached(
        lines in prop::collection::vec("!?(\\*\\*/?)?[ab*?]{1,2}(/[ab*?]{1,3}){0,2}(/?\\*\\*)?", 0..5),
        name in prop::collection::vec("[ab]{1,3}", 1..5),
    ) {
        let filter = ContextFilter { ignore: lines, ..ContextFilter::default() };
        let file = path(&name.join("/"));
        if filter.keeps(&file) {
            let mut directory = file.parent();
            while let Some(above) = directory {
                prop_assert!(filter.may_keep_below(&above), "{above}");
                directory = above.parent();
            }
        }
    }
}

#[test]
fn a_path_is_taken_back_with_what_lies_below() {
    for name in ["dir", "a b", " a ", "w[x]y", "star*", "q?", "back\\slash", "!bang", "deep/er", "ü"] {
        let path = TreePath::new(name).expect(name);
        let filter = ignoring(&["**", &super::taking_back(&path)]);
        assert!(filter.keeps(&path) && filter.keeps(&path.join(b"x/y")), "{name}");
        assert!(filter.may_keep_below(&path), "{name}");
        for other in ["other", "starry", "wxy", "qq"] {
            assert!(!filter.keeps(&TreePath::new(other).expect(other)), "{name} and {other}");
        }
    }
}
