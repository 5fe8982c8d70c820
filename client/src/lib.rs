//! The correspondent's side of Poste: an account, contacts, letters, and the home they are kept in.
//!
//! Read the modules in the order of a letter's road:
//!
//! 1. [`account`]: 24 words and an account id; [`identity`]: what one account has of its own
//! 2. [`invitation`]: how two people find each other; [`contacts`]: what one then knows of the other
//! 3. [`conversation`]: what a letter is, and how it is sealed and opened
//! 4. [`outbox`] and [`inbox`]: what was written and what came, durable before anybody is told
//! 5. [`home`]: the encrypted file that all of it lies in
//!
//! 6. `poste_link::courier`: the only part that opens connections
//! 7. [`app`]: an open home, and a visit to the network on its behalf
//! 8. [`cli`]: the program `poste`: arguments in, exit code out
//!
//! Formats and promises: `docs/spec/letters.md`.

use std::ffi::OsString;
use std::process::ExitCode;

pub mod account;
pub mod app;
pub mod cli;
pub mod contacts;
pub mod conversation;
pub mod home;
pub mod identity;
pub mod inbox;
pub mod invitation;
pub mod outbox;

/// The program on the arguments of this process.
pub fn main() -> ExitCode {
    main_with(std::env::args_os().collect())
}

/// The program on `args`, of which the first is its name; for programs that contain this one.
pub fn main_with(args: Vec<OsString>) -> ExitCode {
    cli::run(args)
}
