//! Why a command of this program ended badly, and the exit code that a script reads.
//!
//! Each part has its own error; this one only gathers them and maps them to codes.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::ConfigFailure;
use crate::devnet::DevnetFailure;
use crate::discovery::DiscoveryFailure;
use crate::driver::DriverFailure;
use crate::home::HomeFailure;
use crate::keys::KeyFailure;
use crate::status::SocketFailure;
use poste_link::network_file::NetworkFileFailure;

/// Why a command ended badly.
#[derive(Debug, thiserror::Error)]
pub enum RunFailure {
    /// The home folder cannot be used.
    #[error(transparent)]
    Home(#[from] HomeFailure),
    /// The config is wrong.
    #[error(transparent)]
    Config(#[from] ConfigFailure),
    /// A key file is wrong.
    #[error(transparent)]
    Keys(#[from] KeyFailure),
    /// The network file is wrong.
    #[error(transparent)]
    Network(#[from] NetworkFileFailure),
    /// The relay cannot start.
    #[error(transparent)]
    Driver(#[from] DriverFailure),
    /// Discovery cannot start.
    #[error(transparent)]
    Discovery(#[from] DiscoveryFailure),
    /// The control socket does not answer or cannot be opened.
    #[error(transparent)]
    Socket(#[from] SocketFailure),
    /// The devnet cannot be made or kept.
    #[error(transparent)]
    Devnet(#[from] DevnetFailure),
    /// A check of `poste-node check` failed; the lines were printed already.
    #[error("{0} of the checks failed")]
    Checks(usize),
    /// Sectors of the plot are damaged; they were printed already.
    #[error("{0} sectors are damaged; `pledge verify --remove` has them made again")]
    Sectors(usize),
    /// The operating system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something that cannot happen did.
    #[error("this is a bug: {0}")]
    Bug(String),
}

impl RunFailure {
    /// The exit code: 1 user error, 3 network, 70 bug. Usage errors (2) are clap's.
    pub fn code(&self) -> u8 {
        match self {
            Self::Home(_)
            | Self::Config(_)
            | Self::Keys(_)
            | Self::Network(_)
            | Self::Checks(_)
            | Self::Sectors(_)
            // What was asked for is not there.
            | Self::Socket(SocketFailure::Declined(_))
            // What lies on the disk cannot be used.
            | Self::Driver(
                DriverFailure::Store { .. }
                | DriverFailure::Plot { .. }
                | DriverFailure::Memory { .. }
                | DriverFailure::Keys(_),
            )
            | Self::System { .. }
            | Self::File { .. } => EXIT_USER,
            Self::Driver(_) | Self::Discovery(_) | Self::Socket(_) | Self::Devnet(_) => {
                EXIT_NETWORK
            }
            Self::Bug(_) => EXIT_BUG,
        }
    }

    /// The same as the standard library's type.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

/// The caller can put it right: a wrong file, a wrong setting.
pub const EXIT_USER: u8 = 1;
/// The command line is wrong.
pub const EXIT_USAGE: u8 = 2;
/// A peer, a port or a running relay could not be reached.
pub const EXIT_NETWORK: u8 = 3;
/// A bug of this program.
pub const EXIT_BUG: u8 = 70;
