//! Why a measurement has no result.

use poste_link::courier::CourierFailure;
use poste_link::network_file::NetworkFileFailure;
use poste_node::devnet::DevnetFailure;
use poste_node::home::HomeFailure;
use poste_node::keys::KeyFailure;
use poste_node::store::StoreFailure;
use swarm_proto::envelope::BadEnvelope;

/// Why a measurement has no result.
#[derive(Debug, thiserror::Error)]
pub enum BenchFailure {
    /// What is measured did something else than it should.
    #[error("{0}")]
    Wrong(&'static str),
    /// Our store.
    #[error("the store: {0}")]
    Store(#[from] StoreFailure),
    /// SQLite.
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A row could not be made.
    #[error("a row: {0}")]
    Row(#[from] BadEnvelope),
    /// A file, process or clock.
    #[error("the system: {0}")]
    Io(#[from] std::io::Error),
    /// A relay's home.
    #[error(transparent)]
    Home(#[from] HomeFailure),
    /// A relay's keys.
    #[error(transparent)]
    Keys(#[from] KeyFailure),
    /// The network file.
    #[error(transparent)]
    Network(#[from] NetworkFileFailure),
    /// The relays on this machine.
    #[error(transparent)]
    Devnet(#[from] DevnetFailure),
    /// The correspondent.
    #[error(transparent)]
    Courier(#[from] CourierFailure),
}

/// The thread that should have answered is gone.
impl From<std::sync::mpsc::RecvError> for BenchFailure {
    fn from(_: std::sync::mpsc::RecvError) -> Self {
        Self::Wrong("the store did not answer")
    }
}

impl From<nix::errno::Errno> for BenchFailure {
    fn from(errno: nix::errno::Errno) -> Self {
        Self::Io(errno.into())
    }
}
