//! Scenarios, a file each, in one program. `fixture_N` re-creates conformance case N of werf's own tests.

mod ansible;
mod bases;
mod basic;
mod concurrent;
mod contexts;
mod directives;
mod dockerfile;
mod export;
mod faults;
mod git_files;
mod git_stages;
mod giterminism;
mod includes;
mod interrupted;
mod native;
mod output;
mod registries;
mod remotes;
mod repositories;
mod results;
mod shared;
mod storages;
mod templates;
mod traces;
