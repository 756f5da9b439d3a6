//! Client and link against a scripted coordinator.

mod calls;
mod events;
mod link;
mod script;
