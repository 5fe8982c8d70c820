//! Who may hold mail in one epoch: M(e), the part of the member list that placement walks.
//!
//! It is a function of the network's parameters, a snapshot, certificates and the epoch, so that everybody who
//! has the same has the same M(e). Placement needs no more of a member than its id and its subnets, so that is
//! all that stands here: an M(e) can be kept when the records are long gone. Who holds what is
//! [`crate::place`]'s, when an M(e) is final `settle.rs`'s. Rules: `docs/spec/members.md`.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::hash;
use crate::id::{NodeId, NodeKey};
use crate::members::address::{Address, Subnet};
use crate::members::roster::Roster;
use crate::members::snapshot::{Member, Snapshot};
use crate::network::Network;
use crate::place::word;
use crate::standing::Certificates;
use crate::time::{EPOCH_MINUTES, Epoch, HOUR_MINUTES, UnixTime};
use crate::wire::codec::{Malformed, Reader, Writer};

/// M(e): the members that may hold mail of one epoch, in the order of their node ids.
#[derive(Clone, Debug)]
pub struct Eligible {
    epoch: Epoch,
    seats: Vec<Seat>,
    /// The first 16 bytes of each node id, side by side, since every placement reads them all.
    names: Vec<[u64; 2]>,
    hash: [u8; 32],
}

/// What placement needs to know of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    id: NodeId,
    /// As [`Subnet::to_bytes`] gives them; zeros for an address that there is not.
    subnets: [[u8; 8]; 2],
}

impl Seat {
    fn of(member: &Member) -> Self {
        let addresses = member.record().addresses;
        Self {
            id: member.id(),
            subnets: addresses
                .map(|address| address.map_or([0; 8], |address| address.subnet_small().to_bytes())),
        }
    }

    fn encode(&self, writer: &mut Writer) {
        writer.put(&self.id.0);
        for subnet in self.subnets {
            writer.put(&subnet);
        }
    }

    /// Its node id.
    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    /// The /24 or /48 of each of its addresses.
    pub(crate) fn subnets(&self) -> impl Iterator<Item = Subnet> + '_ {
        self.subnets.iter().copied().filter_map(Subnet::from_bytes)
    }
}

impl Eligible {
    /// The members of `snapshot` that may hold mail of `epoch` ([ELI-1], [ELI-2]), within the
    /// caps ([ELI-3], [ELI-4]).
    pub fn of(network: &Network, snapshot: &Snapshot, epoch: Epoch) -> Self {
        Self::by(network, snapshot, &Certificates::default(), epoch)
    }

    /// The same, without those of whom watchers say that they may not ([ELI-7]).
    pub fn by(
        network: &Network,
        snapshot: &Snapshot,
        certificates: &Certificates,
        epoch: Epoch,
    ) -> Self {
        let start = network.scale.epoch_start(epoch);
        let before = network.scale.epoch_start(epoch.minus(1));
        // Whoever has been certified often enough is at least as old; who knows no certificates goes by age alone.
        let certified_age = match u64::from(network.verdicts.certificates) {
            0 => 0,
            needed => (needed + 1) * EPOCH_MINUTES,
        };
        let hold_age = certified_age.max(u64::from(network.hold_age_h) * HOUR_MINUTES);
        let hold_age = network.scale.minutes(hold_age);
        let known_long_enough = |member: &Member| {
            let seen = network.scale.tick_start(member.first_seen());
            seen < before && seen.plus(hold_age) <= start
        };
        // It stays in the epochs that had begun when it said so, or its letters would be looked for elsewhere.
        let has_left = |member: &Member| {
            let record = member.record();
            record.leaving && record.sequence.epoch() < epoch
        };
        let (verdicts, class_min) = (&network.verdicts, network.pledge.class_min);
        let is_allowed = |candidate: &Candidate| {
            let id = candidate.member.id();
            let allowed = certificates.allow(verdicts, class_min, &id, epoch, candidate.founder);
            allowed.unwrap_or(true)
        };
        let candidates = candidates(network, snapshot, |candidate| {
            !candidate.member.record().relay_only
                && is_allowed(candidate)
                && !has_left(&candidate.member)
                && (candidate.founder || known_long_enough(&candidate.member))
        });
        let members = within_caps(network, candidates);
        Self::of_seats(epoch, members.iter().map(|one| Seat::of(one)).collect())
    }

