//! Which images run in clusters of Kubernetes, as far as one is allowed to see. Only reads.
//!
//! Reading order: [`access`] (a kubeconfig: where the clusters are, and who we are there), [`cluster`] (lists of one cluster,
//! page by page), [`images`] (what workloads name).

pub mod access;
pub mod cluster;
mod images;

pub use access::{Access, Context};
pub use cluster::{Cluster, Running};

/// Why it cannot be said what runs. The message names the context; never a credential.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct KubeError(String);
