//! How a relay that knows one address finds the others: the discovery plane, libp2p over TCP.
//!
//! It runs beside the data plane, on the TCP port of the same number, and carries no mail and no member
//! records: it turns connections into [`Found`], keys proven by a handshake and addresses to open links
//! to. What it finds is a hint; placement and membership are decided elsewhere. Rules: discovery.md,
//! [DIS-1] to [DIS-7].

mod admission;
mod behaviour;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{DialError, SwarmEvent};
use libp2p::{PeerId, Swarm as Libp2pSwarm, identify};
use swarm_proto::id::NodeKey;
use swarm_proto::network::{Network, Reachability};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

pub use admission::Found;
use admission::{Admission, Admitted, is_dialable, is_private};
use behaviour::{
    Plane, PlaneEvent, identify_name, key_of, multiaddr, node_key, peer_id, socket_addr,
};

use crate::keys::Seed;

/// The discovery plane, started with [`Discovery::start`].
pub struct Discovery {
    config: DiscoveryConfig,
    swarm: Libp2pSwarm<Plane>,
    admission: Admission,
    peers: BTreeMap<PeerId, Peer>,
    reached_by: BTreeSet<PeerId>,
    commands: mpsc::Receiver<Hint>,
    found: mpsc::Sender<Found>,
    stats: watch::Sender<DiscoveryStats>,
    pace: Pace,
}

/// What discovery needs to know.
#[derive(Clone, Debug)]
pub struct DiscoveryConfig {
    /// The network; its id names the protocols, its caps bound subnets.
    pub network: Network,
    /// The seed of the node key, which is the libp2p identity too.
    pub seed: Seed,
    /// The TCP address to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// What others are told instead.
    pub announce: Option<SocketAddr>,
    /// Where to begin.
    pub hints: Vec<Hint>,
    /// Connections held, both ways together.
    pub links_max: u32,
}

/// An address at which a relay may be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The relay expected there, if known; any other is turned away.
    pub key: Option<NodeKey>,
    /// Its address; TCP and UDP share the number.
    pub addr: SocketAddr,
}

/// What discovery saw since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiscoveryStats {
    /// The addresses listened on; empty until the first is open.
    pub listening: Vec<SocketAddr>,
    /// Relays known.
    pub known: usize,
    /// Peers connected at this moment.
    pub connected: usize,
    /// Different relays that opened a connection to this one (counted up to 4,096).
    pub reached_by: usize,
    /// The address that others confirmed or the operator announced.
    pub confirmed: Option<SocketAddr>,
    /// Connections closed because the other side is of another network.
    pub foreign: u64,
    /// Relays left out because their subnet has its share.
    pub subnet_full: u64,
}

/// The handle of a running discovery plane.
#[derive(Clone, Debug)]
pub struct DiscoveryCommands {
    hints: mpsc::Sender<Hint>,
    stats: watch::Receiver<DiscoveryStats>,
}

impl DiscoveryCommands {
    /// Suggests an address learned elsewhere; lost if [`HINTS_MAX`] are waiting already.
    pub fn hint(&self, hint: Hint) {
        let _ = self.hints.try_send(hint);
    }

    /// What was seen so far.
    pub fn stats(&self) -> DiscoveryStats {
        self.stats.borrow().clone()
    }

    /// The same, to be waited on.
    pub fn watch(&self) -> watch::Receiver<DiscoveryStats> {
        self.stats.clone()
    }
}

/// Why discovery cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryFailure {
    /// The listening address is taken or not ours.
    #[error("discovery cannot listen on TCP {addr}: {why}")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// What the operating system said.
        why: String,
    },
    /// libp2p cannot be set up.
    #[error("discovery cannot be set up: {0}")]
    Setup(String),
}

