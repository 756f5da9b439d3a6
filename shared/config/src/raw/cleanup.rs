//! `cleanup`: for other commands; its rules are checked, its values are not kept.

use super::{Reader, section::Section, value::Written};
use crate::yaml::shorten;

const KEYS: [&str; 6] = [
    "disable",
    "disableKubernetesBasedPolicy",
    "disableGitHistoryBasedPolicy",
    "disableBuiltWithinLastNHoursPolicy",
    "keepImagesBuiltWithinLastNHours",
    "keepPolicies",
];
const POLICY_KEYS: [&str; 2] = ["references", "imagesPerReference"];
const REFERENCES_KEYS: [&str; 3] = ["tag", "branch", "limit"];
const LIMIT_KEYS: [&str; 3] = ["last", "in", "operator"];
const IMAGES_KEYS: [&str; 4] = ["last", "in", "publishedIn", "operator"];

/// Checks the `cleanup` of the meta section.
pub(super) fn check(reader: &mut Reader<'_>, meta: &Section<'_>) {
    let Some(cleanup) = reader.subsection(meta, "cleanup", &KEYS) else { return };
    for key in &KEYS[..4] {
        reader.flag(&cleanup, key);
    }
    reader.number(&cleanup, "keepImagesBuiltWithinLastNHours", 0);
    for policy in reader.subsections(&cleanup, "keepPolicies", &POLICY_KEYS) {
        check_policy(reader, &policy);
    }
}

fn check_policy(reader: &mut Reader<'_>, policy: &Section<'_>) {
    let hint = "write `references: {branch: /.*/}` or `references: {tag: /.*/}`";
    match reader.subsection(policy, "references", &REFERENCES_KEYS) {
        Some(references) => check_references(reader, &references),
        None if policy.get("references").is_none() => {
            reader.missing(policy, "references", "an entry of `keepPolicies` has no `references`", hint);
        }
        None => {}
    }
    if let Some(images) = reader.subsection(policy, "imagesPerReference", &IMAGES_KEYS) {
        check_limit(reader, &images);
    }
}

fn check_references(reader: &mut Reader<'_>, references: &Section<'_>) {
    let (tag, branch) = (reader.text(references, "tag"), reader.text(references, "branch"));
    if references.get("tag").is_some() == references.get("branch").is_some() {
        let message = "`references` needs either `tag` or `branch`, and only one of them";
        reader.refuse(references.position, message, "write one policy for tags and another one for branches");
    }
    for pattern in tag.iter().chain(&branch) {
        check_pattern(reader, pattern);
    }
    if let Some(limit) = reader.subsection(references, "limit", &LIMIT_KEYS) {
        check_limit(reader, &limit);
    }
}

/// `last`, `in` and `operator`.
fn check_limit(reader: &mut Reader<'_>, limit: &Section<'_>) {
    reader.number(limit, "last", -1);
    for key in ["in", "publishedIn"] {
        let Some(written) = reader.text(limit, key) else { continue };
        if super::healthcheck::duration(&written.text).is_none() {
            let message = format!("`{key}` is no duration: `{}`", shorten(&written.text));
            reader.refuse(written.position, message, "write hours, minutes or seconds, such as `168h` or `1h30m`");
        }
    }
    if let Some(written) = reader.text(limit, "operator")
        && !matches!(written.text.as_str(), "And" | "Or")
    {
        let message = format!("unsupported `operator` `{}`", shorten(&written.text));
        reader.refuse(written.position, message, "write `And` or `Or`");
    }
}

/// A name, or an expression between slashes.
fn check_pattern(reader: &mut Reader<'_>, pattern: &Written) {
    let text = pattern.text.as_str();
    if text.is_empty() {
        reader.refuse(pattern.position, "the pattern is empty", "write a name, or `/.*/` for all");
        return;
    }
    let fault = if text.len() > 1 && text.starts_with('/') && text.ends_with('/') {
        expression_fault(&text[1..text.len() - 1])
    } else {
        None
    };
    if let Some(fault) = fault {
        let message = format!("bad regular expression `{}`: {fault}", shorten(text));
        reader.refuse(pattern.position, message, "write a name, or an expression between slashes: `/release-.*/`");
    }
}

/// Why `expression` cannot be a regular expression: brackets, repetitions and escapes are checked.
fn expression_fault(expression: &str) -> Option<&'static str> {
    let mut depth = 0_usize;
    let mut repeatable = false;
    let mut characters = expression.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' if characters.next().is_none() => return Some("it ends in a backslash"),
            '[' => {
                // A bracket right after the opening one stands for itself.
                characters.next_if_eq(&'^');
                characters.next_if_eq(&']');
                loop {
                    match characters.next() {
                        None => return Some("`[` is not closed"),
                        Some('\\') => drop(characters.next()),
                        Some('[') if characters.peek() == Some(&':') => {
                            if !characters.by_ref().any(|c| c == ']') {
                                return Some("`[:` is not closed");
                            }
                        }
                        Some(']') => break,
                        Some(_) => {}
                    }
                }
            }
            '(' => {
                depth += 1;
                repeatable = false;
                if characters.next_if_eq(&'?').is_some() && !characters.peek().is_some_and(|c| ":P<imsU-".contains(*c))
                {
                    return Some("what follows `(?` is not known");
                }
                continue;
            }
            ')' => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return Some("`)` closes nothing"),
            },
            '*' | '+' | '?' if !repeatable => return Some("nothing stands before a repetition"),
            '*' | '+' | '?' => {
                // `*?` is lazy; `**` repeats a repetition.
                characters.next_if_eq(&'?');
                repeatable = false;
                continue;
            }
            '|' => {
                repeatable = false;
                continue;
            }
            _ => {}
        }
        repeatable = true;
    }
    (depth > 0).then_some("`(` is not closed")
}

#[cfg(test)]
mod tests {
    use super::expression_fault;

    #[test]
    fn expressions_are_checked() {
        for good in [
            "",
            ".*",
            "^(main|master)$",
            "v[0-9]+\\.[0-9]+",
            "[]a]",
            "[^]]+",
            "a*?b",
            "(?i)x",
            "(?P<n>x)+",
            "\\(",
            "[[:alpha:]]",
        ] {
            assert_eq!(expression_fault(good), None, "{good}");
        }
        for bad in ["(", ")", "a(b", "[a", "*a", "a**", "(*)", "a|*", "\\", "(?!a)", "[\\]"] {
            assert!(expression_fault(bad).is_some(), "{bad}");
        }
    }
}
