//! A registry on loopback through which engines push and pull.
