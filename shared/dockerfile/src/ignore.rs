//! Reading a `.dockerignore`, as moby does. What the patterns mean is no matter of this file.

/// The patterns of a `.dockerignore`: comments, blanks and a byte order mark removed, cleaned as Docker does.
///
/// A pattern keeps its `!`. A leading `/` means the context's root, as does none.
pub fn ignore_patterns(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(pattern)
        .collect()
}

fn pattern(line: &str) -> String {
    let (mark, path) = line.strip_prefix('!').map_or(("", line), |rest| ("!", rest.trim()));
    if path.is_empty() {
        return mark.to_owned();
    }
    let cleaned = clean(path);
    let relative = cleaned.strip_prefix('/').filter(|rest| !rest.is_empty()).unwrap_or(&cleaned);
    format!("{mark}{relative}")
}

/// The shortest path that means the same: no `.`, no repeated or trailing `/`, `..` resolved where something stands
/// before it. Wildcards are names like all others.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." if kept.last().is_some_and(|last| *last != "..") => {
                kept.pop();
            }
            ".." if rooted => {}
            other => kept.push(other),
        }
    }
    match (rooted, kept.join("/")) {
        (true, joined) => format!("/{joined}"),
        (false, joined) if joined.is_empty() => ".".to_owned(),
        (false, joined) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_cleaned() {
        let cases: [(&str, &[&str]); 21] = [
            ("", &[]),
            ("\u{feff}a\n", &["a"]),
            ("\u{feff}# c\na", &["a"]),
            ("# comment\n\n  \t\na\r\nb", &["a", "b"]),
            (" # no comment", &["# no comment"]),
            ("  a  ", &["a"]),
            ("a b", &["a b"]),
            ("/a/b/", &["a/b"]),
            ("./a//b/./c", &["a/b/c"]),
            ("a/../b", &["b"]),
            ("../a", &["../a"]),
            ("/../a", &["a"]),
            ("a/..", &["."]),
            (".", &["."]),
            ("/", &["/"]),
            ("!a/", &["!a"]),
            ("! /a", &["!a"]),
            ("!", &["!"]),
            ("!!a", &["!!a"]),
            ("**/*.go\n!**/x_?.go", &["**/*.go", "!**/x_?.go"]),
            ("a\\ b\n[a-z]", &["a\\ b", "[a-z]"]),
        ];
        for (text, patterns) in cases {
            assert_eq!(ignore_patterns(text), patterns, "{text:?}");
        }
    }
}
