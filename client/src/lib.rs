//! The correspondent's library and program.

pub mod driver;
