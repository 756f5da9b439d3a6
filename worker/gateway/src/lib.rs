//! A registry on loopback through which engines push and pull.
//!
//! An engine such as dockerd pushes only by tag and needs credentials of its own. So it is given an address on
//! 127.0.0.1 instead: a *door*, opened for one image and one direction under an unguessable name, and closed when its
//! [`Door`](slipway_backend::Door) is dropped. Behind the doors the gateway speaks to the real registry with the
//! credentials of this process.
//!
//! - Through a **push door** blobs stream on to the repository; one that the registry has elsewhere is mounted instead
//!   of uploaded. The manifest is kept until [`Door::pushed`](slipway_backend::Door::pushed), which stores it by its
//!   digest, untagged and annotated with the attempt.
//! - Through a **pull door** exactly one image can be read; its blobs are cached on disk, and readers of a blob that is
//!   being fetched follow the one fetch.
//!
//! What the registry refuses for good an engine reads as `403` with the reason, for engines try nothing else but give
//! up at once only then. The same reason is what `Door::pushed` fails with, of a pull door too: an engine's own
//! account of it is often beside the point.
//!
//! Reading order: [`gateway`] (doors and their life), `serve` (connections and dispatch), `push` and `session`
//! (uploads), `pull`, `cache`, `download` and `reading` (blobs on disk), `known` (which blob is where); by themselves: [`Shelf`] and [`Stand`],
//! registries of this process.

mod answer;
mod cache;
mod download;
mod failure;
pub mod gateway;
mod known;
mod locked;
mod pull;
mod push;
mod range;
mod reading;
mod route;
mod serve;
mod session;
mod shelf;
mod stand;

pub use gateway::{ATTEMPT_ANNOTATION, Gateway, GatewayError, Options};
pub use shelf::Shelf;
pub use stand::{ShownBlob, ShownManifest, Stand};
