//! The container backend on a Docker engine.