/// What is known of a connected peer.
#[derive(Debug, Default)]
struct Peer {
    /// It named this network in identify.
    belongs: bool,
    /// The address at which we reached it ourselves.
    proven: Option<SocketAddr>,
    /// An address that it claims.
    claimed: Option<SocketAddr>,
    /// Where it came from, if it came.
    came_from: Option<SocketAddr>,
    /// Its claim is being tried.
    trying: bool,
}

impl Discovery {
    /// Listens and runs in a task of `tracker` until `stop`. The receiver holds [`FOUND_MAX`]; what does
    /// not fit is told later.
    pub fn start(
        config: DiscoveryConfig,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<(DiscoveryCommands, mpsc::Receiver<Found>), DiscoveryFailure> {
        let mut swarm = behaviour::build(&config)?;
        swarm
            .listen_on(multiaddr(config.listen))
            .map_err(|error| DiscoveryFailure::Listen {
                addr: config.listen,
                why: error.to_string(),
            })?;
        if let Some(announce) = config.announce {
            swarm.add_external_address(multiaddr(announce));
        }
        let (hints, commands) = mpsc::channel(HINTS_MAX);
        let (found, found_receiver) = mpsc::channel(FOUND_MAX);
        let (stats, stats_receiver) = watch::channel(DiscoveryStats {
            confirmed: config.announce,
            ..DiscoveryStats::default()
        });
        let discovery = Self {
            admission: Admission::new(config.seed.node_key(), config.network.caps),
            pace: Pace::new(&config.network),
            config,
            swarm,
            peers: BTreeMap::new(),
            reached_by: BTreeSet::new(),
            commands,
            found,
            stats,
        };
        tracker.spawn(discovery.run(stop));
        let handle = DiscoveryCommands {
            hints,
            stats: stats_receiver,
        };
        Ok((handle, found_receiver))
    }

    async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                event = self.swarm.select_next_some() => self.on_event(event),
                Some(hint) = self.commands.recv() => self.follow(hint),
                () = tokio::time::sleep_until(self.pace.next) => self.walk(),
            }
            self.admission
                .tell(|found| self.found.try_send(found).is_ok());
            self.publish();
        }
    }

    fn on_event(&mut self, event: SwarmEvent<PlaneEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished {
                peer_id, endpoint, ..
            } => self.connected(peer_id, &endpoint),
            SwarmEvent::ConnectionClosed {
                peer_id,
                num_established: 0,
                ..
            } => {
                self.peers.remove(&peer_id);
            }
            SwarmEvent::OutgoingConnectionError {
                peer_id: Some(peer),
                error,
                ..
            } => self.dial_failed(peer, &error),
            SwarmEvent::NewListenAddr { address, .. } => {
                if let Some(addr) = socket_addr(&address) {
                    info!("discovery listens on TCP port {}", addr.port());
                    self.stats.send_modify(|stats| stats.listening.push(addr));
                }
            }
            SwarmEvent::ExternalAddrConfirmed { address } => {
                let confirmed = socket_addr(&address);
                self.stats.send_modify(|stats| stats.confirmed = confirmed);
            }
            SwarmEvent::ListenerClosed { reason, .. } => {
                warn!("discovery no longer listens: {reason:?}");
            }
            SwarmEvent::Behaviour(PlaneEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                ..
            })) => self.identified(peer_id, &info),
            // The rest are steps on the way to one of these, or other protocols' own affairs.
            _ => {}
        }
    }

    fn connected(&mut self, id: PeerId, endpoint: &ConnectedPoint) {
        let peer = self.peers.entry(id).or_default();
        match endpoint {
            ConnectedPoint::Dialer { address, .. } => {
                peer.proven = socket_addr(address).or(peer.proven);
            }
            ConnectedPoint::Listener { send_back_addr, .. } => {
                peer.came_from = socket_addr(send_back_addr);
            }
        }
        if let Some(key) = key_of(&id) {
            self.admission.hit(&key);
        }
        self.settle(id);
    }

    fn identified(&mut self, id: PeerId, said: &identify::Info) {
        let ours = said.protocol_version == identify_name(&self.config.network.id());
        let proven = said.public_key.to_peer_id() == id && node_key(&said.public_key).is_some();
        if !ours || !proven {
            self.stats.send_modify(|stats| stats.foreign += 1);
            let _ = self.swarm.disconnect_peer_id(id);
            return;
        }
        let private_too = self.takes_private();
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let claims = || {
            said.listen_addrs
                .iter()
                .take(CLAIMS_MAX)
                .filter_map(socket_addr)
                .filter(|addr| is_dialable(*addr, private_too))
        };
        let from = peer.came_from.map(|addr| addr.ip());
        peer.claimed = claims()
            .find(|addr| Some(addr.ip()) == from)
            .or_else(|| claims().next());
        peer.belongs = true;
        self.settle(id);
    }

    /// Admits a peer of this network at a proven address, or tries the one that it claims ([DIS-3]).
    fn settle(&mut self, id: PeerId) {
        let private_too = self.takes_private();
        let (Some(peer), Some(key)) = (self.peers.get_mut(&id), key_of(&id)) else {
            return;
        };
        if !peer.belongs {
            return;
        }
        let proven = peer.proven.filter(|addr| is_dialable(*addr, private_too));
        // Tried even if the relay is known or assumed reachable: it is how it learns that others reach it.
        let claim = peer.claimed.filter(|_| proven.is_none() && !peer.trying);
        let claim = claim.filter(|addr| self.admission.has_room(&key, *addr));
        peer.trying |= claim.is_some();
        let assumed = match self.config.network.reachability {
            Reachability::Assume => peer.claimed,
            Reachability::Proven => None,
        };
        if let Some(claim) = claim {
            self.try_claim(id, claim);
        }
        let Some(addr) = proven.or(assumed) else {
            return;
        };
        match self.admission.admit(key, addr) {
            Admitted::Fresh => {
                debug!(%key, %addr, "found a relay");
                self.route(id, addr);
                self.pace.quicken();
            }
            Admitted::Again => self.route(id, addr),
            Admitted::SubnetFull => self.stats.send_modify(|stats| stats.subnet_full += 1),
            Admitted::Refused => {}
        }
    }

    /// Enters a relay into Kademlia's table with one address only.
    fn route(&mut self, id: PeerId, addr: SocketAddr) {
        let kad = &mut self.swarm.behaviour_mut().kad;
        let addr = multiaddr(addr);
        let _ = kad.add_address(&id, addr.clone());
        let stale: Vec<_> = kad
            .kbucket(id)
            .iter()
            .flat_map(libp2p::kad::KBucketRef::iter)
            .filter(|entry| entry.node.key.preimage() == &id)
            .flat_map(|entry| entry.node.value.iter().cloned().collect::<Vec<_>>())
            .filter(|known| socket_addr(known) != socket_addr(&addr))
            .collect();
        for old in stale {
            let _ = kad.remove_address(&id, &old);
        }
    }

    fn try_claim(&mut self, id: PeerId, claim: SocketAddr) {
        let dial = DialOpts::peer_id(id)
            .condition(PeerCondition::Always)
            .addresses(vec![multiaddr(claim)])
            // The connection that came in may hold the pair of ports that reuse would take.
            .allocate_new_port()
            .build();
        let _ = self.swarm.dial(dial);
    }

    fn dial_failed(&mut self, id: PeerId, error: &DialError) {
        let ours = matches!(
            error,
            DialError::DialPeerConditionFalse(_)
                | DialError::Aborted
                | DialError::Denied { .. }
                | DialError::LocalPeerId { .. }
        );
        if ours || self.swarm.is_connected(&id) {
            return;
        }
        let Some(key) = key_of(&id) else { return };
        if self.admission.miss(&key) {
            debug!(%key, "a relay is gone");
            self.swarm.behaviour_mut().kad.remove_peer(&id);
        }
    }

    /// One round: look at a random place, look after some relays, and go back to the start if alone.
    fn walk(&mut self) {
        let round = self.pace.step();
        if round == 1 || self.admission.len() < ALONE {
            for hint in self.config.hints.clone() {
                self.follow(hint);
            }
        }
        if self.admission.len() > 0 {
            let place = PeerId::random();
            let _ = self.swarm.behaviour_mut().kad.get_closest_peers(place);
        }
        for (key, addr) in self.admission.pick_for_probe(round, PROBES) {
            let hint = Hint {
                key: Some(key),
                addr,
            };
            self.follow(hint);
        }
    }

    fn follow(&mut self, hint: Hint) {
        if !is_dialable(hint.addr, self.takes_private()) {
            return;
        }
        let dial = match hint.key.as_ref().map(peer_id) {
            Some(None) => return,
            Some(Some(id)) if id == *self.swarm.local_peer_id() => return,
            Some(Some(id)) => DialOpts::peer_id(id)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(vec![multiaddr(hint.addr)])
                .build(),
            None => DialOpts::unknown_peer_id()
                .address(multiaddr(hint.addr))
                .build(),
        };
        let _ = self.swarm.dial(dial);
    }

    fn takes_private(&self) -> bool {
        let assumed = match self.config.network.reachability {
            Reachability::Assume => true,
            Reachability::Proven => false,
        };
        assumed || is_private(self.config.listen.ip())
    }

    fn publish(&mut self) {
        for (id, peer) in &self.peers {
            if peer.belongs && peer.came_from.is_some() && self.reached_by.len() < REACHED_MAX {
                self.reached_by.insert(*id);
            }
        }
        let (known, connected) = (self.admission.len(), self.peers.len());
        let reached_by = self.reached_by.len();
        self.stats.send_if_modified(|stats| {
            let same =
                (stats.known, stats.connected, stats.reached_by) == (known, connected, reached_by);
            (stats.known, stats.connected, stats.reached_by) = (known, connected, reached_by);
            !same
        });
    }
}

