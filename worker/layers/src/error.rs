//! What can go wrong with a layer.

use std::io;

/// Why a layer cannot be read, written or kept. The message says what was being done and with which file.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The archive is malformed, means different things to different readers, or leads outside of its root. Trying again
    /// does not help.
    #[error("{0}")]
    Bad(String),
    /// The bytes are not those that their digest names.
    #[error("{0}")]
    Corrupt(String),
    /// More than is taken: of entries, bytes, or room in the store.
    #[error("{0}")]
    TooMuch(String),
    /// The file system failed.
    #[error("{doing}: {error}")]
    Io {
        /// What was being done.
        doing: String,
        /// What went wrong.
        error: io::Error,
    },
}

impl LayerError {
    /// A failure of the file system while `doing`. What an own reader says in between stays what it is.
    pub fn io(doing: impl Into<String>, error: impl Into<io::Error>) -> Self {
        let error: io::Error = error.into();
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(error) => Self::Io { doing: doing.into(), error },
        }
    }

    /// Whether the disk, or the store's share of it, is full.
    pub fn is_full(&self) -> bool {
        match self {
            Self::TooMuch(_) => true,
            Self::Io { error, .. } => {
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Bad(_) | Self::Corrupt(_) => false,
        }
    }
}

impl From<LayerError> for io::Error {
    fn from(error: LayerError) -> Self {
        match error {
            LayerError::Io { doing, error } => Self::new(error.kind(), LayerError::Io { doing, error }),
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}

/// A name as messages show it.
pub(crate) fn shown(name: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(name).chars().take(200).collect();
    text.escape_debug().to_string()
}
