//! The machine that a volunteer runs.
