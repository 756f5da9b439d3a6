//! `cleanup`: for commands that delete stages.

use std::time::Duration;

use super::{Reader, section::Section, value::Written};
use crate::{Cleanup, KeepLimit, KeepPolicy, KeepReferences, Operator, ReferenceKind, yaml::shorten};

const KEYS: [&str; 6] = [
    "disable",
    "disableKubernetesBasedPolicy",
    "disableGitHistoryBasedPolicy",
    "disableBuiltWithinLastNHoursPolicy",
    "keepImagesBuiltWithinLastNHours",
    "keepPolicies",
];
/// How long a stage is kept for being new, unless said otherwise.
const DEFAULT_HOURS: u64 = 2;
const POLICY_KEYS: [&str; 2] = ["references", "imagesPerReference"];
const REFERENCES_KEYS: [&str; 3] = ["tag", "branch", "limit"];
const LIMIT_KEYS: [&str; 3] = ["last", "in", "operator"];
const IMAGES_KEYS: [&str; 4] = ["last", "in", "publishedIn", "operator"];

/// Reads the `cleanup` of the meta section.
pub(super) fn read(reader: &mut Reader<'_>, meta: &Section<'_>) -> Option<Cleanup> {
    let cleanup = reader.subsection(meta, "cleanup", &KEYS)?;
    let hours = reader.number(&cleanup, "keepImagesBuiltWithinLastNHours", 0);
    let policies = reader.subsections(&cleanup, "keepPolicies", &POLICY_KEYS);
    let policies: Vec<KeepPolicy> = policies.iter().filter_map(|section| policy(reader, section)).collect();
    let mut flag = |key| reader.flag(&cleanup, key).unwrap_or(false);
    Some(Cleanup {
        disable: flag("disable"),
        disable_kubernetes_policy: flag("disableKubernetesBasedPolicy"),
        disable_git_history_policy: flag("disableGitHistoryBasedPolicy"),
        disable_built_within_policy: flag("disableBuiltWithinLastNHoursPolicy"),
        keep_built_within_hours: hours.and_then(|hours| u64::try_from(hours).ok()).unwrap_or(DEFAULT_HOURS),
        keep_policies: cleanup.get("keepPolicies").map(|_| policies),
    })
}

fn policy(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<KeepPolicy> {
    let images = reader.subsection(section, "imagesPerReference", &IMAGES_KEYS);
    let images = images.map(|images| limit(reader, &images));
    if section.get("references").is_none() {
        let hint = "write `references: {branch: /.*/}` or `references: {tag: /.*/}`";
        reader.missing(section, "references", "an entry of `keepPolicies` has no `references`", hint);
    }
    let below = reader.subsection(section, "references", &REFERENCES_KEYS)?;
    Some(KeepPolicy { references: references(reader, &below)?, images })
}

fn references(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<KeepReferences> {
    let (tag, branch) = (reader.text(section, "tag"), reader.text(section, "branch"));
    for pattern in tag.iter().chain(&branch) {
        check_pattern(reader, pattern);
    }
    let limits = reader.subsection(section, "limit", &LIMIT_KEYS).map(|below| limit(reader, &below));
    let (kind, pattern) = match (tag, branch) {
        (Some(tag), None) => (ReferenceKind::Tag, tag),
        (None, Some(branch)) => (ReferenceKind::Branch, branch),
        (None, None) | (Some(_), Some(_)) => {
            // What is no text was refused already.
            if section.get("tag").is_some() == section.get("branch").is_some() {
                let message = "`references` needs either `tag` or `branch`, and only one of them";
                reader.refuse(section.position, message, "write one policy for tags and another one for branches");
            }
            return None;
        }
    };
    Some(KeepReferences { kind, pattern: pattern.text, limit: limits })
}

/// `last`, `in` and `operator`.
fn limit(reader: &mut Reader<'_>, section: &Section<'_>) -> KeepLimit {
    let last = reader.number(section, "last", -1);
    let times = ["in", "publishedIn"].map(|key| time(reader, section, key));
    let operator = reader.text(section, "operator");
    let operator = match operator.as_ref().map(|written| written.text.as_str()) {
        None | Some("And") => Operator::And,
        Some("Or") => Operator::Or,
        Some(other) => {
            let position = operator.as_ref().map_or(section.position, |written| written.position);
            let message = format!("unsupported `operator` `{}`", shorten(other));
            reader.refuse(position, message, "write `And` or `Or`");
            Operator::And
        }
    };
    KeepLimit { last, within: times.into_iter().flatten().next(), operator }
}

fn time(reader: &mut Reader<'_>, section: &Section<'_>, key: &str) -> Option<Duration> {
    let written = reader.text(section, key)?;
    let time = super::healthcheck::duration(&written.text).and_then(|time| u64::try_from(time).ok());
    if time.is_none() {
        let message = format!("`{key}` is no duration: `{}`", shorten(&written.text));
        reader.refuse(written.position, message, "write hours, minutes or seconds, such as `168h` or `1h30m`");
    }
    time.map(Duration::from_nanos)
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
