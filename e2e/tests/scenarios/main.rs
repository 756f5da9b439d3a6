//! Scenarios, a file each, in one program. `fixture_N` re-creates conformance case N of werf's own tests.

mod basic;
mod concurrent;
mod dockerfile;
mod git_stages;
mod giterminism;
mod interrupted;
mod results;
mod storages;
