//! Errors of the parts as errors of the backend.

pub(crate) use slipway_rootfs::error::{archive, layers, registry, system};
