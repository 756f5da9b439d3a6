//! The text of a configuration without the secrets that it spells out, for where texts are stored.

use std::{borrow::Cow, ops::Range};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use crate::{
    Config, Image, ImageName, Position, Secret, SecretSource, documents, parse,
    yaml::{TAB_REPAIRS, repair_tab, tab},
};

/// What stands in the place of a secret.
pub const HIDDEN: &str = "***";

/// A secret that cannot be taken out of the text.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "image {image}: the secret `{id}` is spelled out by `value` in a way that cannot be hidden: write it as one quoted text \
     without an anchor, or by `env` or `src`, which a cluster can be given beside the text that it stores"
)]
pub struct NotHidden {
    /// Its image.
    pub image: ImageName,
    /// Its name.
    pub id: String,
    /// Where it stands.
    pub position: Position,
}

/// `text`, a configuration, with [`HIDDEN`] in the place of every secret given by `value`. Lines stay where they are, and
/// nothing else is read otherwise than before.
///
/// # Errors
/// [`NotHidden`] when that cannot be.
pub fn hide_values<'t>(file: &str, text: &'t str) -> Result<Cow<'t, str>, NotHidden> {
    // What cannot be read is refused by whoever reads it.
    let Ok(config) = parse(file, text) else { return Ok(Cow::Borrowed(text)) };
    let open: Vec<(&Image, &Secret)> = spelled_out(&config).collect();
    let Some((image, secret)) = open.first() else { return Ok(Cow::Borrowed(text)) };
    let values: Vec<&str> = open.iter().filter_map(|(_, secret)| value(secret)).collect();
    let hidden = without(&documents::normalise(text), &values);
    let mut expected = config.clone();
    for secret in expected.images.iter_mut().flat_map(|image| &mut image.secrets) {
        if let SecretSource::Value(value) = &mut secret.source {
            HIDDEN.clone_into(value);
        }
    }
    let read = parse(file, &hidden);
    if read.as_ref() == Ok(&expected) {
        return Ok(Cow::Owned(hidden));
    }
    // The first that still stands there, or, when something else has come of it, the first at all.
    let left = read.ok().and_then(|read| {
        let left = spelled_out(&read).find(|(_, secret)| value(secret) != Some(HIDDEN))?;
        Some((left.0.name().clone(), left.1.id.clone(), left.1.position))
    });
    let (image, id, position) = left.unwrap_or_else(|| (image.name().clone(), secret.id.clone(), secret.position));
    Err(NotHidden { image, id, position })
}

fn spelled_out(config: &Config) -> impl Iterator<Item = (&Image, &Secret)> {
    let all = config.images.iter().flat_map(|image| image.secrets.iter().map(move |secret| (image, secret)));
    all.filter(|(_, secret)| value(secret).is_some())
}

fn value(secret: &Secret) -> Option<&str> {
    match &secret.source {
        SecretSource::Value(value) => Some(value),
        SecretSource::Env(_) | SecretSource::File(_) => None,
    }
}

/// The text with every scalar hidden that follows the key `value` and is one of `values`.
fn without(text: &str, values: &[&str]) -> String {
    let mut hidden = text.to_owned();
    // From the end, so that what is still to be replaced stays where it is.
    for document in documents::split(text).into_iter().rev() {
        let start = document.text.as_ptr() as usize - text.as_ptr() as usize;
        for range in scalars(document.text, values).into_iter().rev() {
            let range = start + range.start..start + range.end;
            let replacement = replacement(&text[range.clone()]);
            hidden.replace_range(range, &replacement);
        }
    }
    hidden
}

/// As many lines, and, on one line, as many characters.
fn replacement(written: &str) -> String {
    let lines = written.matches('\n').count();
    let quoted = format!("'{HIDDEN}'");
    if lines > 0 {
        return quoted + &"\n".repeat(lines);
    }
    let room = written.chars().count().saturating_sub(quoted.len());
    quoted + &" ".repeat(room)
}

