//! Tests of the correspondent machine.
