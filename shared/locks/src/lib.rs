//! Named locks between processes.
