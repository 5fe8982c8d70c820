//! Which relays hold a cell in an epoch.
//!
//! Everybody who has the same eligible list computes the same holders, without asking: rendezvous
//! hashing per cell and epoch, with a cap per subnet. An envelope stays with the holders of its epoch,
//! so a relay that joins causes no copying. Asking and copying is the relay's work. Rules:
//! `docs/spec/placement.md`; rendezvous hashing after Thaler and Ravishankar (1998).

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::hash;
use crate::id::{MailboxAddress, NodeId};
use crate::limits;
use crate::members::{Eligible, Seat, Subnet};
use crate::network::Network;
use crate::time::Epoch;

/// One of the shelves that an epoch's mailbox addresses fall into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell(pub u16);

/// The cell of a mailbox address: its first `cell_bits` bits, 0 to 16 ([PLC-1]).
pub fn cell_of(address: &MailboxAddress, cell_bits: u8) -> Cell {
    let [high, low, ..] = address.0;
    let first = u32::from(u16::from_be_bytes([high, low]));
    let shift = 16_u32.saturating_sub(u32::from(cell_bits));
    Cell(u16::try_from(first >> shift).unwrap_or(0))
}

/// What makes an epoch's placement unpredictable beforehand; constant until there is a public beacon
/// ([PLC-2]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EpochSalt(pub [u8; 32]);

/// What is placed: a cell of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The epoch's salt.
    pub salt: EpochSalt,
    /// The epoch.
    pub epoch: Epoch,
    /// The cell.
    pub cell: Cell,
    /// Bits of the district that the walk stays in; 0, the whole swarm, in version 1 ([PLC-6]).
    pub prefix_bits: u8,
}

impl Place {
    /// A cell of an epoch under the rules of version 1.
    pub fn new(epoch: Epoch, cell: Cell) -> Self {
        Self {
            salt: EpochSalt::default(),
            epoch,
            cell,
            prefix_bits: 0,
        }
    }
}

/// The first `count` members for a place, in the order of their ranks; no subnet (/24, /48) appears more
/// than `per_set` times, where 0 lifts that cap ([PLC-3], [PLC-4]). Fewer if the list ends before.
pub fn ranked(eligible: &Eligible, place: &Place, per_set: u16, count: usize) -> Vec<NodeId> {
    first_of(eligible, ranks(eligible, place), per_set, count)
}

/// The same for a draw that is no place: ranks are keyed with `key`.
pub(crate) fn drawn(eligible: &Eligible, key: [u8; 16], per_set: u16, count: usize) -> Vec<NodeId> {
    let (high, low) = key.split_at(8);
    let key = [high, low].map(word);
    let names = eligible.names().iter().zip(0_u32..);
    let ranks = names.map(|(name, index)| (siphash_2_4(key, *name), index));
    first_of(eligible, ranks.collect(), per_set, count)
}

fn first_of(eligible: &Eligible, mut ranks: Vec<Rank>, per_set: u16, count: usize) -> Vec<NodeId> {
    // Nearly always the walk ends within the first few ranks, so only those are sorted at first.
    let near = count.saturating_mul(4);
    if near < ranks.len() {
        ranks.select_nth_unstable(near);
        let first = ranks.get_mut(..near).unwrap_or_default();
        first.sort_unstable();
        let taken = walk(eligible, first, per_set, count);
        if taken.len() >= count {
            return taken;
        }
    }
    ranks.sort_unstable();
    walk(eligible, &ranks, per_set, count)
}

/// A rank and the place of its member in the eligible list; ordered, equal ranks by node id.
type Rank = (u64, u32);

/// [PLC-3]
fn ranks(eligible: &Eligible, place: &Place) -> Vec<Rank> {
    let epoch = place.epoch.0.to_be_bytes();
    let cell = u32::from(place.cell.0).to_be_bytes();
    let mut key = [0; 16];
    hash::derive_into("poste place", &[&place.salt.0, &epoch, &cell], &mut key);
    let (high, low) = key.split_at(8);
    let key = [high, low].map(word);
    let district = |context, name: &[u8]| {
        let position = hash::derive(context, &[&place.salt.0, &epoch, name]);
        let [a, b, c, d, ..] = position;
        let shift = 32_u32.saturating_sub(u32::from(place.prefix_bits));
        u32::from_be_bytes([a, b, c, d]).checked_shr(shift)
    };
    let home = district("poste cell district", &cell);
    eligible
        .names()
        .iter()
        .zip(eligible.ids())
        .zip(0_u32..)
        .filter(|((_, id), _)| place.prefix_bits == 0 || district("poste district", &id.0) == home)
        .map(|((name, _), index)| (siphash_2_4(key, *name), index))
        .collect()
}

