//! The scoreboard and the benches of the parts.

pub mod store;
