//! What the tests of real processes share.

pub mod skip;
