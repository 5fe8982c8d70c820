//! The life of one relay process: open the home, start what runs in it, wait for the end, stop it all.
//!
//! It starts discovery and the control socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use poste_link::network_file::NetworkFile;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::config::Config;
use crate::discovery::{Discovery, DiscoveryCommands, DiscoveryConfig, Found, Hint};
use crate::failure::RunFailure;
use crate::home::{Home, HomeLock};
use crate::keys::{Keys, Seed};
use crate::shutdown;
use crate::status::{self, Status, StatusSource, Verdict};

/// Everything of a relay's home, opened and checked.
#[derive(Debug)]
pub struct Parts {
    /// The home.
    pub home: Home,
    /// Keeps others out of it.
    pub lock: HomeLock,
    /// The network.
    pub network: NetworkFile,
    /// The seed of the node key.
    pub seed: Seed,
}

impl Parts {
    /// Opens a home that `init` made.
    pub fn open(home: Home) -> Result<Self, RunFailure> {
        let seed = Keys::at(home.keys_dir()).node()?;
        let network = NetworkFile::read(&home.network_path())?;
        Ok(Self {
            lock: home.lock()?,
            home,
            network,
            seed,
        })
    }
}

/// Runs a relay until `stop`; the answer comes within two seconds of it.
pub async fn run(config: Config, parts: Parts, stop: CancellationToken) -> Result<(), RunFailure> {
    let tracker = TaskTracker::new();
    let outcome = start(&config, &parts, &tracker, &stop);
    if outcome.is_ok() {
        stop.cancelled().await;
        info!("stopping");
    }
    stop.cancel();
    if !shutdown::drain(&tracker).await {
        warn!("some tasks did not end in time");
    }
    outcome
}

fn start(
    config: &Config,
    parts: &Parts,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> Result<(), RunFailure> {
    let listen = SocketAddr::new(config.listen, config.port);
    let discovery = DiscoveryConfig {
        network: parts.network.network.clone(),
        seed: parts.seed.clone(),
        listen,
        announce: config.announce,
        hints: hints(parts),
        links_max: config.discovery_links_max,
    };
    let (discovery, found) = Discovery::start(discovery, tracker, stop.clone())?;
    tracker.spawn(log_found(found, stop.clone()));
    let source = status_source(config, parts, discovery);
    status::serve(&parts.home.socket_path(), source, tracker, stop.clone())?;
    info!("relay {} runs", parts.seed.node_key().node_id());
    Ok(())
}

/// The founders, except this relay itself.
fn hints(parts: &Parts) -> Vec<Hint> {
    let own = parts.seed.node_key();
    let founders = parts.network.founders.iter();
    founders
        .filter(|founder| founder.key != own)
        .map(|founder| Hint {
            key: Some(founder.key),
            addr: founder.addr,
        })
        .collect()
}

async fn log_found(mut found: mpsc::Receiver<Found>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            one = found.recv() => match one {
                Some(Found::Discovered { key, .. }) => debug!("found {}", key.node_id()),
                Some(Found::Gone { key }) => debug!("lost {}", key.node_id()),
                None => return,
            },
        }
    }
}

fn status_source(config: &Config, parts: &Parts, discovery: DiscoveryCommands) -> StatusSource {
    let key = parts.seed.node_key();
    let mut fixed = Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node_id: key.node_id().to_hex(),
        node_key: key.to_hex(),
        network: parts.network.network.name.clone(),
        network_id: parts.network.network.id().to_hex(),
        pid: shutdown::own_pid(),
        listen: SocketAddr::new(config.listen, config.port).to_string(),
        ..Status::default()
    };
    fixed.links.members_max = u64::from(config.member_links_max);
    fixed.links.clients_max = u64::from(config.client_links_max);
    fixed.store.budget_bytes = config.store_bytes;
    let started = Instant::now();
    Arc::new(move || {
        let mut status = fixed.clone();
        status.uptime_s = started.elapsed().as_secs();
        fill_discovery(&mut status, &discovery);
        Box::pin(std::future::ready(status))
    })
}

/// Writes what discovery knows into a status.
pub fn fill_discovery(status: &mut Status, discovery: &DiscoveryCommands) {
    let stats = discovery.stats();
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    status.discovery.known = count(stats.known);
    status.discovery.connected = count(stats.connected);
    status.discovery.foreign = stats.foreign;
    status.discovery.subnet_full = stats.subnet_full;
    status.reach.by_discovery = count(stats.reached_by);
    status.reach.address = stats.confirmed.map(|addr| addr.to_string());
    if let Some(listening) = stats.listening.first() {
        status.listen = listening.to_string();
    }
    let reached_by = status.reach.by_discovery.max(status.reach.by_links);
    status.reach.verdict = Verdict::of(reached_by, status.discovery.known, status.uptime_s);
}
