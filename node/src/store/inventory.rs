//! What the store has of some cells, for comparisons with siblings ([STO-8]): read from the indexes, without
//! a row.
//!
//! Cards are read whole, since their hash stands for them; there is one a mailbox at most.

use std::collections::BTreeSet;

use swarm_proto::id::{EnvelopeId, MailboxAddress};
use swarm_proto::limits;
use swarm_proto::place::{Cell, cell_of};
use swarm_proto::store::{Held, MailboxKeys, StoreDone, Swept, Tagged, Tombstone, tag_of};
use swarm_proto::time::Epoch;

use super::StoreFailure;
use super::catalog::Catalog;
use super::read::{Source, row, view};
use super::schema::{
    DayTable, Place, decode_card, decode_index_key, decode_key_address, decode_tombstone,
};

/// The cells in which something lives: all indexes are walked, so it is asked once, at a start.
pub(super) fn cells(
    source: &mut impl Source,
    catalog: &Catalog,
    cell_bits: u8,
) -> Result<StoreDone, StoreFailure> {
    let mut cells = BTreeSet::new();
    let expired = catalog.expired;
    for kind in KINDS {
        for table in catalog.day_tables(kind) {
            source.scan(table, &[], &LAST_KEY, &mut |key, value| {
                let (hour, epoch) = match kind {
                    DayTable::Index => {
                        let place = Place::decode(value)?;
                        (place.hour, place.epoch)
                    }
                    DayTable::Tombstones => {
                        let (hour, _, epoch) = decode_tombstone(value)?;
                        (hour, epoch)
                    }
                    DayTable::Cards => {
                        let (card, epoch) = decode_card(value.to_vec())?;
                        (card.expires, epoch)
                    }
                    DayTable::Ids | DayTable::Boxes => return Ok(()),
                };
                if hour > expired {
                    cells.insert((epoch, cell_of(&decode_key_address(key)?, cell_bits)));
                }
                Ok(())
            })?;
        }
    }
    Ok(StoreDone::Cells(cells.into_iter().collect()))
}

/// What lives in `cells` of `epoch`.
pub(super) fn of(
    source: &mut impl Source,
    catalog: &Catalog,
    epoch: Epoch,
    cells: &[Cell],
    cell_bits: u8,
    items_max: usize,
) -> Result<StoreDone, StoreFailure> {
    let found = walk(source, catalog, epoch, cells, cell_bits, items_max)?;
    let held = |found: Vec<Living>| found.into_iter().map(|(held, _)| held);
    Ok(found.map_or(StoreDone::Failed, |found| {
        StoreDone::Inventory(held(found).collect())
    }))
}

/// Something that lives, and where its row is if it is an envelope.
type Living = (Held, Option<Place>);

/// What lives in `cells` of `epoch`, by its item; nothing if there is more than `items_max` of it.
fn walk(
    source: &mut impl Source,
    catalog: &Catalog,
    epoch: Epoch,
    cells: &[Cell],
    cell_bits: u8,
    items_max: usize,
) -> Result<Option<Vec<Living>>, StoreFailure> {
    let mut found = Found {
        catalog,
        epoch,
        cells,
        cell_bits,
        items_max,
        held: Vec::new(),
        tombstones: Vec::new(),
        cards: Vec::new(),
    };
    for kind in KINDS {
        for table in catalog.day_tables(kind) {
            for (first, last) in ranges(cells, cell_bits) {
                source.scan(table, &first, &last, &mut |key, value| {
                    found.take(kind, key, value)
                })?;
            }
        }
    }
    if found.len() > items_max {
        return Ok(None);
    }
    let Found {
        mut held,
        tombstones,
        cards,
        ..
    } = found;
    for (address, mut tombstone) in tombstones {
        tombstone.keys = keys(source, catalog, &address)?;
        held.push((Held::Tombstone(tombstone), None));
    }
    for (address, mut card) in cards {
        if let Held::Card { keys: unknown, .. } = &mut card {
            *unknown = keys(source, catalog, &address)?;
        }
        held.push((card, None));
    }
    held.sort_by_cached_key(|(held, _)| held.item());
    Ok(Some(held))
}