/// When the next round is due: soon while relays are being found, seldom later ([DIS-7]).
#[derive(Debug)]
struct Pace {
    next: Instant,
    wait: Duration,
    wait_max: Duration,
    round: u64,
}

impl Pace {
    fn new(network: &Network) -> Self {
        Self {
            next: Instant::now(),
            wait: WALK_MIN,
            wait_max: network.scale.minutes(WALK_MINUTES).max(WALK_MAX_LEAST),
            round: 0,
        }
    }

    fn step(&mut self) -> u64 {
        self.next = Instant::now() + self.wait;
        self.wait = (self.wait * 2).min(self.wait_max);
        self.round += 1;
        self.round
    }

    fn quicken(&mut self) {
        self.wait = WALK_MIN;
        self.next = self.next.min(Instant::now() + WALK_MIN);
    }
}

/// Findings waiting for the core; more are told when it has read some.
pub const FOUND_MAX: usize = 256;
/// Hints waiting to be followed; more are lost, the next round finds what they meant.
pub const HINTS_MAX: usize = 64;
/// Addresses of one peer that are looked at.
const CLAIMS_MAX: usize = 8;
/// Relays counted in `reached_by`.
const REACHED_MAX: usize = 4_096;
/// With fewer known relays the configured addresses are tried again each round.
const ALONE: usize = 3;
/// Known relays dialled in a round to see whether they are still there.
const PROBES: usize = 4;
/// First pause between rounds, and the one after every finding.
const WALK_MIN: Duration = Duration::from_millis(500);
/// Longest pause, in minutes of the network.
const WALK_MINUTES: u64 = 5;
/// The longest pause is never shorter than this: a lookup costs about 20 ms of processor time.
const WALK_MAX_LEAST: Duration = Duration::from_secs(10);
