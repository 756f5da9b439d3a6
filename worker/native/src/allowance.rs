//! Room in the store for what nobody knows the size of: it is asked for while it comes.

use std::io::{self, Read};

use slipway_layers::{LayerError, Store, store::Reservation};

/// Bytes that are asked for at once, at least; a small store is asked for less.
const STEP: u64 = 16 << 20;
/// No more than this part of what the store may take is asked for ahead.
const PART: u64 = 64;

/// What was allowed so far. It counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Allowance {
    store: Store,
    held: Vec<Reservation>,
    left: u64,
}

impl Allowance {
    /// Nothing yet.
    pub(crate) fn new(store: &Store) -> Self {
        Self { store: store.clone(), held: Vec::new(), left: 0 }
    }

    /// Asks for so many bytes more. Blocks. As much as there is already is asked for at once, so that few questions are enough.
    ///
    /// # Errors
    /// When the store has no room for them.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), LayerError> {
        if !self.has(bytes) {
            let ahead = self.held.iter().map(|held| held.bytes).sum::<u64>().max(STEP).min(self.store.limit() / PART);
            let more = (bytes - self.left).max(ahead);
            self.held.push(self.store.admit(more)?);
            self.left = self.left + more - bytes;
        }
        Ok(())
    }

    /// Takes so many bytes of what was asked for ahead; `false` when they are more than that.
    pub(crate) fn has(&mut self, bytes: u64) -> bool {
        match self.left.checked_sub(bytes) {
            Some(left) => self.left = left,
            None => return false,
        }
        true
    }
}

/// A reader whose bytes are asked for.
pub(crate) struct Admitted<'a, R> {
    pub(crate) inner: R,
    pub(crate) allowance: &'a mut Allowance,
}

impl<R: Read> Read for Admitted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.allowance.take(count as u64).map_err(io::Error::other)?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use slipway_layers::store::Options;

    use super::*;

    #[test]
    fn what_comes_is_counted_and_given_back() {
        let home = tempfile::tempdir().expect("a directory");
        let limit = 64 << 20;
        let store = Store::open(home.path(), &Options { limit: Some(limit) }).expect("a store");
        let mut allowance = Allowance::new(&store);
        let mut reader = Admitted { inner: io::repeat(1).take(5 << 20), allowance: &mut allowance };
        io::copy(&mut reader, &mut io::sink()).expect("room");
        let reserved = store.usage().expect("a usage").reserved;
        assert!((5 << 20..16 << 20).contains(&reserved), "{reserved}");
        let mut reader = Admitted { inner: io::repeat(1).take(limit), allowance: &mut allowance };
        let refused = io::copy(&mut reader, &mut io::sink()).expect_err("no room").to_string();
        assert!(refused.contains("free some space"), "{refused}");
        drop(allowance);
        assert_eq!(store.usage().expect("a usage").reserved, 0);
    }
}
