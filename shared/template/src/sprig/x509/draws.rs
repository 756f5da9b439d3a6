//! Random numbers for keys: a stream of bytes that grows from a seed.

use std::convert::Infallible;

use rsa::rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};

use crate::sprig::World;

/// Draws of one key. The seed comes from the world, the rest is SHA-256 over it and a counter: so one call of the world is
/// enough, and a world that always gives the same bytes, as those of tests do, gives a key all the same.
pub(super) struct Draws {
    seed: [u8; 32],
    count: u64,
    /// Bytes that were made and not yet given out.
    left: Vec<u8>,
}

impl Draws {
    pub(super) fn new(world: &dyn World) -> Draws {
        let mut seed = [0; 32];
        world.fill_random(&mut seed);
        Draws { seed, count: 0, left: Vec::new() }
    }

    /// The next bytes.
    pub(super) fn take<const COUNT: usize>(&mut self) -> [u8; COUNT] {
        let mut bytes = [0; COUNT];
        self.fill(&mut bytes);
        bytes
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = match self.left.pop() {
                Some(next) => next,
                None => self.grow(),
            };
        }
    }

    fn grow(&mut self) -> u8 {
        let digest = Sha256::new().chain_update(self.seed).chain_update(self.count.to_le_bytes()).finalize();
        self.count += 1;
        self.left.extend_from_slice(&digest[1..]);
        digest[0]
    }
}

impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.take()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.take()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Draws {}
