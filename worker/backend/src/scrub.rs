//! Secrets out of output: their values, line by line, and the forms that programs commonly give them: base64 (wherever
//! the value stands in what is encoded, in lines of eight digits and more), percent-encoded, and in quotes of JSON and shells.
//!
//! Who wants to tell a secret by other means (backwards, say) can: this keeps accidents out of logs, no attackers.

mod forms;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::{Secrets, script::Marker};
use forms::Form;

/// What stands in the place of a secret.
pub const MASK: &[u8] = b"***";
/// Values, and lines of values, that are shorter are shown: masking them would mask half of a log and hide little.
pub const SHORTEST: usize = 4;
/// So much of an encoded value must have been seen before a line may end within it: else many a line would be held back
/// until the next one came.
const WRAPS_AFTER: usize = 8;

/// What is masked. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Masks(Arc<Table>);

/// Forms by their first byte.
#[derive(Debug, Default)]
struct Table(Vec<Vec<Form>>);

impl Masks {
    /// Masks of the values of secrets.
    pub fn of(secrets: &Secrets) -> Self {
        let all = forms::all(secrets.files().map(|(_, content)| content));
        if all.is_empty() {
            return Self::default();
        }
        let mut table = vec![Vec::new(); 256];
        for form in all {
            let Some(first) = form.bytes().first() else { continue };
            table[usize::from(*first)].push(form);
        }
        Self(Arc::new(Table(table)))
    }

    /// Whether there is nothing to mask.
    pub fn is_empty(&self) -> bool {
        self.0.0.is_empty()
    }

    /// A text without secrets.
    pub fn clean(&self, text: &[u8]) -> Vec<u8> {
        let mut scrubber = Scrubber::new(self.clone(), None);
        let mut clean = scrubber.push(text);
        clean.extend(scrubber.finish());
        clean
    }

    fn starting_with(&self, byte: u8) -> &[Form] {
        self.0.0.get(usize::from(byte)).map(Vec::as_slice).unwrap_or_default()
    }
}

/// One stream on its way, cleaned. What may be the beginning of a secret is held back until more is known.
#[derive(Debug)]
pub(crate) struct Scrubber {
    masks: Masks,
    /// Its line numbers are no secrets, whatever they look like.
    marker: Option<Marker>,
    held: Vec<u8>,
    /// Whether the last thing that came out was a mask.
    masked: bool,
}

/// What stands at a place.
enum Found {
    Nothing,
    /// A secret of so many bytes.
    Secret(usize),
    /// A marker of so many bytes.
    Marker(usize),
    /// The bytes end before it can be said.
    Unsure,
}

impl Scrubber {
    pub(crate) fn new(masks: Masks, marker: Option<Marker>) -> Self {
        Self { masks, marker, held: Vec::new(), masked: false }
    }

    /// Whether everything goes on as it comes.
    pub(crate) fn is_idle(&self) -> bool {
        self.masks.is_empty()
    }

    /// Takes bytes; answers what may go on.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.step(bytes, false)
    }

    /// The stream has ended; answers what was held back.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        self.step(b"", true)
    }

    fn step(&mut self, bytes: &[u8], ended: bool) -> Vec<u8> {
        if self.masks.is_empty() {
            return bytes.to_vec();
        }
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(bytes);
        let mut clean = Vec::with_capacity(text.len());
        let mut at = 0;
        while at < text.len() {
            match self.look(&text[at..], ended) {
                Found::Nothing => {
                    clean.push(text[at]);
                    at += 1;
                    self.masked = false;
                }
                Found::Secret(length) => {
                    // Pieces of one secret are one mask.
                    if !self.masked {
                        clean.extend_from_slice(MASK);
                    }
                    at += length;
                    self.masked = true;
                }
                Found::Marker(length) => {
                    clean.extend_from_slice(&text[at..at + length]);
                    at += length;
                    self.masked = false;
                }
                Found::Unsure => {
                    self.held = text.split_off(at);
                    return clean;
                }
            }
        }
        clean
    }

    fn look(&self, text: &[u8], ended: bool) -> Found {
        if let Some(marker) = &self.marker {
            match marker.at(text) {
                Match::Whole(length) => return Found::Marker(length),
                Match::Begins if !ended => return Found::Unsure,
                Match::Begins | Match::No => {}
            }
        }
        let mut longest = None;
        for form in self.masks.starting_with(text[0]) {
            match form.at(text) {
                // A longer one may be on its way.
                Match::Begins if !ended => return Found::Unsure,
                Match::Whole(length) => longest = longest.max(Some(length)),
                Match::Begins | Match::No => {}
            }
        }
        longest.map_or(Found::Nothing, Found::Secret)
    }
}

/// Whether something stands at the beginning of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Match {
    No,
    /// As far as the text goes.
    Begins,
    /// In so many bytes of the text.
    Whole(usize),
}
