//! The correspondent's program under a name of its own, so that tests run the one just built.

use std::process::ExitCode;

fn main() -> ExitCode {
    poste::main()
}
