//! Client of the OCI distribution API: tags, manifests, blobs; authentication, retries, pagination, mounts.
//!
//! The only things a caller says are what and where; tokens, redirects, back-off and `Retry-After` are handled here.
//!
//! Reading order:
//!
//! 1. [`client`], what callers see, and [`error`], what they can do about failures.
//! 2. One file per noun of the API: `manifests`, `blobs`, `download`, `uploads` (`uploads::relay` for what lies at another
//!    registry), `copy` (from one repository to another), `pages` (of tags), `resolve` (from a reference to an image).
//! 3. The way to a registry: `call` (one request as it is meant), `transport` (scheme, proof, redirects, retries around
//!    it), `retry` (when again), `answer` (error documents), `scheme` (which addresses may be asked), `connections`
//!    (TLS, proxies), `recent` (what a late registry may not see yet).
//! 4. `mirrors`: where else pulls may go; `vendors`: which services are to be spoken to in another way, and `stream` (a blob
//!    in one request, for those that take no chunks), `services` (what is deleted by another interface than the registry's).
//! 5. Who we are: `credentials` and `helper` (Docker's config), `challenge` (what a registry wants to see), `auth` and
//!    `tokens` (showing it); [`login`] puts credentials into Docker's config.
//!
//! What is promised: a credential goes to the host it was configured for, and to the token server which that host names
//! over a connection no worse than its own; nothing from outside is read without a limit; every wait ends; no message
//! holds a credential.

mod answer;
mod auth;
mod blobs;
mod call;
mod challenge;
pub mod client;
mod connections;
mod copy;
mod credentials;
mod download;
pub mod error;
#[cfg(test)]
mod hand;
mod held;
mod helper;
pub mod login;
mod manifests;
mod mirrors;
mod pages;
mod recent;
mod resolve;
mod retry;
mod scheme;
mod services;
mod stream;
mod tokens;
mod transport;
mod uploads;
mod vendors;

pub use client::{Client, Options, RawManifest};
pub use copy::CopyError;
pub use error::RegistryError;
pub use manifests::Removed;
pub use mirrors::{Mirror, MirrorError};
pub use services::{AwsKeys, AwsSource, ContainerToken};
pub use uploads::Upload;
pub use vendors::{Deletes, Vendor};
