//! Whole-program scenarios on real registries, engines and repositories.
