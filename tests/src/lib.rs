//! Real processes: promises kept end to end, and what it takes to test them.

pub mod attacker;
pub mod correspondent;
pub mod demo;
pub mod liar;
pub mod net;
pub mod proxy;
pub mod skip;
