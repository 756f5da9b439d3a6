//! Dockerfiles.

pub(crate) mod copy;
