//! What a sweep asks of a store: the bytes of some envelopes, as one keyed hash each ([SWP-2]).
//!
//! Reading them is the store's work, so that what is proven is what lies on the disk.

use alloc::vec::Vec;

use super::Held;
use crate::hash;
use crate::place::Cell;
use crate::time::{Epoch, Hour, Tick};

/// The part of a cell that one sweep covers: the items that begin with certain hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    digits: u8,
    prefix: u16,
}

impl Part {
    /// A whole cell.
    pub const ALL: Self = Self {
        digits: 0,
        prefix: 0,
    };
    /// Digits of the smallest part: 1/4,096 of a cell.
    pub const DIGITS_MAX: u8 = 3;

    /// The items that begin with the `digits` lowest hexadecimal digits of `prefix`; `None` if there are more
    /// than [`Self::DIGITS_MAX`], or `prefix` has more than them.
    pub fn new(digits: u8, prefix: u16) -> Option<Self> {
        let fits = digits <= Self::DIGITS_MAX && u32::from(prefix) < 1 << (4 * digits);
        fits.then_some(Self { digits, prefix })
    }

    /// How many digits are given.
    pub fn digits(&self) -> u8 {
        self.digits
    }

    /// The digits as a number.
    pub fn prefix(&self) -> u16 {
        self.prefix
    }

    /// Whether the envelope with this id belongs to it.
    pub fn contains(&self, item: &[u8; 32]) -> bool {
        let [high, low, ..] = *item;
        let first = u32::from(u16::from_be_bytes([high, low]));
        first >> (16 - 4 * u32::from(self.digits)) == u32::from(self.prefix)
    }

    /// The sixteen parts with one digit more; none if there are too many digits.
    pub fn children(&self) -> impl Iterator<Item = Self> {
        let (digits, prefix) = (self.digits.saturating_add(1), self.prefix << 4);
        (0..16).filter_map(move |digit| Self::new(digits, prefix | digit))
    }
}

/// Which items are swept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// The epoch.
    pub epoch: Epoch,
    /// The cell.
    pub cell: Cell,
    /// The part of it.
    pub part: Part,
    /// Envelopes that arrived in this tick or before.
    pub arrived_by: Tick,
    /// Envelopes and tombstones that end at this hour or later.
    pub ends_from: Hour,
}

impl Swept {
    /// Whether something in the cell is swept. A card never is: of two, either may be the right one.
    pub fn covers(&self, held: &Held) -> bool {
        let in_time = match held {
            Held::Envelope {
                arrival, expires, ..
            } => *arrival <= self.arrived_by && *expires >= self.ends_from,
            Held::Tombstone(tombstone) => tombstone.expires >= self.ends_from,
            Held::Card { .. } => false,
        };
        // A tombstone lies where the envelope would, so that a listing of a part shows one of them.
        let place = match held {
            Held::Tombstone(tombstone) => tombstone.id.0,
            Held::Envelope { .. } | Held::Card { .. } => held.item(),
        };
        in_time && self.part.contains(&place)
    }
}

/// Something that is swept, with the keyed hash of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// What it is.
    pub held: Held,
    /// [`tag_of`] its bytes.
    pub tag: [u8; 32],
}

/// The tag of an envelope's bytes, or of a tombstone's item ([SWP-2]).
pub fn tag_of(key: &[u8; 32], bytes: &[u8]) -> [u8; 32] {
    *blake3::keyed_hash(key, bytes).as_bytes()
}

/// What proves that all of some tags were computed: `derive("poste sweep sum", count (4) | sum mod 2^256)`
/// ([SWP-2]).
pub fn proof_of<'a>(tags: impl IntoIterator<Item = &'a [u8; 32]>) -> [u8; 32] {
    let tags: Vec<&[u8; 32]> = tags.into_iter().collect();
    let count = u32::try_from(tags.len()).unwrap_or(u32::MAX);
    let sum = crate::reconcile::sum_of(tags);
    hash::derive("poste sweep sum", &[&count.to_be_bytes(), &sum])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [SWP-1]
    #[test]
    fn a_tombstone_is_swept_in_the_part_of_its_envelope() {
        use crate::crypto::Signature;
        use crate::id::EnvelopeId;
        use crate::store::{MailboxKeys, Tombstone};
        let tombstone = |byte: u8| {
            Held::Tombstone(Tombstone {
                keys: MailboxKeys {
                    flags: 0,
                    read: [1; 32],
                    write: [2; 32],
                },
                id: EnvelopeId([byte; 32]),
                expires: Hour(30),
                signature: Signature([0; 64]),
            })
        };
        for byte in [0x00, 0x47, 0x9c, 0xff] {
            let swept = |prefix| Swept {
                epoch: Epoch(0),
                cell: Cell(0),
                part: Part::new(2, prefix).unwrap(),
                arrived_by: Tick(0),
                ends_from: Hour(30),
            };
            let inside = (0..256).filter(|prefix| swept(*prefix).covers(&tombstone(byte)));
            assert_eq!(inside.collect::<Vec<u16>>(), [u16::from(byte)]);
        }
    }

    /// [SWP-1]
    #[test]
    fn an_item_is_in_one_part_of_each_size() {
        let item: [u8; 32] = hash::derive("test", &[]);
        let mut part = Part::ALL;
        for digits in 1..=Part::DIGITS_MAX {
            let inside: Vec<Part> = part.children().filter(|one| one.contains(&item)).collect();
            assert_eq!(inside.len(), 1, "{digits}");
            part = inside[0];
            assert_eq!(Part::new(part.digits(), part.prefix()), Some(part));
        }
        assert_eq!(part.children().count(), 0);
        assert_eq!(Part::new(1, 16), None);
        assert_eq!(Part::new(4, 0), None);
    }
}
