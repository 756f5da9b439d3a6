//! Whole configurations: what is read, what is refused, and that nothing makes the reader panic.

mod corpus;
mod malformed;
mod robustness;
mod valid;
