//! How the program is linked.
//!
//! It starts itself again twice for every command of a build. Loaded at an address of its own choice it has nothing to
//! relocate, where 70,000 pointers in 300 pages would be written each time: that was a third of a small command's cost.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bin=slipway=-no-pie");
}
