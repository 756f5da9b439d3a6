//! What goes wrong on the way to a coordinator.

use slipway_protocol::Code;

/// A call was not answered as asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClientError {
    /// No coordinator took the call for as long as it was tried.
    #[error("{doing}: no coordinator answers: {why}; check the address, or try again when one is up")]
    Away {
        /// What was being done.
        doing: String,
        /// What was seen last.
        why: String,
    },
    /// A coordinator said no.
    #[error("{doing}: {message}")]
    Refused {
        /// What was being done.
        doing: String,
        /// Why.
        code: Code,
        /// The same in the coordinator's words.
        message: String,
    },
    /// An answer that cannot be read.
    #[error("{doing}: the coordinator's answer cannot be read ({why}); are both of the same version?")]
    Malformed {
        /// What was being done.
        doing: String,
        /// What is wrong with it.
        why: String,
    },
    /// Connections cannot be set up on this host.
    #[error("set up connections to the coordinator: {0}")]
    Setup(String),
}

impl ClientError {
    /// The coordinator's reason, when it gave one.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Away { .. } | Self::Malformed { .. } | Self::Setup(_) => None,
        }
    }
}
