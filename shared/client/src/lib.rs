//! How commands and workers reach a coordinator over HTTP.
//!
//! A [`Client`] is given the addresses of all coordinators of a cluster. It remembers which one leads, goes on to the
//! next when that one is gone or says that another leads, and repeats what may be repeated, which is every call: each
//! means the same when it arrives twice.
//!
//! Reading order: this file, [`addresses`] (which coordinator), `call` (one call, repeated), [`builds`] (what commands
//! ask), `ledger` (what builds of this host ask), [`events`] (following a build), `known` (what was told already), [`link`] (a worker's link), `spool` (its
//! log lines on their way).

pub mod addresses;
mod backoff;
pub mod builds;
mod call;
mod connection;
mod error;
pub mod events;
mod known;
mod ledger;
pub mod link;
mod spool;

use std::{fmt, sync::Arc};

use slipway_process::Clock;

pub use addresses::{AddressError, Addresses};
pub use error::ClientError;
pub use events::{Events, Told};
pub use link::{HttpLink, LinkOptions};

/// What names its holder to a coordinator. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token, as a file or variable has it: white space around it does not count.
    ///
    /// # Errors
    /// When nothing is left, or when it holds something that cannot be sent; the text does not show it.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text.to_owned()));
        }
        Err(TokenError)
    }

    /// The value of the header `Authorization`, for programs that speak to a coordinator by themselves.
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// The token itself, to be kept out of what is shown.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// A text that is no token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a token is one word of visible ASCII characters")]
pub struct TokenError;

/// Speaks to the coordinators of one cluster. Cheap to clone.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) http: reqwest::Client,
    pub(crate) addresses: Addresses,
    pub(crate) token: Option<Token>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Client {
    /// A client of the coordinators at `addresses`.
    ///
    /// # Errors
    /// When connections cannot be set up.
    pub fn new(addresses: Addresses, token: Option<Token>, clock: Arc<dyn Clock>) -> Result<Self, ClientError> {
        let http = connection::open(&addresses)?;
        Ok(Self(Arc::new(Inner { http, addresses, token, clock })))
    }

    /// The addresses, and which of them is believed to lead.
    pub fn addresses(&self) -> &Addresses {
        &self.0.addresses
    }

    /// The token, if there is one.
    pub fn token(&self) -> Option<&Token> {
        self.0.token.as_ref()
    }

    /// The address of a project's git repository at the coordinator that is believed to lead.
    pub fn git_url(&self, project: &str) -> String {
        let base = self.0.addresses.current();
        format!("{}v1/projects/{project}/git", base.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_and_never_shown() {
        let token = Token::new(" hush \n").expect("a token");
        assert_eq!((token.authorization().as_str(), format!("{token:?}").as_str()), ("Bearer hush", "Token(***)"));
        for text in ["", " \n", "two words", "caf\u{e9}", "a\r\nHost: b"] {
            assert_eq!(Token::new(text), Err(TokenError), "{text:?}");
        }
    }
}
