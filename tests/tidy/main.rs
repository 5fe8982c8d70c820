//! The house rules, as tests: one a rule, each naming the file and the line that breaks it.
//!
//! No stop of the road: it keeps the road readable. The rules are those of CONTRIBUTING.md; what rustc
//! and clippy can check by themselves is in their lint tables and not here. `cargo test -p poste-tests
//! --test tidy anchors -- --nocapture` prints every anchor of the spec with the places that cite it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "every line of this target runs in a test"
)]

mod graph;
mod house;
mod source;
mod spec;
mod tree;

/// Fails with every fault on a line of its own, so that one run tells the whole work.
#[track_caller]
fn expect_none(faults: &[String], rule: &str) {
    assert!(
        faults.is_empty(),
        "{} against the rule: {rule}\n  {}\n",
        faults.len(),
        faults.join("\n  ")
    );
}
