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
use crate::members::{Eligible, Member, Subnet};
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
    let mut ranks = ranks(eligible, place);
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
type Rank = (u128, u32);

/// [PLC-3]
fn ranks(eligible: &Eligible, place: &Place) -> Vec<Rank> {
    let epoch = place.epoch.0.to_be_bytes();
    let cell = u32::from(place.cell.0).to_be_bytes();
    let key = hash::derive("poste place", &[&place.salt.0, &epoch, &cell]);
    let district = |context, name: &[u8]| {
        let position = hash::derive(context, &[&place.salt.0, &epoch, name]);
        let [a, b, c, d, ..] = position;
        let shift = 32_u32.saturating_sub(u32::from(place.prefix_bits));
        u32::from_be_bytes([a, b, c, d]).checked_shr(shift)
    };
    let home = district("poste cell district", &cell);
    eligible
        .iter()
        .zip(0_u32..)
        .filter(|(member, _)| {
            place.prefix_bits == 0 || district("poste district", &member.id().0) == home
        })
        .map(|(member, index)| (rank(&key, &member.id()), index))
        .collect()
}

fn rank(key: &[u8; 32], id: &NodeId) -> u128 {
    let digest = blake3::keyed_hash(key, &id.0);
    let (first, _) = digest.as_bytes().split_at(16);
    first
        .iter()
        .fold(0, |rank, byte| (rank << 8) | u128::from(*byte))
}

/// [PLC-4]
fn walk(eligible: &Eligible, ranks: &[Rank], per_set: u16, count: usize) -> Vec<NodeId> {
    let mut taken = Vec::with_capacity(count.min(ranks.len()));
    let mut used: Vec<Subnet> = Vec::new();
    for (_, index) in ranks {
        if taken.len() >= count {
            break;
        }
        let Some(member) = usize::try_from(*index).ok().and_then(|at| eligible.at(at)) else {
            continue;
        };
        if per_set == 0 || has_room(member, &used, usize::from(per_set)) {
            used.extend(member.record().subnets_small());
            taken.push(member.id());
        }
    }
    taken
}

fn has_room(member: &Member, used: &[Subnet], per_set: usize) -> bool {
    member
        .record()
        .subnets_small()
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

    /// Whether a correspondent counts its receipt and follows a redirect to it: rank at most R + 4
    /// ([PLC-5]).
    pub fn counts_receipt(&self, id: &NodeId) -> bool {
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
