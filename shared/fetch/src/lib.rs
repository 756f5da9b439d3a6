//! Files at addresses that a Dockerfile names.
//!
//! What writes a Dockerfile decides where this program connects to: so addresses of the host itself, of its link and of
//! clouds' metadata are refused unless they are allowed. A name is looked up once, and the connection goes to what was
//! looked at, after redirects too. Everything has a limit: bytes, time, redirects.
//!
//! Reading order: [`near`] (which addresses are refused), `guard` (names on their way to a connection), [`fetch`].

pub mod fetch;
mod guard;
pub mod near;

pub use fetch::{Admit, FetchError, Fetched, Fetcher, Limits};
pub use near::Addresses;
