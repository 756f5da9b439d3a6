//! Whole files: what targets need, what is refused, and that nothing panics.

mod corpus;
mod inputs;
mod program;
mod robustness;
