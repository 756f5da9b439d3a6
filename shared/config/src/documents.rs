//! Splitting the text into documents, by werf's rule rather than YAML's: a line of three dashes, which may be
//! followed by blanks and a comment, separates; documents without content are dropped.

use std::borrow::Cow;

use crate::{Config, SelectError, names};

/// One document with content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Document<'t> {
    /// The line of the file that it begins in, from 1.
    pub(crate) first_line: u32,
    /// Its text, line breaks included.
    pub(crate) text: &'t str,
}

/// `text` with line feeds only and without a byte-order mark; lines and columns stay what they were.
pub(crate) fn normalise(text: &str) -> Cow<'_, str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.contains('\r') { Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")) } else { Cow::Borrowed(text) }
}

/// The documents of `text`, which has line feeds only.
pub(crate) fn split(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut start, mut first_line, mut offset) = (0, 1, 0);
    for (line, number) in text.split_inclusive('\n').zip(1_u32..) {
        if is_separator(line) {
            documents.push(Document { first_line, text: &text[start..offset] });
            start = offset + line.len();
            first_line = number.saturating_add(1);
        }
        offset += line.len();
    }
    documents.push(Document { first_line, text: &text[start..] });
    documents.retain(|document| document.text.lines().any(has_content));
    documents
}

/// The text of the documents that declare the images selected by `patterns` (see [`crate::select`]), joined by
/// `---`, without the meta section; the whole text as it is when there are no patterns. `config` is what `text`
/// was read as.
///
/// # Errors
/// [`SelectError`] when a pattern is malformed or matches nothing.
pub fn select_documents<'t>(config: &Config, text: &'t str, patterns: &[String]) -> Result<Cow<'t, str>, SelectError> {
    if patterns.is_empty() {
        return Ok(Cow::Borrowed(text));
    }
    let chosen = names::select(config, patterns)?;
    let normal = normalise(text);
    let documents = split(&normal);
    let mut parts: Vec<&str> = Vec::new();
    for image in chosen {
        let line = image.position.line;
        if let Some(document) = documents.iter().rev().find(|document| document.first_line <= line) {
            parts.push(document.text.trim_matches('\n'));
        }
    }
    Ok(Cow::Owned(parts.join("\n---\n") + "\n"))
}

fn is_separator(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| {
        let rest = rest.trim_end_matches('\n').trim_start_matches([' ', '\t']);
        rest.is_empty() || rest.starts_with('#')
    })
}

fn has_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_separated_by_three_dashes() {
        for (text, expected) in [
            ("a\n---\nb\n", vec![(1, "a\n"), (3, "b\n")]),
            ("---\na\n--- # next\nb", vec![(2, "a\n"), (4, "b")]),
            ("a\n---\t \nb\n", vec![(1, "a\n"), (3, "b\n")]),
            ("---\n\n# only a comment\n---\nb\n", vec![(5, "b\n")]),
            ("a\n----\n --- \n--- x\n", vec![(1, "a\n----\n --- \n--- x\n")]),
            ("", vec![]),
            ("---", vec![]),
        ] {
            let found: Vec<(u32, &str)> = split(text).iter().map(|found| (found.first_line, found.text)).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn line_breaks_and_marks_are_normalised() {
        assert_eq!(normalise("\u{feff}a\r\nb\rc\n"), "a\nb\nc\n");
        assert!(matches!(normalise("a\n"), Cow::Borrowed("a\n")));
    }
}
