//! What commands may read and no image holds.

use std::fmt;

/// Directory of the secrets in a container: memory, as long as a script runs.
pub const SECRETS: &str = "/run/secrets";

/// Files below [`SECRETS`] while a script runs, and what output is cleaned of. Never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secrets(Vec<Secret>);

#[derive(Clone, PartialEq, Eq)]
struct Secret {
    id: String,
    content: Vec<u8>,
}

impl Secrets {
    /// Nothing.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Adds a file; `id` is its name, without `/`.
    pub fn add(&mut self, id: &str, content: Vec<u8>) {
        self.0.push(Secret { id: id.to_owned(), content });
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and contents.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|secret| (secret.id.as_str(), secret.content.as_slice()))
    }

    /// Bytes of memory that they need, with some to spare.
    pub fn room(&self) -> usize {
        const PAGE: usize = 4096;
        self.0.iter().map(|secret| secret.content.len().next_multiple_of(PAGE) + PAGE).sum::<usize>() + 16 * PAGE
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|secret| &secret.id)).finish()
    }
}