fn scalars(text: &str, values: &[&str]) -> Vec<Range<usize>> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..TAB_REPAIRS {
        match attempt(&text, values) {
            Ok(found) => return found,
            // Blanks in the place of tabs: everything stays where it is.
            Err(Some(marker)) if repair_tab(&mut text, marker) => {}
            Err(_) => return Vec::new(),
        }
    }
    Vec::new()
}

/// One run of the parser; what it does not take is where a tab alone stands, or is not told.
fn attempt(text: &str, values: &[&str]) -> Result<Vec<Range<usize>>, Option<Marker>> {
    let mut found = Vec::new();
    let mut key: Option<usize> = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| tab(&error))?;
        let Event::Scalar(scalar, style, ..) = event else {
            key = None;
            continue;
        };
        let (start, end) = (offset(text, span.start), offset(text, span.end));
        if let Some(after) = key.filter(|_| values.contains(&scalar.as_ref())) {
            let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
            // The sign of a block stands before what the parser takes for its start; behind it is the next line's indentation.
            let sign = text[after..start].find(['|', '>']).filter(|_| block);
            let own = if block { text[start..end].trim_end_matches(' ').len() } else { end - start };
            found.push(sign.map_or(start, |at| after + at)..start + own);
        }
        key = (scalar == "value").then_some(end);
    }
    Ok(found)
}

/// The byte that a marker stands at.
fn offset(text: &str, marker: Marker) -> usize {
    let Some(line) = text.split_inclusive('\n').nth(marker.line().max(1) - 1) else { return text.len() };
    let start = line.as_ptr() as usize - text.as_ptr() as usize;
    start + line.char_indices().nth(marker.col()).map_or(line.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "configVersion: 1\nproject: p\n---\nimage: a\nfrom: b\n";

    fn hidden(document: &str) -> Result<String, NotHidden> {
        let text = format!("{HEAD}{document}");
        assert!(parse("werf.yaml", &text).is_ok(), "{text}");
        let hidden = hide_values("werf.yaml", &text)?;
        Ok(hidden.strip_prefix(HEAD).expect("the head stays").to_owned())
    }

    #[test]
    fn a_value_is_hidden_however_it_is_written() {
        let shell = "shell: {install: [echo open sesame]}\n";
        for (written, expected) in [
            (
                "secrets: [{id: x, value: open sesame}, {env: E}]\n",
                "secrets: [{id: x, value: '***'      }, {env: E}]\n",
            ),
            ("secrets:\n- value: open sesame # why\n  id: x\n", "secrets:\n- value: '***'       # why\n  id: x\n"),
            ("secrets:\n- {id: x, value: \"open\\tsesame\"}\n", "secrets:\n- {id: x, value: '***'         }\n"),
            ("secrets:\n- id: x\n  value: |\n    open\n    sesame\n", "secrets:\n- id: x\n  value: '***'\n\n\n"),
            ("secrets:\n- value: >-\n    open\n    sesame\n  id: x\n", "secrets:\n- value: '***'\n\n\n  id: x\n"),
            ("secrets:\n- {id: x, value: short}\n", "secrets:\n- {id: x, value: '***'}\n"),
            ("secrets:\n- {id: x, value: 0755}\n", "secrets:\n- {id: x, value: '***'}\n"),
            ("secrets: [{env: E}]\n", "secrets: [{env: E}]\n"),
        ] {
            assert_eq!(
                hidden(&format!("{written}{shell}")).as_deref(),
                Ok(format!("{expected}{shell}").as_str()),
                "{written}"
            );
        }
    }

    #[test]
    fn what_cannot_be_hidden_is_named() {
        for document in [
            // What the anchor names is read elsewhere, too.
            "secrets: [{id: x, value: &v open sesame}]\ndocker: {ENV: {V: *v}}\n",
            // Shorter than what would stand in its place, with something behind it on its line.
            "secrets: [{id: x, value: op}, {env: E}]\n",
        ] {
            let error = hidden(document).expect_err(document);
            assert_eq!((error.id.as_str(), error.position.line), ("x", 6), "{document}");
        }
    }
}
