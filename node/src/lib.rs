//! The volunteer's relay: the protocol's machine with a clock, links and a disk.

pub mod kem;
pub mod store;
