//! Whole configurations: what is read, what is refused, and that nothing makes the reader panic.

mod corpus;
mod giterminism;
mod handed_over;
mod malformed;
mod robustness;
mod valid;
mod yaml_edges;
