//! Who is known to discovery, and on what ground: the rules, without any libp2p machinery.
//!
//! A relay enters with one address, after its key was proven on a connection of this network and, where
//! reachability must be proven, after this relay itself dialled that address. At most a few enter from
//! one subnet ([DIS-4]), because node keys cost nothing and rust-libp2p has no such check. It opens no
//! connection and keeps no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use swarm_proto::id::NodeKey;
use swarm_proto::network::Caps;

/// The relays that discovery vouches for.
#[derive(Debug)]
pub(super) struct Admission {
    caps: Caps,
    own: NodeKey,
    known: BTreeMap<NodeKey, Known>,
    subnets: BTreeMap<Subnet, u16>,
    untold_gone: BTreeSet<NodeKey>,
}

#[derive(Debug)]
struct Known {
    addr: SocketAddr,
    told: bool,
    missed: u8,
    probed: u64,
}

/// What became of a relay that asked to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// It is known now.
    Fresh,
    /// It was known; the address may be another.
    Again,
    /// Its subnet has its share already.
    SubnetFull,
    /// No more relays fit, or it is this relay.
    Refused,
}

/// What the core is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A relay of this network: its proven key and the address of its links (UDP).
    Discovered {
        /// Its node key, proven on a connection.
        key: NodeKey,
        /// Where its links are opened: its discovery address with the same port number ([DIS-2]).
        data_addr: SocketAddr,
    },
    /// A relay that was found could not be reached several times in a row.
    Gone {
        /// Its node key.
        key: NodeKey,
    },
}

impl Admission {
    pub(super) fn new(own: NodeKey, caps: Caps) -> Self {
        Self {
            caps,
            own,
            known: BTreeMap::new(),
            subnets: BTreeMap::new(),
            untold_gone: BTreeSet::new(),
        }
    }

    /// Takes a relay in, or says why not.
    pub(super) fn admit(&mut self, key: NodeKey, addr: SocketAddr) -> Admitted {
        if key == self.own {
            return Admitted::Refused;
        }
        if let Some(known) = self.known.get_mut(&key) {
            known.missed = 0;
            if known.addr == addr {
                return Admitted::Again;
            }
        }
        if !self.has_room(&key, addr) {
            return Admitted::SubnetFull;
        }
        let moved = self.forget(&key);
        if !moved && self.known.len() >= KNOWN_MAX {
            return Admitted::Refused;
        }
        *self.subnets.entry(subnet_of(addr.ip())).or_default() += 1;
        self.untold_gone.remove(&key);
        let known = Known {
            addr,
            told: false,
            missed: 0,
            probed: 0,
        };
        self.known.insert(key, known);
        if moved {
            Admitted::Again
        } else {
            Admitted::Fresh
        }
    }

    /// Whether the address's subnet has room for this key ([DIS-4]).
    pub(super) fn has_room(&self, key: &NodeKey, addr: SocketAddr) -> bool {
        let subnet = subnet_of(addr.ip());
        let cap = match subnet {
            Subnet::V4(_) => self.caps.v4_24,
            Subnet::V6(_) => self.caps.v6_48,
        };
        let here_already = self
            .known
            .get(key)
            .is_some_and(|known| subnet_of(known.addr.ip()) == subnet);
        let used = self.subnets.get(&subnet).copied().unwrap_or(0);
        cap == 0 || here_already || used < cap
    }

    /// Counts a failed dial; true if the relay is dropped for it ([DIS-6]).
    pub(super) fn miss(&mut self, key: &NodeKey) -> bool {
        let Some(known) = self.known.get_mut(key) else {
            return false;
        };
        known.missed = known.missed.saturating_add(1);
        if known.missed < MISSES_MAX {
            return false;
        }
        if known.told {
            self.untold_gone.insert(*key);
        }
        self.forget(key)
    }

    /// The relay answered.
    pub(super) fn hit(&mut self, key: &NodeKey) {
        if let Some(known) = self.known.get_mut(key) {
            known.missed = 0;
        }
    }

    /// The relays that were left longest without a look, at most `count`; they count as looked at.
    pub(super) fn pick_for_probe(
        &mut self,
        round: u64,
        count: usize,
    ) -> Vec<(NodeKey, SocketAddr)> {
        let mut oldest: Vec<_> = self
            .known
            .iter()
            .map(|(key, known)| (known.probed, *key, known.addr))
            .collect();
        oldest.sort_unstable_by_key(|(probed, key, _)| (*probed, *key));
        oldest.truncate(count);
        for (_, key, _) in &oldest {
            if let Some(known) = self.known.get_mut(key) {
                known.probed = round;
            }
        }
        oldest
            .into_iter()
            .map(|(_, key, addr)| (key, addr))
            .collect()
    }

    /// Says what was not said yet, until `tell` answers false for lack of room.
    pub(super) fn tell(&mut self, mut tell: impl FnMut(Found) -> bool) {
        while let Some(key) = self.untold_gone.first().copied() {
            if !tell(Found::Gone { key }) {
                return;
            }
            self.untold_gone.remove(&key);
        }
        for (key, known) in self.known.iter_mut().filter(|(_, known)| !known.told) {
            let found = Found::Discovered {
                key: *key,
                data_addr: known.addr,
            };
            if !tell(found) {
                return;
            }
            known.told = true;
        }
    }

