//! The volunteer's relay: the program around the protocol's machines.
//!
//! | module | what it is for |
//! |---|---|
//! | [`cli`] | arguments in, exit code out |
//! | [`home`], [`config`], [`keys`] | the relay's folder, its settings, its secrets |
//! | [`run`] | the life of one relay process |
//! | [`driver`], `links` | the machine's loop; what comes in over links |
//! | `persona` | the correspondent that the relay has of its own |
//! | [`store`], [`kem`] | what is durable; fast decapsulation |
//! | [`plot`] | the disk that the relay has pledged |
//! | [`discovery`] | finding other relays from one address |
//! | [`status`] | what the relay tells its operator |
//! | [`devnet`] | a whole network on one machine |
//! | [`check`] | what stands in a relay's way |
//! | [`shutdown`] | signals, and stopping in time |
//! | [`say`], [`failure`] | printing, and exit codes |

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

mod budget;
pub mod check;
pub mod cli;
pub mod config;
mod convictions;
pub mod devnet;
pub mod discovery;
pub mod driver;
pub mod failure;
pub mod home;
pub mod kem;
pub mod keys;
mod links;
mod persona;
pub mod plot;
mod puzzle;
pub mod run;
pub mod say;
pub mod shutdown;
pub mod status;
pub mod store;

/// The program on the arguments of this process.
pub fn main() -> ExitCode {
    main_with(
        std::env::args_os().collect(),
        None,
        driver::Parts::default(),
    )
}

/// The program on `args`, of which the first is its name; for programs that contain this one.
///
/// `launcher` says how a devnet starts its relays, `parts` what a relay is made of.
///
/// If `SSLKEYLOGFILE` is set, the process starts itself again without it: TLS libraries would write
/// session keys there, and one process cannot safely take it out of its own environment.
pub fn main_with(
    args: Vec<OsString>,
    launcher: Option<devnet::DevnetLauncher>,
    parts: driver::Parts,
) -> ExitCode {
    if std::env::var_os(KEY_LOG).is_some() {
        let again = std::env::current_exe().map(|exe| {
            Command::new(exe)
                .args(std::env::args_os().skip(1))
                .env_remove(KEY_LOG)
                .exec()
        });
        let (Ok(error) | Err(error)) = again;
        say::Voice::from_environment().complain(format_args!(
            "{KEY_LOG} is set and cannot be taken away: {error}"
        ));
        return ExitCode::from(failure::EXIT_USER);
    }
    cli::run(args, launcher, parts)
}

const KEY_LOG: &str = "SSLKEYLOGFILE";
