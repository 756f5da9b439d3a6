//! What instructions of Dockerfiles made: notes by which the same ones are not done again.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
};

use serde::{Deserialize, Serialize};
use slipway_oci::BlobDigest;

use super::{Store, lease, names::hex_of, write_whole};
use crate::LayerError;

/// Directory of the store that they lie in.
pub(super) const STEPS: &str = "steps";

/// What one instruction made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StepNote {
    /// The layer that came of it; `None` = it changed nothing.
    pub diff_id: Option<BlobDigest>,
    /// When it was done, as configs have it.
    pub created: String,
}

/// The right to do an instruction: no other process of this host does the same one while it lives.
#[derive(Debug)]
pub struct StepTurn {
    /// Holds the lock.
    _lock: File,
}

impl Store {
    /// The right to do the instruction of a key; `None` when another process has it.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn step_turn(&self, key: &BlobDigest) -> Result<Option<StepTurn>, LayerError> {
        let path = self.path("locks").join(format!("step-{}", hex_of(key)));
        let doing = |error: io::Error| LayerError::io(format!("lock {}", path.display()), error);
        loop {
            let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(doing)?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(doing(error)),
            }
            // A lock that nobody held may have been removed.
            if lease::is_same(&lock, &path).map_err(doing)? {
                return Ok(Some(StepTurn { _lock: lock }));
            }
        }
    }

    /// What is noted under a key; `None` when nothing is. The layer may be gone.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn step(&self, key: &BlobDigest) -> Result<Option<StepNote>, LayerError> {
        let path = self.path(STEPS).join(hex_of(key));
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LayerError::io(format!("read {}", path.display()), error)),
        };
        // The time of its last use. One that a stop of the machine has spoiled is none.
        if let Ok(file) = File::open(&path) {
            lease::touch(&file);
        }
        Ok(serde_json::from_slice(&bytes).ok())
    }

    /// Notes what an instruction made.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn put_step(&self, key: &BlobDigest, note: &StepNote) -> Result<(), LayerError> {
        let name = hex_of(key);
        let doing = |error: io::Error| LayerError::io(format!("note the step {name}"), error);
        let bytes = serde_json::to_vec(note).map_err(|error| doing(error.into()))?;
        write_whole(&self.path(STEPS), name, &bytes).map_err(doing)
    }
}