    /// How many are known.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    fn forget(&mut self, key: &NodeKey) -> bool {
        let Some(known) = self.known.remove(key) else {
            return false;
        };
        let subnet = subnet_of(known.addr.ip());
        if let Some(used) = self.subnets.get_mut(&subnet) {
            *used = used.saturating_sub(1);
            if *used == 0 {
                self.subnets.remove(&subnet);
            }
        }
        true
    }
}

/// Whether an address may be dialled and passed on ([DIS-5]): a host others can mean, and in a network of
/// public addresses no private one, or any stranger could make relays dial into their own homes.
pub(super) fn is_dialable(addr: SocketAddr, private_too: bool) -> bool {
    if addr.port() == 0 || addr.ip().is_unspecified() || addr.ip().is_multicast() {
        return false;
    }
    private_too || !is_private(addr.ip())
}

/// Loopback, link-local and the address ranges of homes.
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_broadcast()
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subnet {
    V4([u8; 3]),
    V6([u8; 6]),
}

fn subnet_of(ip: IpAddr) -> Subnet {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            Subnet::V4([a, b, c])
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, ..] = ip.octets();
            Subnet::V6([a, b, c, d, e, f])
        }
    }
}

/// Relays kept: discovery needs a good sample, the member list has all of them.
const KNOWN_MAX: usize = 4_096;
/// Failed dials in a row after which a relay is gone ([DIS-6]).
const MISSES_MAX: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_proto::network::Network;

    fn caps() -> Caps {
        Network::public("test", &[]).caps
    }

    fn key(n: u8) -> NodeKey {
        NodeKey([n; 32])
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn told(admission: &mut Admission) -> Vec<Found> {
        let mut found = Vec::new();
        admission.tell(|one| {
            found.push(one);
            true
        });
        found
    }

    /// [DIS-4]
    #[test]
    fn a_subnet_has_two_places_and_a_departure_frees_one() {
        let mut admission = Admission::new(key(0), caps());
        for n in 1..=2 {
            let at = addr(&format!("192.0.2.{n}:1"));
            assert_eq!(admission.admit(key(n), at), Admitted::Fresh);
        }
        assert_eq!(
            admission.admit(key(3), addr("192.0.2.3:1")),
            Admitted::SubnetFull
        );
        assert_eq!(
            admission.admit(key(3), addr("192.0.3.3:1")),
            Admitted::Fresh
        );
        for n in 4..=6 {
            let at = addr(&format!("[2001:db8:1:{n}::1]:1"));
            let wanted = if n < 6 {
                Admitted::Fresh
            } else {
                Admitted::SubnetFull
            };
            assert_eq!(admission.admit(key(n), at), wanted);
        }
        while !admission.miss(&key(1)) {}
        assert_eq!(
            admission.admit(key(7), addr("192.0.2.7:1")),
            Admitted::Fresh
        );
    }

    /// [DIS-4] An IPv4 address in IPv6 clothes counts as what it is.
    #[test]
    fn a_mapped_address_does_not_dodge_the_cap() {
        let mut admission = Admission::new(key(0), caps());
        admission.admit(key(1), addr("192.0.2.1:1"));
        admission.admit(key(2), addr("[::ffff:192.0.2.2]:1"));
        assert_eq!(
            admission.admit(key(3), addr("192.0.2.3:1")),
            Admitted::SubnetFull
        );
        assert!(is_private("::ffff:10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_cap_of_zero_lifts_it() {
        let mut open = caps();
        open.v4_24 = 0;
        let mut admission = Admission::new(key(0), open);
        for n in 1..=200 {
            let at = addr(&format!("127.0.0.1:{n}"));
            assert_eq!(admission.admit(key(n), at), Admitted::Fresh);
        }
    }

    /// [DIS-6]
    #[test]
    fn a_relay_is_gone_after_three_misses_in_a_row_and_told_once() {
        let mut admission = Admission::new(key(0), caps());
        admission.admit(key(1), addr("192.0.2.1:1"));
        assert_eq!(told(&mut admission).len(), 1);
        assert!(!admission.miss(&key(1)));
        assert!(!admission.miss(&key(1)));
        admission.hit(&key(1));
        assert!(!admission.miss(&key(1)));
        assert!(!admission.miss(&key(1)));
        assert!(admission.miss(&key(1)));
        assert_eq!(told(&mut admission), [Found::Gone { key: key(1) }]);
        assert_eq!(told(&mut admission), []);
    }

    #[test]
    fn a_full_queue_loses_nothing() {
        let mut admission = Admission::new(key(0), caps());
        for n in 1..=3 {
            admission.admit(key(n), addr(&format!("192.0.{n}.1:1")));
        }
        let mut room = 1;
        admission.tell(|_| {
            room -= 1;
            room >= 0
        });
        assert_eq!(told(&mut admission).len(), 2);
    }

    /// [DIS-5]
    #[test]
    fn private_addresses_stay_out_of_a_public_network() {
        for text in ["127.0.0.1:1", "10.0.0.1:1", "[fe80::1]:1", "[fd00::1]:1"] {
            assert!(!is_dialable(addr(text), false), "{text}");
            assert!(is_dialable(addr(text), true), "{text}");
        }
        for text in ["0.0.0.0:1", "[::]:1", "192.0.2.1:0", "224.0.0.1:1"] {
            assert!(!is_dialable(addr(text), true), "{text}");
        }
        assert!(is_dialable(addr("192.0.2.1:1"), false));
    }
}