/// Eight bytes as SipHash reads them, the first one lowest.
pub(crate) fn word(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .take(8)
        .rev()
        .fold(0, |word, byte| (word << 8) | u64::from(*byte))
}

/// SipHash-2-4 (Aumasson and Bernstein, 2012) of 16 bytes. Not for secrecy: node ids are hashes already,
/// and a walk costs one of these a member, where BLAKE3 would take several times as long.
fn siphash_2_4(key: [u64; 2], message: [u64; 2]) -> u64 {
    let [k0, k1] = key;
    let [m0, m1] = message;
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    for m in [m0, m1, 16 << 56] {
        v[3] ^= m;
        v = sip_round(sip_round(v));
        v[0] ^= m;
    }
    v[2] ^= 0xff;
    v = sip_round(sip_round(sip_round(sip_round(v))));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn sip_round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

/// [PLC-4]
fn walk(eligible: &Eligible, ranks: &[Rank], per_set: u16, count: usize) -> Vec<NodeId> {
    let mut taken = Vec::with_capacity(count.min(ranks.len()));
    let mut used: Vec<Subnet> = Vec::new();
    for (_, index) in ranks {
        if taken.len() >= count {
            break;
        }
        let Some(seat) = usize::try_from(*index).ok().and_then(|at| eligible.at(at)) else {
            continue;
        };
        if per_set == 0 || has_room(seat, &used, usize::from(per_set)) {
            used.extend(seat.subnets());
            taken.push(seat.id());
        }
    }
    taken
}

fn has_room(seat: &Seat, used: &[Subnet], per_set: usize) -> bool {
    seat.subnets()
        .all(|subnet| used.iter().filter(|other| **other == subnet).count() < per_set)
}

/// The relays around one place: its holders, its spares, and those whose word still counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    ranked: Vec<NodeId>,
    holders: usize,
    spares: usize,
}

impl Placement {
    /// Walks the eligible list for a place, as far as anybody needs to know it ([PLC-5]).
    pub fn of(network: &Network, eligible: &Eligible, place: &Place) -> Self {
        let holders = usize::from(network.holders);
        let spares = usize::from(network.spares);
        let beyond = spares
            .max(limits::RECEIPT_RANK_SLACK)
            .max(limits::COPY_RANK_SLACK);
        let count = holders.saturating_add(beyond);
        Self {
            ranked: ranked(eligible, place, network.caps.per_set, count),
            holders,
            spares,
        }
    }

    /// The R holders, fewer in a small network.
    pub fn holders(&self) -> &[NodeId] {
        self.first(self.holders)
    }

    /// Those next in line after the holders.
    pub fn spares(&self) -> &[NodeId] {
        self.first(self.holders.saturating_add(self.spares))
            .get(self.holders..)
            .unwrap_or(&[])
    }

    /// All that were walked, in the order of their ranks.
    pub fn ranked(&self) -> &[NodeId] {
        &self.ranked
    }

    /// Whether it is one of the R holders.
    pub fn is_holder(&self, id: &NodeId) -> bool {
        self.holders().contains(id)
    }

    /// Whether it takes a copy although it may not be a holder: rank at most R + 2 ([PLC-5]).
    pub fn takes_copy(&self, id: &NodeId) -> bool {
        self.first(self.holders.saturating_add(limits::COPY_RANK_SLACK))
            .contains(id)
    }

    /// Whether its receipt is kept, although only those of holders count for W: rank at most R + 4 ([PLC-5]).
    pub fn keeps_receipt(&self, id: &NodeId) -> bool {
        self.first(self.holders.saturating_add(limits::RECEIPT_RANK_SLACK))
            .contains(id)
    }

    fn first(&self, count: usize) -> &[NodeId] {
        self.ranked.get(..count).unwrap_or(&self.ranked)
    }
}

/// Remembers placements that were computed. When its newer half is full the older half is forgotten, so
/// what is asked for often stays.
#[derive(Debug)]
pub struct PlacementMemo {
    half: usize,
    newer: BTreeMap<MemoKey, Arc<Placement>>,
    older: BTreeMap<MemoKey, Arc<Placement>>,
}

/// The eligible list's hash, salt, epoch, cell and district bits.
type MemoKey = ([u8; 32], EpochSalt, Epoch, Cell, u8);

impl PlacementMemo {
    /// Remembers at most `entries_max` placements, about 400 bytes each; at least two.
    pub fn new(entries_max: usize) -> Self {
        Self {
            half: (entries_max / 2).max(1),
            newer: BTreeMap::new(),
            older: BTreeMap::new(),
        }
    }

