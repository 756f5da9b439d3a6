//! Does: runs stage jobs on a container backend.
