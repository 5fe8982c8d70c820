//! The libp2p side of discovery: which protocols run, under which names, within which limits.
//!
//! It decides nothing about who is admitted. Kademlia keeps no records: every inbound record goes to a
//! filter that drops it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::identity::{Keypair, PublicKey};
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm as Libp2pSwarm, SwarmBuilder, autonat, identify, kad,
    noise, ping, tcp, yamux,
};
use swarm_proto::id::{NetworkId, NodeKey, hex};
use swarm_proto::network::Reachability;

use super::{DiscoveryConfig, DiscoveryFailure};

/// The protocols of the discovery plane.
#[derive(NetworkBehaviour)]
pub(super) struct Plane {
    limits: connection_limits::Behaviour,
    pub(super) kad: kad::Behaviour<MemoryStore>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    reach_client: Toggle<autonat::v2::client::Behaviour>,
    reach_server: Toggle<autonat::v2::server::Behaviour>,
}

/// Builds the plane; nothing listens yet.
pub(super) fn build(config: &DiscoveryConfig) -> Result<Libp2pSwarm<Plane>, DiscoveryFailure> {
    let mut seed = *config.seed.bytes();
    let keys = Keypair::ed25519_from_bytes(&mut seed)
        .map_err(|error| DiscoveryFailure::Setup(error.to_string()))?;
    let swarm = SwarmBuilder::with_existing_identity(keys)
        .with_tokio()
        .with_tcp(
            tcp::Config::default().nodelay(true),
            noise::Config::new,
            yamux::Config::default,
        )
        .map_err(|error| DiscoveryFailure::Setup(error.to_string()))?
        .with_behaviour(|keys| plane(config, keys))
        .map_err(|error| DiscoveryFailure::Setup(error.to_string()))?
        .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(IDLE))
        .build();
    Ok(swarm)
}

fn plane(config: &DiscoveryConfig, keys: &Keypair) -> Plane {
    let own = keys.public().to_peer_id();
    let links = config.links_max;
    let limits = ConnectionLimits::default()
        .with_max_pending_incoming(Some(PENDING_MAX))
        .with_max_pending_outgoing(Some(PENDING_MAX))
        .with_max_established_incoming(Some(links.saturating_mul(3) / 4))
        .with_max_established(Some(links))
        .with_max_established_per_peer(Some(PER_PEER_MAX));
    let proves = match config.network.reachability {
        Reachability::Proven => true,
        Reachability::Assume => false,
    };
    let mut kad = kademlia(own, &config.network.id());
    if !proves || config.announce.is_some() {
        // Left to itself kad stays a client until an external address is confirmed.
        kad.set_mode(Some(kad::Mode::Server));
    }
    let identify = identify::Config::new(identify_name(&config.network.id()), keys.public())
        .with_agent_version(concat!("poste-node/", env!("CARGO_PKG_VERSION")).to_owned())
        .with_hide_listen_addrs(config.announce.is_some())
        .with_cache_size(0);
    Plane {
        limits: connection_limits::Behaviour::new(limits),
        kad,
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_EVERY)),
        reach_client: Toggle::from(proves.then(autonat::v2::client::Behaviour::default)),
        reach_server: Toggle::from(proves.then(autonat::v2::server::Behaviour::default)),
    }
}

fn kademlia(own: PeerId, network: &NetworkId) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(kad_name(network));
    config
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_caching(kad::Caching::Disabled)
        .set_periodic_bootstrap_interval(None)
        .set_query_timeout(QUERY_TIMEOUT)
        .disjoint_query_paths(true);
    let none = MemoryStoreConfig {
        max_records: 0,
        max_value_bytes: 0,
        max_providers_per_key: 0,
        max_provided_keys: 0,
    };
    kad::Behaviour::with_config(own, MemoryStore::with_config(own, none), config)
}

