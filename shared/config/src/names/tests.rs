use super::*;
use crate::parse;

fn config() -> Config {
    let mut text = "configVersion: 1\nproject: p\n".to_owned();
    for image in ["backend", "frontend", "db", "[redis, cache]", "app1", "app2", "group/one", "group/two"] {
        text.push_str(&format!("---\nimage: {image}\ndockerfile: Dockerfile\n"));
    }
    text.push_str("---\nartifact: tools\nfrom: alpine\n");
    parse("werf.yaml", &text).expect("a configuration")
}

fn chosen(patterns: &[&str]) -> Result<Vec<String>, SelectError> {
    let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
    let config = config();
    let images = select(&config, &patterns)?;
    Ok(images.iter().map(|image| image.name().to_string()).collect())
}

#[test]
fn fixture_63_patterns_select_images() {
    let all = ["backend", "frontend", "db", "redis", "app1", "app2", "group/one", "group/two"];
    let rows: &[(&[&str], &[&str])] = &[
        (&[], &all),
        (&["db", "backend"], &["backend", "db"]),
        (&["cache"], &["redis"]),
        (&["tools"], &["tools"]),
        (&["app*"], &["app1", "app2"]),
        (&["*end"], &["backend", "frontend"]),
        (&["app[2-9]", "d?"], &["db", "app2"]),
        (&["group/*"], &["group/one", "group/two"]),
        (&["*"], &["backend", "frontend", "db", "redis", "app1", "app2"]),
        (&["!app*", "!group/*"], &["backend", "frontend", "db", "redis"]),
        (&["*", "!app1", "!db"], &["backend", "frontend", "redis", "app2"]),
        (&["app1", "!app*"], &["app1"]),
        (&["!nothing"], &all),
    ];
    for (patterns, expected) in rows {
        assert_eq!(chosen(patterns).expect("images"), *expected, "{patterns:?}");
    }
}

#[test]
fn fixture_63_wrong_patterns_are_told() {
    let long = "a".repeat(101);
    for (pattern, message) in [
        ("bakend", "no image matches pattern `bakend`; did you mean `backend`?"),
        ("nonexistent", "no image matches pattern `nonexistent`; images: backend, frontend"),
        ("tool*", "no image matches pattern"),
        ("app**", "recursive glob (**) not supported"),
        ("!a**", "recursive glob (**) not supported"),
        (&long, "pattern too long"),
        ("app|db", "special characters not allowed"),
        ("app[", "invalid pattern"),
        ("![a", "invalid pattern"),
        ("app\\", "invalid pattern"),
        ("[-]", "invalid pattern"),
        ("", "invalid pattern"),
    ] {
        let error = chosen(&[pattern]).expect_err(pattern).to_string();
        assert!(error.contains(message), "{pattern}: {error}");
    }
}

#[test]
fn matching_does_not_explode() {
    let pattern = "a*".repeat(49) + "b";
    assert!(!matches(&pattern, &"a".repeat(250)));
    assert!(matches("a*c*e", "abcde"));
    assert!(!matches("a*", "a/b"));
    assert!(matches("*/b", "a/b"));
}
