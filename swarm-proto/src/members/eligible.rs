//! Who may hold mail in one epoch: M(e), the part of the member list that placement walks.
//!
//! It is a function of the network's parameters, a snapshot and the epoch, so that everybody who has the
//! same list has the same M(e). Who holds what is [`crate::place`]'s. Until watchers certify
//! availability, age and caps are all there is. Rules: `docs/spec/members.md`.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::hash;
use crate::id::{NodeId, NodeKey};
use crate::members::address::{Address, Subnet};
use crate::members::snapshot::{Member, Snapshot};
use crate::network::Network;
use crate::time::{Epoch, UnixTime};

/// M(e): the members that may hold mail of one epoch, in the order of their node ids.
#[derive(Clone, Debug)]
pub struct Eligible {
    epoch: Epoch,
    members: Vec<Arc<Member>>,
    hash: [u8; 32],
}

impl Eligible {
    /// The members of `snapshot` that may hold mail of `epoch` ([ELI-1] to [ELI-4]).
    pub fn of(network: &Network, snapshot: &Snapshot, epoch: Epoch) -> Self {
        let start = network.scale.epoch_start(epoch);
        let before = network.scale.epoch_start(epoch.minus(1));
        let hold_age = network.scale.minutes(u64::from(network.hold_age_h) * 60);
        let known_long_enough = |member: &Member| {
            let seen = network.scale.tick_start(member.first_seen());
            seen < before && seen.plus(hold_age) <= start
        };
        let candidates = candidates(network, snapshot, |candidate| {
            !candidate.member.record().relay_only
                && (candidate.founder || known_long_enough(&candidate.member))
        });
        let mut members = within_caps(network, candidates);
        members.sort_unstable_by_key(|member| member.id());
        let hash = name(epoch, &members);
        Self {
            epoch,
            members,
            hash,
        }
    }

    /// The epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The list's name: epoch, ids and subnets, which is all that placement depends on. It stays the
    /// same when records are issued again.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The member with this id.
    pub fn find(&self, id: &NodeId) -> Option<&Arc<Member>> {
        let at = self.members.binary_search_by_key(id, |m| m.id()).ok()?;
        self.members.get(at)
    }

    /// The members in the order of their node ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Member>> + '_ {
        self.members.iter()
    }

    pub(crate) fn at(&self, index: usize) -> Option<&Arc<Member>> {
        self.members.get(index)
    }
}

/// The members that a correspondent may take as guards at `now`: known for `guard_age_h`, or founders;
/// the caps of [ELI-3] hold here too ([ELI-5]). In the order of their node ids.
pub fn guards(network: &Network, snapshot: &Snapshot, now: UnixTime) -> Vec<Arc<Member>> {
    let age = network.scale.minutes(u64::from(network.guard_age_h) * 60);
    let candidates = candidates(network, snapshot, |candidate| {
        let seen = network.scale.tick_start(candidate.member.first_seen());
        candidate.founder || seen.plus(age) <= now
    });
    let mut members = within_caps(network, candidates);
    members.sort_unstable_by_key(|member| member.id());
    members
}

/// The fit among the members that stay and have an address, oldest first, founders before all others.
fn candidates(
    network: &Network,
    snapshot: &Snapshot,
    fit: impl Fn(&Candidate) -> bool,
) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = snapshot
        .iter()
        .filter(|member| {
            !member.record().leaving && member.record().addresses.iter().any(Option::is_some)
        })
        .map(|member| Candidate {
            founder: is_founder(network, &member.record().key),
            member: Arc::clone(member),
        })
        .filter(fit)
        .collect();
    candidates.sort_unstable_by_key(|candidate| {
        let member = &candidate.member;
        (!candidate.founder, member.first_seen(), member.id())
    });
    candidates
}

struct Candidate {
    founder: bool,
    member: Arc<Member>,
}

impl Candidate {
    fn is_v6_only(&self) -> bool {
        let addresses = &self.member.record().addresses;
        !addresses.iter().flatten().any(Address::is_v4)
    }
}

fn is_founder(network: &Network, key: &NodeKey) -> bool {
    network.founders.binary_search(key).is_ok()
}

/// Takes candidates in their order as long as no subnet of theirs is full ([ELI-3], [ELI-4]).
fn within_caps(network: &Network, candidates: Vec<Candidate>) -> Vec<Arc<Member>> {
    let mut used = Used::new(network, candidates.len());
    let (v6_only, rest): (Vec<_>, Vec<_>) = candidates.into_iter().partition(Candidate::is_v6_only);
    let mut members: Vec<Arc<Member>> = rest
        .into_iter()
        .filter(|candidate| used.take(&candidate.member))
        .map(|candidate| candidate.member)
        .collect();
    let share = if network.caps.v6_48 == 0 {
        usize::MAX
    } else {
        members.len() / V4_PER_V6_ONLY
    };
    let mut taken = 0_usize;
    for candidate in v6_only {
        if (candidate.founder || taken < share) && used.take(&candidate.member) {
            taken = taken.saturating_add(1);
            members.push(candidate.member);
        }
    }
    members
}

/// How often each subnet was used.
struct Used<'a> {
    network: &'a Network,
    v4_16_max: usize,
    count: BTreeMap<Subnet, usize>,
}

impl<'a> Used<'a> {
    fn new(network: &'a Network, candidates: usize) -> Self {
        let share = candidates.saturating_mul(V4_16_PERCENT) / 100;
        Self {
            network,
            v4_16_max: share.max(usize::from(network.caps.v4_16)),
            count: BTreeMap::new(),
        }
    }

    /// Counts a member's subnets, unless one of them is full.
    fn take(&mut self, member: &Member) -> bool {
        let mut subnets: Vec<Subnet> = member
            .record()
            .addresses
            .iter()
            .flatten()
            .flat_map(|address| [address.subnet_small(), address.subnet_large()])
            .collect();
        subnets.sort_unstable();
        subnets.dedup();
        let full = |subnet: &Subnet| self.count.get(subnet).copied() >= Some(self.most(*subnet));
        if subnets.iter().any(full) {
            return false;
        }
        for subnet in subnets {
            let count = self.count.entry(subnet).or_insert(0);
            *count = count.saturating_add(1);
        }
        true
    }

    fn most(&self, subnet: Subnet) -> usize {
        let caps = &self.network.caps;
        let (cap, most) = match subnet.bits() {
            24 => (caps.v4_24, usize::from(caps.v4_24)),
            16 => (caps.v4_16, self.v4_16_max),
            48 => (caps.v6_48, usize::from(caps.v6_48)),
            _ => (caps.v6_32, usize::from(caps.v6_32)),
        };
        if cap == 0 { usize::MAX } else { most }
    }
}

fn name(epoch: Epoch, members: &[Arc<Member>]) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(4 + members.len().saturating_mul(48));
    bytes.extend_from_slice(&epoch.0.to_be_bytes());
    for member in members {
        bytes.extend_from_slice(&member.id().0);
        for address in &member.record().addresses {
            let subnet = address.map_or([0; 8], |address| address.subnet_small().to_bytes());
            bytes.extend_from_slice(&subnet);
        }
    }
    hash::derive("poste eligible", &[&bytes])
}

/// Members with IPv4 for each one that has IPv6 only, so that those are at most a fifth: whole /32s of
/// IPv6 cost little ([ELI-4]).
const V4_PER_V6_ONLY: usize = 4;
/// Percent of a large network that one /16 may be, where that is more than the cap ([ELI-3]).
const V4_16_PERCENT: usize = 2;
