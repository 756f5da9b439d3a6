//! Scripts with what they lead to, and seeded random walks with what must always hold.

mod failures;
mod losses;
mod order;
mod script;
mod views;
mod walk;
