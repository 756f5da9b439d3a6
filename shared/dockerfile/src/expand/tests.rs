//! Tables of words.

use super::*;

fn scope() -> Scope {
    let mut scope = Scope::default();
    for (name, value) in [
        ("x", "value"),
        ("empty", ""),
        ("path", "/usr/local/bin/tool.tar.gz"),
        ("spaced", "a b"),
        ("_u1", "under"),
        ("dots", "a.b.c"),
        ("star", "a*b"),
        ("quote", "\"q'"),
        ("é", "accent"),
        ("pattern", "/usr/*/"),
    ] {
        scope.set(name, Value::Set(value.to_owned()));
    }
    scope.set("base", Value::Unknown);
    scope
}

/// Words and what they become.
const WORDS: &[(&str, &str)] = &[
    ("", ""),
    ("plain", "plain"),
    ("$x", "value"),
    ("${x}", "value"),
    ("a${x}b", "avalueb"),
    ("$x$x", "valuevalue"),
    ("$x.txt", "value.txt"),
    ("$x_y", ""),
    ("$_u1", "under"),
    ("$é", "accent"),
    ("$none", ""),
    ("${none}", ""),
    ("$", "$"),
    ("a$", "a$"),
    ("$ x", "$ x"),
    ("$/x", "$/x"),
    ("$1x", "x"),
    ("$12x", "x"),
    ("$@", ""),
    ("$$x", "x"),
    ("${x:-w}", "value"),
    ("${none:-w}", "w"),
    ("${empty:-w}", "w"),
    ("${empty-w}", ""),
    ("${none-w}", "w"),
    ("${none:-}", ""),
    ("${none:-${x}}", "value"),
    ("${none:-a${none:-$x}b}", "avalueb"),
    ("${none:-'}'}", "}"),
    ("${none:-\\}}", "}"),
    ("${none:-\"a b\"}", "a b"),
    ("${x:+w}", "w"),
    ("${none:+w}", ""),
    ("${empty:+w}", ""),
    ("${empty+w}", "w"),
    ("${none+w}", ""),
    ("${x:?bad}", "value"),
    ("${x?bad}", "value"),
    ("${empty?bad}", ""),
    ("${path#*/}", "usr/local/bin/tool.tar.gz"),
    ("${path##*/}", "tool.tar.gz"),
    ("${path%.*}", "/usr/local/bin/tool.tar"),
    ("${path%%.*}", "/usr/local/bin/tool"),
    ("${path#/usr/?????/}", "bin/tool.tar.gz"),
    ("${path#none}", "/usr/local/bin/tool.tar.gz"),
    ("${path##$pattern}", "tool.tar.gz"),
    ("${none#a}", ""),
    ("${star#a\\*}", "b"),
    ("${star%\\**}", "a"),
    ("${dots/./-}", "a-b.c"),
    ("${dots//./-}", "a-b-c"),
    ("${dots//./}", "abc"),
    ("${path//\\//_}", "_usr_local_bin_tool.tar.gz"),
    ("${x/a*e/_}", "v_"),
    ("${x//?/-}", "-----"),
    ("${x/none/-}", "value"),
    ("${star//\\*/x}", "axb"),
    ("${none/a/b}", ""),
    ("${none/*/b}", "b"),
    ("${x//*/y}", "y"),
    ("${dots///-}", "-a-.-b-.-c-"),
    ("${dots///}", "a.b.c"),
    ("${x/a/\\_}", "v\\_lue"),
    ("${x:#va}", "lue"),
    ("${x%%}", "value"),
    ("'$x'", "$x"),
    ("\"$x\"", "value"),
    ("'a\"b'", "a\"b"),
    ("\"a'b\"", "a'b"),
    ("\"a\\\"b\"", "a\"b"),
    ("\"\\$x\"", "$x"),
    ("\"\\\\\"", "\\"),
    ("\"\\n\"", "\\n"),
    ("'\\n'", "\\n"),
    ("\\$x", "$x"),
    ("\\\\$x", "\\value"),
    ("\\'a", "'a"),
    ("a\\ b", "a b"),
    ("a\\", "a"),
    ("\"$spaced\"'c d'e", "a bc de"),
    ("$quote", "\"q'"),
    ("{x}", "{x}"),
    ("`x`", "`x`"),
];

#[test]
fn words_are_expanded() {
    let lexer = Lexer::new('\\');
    for (word, text) in WORDS {
        let expanded = lexer.expand(word, &scope());
        assert_eq!(expanded, Ok(Expanded { text: (*text).to_owned(), unknown: false }), "{word}");
    }
}

#[test]
fn the_escape_character_can_be_a_backtick() {
    let lexer = Lexer::new('`');
    let cases = [
        ("`$x", "$x"),
        ("C:\\$x", "C:\\value"),
        ("\"`\"\"", "\""),
        ("a` b", "a b"),
        ("${star#a\\*}", "b"),
        ("``", "`"),
    ];
    for (word, text) in cases {
        assert_eq!(lexer.expand(word, &scope()).map(|expanded| expanded.text).as_deref(), Ok(text), "{word}");
    }
}

#[test]
fn a_base_images_variable_is_unknown() {
    let lexer = Lexer::new('\\');
    for word in
        ["$base", "${base}", "a${base:-w}", "${base:+w}", "${base:?e}", "${base#a}", "${none:-$base}", "\"$base\""]
    {
        assert_eq!(lexer.expand(word, &scope()).map(|expanded| expanded.unknown), Ok(true), "{word}");
    }
    assert_eq!(lexer.expand("$x", &Scope::open()).map(|expanded| expanded.unknown), Ok(true));
    assert_eq!(lexer.expand("'$base'", &scope()).map(|expanded| expanded.unknown), Ok(false));
}

#[test]
fn what_cannot_be_expanded_says_why() {
    let deep = "${n:-".repeat(100_000);
    let cases = [
        ("'a", "single quote"),
        ("\"a", "double quote"),
        ("\"a\\", "double quote"),
        ("${", "`}` is missing"),
        ("${x", "`}` is missing"),
        ("${x:", "`}` is missing"),
        ("${x:-w", "`}` is missing"),
        ("${}", "name is expected"),
        ("${:x}", "name is expected"),
        ("${{x}}", "name is expected"),
        ("${x:=w}", "`:=`"),
        ("${x#\\v}", "`\\v` is no escape"),
        ("${x/\"\\/b}", "double quote"),
        ("${x!w}", "`!`"),
        ("${x y}", "` `"),
        ("${none:?give none}", "the variable none is not set: give none"),
        ("${empty:?}", "the variable empty is not set"),
        ("${none?e}", "not set: e"),
        ("${x/a}", "`/` is missing"),
        ("${x/a/b", "`}` is missing"),
        (&deep, "inside of each other"),
    ];
    let lexer = Lexer::new('\\');
    for (word, why) in cases {
        let message = lexer.expand(word, &scope()).expect_err(why);
        assert!(message.contains(why), "{why}: {message}");
        assert!(message.len() < 1000, "{why}");
    }
}

#[test]
fn work_and_length_are_limited() {
    let lexer = Lexer::new('\\');
    let mut scope = Scope::default();
    scope.set("big", Value::Set("a".repeat(600_000)));
    assert!(lexer.expand("$big$big", &scope).expect_err("too long").contains("more than"));
    let slow = format!("${{big//{}b/}}", "a*".repeat(1000));
    assert!(lexer.expand(&slow, &scope).expect_err("too slow").contains("takes too long"));
    let grown = lexer.expand("${big//a/0123456789012345678901234567890123456789}", &scope);
    assert!(grown.is_err(), "a replacement can make a value longer");
}