    /// Those members of `roster` whose records are in `snapshot` or among `former` ([ELI-12]).
    pub(crate) fn named<'a>(
        roster: &Roster,
        snapshot: &'a Snapshot,
        former: impl Iterator<Item = &'a Arc<Member>>,
    ) -> Self {
        let known = snapshot.iter().chain(former);
        let named = known.filter(|member| roster.has(&member.id()));
        Self::of_seats(roster.epoch(), named.map(|one| Seat::of(one)).collect())
    }

    /// What correspondents are told of it ([ELI-10]).
    pub fn roster(&self) -> Roster {
        Roster::of(self)
    }

    fn of_seats(epoch: Epoch, mut seats: Vec<Seat>) -> Self {
        seats.sort_unstable_by_key(Seat::id);
        Self {
            epoch,
            names: seats.iter().map(|seat| halves(&seat.id)).collect(),
            hash: name(epoch, &seats),
            seats,
        }
    }

    /// What is kept of it on a disk: for each member its node id (32) and its subnets (8 each, zero for none).
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.seats.len().saturating_mul(SEAT_BYTES));
        for seat in &self.seats {
            seat.encode(&mut writer);
        }
        writer.finish()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`Malformed`]: it is not what this program writes.
    pub fn decode(epoch: Epoch, bytes: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut seats: Vec<Seat> = Vec::with_capacity(reader.left() / SEAT_BYTES);
        while reader.left() > 0 {
            let seat = Seat {
                id: NodeId(reader.array("member")?),
                subnets: [read_subnet(&mut reader)?, read_subnet(&mut reader)?],
            };
            if seats.last().is_some_and(|last| last.id >= seat.id) {
                return Err(reader.wrong("member"));
            }
            seats.push(seat);
        }
        Ok(Self::of_seats(epoch, seats))
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
        self.seats.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Whether this relay is a member.
    pub fn has(&self, id: &NodeId) -> bool {
        self.seats.binary_search_by_key(id, Seat::id).is_ok()
    }

    /// The members' ids in their order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = NodeId> + '_ {
        self.seats.iter().map(Seat::id)
    }

    pub(crate) fn names(&self) -> &[[u64; 2]] {
        &self.names
    }

    pub(crate) fn at(&self, index: usize) -> Option<&Seat> {
        self.seats.get(index)
    }
}

/// The members that a correspondent may take as guards at `now`: known for `guard_age_h`, or founders;
/// the caps of [ELI-3] hold here too ([ELI-5]). In the order of their node ids.
pub fn guards(network: &Network, snapshot: &Snapshot, now: UnixTime) -> Vec<Arc<Member>> {
    let age = network.scale.minutes(u64::from(network.guard_age_h) * 60);
    let candidates = candidates(network, snapshot, |candidate| {
        let seen = network.scale.tick_start(candidate.member.first_seen());
        let record = candidate.member.record();
        !record.leaving && (candidate.founder || seen.plus(age) <= now)
    });
    let mut members = within_caps(network, candidates);
    members.sort_unstable_by_key(|member| member.id());
    members
}

/// The fit among the members that have an address, oldest first, founders before all others.
fn candidates(
    network: &Network,
    snapshot: &Snapshot,
    fit: impl Fn(&Candidate) -> bool,
) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = snapshot
        .iter()
        .filter(|member| member.record().addresses.iter().any(Option::is_some))
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

fn halves(id: &NodeId) -> [u64; 2] {
    let (first, rest) = id.0.split_at(8);
    [word(first), word(rest)]
}

fn name(epoch: Epoch, seats: &[Seat]) -> [u8; 32] {
    let mut writer = Writer::with_capacity(4 + seats.len().saturating_mul(SEAT_BYTES));
    writer.u32(epoch.0);
    for seat in seats {
        seat.encode(&mut writer);
    }
    hash::derive("poste eligible", &[&writer.finish()])
}

fn read_subnet(reader: &mut Reader) -> Result<[u8; 8], Malformed> {
    let bytes = reader.array("subnet")?;
    if bytes == [0; 8] || Subnet::from_bytes(bytes).is_some() {
        return Ok(bytes);
    }
    Err(reader.wrong("subnet"))
}

