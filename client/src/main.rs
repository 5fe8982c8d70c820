//! The correspondent's program; everything is in the library, so that other binaries can call it too.

use std::process::ExitCode;

fn main() -> ExitCode {
    poste::main()
}