/// What is swept, each read and hashed; nothing is read if it is too much.
pub(super) fn tags(
    source: &mut impl Source,
    catalog: &Catalog,
    swept: &Swept,
    cell_bits: u8,
    tag_key: &[u8; 32],
    items_max: usize,
) -> Result<StoreDone, StoreFailure> {
    let most = limits::HELD_PER_EXCHANGE_MAX.max(items_max);
    let all = walk(source, catalog, swept.epoch, &[swept.cell], cell_bits, most)?;
    let Some(mut held) = all else {
        return Ok(StoreDone::Many);
    };
    held.retain(|(one, _)| swept.covers(one));
    if held.len() > items_max {
        return Ok(StoreDone::Many);
    }
    let mut tagged = Vec::with_capacity(held.len());
    for (held, place) in held {
        let tag = match (&held, place) {
            (Held::Envelope { id, .. }, Some(place)) => {
                tag_of(tag_key, row(source, &place, id)?.envelope.bytes())
            }
            (Held::Envelope { .. }, None) => {
                return Err(StoreFailure::Record("place is missing"));
            }
            (Held::Tombstone(_) | Held::Card { .. }, _) => tag_of(tag_key, &held.item()),
        };
        tagged.push(Tagged { held, tag });
    }
    Ok(StoreDone::Tags(tagged))
}

/// What a walk has found; mailbox keys are looked up afterwards.
struct Found<'a> {
    catalog: &'a Catalog,
    epoch: Epoch,
    cells: &'a [Cell],
    cell_bits: u8,
    items_max: usize,
    held: Vec<Living>,
    tombstones: Vec<(MailboxAddress, Tombstone)>,
    cards: Vec<(MailboxAddress, Held)>,
}

impl Found<'_> {
    fn len(&self) -> usize {
        self.held.len() + self.tombstones.len() + self.cards.len()
    }

    fn take(&mut self, kind: DayTable, key: &[u8], value: &[u8]) -> Result<(), StoreFailure> {
        let address = decode_key_address(key)?;
        let cell = cell_of(&address, self.cell_bits);
        if self.len() > self.items_max || self.cells.binary_search(&cell).is_err() {
            return Ok(());
        }
        let expired = self.catalog.expired;
        match kind {
            DayTable::Index => {
                let place = Place::decode(value)?;
                if place.epoch == self.epoch && place.hour > expired {
                    let cursor = decode_index_key(key)?;
                    let held = Held::Envelope {
                        id: cursor.id,
                        address,
                        arrival: cursor.arrival,
                        expires: place.hour,
                    };
                    self.held.push((held, Some(place)));
                }
            }
            DayTable::Tombstones => {
                let (expires, signature, epoch) = decode_tombstone(value)?;
                if epoch == self.epoch && expires > expired {
                    let id = key.last_chunk().copied().map(EnvelopeId);
                    let id = id.ok_or(StoreFailure::Record("tombstone key"))?;
                    let tombstone = Tombstone {
                        keys: UNKNOWN,
                        id,
                        expires,
                        signature,
                    };
                    self.tombstones.push((address, tombstone));
                }
            }
            DayTable::Cards => {
                let (card, epoch) = decode_card(value.to_vec())?;
                if epoch == self.epoch && card.expires > expired {
                    let held = Held::Card {
                        keys: UNKNOWN,
                        sequence: card.sequence,
                        expires: card.expires,
                        hash: card.hash(),
                    };
                    self.cards.push((address, held));
                }
            }
            DayTable::Ids | DayTable::Boxes => {}
        }
        Ok(())
    }
}

fn keys(
    source: &mut impl Source,
    catalog: &Catalog,
    address: &MailboxAddress,
) -> Result<MailboxKeys, StoreFailure> {
    let keys = view(source, catalog, address)?.keys;
    keys.ok_or(StoreFailure::Record("mailbox is missing"))
}

/// The parts of a table that are walked: cell by cell, or all of it when that takes fewer steps.
fn ranges(cells: &[Cell], cell_bits: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
    if cells.len() > CELLS_ONE_BY_ONE_MAX {
        return vec![(Vec::new(), LAST_KEY.to_vec())];
    }
    let shift = 16_u32.saturating_sub(u32::from(cell_bits));
    let range = |cell: &Cell| {
        let first = u32::from(cell.0) << shift;
        let last = first | ((1 << shift) - 1);
        // A cell has 16 bits at most.
        let bytes = |number: u32| u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
        let tail = LAST_KEY.get(2..).unwrap_or_default();
        (bytes(first).to_vec(), [&bytes(last), tail].concat())
    };
    cells.iter().map(range).collect()
}

const KINDS: [DayTable; 3] = [DayTable::Index, DayTable::Tombstones, DayTable::Cards];
/// Not before any key of an index.
pub(super) const LAST_KEY: [u8; 68] = [0xff; 68];
/// Beyond that many cells a walk through a whole table is cheaper than a look-up each.
const CELLS_ONE_BY_ONE_MAX: usize = 64;
/// Stands where keys are looked up later.
const UNKNOWN: MailboxKeys = MailboxKeys {
    flags: 0,
    read: [0; 32],
    write: [0; 32],
};
