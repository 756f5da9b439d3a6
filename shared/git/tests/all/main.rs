//! The crate on real repositories, made by the program `git` in temporary directories.

mod archives;
mod fixture;
mod histories;
mod http;
mod opening;
mod overlays;
mod reading;
mod references;
mod snapshots;
mod status;
mod submodules;
mod transfers;
mod trees;
mod upstreams;
