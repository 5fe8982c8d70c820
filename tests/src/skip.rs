//! How a test that cannot run on this machine says so: loudly, and never as a pass in silence.
//!
//! The line goes past the test runner's capture, so that `.ci/run` can count it. A name that is not in
//! `.ci/skips-allowed` fails the run. Crates that do not depend on this one write the same line.

use std::io::{self, Write};

/// Writes `skipped: NAME: REASON` to standard error. `name` is the test's own name, one word; `reason` says
/// what this machine lacks.
pub fn tell(name: &str, reason: &str) {
    // Nobody to tell when standard error is closed.
    let _ = writeln!(io::stderr().lock(), "\nskipped: {name}: {reason}");
}