    /// The placement of a place, computed if it is not remembered. One memo serves one network.
    pub fn of(&mut self, network: &Network, eligible: &Eligible, place: &Place) -> Arc<Placement> {
        let key = (
            *eligible.hash(),
            place.salt,
            place.epoch,
            place.cell,
            place.prefix_bits,
        );
        if let Some(known) = self.newer.get(&key) {
            return Arc::clone(known);
        }
        let placement = self
            .older
            .remove(&key)
            .unwrap_or_else(|| Arc::new(Placement::of(network, eligible, place)));
        if self.newer.len() >= self.half {
            self.older = core::mem::take(&mut self.newer);
        }
        self.newer.insert(key, Arc::clone(&placement));
        placement
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.newer.len().saturating_add(self.older.len())
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.newer.is_empty() && self.older.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::hex;
    use crate::members::testing::{TODAY, check_vectors, list, network, record};
    use crate::members::{Address, Record};
    use alloc::collections::BTreeSet;
    use alloc::string::String;
    use core::net::{IpAddr, Ipv4Addr};

    const VECTORS: &str = include_str!("../../docs/spec/vectors/place.txt");

    fn eligible(records: impl IntoIterator<Item = Record>) -> Eligible {
        Eligible::of(&network(), &list(records).snapshot(), TODAY)
    }

    fn cells(count: u16) -> impl Iterator<Item = Place> {
        (0..count).map(|cell| Place::new(TODAY, Cell(cell)))
    }

    /// [PLC-1]
    #[test]
    fn a_cell_is_the_first_bits_of_an_address() {
        let mut address = MailboxAddress([0; 32]);
        address.0[..3].copy_from_slice(&[0xab, 0xcd, 0xef]);
        for (bits, cell) in [
            (0, 0),
            (1, 1),
            (8, 0xab),
            (14, 0x2af3),
            (16, 0xabcd),
            (200, 0xabcd),
        ] {
            assert_eq!(cell_of(&address, bits), Cell(cell), "{bits}");
        }
    }

    /// [PLC-2], [PLC-3]
    #[test]
    fn ranks_are_those_of_the_vectors() {
        let eligible = eligible((0..12).map(record));
        let ids = |place: &Place| -> String {
            let ranked = ranked(&eligible, place, 1, 12);
            ranked.iter().map(|id| hex(&id.short())).collect()
        };
        let salted = Place {
            salt: EpochSalt([1; 32]),
            ..Place::new(TODAY, Cell(0))
        };
        check_vectors(
            VECTORS,
            &[
                ("cell 0", ids(&Place::new(TODAY, Cell(0)))),
                ("cell 16383", ids(&Place::new(TODAY, Cell(16_383)))),
                ("next epoch", ids(&Place::new(TODAY.plus(1), Cell(0)))),
                ("salted", ids(&salted)),
            ],
        );
    }

    /// [PLC-3], [PLC-4]: the shortcut for the first few ranks is the full walk's beginning.
    #[test]
    fn a_short_walk_is_the_beginning_of_a_long_one() {
        let eligible = eligible((0..300).map(|n| Record {
            addresses: [
                Address::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 1).filter(|_| n % 3 == 0),
                record(n).addresses[0],
            ],
            ..record(n)
        }));
        for place in cells(50) {
            let all = ranked(&eligible, &place, 1, 1_000);
            assert!(all.len() <= eligible.len());
            for count in [0, 1, 5, 9, 60] {
                let few = ranked(&eligible, &place, 1, count);
                assert_eq!(few, all[..count.min(all.len())]);
            }
        }
    }

    /// [PLC-4]
    #[test]
    fn no_subnet_repeats_in_a_set_unless_the_cap_is_lifted() {
        let shared = |n: u32| {
            let [_, _, high, low] = (n / 2).to_be_bytes();
            Address::new(IpAddr::V4(Ipv4Addr::new(high + 20, low, 1, 1)), 1)
        };
        let eligible = eligible((1..200).map(|n| Record {
            addresses: [shared(n), None],
            ..record(n)
        }));
        assert_eq!(eligible.len(), 199);
        let mut repeated = 0;
        for place in cells(200) {
            let subnets = |per_set| -> (usize, usize) {
                let ranked = ranked(&eligible, &place, per_set, 60);
                let subnets: BTreeSet<Subnet> = ranked
                    .iter()
                    .flat_map(|id| {
                        let at = eligible.ids().position(|one| one == *id).unwrap();
                        eligible.at(at).unwrap().subnets()
                    })
                    .collect();
                (ranked.len(), subnets.len())
            };
            assert_eq!(subnets(1), (60, 60));
            repeated += usize::from(subnets(0).1 < 60);
        }
        assert!(repeated > 100, "{repeated}");
    }