/// Bytes that are kept of a member.
const SEAT_BYTES: usize = 32 + 8 + 8;
/// Members with IPv4 for each one that has IPv6 only, so that those are at most a fifth: whole /32s of
/// IPv6 cost little ([ELI-4]).
const V4_PER_V6_ONLY: usize = 4;
/// Percent of a large network that one /16 may be, where that is more than the cap ([ELI-3]).
const V4_16_PERCENT: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::record::Record;
    use crate::members::testing::{TODAY, at, list, network, record, tick_at};
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    fn eligible(records: &[Record], epoch: Epoch) -> Eligible {
        let snapshot = list(records.iter().cloned()).snapshot();
        Eligible::of(&network(), &snapshot, epoch)
    }

    fn has(eligible: &Eligible, record: &Record) -> bool {
        eligible.has(&record.key.node_id())
    }

    fn v4(a: u8, b: u8, c: u8, d: u8) -> Option<Address> {
        Address::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), 1)
    }

    fn v6(a: u16, b: u16, c: u16) -> Option<Address> {
        Address::new(IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 7)), 1)
    }

    fn number(count: usize) -> u32 {
        u32::try_from(count).unwrap()
    }

    /// [ELI-1]
    #[test]
    fn a_relay_holds_once_it_is_known_long_enough_and_a_founder_at_once() {
        let since = |number, hours| Record {
            since: tick_at(hours),
            ..record(number)
        };
        let founder = since(0, 0);
        let (old, young) = (since(1, -48), since(2, -47));
        let records = [founder.clone(), old.clone(), young.clone()];
        let mut hasty = network();
        hasty.verdicts.certificates = 0;
        let on = |epoch| Eligible::of(&hasty, &list(records.iter().cloned()).snapshot(), epoch);
        let today = on(TODAY);
        assert!(has(&today, &founder) && has(&today, &old) && !has(&today, &young));
        assert!(has(&on(TODAY.plus(1)), &young));
        assert!(has(&on(TODAY.minus(20)), &founder));
        // Five certificates take six epochs.
        let (old, young) = (since(5, -144), since(6, -143));
        let today = eligible(&[old.clone(), young.clone()], TODAY);
        assert!(has(&today, &old) && !has(&today, &young));

        hasty.hold_age_h = 0;
        let snapshot = list([since(3, -24), since(4, -25)]).snapshot();
        let today = Eligible::of(&hasty, &snapshot, TODAY);
        assert!(!has(&today, &record(3)) && has(&today, &record(4)));
    }

    /// [ELI-1]
    #[test]
    fn a_relay_that_joins_changes_nothing_for_today_and_the_past() {
        let mut members = list((0..40).map(record));
        let before = members.snapshot();
        let joiner = Record {
            since: tick_at(0),
            ..record(99)
        };
        members.insert(
            crate::members::testing::verified(joiner),
            &crate::members::OnionKeys::default(),
            at(0),
        );
        let after = members.snapshot();
        assert_ne!(before.hash(), after.hash());
        for back in 0..31 {
            let epoch = TODAY.minus(back);
            let old = Eligible::of(&network(), &before, epoch);
            assert_eq!(old.hash(), Eligible::of(&network(), &after, epoch).hash());
        }
    }

    /// [ELI-2]: letters of the epochs that it holds are not looked for elsewhere.
    #[test]
    fn a_relay_that_leaves_stays_in_the_epochs_that_had_begun_and_in_no_later_one() {
        let leaving = |leaving| Record {
            leaving,
            ..record(1)
        };
        let epoch = record(1).sequence.epoch();
        for back in 0..20 {
            let (before, after) = ([leaving(false)], [leaving(true)]);
            let old = epoch.minus(back);
            assert_eq!(eligible(&before, old).hash(), eligible(&after, old).hash());
        }
        assert!(eligible(&[leaving(true)], epoch.plus(1)).is_empty());
        assert!(!eligible(&[leaving(false)], epoch.plus(1)).is_empty());
    }

    /// [ELI-2]
    #[test]
    fn a_relay_that_relays_only_or_has_no_address_holds_nothing() {
        let records = [
            Record {
                relay_only: true,
                ..record(2)
            },
            Record {
                addresses: [None, None],
                ..record(3)
            },
            Record {
                relay_only: true,
                ..record(0)
            },
        ];
        assert!(eligible(&records, TODAY).is_empty());
    }

    /// [ELI-3]
    #[test]
    fn the_older_identity_wins_a_subnet_and_founders_come_first() {
        let in_one_24 = |number: u32, hours| Record {
            addresses: [v4(192, 0, 2, 7), None],
            since: tick_at(hours),
            ..record(number)
        };
        let records = [
            in_one_24(1, -300),
            in_one_24(2, -200),
            in_one_24(3, -301),
            in_one_24(0, -1),
        ];
        let today = eligible(&records, TODAY);
        assert_eq!(today.len(), 2);
        assert!(has(&today, &records[2]) && has(&today, &records[3]));

        let mut open = network();
        open.caps.v4_24 = 0;
        let snapshot = list(records).snapshot();
        assert_eq!(Eligible::of(&open, &snapshot, TODAY).len(), 4);
    }

    /// [ELI-3]
    #[test]
    fn a_16_has_eight_or_a_fiftieth() {
        let crowd = |from: u32, count: u32| -> Vec<Record> {
            let third = |n: u32| u8::try_from(n - from).unwrap();
            let one = |n| Record {
                addresses: [v4(198, 51, third(n), 1), None],
                ..record(n)
            };
            (from..from + count).map(one).collect()
        };
        assert_eq!(eligible(&crowd(1, 20), TODAY).len(), 8);
        let mut records = crowd(5_000, 100);
        records.extend((1..=900).map(record));
        assert_eq!(eligible(&records, TODAY).len(), 900 + 20);
    }

    /// [ELI-3]
    #[test]
    fn both_addresses_of_a_relay_count() {
        let dual = |n: u32, last: u8| Record {
            addresses: [v4(203, 0, last, 1), v6(0x2001, 0xdb8, 5)],
            ..record(n)
        };
        let records: Vec<Record> = (1..6).zip(1..6).map(|(n, last)| dual(n, last)).collect();
        assert_eq!(eligible(&records, TODAY).len(), 2);
    }

    /// [ELI-4]
    #[test]
    fn relays_with_ipv6_alone_are_a_fifth_at_most() {
        let v6_only = |n: u32| Record {
            addresses: [v6(0x2600, u16::try_from(n).unwrap(), 1), None],
            since: tick_at(-2_000),
            ..record(n)
        };
        let mut records: Vec<Record> = (1..=40).map(record).collect();
        records.extend((100..150).map(v6_only));
        assert_eq!(eligible(&records, TODAY).len(), 40 + 10);

        let mut open = network();
        open.caps.v6_48 = 0;
        let snapshot = list(records).snapshot();
        assert_eq!(Eligible::of(&open, &snapshot, TODAY).len(), 90);
    }

    /// [ELI-5]
    #[test]
    fn guards_are_old_and_need_not_hold() {
        let records = [
            Record {
                since: tick_at(-168),
                relay_only: true,
                ..record(1)
            },
            Record {
                since: tick_at(-167),
                ..record(2)
            },
            Record {
                since: tick_at(0),
                ..record(0)
            },
            Record {
                leaving: true,
                ..record(4)
            },
        ];
        let snapshot = list(records).snapshot();
        let mut keys: Vec<NodeKey> = guards(&network(), &snapshot, at(0))
            .iter()
            .map(|member| member.record().key)
            .collect();
        keys.sort_unstable();
        let mut expected = [record(1).key, record(0).key];
        expected.sort_unstable();
        assert_eq!(keys, expected);
    }

    #[test]
    fn a_list_comes_back_from_the_disk_as_it_was() {
        let mut records: Vec<Record> = (0..40).map(record).collect();
        records[7].addresses = [v4(203, 0, 113, 1), v6(0x2001, 0xdb8, 5)];
        let kept = eligible(&records, TODAY);
        let bytes = kept.encode();
        assert_eq!(bytes.len(), 40 * SEAT_BYTES);
        let again = Eligible::decode(TODAY, bytes.clone().into()).unwrap();
        assert_eq!((again.hash(), again.len()), (kept.hash(), 40));
        assert_eq!(again.seats, kept.seats);
        let mut twice = bytes.clone();
        twice.extend_from_slice(&bytes[39 * SEAT_BYTES..]);
        let mut subnet = bytes.clone();
        subnet[32] = 25;
        for wrong in [twice, subnet, bytes[1..].to_vec()] {
            assert!(Eligible::decode(TODAY, wrong.into()).is_err());
        }
    }

    #[test]
    fn the_order_in_which_records_came_decides_nothing() {
        let records: Vec<Record> = (0..300)
            .map(|n| Record {
                addresses: [v4(10, u8::try_from(n % 7).unwrap(), 0, 1), None],
                ..record(n)
            })
            .collect();
        let forth = eligible(&records, TODAY);
        let back: Vec<Record> = records.into_iter().rev().collect();
        assert_eq!(forth.hash(), eligible(&back, TODAY).hash());
        assert!(number(forth.len()) > 7);
    }
}
