//! A worker between a scripted coordinator and a backend that never ends.

mod fake;
mod life;
mod mirrors;