/// The name under which only relays of one network speak Kademlia ([DIS-1]).
fn kad_name(network: &NetworkId) -> StreamProtocol {
    let name = format!("/poste/{}/kad/1", short(network));
    StreamProtocol::try_from_owned(name).unwrap_or(StreamProtocol::new("/poste/none/kad/1"))
}

/// What a relay of this network says in identify ([DIS-1]).
pub(super) fn identify_name(network: &NetworkId) -> String {
    format!("/poste/{}/1", short(network))
}

fn short(network: &NetworkId) -> String {
    let [a, b, c, d, ..] = network.0;
    hex(&[a, b, c, d])
}

/// The relay's key, if the peer's is an Ed25519 key ([DIS-2]).
pub(super) fn node_key(key: &PublicKey) -> Option<NodeKey> {
    let key = key.clone().try_into_ed25519().ok()?;
    Some(NodeKey(key.to_bytes()))
}

/// The libp2p name of a relay ([DIS-2]).
pub(super) fn peer_id(key: &NodeKey) -> Option<PeerId> {
    let key = libp2p::identity::ed25519::PublicKey::try_from_bytes(&key.0).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// The key inside a libp2p name; `None` if it is no Ed25519 key written out.
pub(super) fn key_of(peer: &PeerId) -> Option<NodeKey> {
    node_key(&PublicKey::try_decode_protobuf(peer.as_ref().digest()).ok()?)
}

/// `/ip4/../tcp/..` of an address.
pub(super) fn multiaddr(addr: SocketAddr) -> Multiaddr {
    Multiaddr::empty()
        .with(Protocol::from(addr.ip()))
        .with(Protocol::Tcp(addr.port()))
}

/// The address in `/ip4/../tcp/..[/p2p/..]`; `None` for every other form.
pub(super) fn socket_addr(addr: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = addr.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    let Some(Protocol::Tcp(port)) = parts.next() else {
        return None;
    };
    match parts.next() {
        None | Some(Protocol::P2p(_)) => Some(SocketAddr::new(ip, port)),
        Some(_) => None,
    }
}

/// A connection nobody uses is closed after this: long enough for a walk to use it twice.
const IDLE: Duration = Duration::from_secs(20);
/// Connections being set up at once, each way.
const PENDING_MAX: u32 = 32;
/// One for each side's dial and one to prove an address.
const PER_PEER_MAX: u32 = 3;
/// Slow enough to be cheap; a dead peer is found by dialling.
const PING_EVERY: Duration = Duration::from_secs(30);
/// A lookup that takes longer is lost; the next walk starts elsewhere.
const QUERY_TIMEOUT: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Seed;

    /// [DIS-2]
    #[test]
    fn the_node_key_is_the_libp2p_identity() {
        let seed = Seed::random().unwrap();
        let mut bytes = *seed.bytes();
        let keys = Keypair::ed25519_from_bytes(&mut bytes).unwrap();
        let key = seed.node_key();
        assert_eq!(node_key(&keys.public()), Some(key));
        assert_eq!(peer_id(&key), Some(keys.public().to_peer_id()));
        assert_eq!(key_of(&keys.public().to_peer_id()), Some(key));
    }

    /// [DIS-1]
    #[test]
    fn a_network_has_its_own_protocol_names() {
        let network = NetworkId([0xab; 32]);
        assert_eq!(kad_name(&network).as_ref(), "/poste/abababab/kad/1");
        assert_eq!(identify_name(&network), "/poste/abababab/1");
    }

    #[test]
    fn only_plain_tcp_addresses_are_understood() {
        let addr: SocketAddr = "192.0.2.1:7676".parse().unwrap();
        assert_eq!(socket_addr(&multiaddr(addr)), Some(addr));
        for other in ["/ip4/192.0.2.1/udp/1", "/dns4/a/tcp/1", "/ip4/192.0.2.1"] {
            assert_eq!(socket_addr(&other.parse().unwrap()), None, "{other}");
        }
        let relayed = "/ip4/192.0.2.1/tcp/1/ws";
        assert_eq!(socket_addr(&relayed.parse().unwrap()), None);
    }
}