    /// [PLC-4]
    #[test]
    fn a_small_network_has_fewer_holders() {
        let eligible = eligible((0..3).map(record));
        let placement = Placement::of(&network(), &eligible, &Place::new(TODAY, Cell(7)));
        assert_eq!(placement.holders().len(), 3);
        assert!(placement.spares().is_empty());
        let nobody = Eligible::of(&network(), &list([]).snapshot(), TODAY);
        assert!(ranked(&nobody, &Place::new(TODAY, Cell(7)), 1, 5).is_empty());
    }

    /// [PLC-5]
    #[test]
    fn neighbours_of_the_holders_take_copies_and_are_heard() {
        let eligible = eligible((0..40).map(record));
        let place = Place::new(TODAY, Cell(7));
        let placement = Placement::of(&network(), &eligible, &place);
        let walk = ranked(&eligible, &place, 1, 40);
        assert_eq!(placement.holders(), &walk[..5]);
        assert_eq!(placement.spares(), &walk[5..7]);
        for (rank, id) in walk.iter().enumerate() {
            assert_eq!(placement.is_holder(id), rank < 5);
            assert_eq!(placement.takes_copy(id), rank < 7);
            assert_eq!(placement.keeps_receipt(id), rank < 9);
        }
    }

    /// [PLC-5]: why ranks beyond R take copies: a holder by one list is then near enough by the other.
    #[test]
    fn two_lists_that_differ_by_two_percent_share_three_of_five_holders() {
        let mine = eligible((0..500).filter(|n| n % 100 != 3).map(record));
        let theirs = eligible((0..500).filter(|n| n % 100 != 57).map(record));
        let (mut few, mut missed) = (0, 0);
        for place in cells(4_000) {
            let mine = Placement::of(&network(), &mine, &place);
            let theirs = Placement::of(&network(), &theirs, &place);
            let holders = theirs.holders().iter();
            few += usize::from(holders.filter(|id| mine.is_holder(id)).count() < 3);
            let holders = theirs.holders().iter();
            missed += usize::from(holders.filter(|id| mine.keeps_receipt(id)).count() < 3);
        }
        assert!(few <= 2, "{few} of 4,000");
        assert_eq!(missed, 0);
    }

    /// [PLC-6]
    #[test]
    fn districts_part_the_members_and_a_walk_stays_in_its_own() {
        let eligible = eligible((0..400).map(record));
        let mut walks: BTreeSet<Vec<NodeId>> = BTreeSet::new();
        for place in cells(64) {
            let place = Place {
                prefix_bits: 2,
                ..place
            };
            let mut walk = ranked(&eligible, &place, 1, 1_000);
            walk.sort_unstable();
            walks.insert(walk);
        }
        assert_eq!(walks.len(), 4);
        let members: usize = walks.iter().map(Vec::len).sum();
        assert_eq!(members, eligible.len());
    }

    #[test]
    fn each_relay_holds_its_share_of_the_cells() {
        let eligible = eligible((0..50).map(record));
        let mut held = BTreeMap::new();
        for place in cells(2_000) {
            for id in ranked(&eligible, &place, 1, 5) {
                *held.entry(id).or_insert(0_u32) += 1;
            }
        }
        assert_eq!(held.len(), 50);
        assert!(
            held.values().all(|cells| (140..260).contains(cells)),
            "{held:?}"
        );
    }

    #[test]
    fn a_memo_gives_the_same_answer_and_stays_within_its_bound() {
        let (few, many) = (eligible((0..20).map(record)), eligible((0..40).map(record)));
        let mut memo = PlacementMemo::new(16);
        let often = Place::new(TODAY, Cell(1));
        let first = memo.of(&network(), &many, &often);
        for place in cells(100) {
            for eligible in [&few, &many] {
                let remembered = memo.of(&network(), eligible, &place);
                assert_eq!(*remembered, Placement::of(&network(), eligible, &place));
                assert!(memo.len() <= 16 && !memo.is_empty());
            }
            assert!(Arc::ptr_eq(&first, &memo.of(&network(), &many, &often)));
        }
    }

    #[test]
    #[allow(deprecated)]
    fn ranks_are_siphash_as_others_have_it() {
        use core::hash::{Hasher, SipHasher};
        let mut message = [0; 16];
        for n in 0..500_u32 {
            hash::derive_into("test message", &[&n.to_be_bytes()], &mut message);
            let (first, second) = message.split_at(8);
            let (k0, k1) = (u64::from(n), u64::MAX / u64::from(n + 1));
            let mut theirs = SipHasher::new_with_keys(k0, k1);
            theirs.write(&message);
            let ours = siphash_2_4([k0, k1], [word(first), word(second)]);
            assert_eq!(ours, theirs.finish());
        }
    }
}
