//! The store as a model: everything in memory, nothing clever, and therefore what "right" means.
//!
//! Engines are compared with it operation by operation; the simulator uses it as a relay's disk.
//! Source: docs/spec/store.md.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use super::{
    CARD_WEIGHT_BYTES, Card, Chronicle, Cursor, Held, MailboxKeys, NotKept, Page, Quota,
    ROW_WEIGHT_BYTES, Row, StoreDone, StoreOp, StoredRow, Swept, TOMBSTONE_WEIGHT_BYTES, Tagged,
    Tombstone, Usage, page_fingerprint, tag_of,
};
use crate::id::{EnvelopeId, MailboxAddress};
use crate::place::{Cell, cell_of};
use crate::time::{Epoch, Hour};

/// A store in memory.
#[derive(Clone, Debug, Default)]
pub struct MemStore {
    mailboxes: BTreeMap<MailboxAddress, Mailbox>,
    /// Where each live envelope stands.
    places: BTreeMap<EnvelopeId, (MailboxAddress, Cursor)>,
    /// Whatever ends at or before it is gone.
    expired: Hour,
    budget_bytes: Option<u64>,
    usage: Usage,
    chronicles: BTreeMap<Chronicle, BTreeMap<Epoch, Bytes>>,
}

#[derive(Clone, Debug)]
struct Mailbox {
    keys: MailboxKeys,
    rows: BTreeMap<Cursor, (Row, Hour)>,
    bytes: u64,
    tombstones: BTreeMap<EnvelopeId, (Tombstone, Epoch)>,
    card: Option<(Card, Epoch)>,
}

impl MemStore {
    /// An empty store without a budget.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store whose [`Usage::weight`] stays within `budget_bytes`.
    pub fn with_budget(budget_bytes: u64) -> Self {
        Self {
            budget_bytes: Some(budget_bytes),
            ..Self::default()
        }
    }

    /// Carries one operation out.
    pub fn apply(&mut self, op: StoreOp) -> StoreDone {
        match op {
            StoreOp::Put {
                keys,
                row,
                expires,
                quota,
            } => answer(self.put(keys, row, expires, quota)),
            StoreOp::Page {
                address,
                after,
                bytes_max,
                salt,
            } => StoreDone::Page(self.page(&address, after, bytes_max, &salt)),
            StoreOp::Delete { tombstone, epoch } => answer(self.delete(tombstone, epoch)),
            StoreOp::Have { mut ids } => {
                ids.retain(|id| self.places.contains_key(id));
                StoreDone::Have(ids)
            }
            StoreOp::Read { id } => StoreDone::Row(self.read(&id)),
            StoreOp::PutCard { keys, card, epoch } => answer(self.put_card(keys, card, epoch)),
            StoreOp::Card { address } => StoreDone::Card(
                self.mailboxes
                    .get(&address)
                    .and_then(|mailbox| mailbox.card.as_ref())
                    .map(|(card, _)| card.clone()),
            ),
            StoreOp::Expire { hour } => self.expire(hour),
            StoreOp::Usage => StoreDone::Usage(Usage {
                mailboxes: u64::try_from(self.mailboxes.len()).unwrap_or(u64::MAX),
                ..self.usage
            }),
            StoreOp::Cells { cell_bits } => StoreDone::Cells(self.cells(cell_bits)),
            StoreOp::Inventory {
                epoch,
                cells,
                cell_bits,
                items_max,
            } => {
                let held = self.inventory(epoch, &cells, cell_bits);
                if held.len() > items_max {
                    return StoreDone::Failed;
                }
                StoreDone::Inventory(held)
            }
            StoreOp::PutEntry {
                chronicle,
                epoch,
                entry,
                oldest,
            } => {
                let entries = self.chronicles.entry(chronicle).or_default();
                entries.insert(epoch, entry);
                *entries = entries.split_off(&oldest);
                StoreDone::EntryKept
            }
            StoreOp::Entries { chronicle } => {
                let entries = self.chronicles.get(&chronicle).into_iter().flatten();
                let entries = entries.map(|(epoch, entry)| (*epoch, entry.clone()));
                StoreDone::Entries(entries.collect())
            }
            StoreOp::Tags {
                swept,
                cell_bits,
                key,
                items_max,
            } => self.tags(&swept, cell_bits, &key, items_max),
        }
    }

    fn cells(&self, cell_bits: u8) -> Vec<(Epoch, Cell)> {
        let mut cells = BTreeSet::new();
        for (address, mailbox) in &self.mailboxes {
            let cell = cell_of(address, cell_bits);
            cells.extend(mailbox.epochs().map(|epoch| (epoch, cell)));
        }
        cells.into_iter().collect()
    }

    fn inventory(&self, epoch: Epoch, cells: &[Cell], cell_bits: u8) -> Vec<Held> {
        let mut held = Vec::new();
        for (address, mailbox) in &self.mailboxes {
            if cells.binary_search(&cell_of(address, cell_bits)).is_ok() {
                mailbox.held(epoch, &mut held);
            }
        }
        held.sort_by_cached_key(Held::item);
        held
    }

    fn tags(&self, swept: &Swept, cell_bits: u8, key: &[u8; 32], items_max: usize) -> StoreDone {
        let mut held = self.inventory(swept.epoch, &[swept.cell], cell_bits);
        held.retain(|one| swept.covers(one));
        if held.len() > items_max {
            return StoreDone::Many;
        }
        let tagged = held.into_iter().map(|held| {
            let stored = match &held {
                Held::Envelope { id, .. } => self.read(id),
                Held::Tombstone(_) | Held::Card { .. } => None,
            };
            let tag = match &stored {
                Some(stored) => tag_of(key, stored.row.envelope.bytes()),
                None => tag_of(key, &held.item()),
            };
            Tagged { held, tag }
        });
        StoreDone::Tags(tagged.collect())
    }

    fn put(
        &mut self,
        keys: MailboxKeys,
        row: Row,
        expires: Hour,
        quota: Quota,
    ) -> Result<StoreDone, NotKept> {
        self.alive(expires)?;
        let address = row.envelope.header().address;
        let (id, cursor, bytes) = (row.envelope.id(), row.cursor(), length(&row));
        let mailbox = self.mailboxes.get(&address);
        if mailbox.is_some_and(|mailbox| mailbox.tombstones.contains_key(&id)) {
            return Err(NotKept::Deleted);
        }
        if let Some((_, place)) = self.places.get(&id) {
            return Ok(StoreDone::Kept {
                fresh: false,
                arrival: place.arrival,
            });
        }
        let (held, held_bytes) = mailbox.map_or((0, 0), |m| (m.rows.len(), m.bytes));
        if u32::try_from(held).unwrap_or(u32::MAX) >= quota.envelopes
            || held_bytes.saturating_add(bytes) > quota.bytes
        {
            return Err(NotKept::MailboxFull);
        }
        self.afford(bytes.saturating_add(ROW_WEIGHT_BYTES))?;

        let arrival = row.arrival;
        let mailbox = self.mailbox(address, keys);
        mailbox.bytes += bytes;
        mailbox.rows.insert(cursor, (row, expires));
        self.places.insert(id, (address, cursor));
        self.usage.envelopes += 1;
        self.usage.bytes += bytes;
        Ok(StoreDone::Kept {
            fresh: true,
            arrival,
        })
    }

    fn page(
        &self,
        address: &MailboxAddress,
        after: Cursor,
        bytes_max: usize,
        salt: &[u8; 32],
    ) -> Page {
        let Some(mailbox) = self.mailboxes.get(address) else {
            return Page::default();
        };
        let mut rows = Vec::new();
        let (mut bytes, mut more) = (0, false);
        let following = mailbox.rows.iter().filter(|(cursor, _)| **cursor > after);
        for (cursor, (row, _)) in following {
            bytes += 8 + row.envelope.bytes().len();
            if bytes > bytes_max {
                more = true;
                break;
            }
            rows.push((cursor.arrival, row.envelope.clone()));
        }
        Page {
            count: u32::try_from(mailbox.rows.len()).unwrap_or(u32::MAX),
            fingerprint: page_fingerprint(salt, mailbox.rows.keys().map(|cursor| cursor.id)),
            more,
            rows,
        }
    }

    fn delete(&mut self, tombstone: Tombstone, epoch: Epoch) -> Result<StoreDone, NotKept> {
        self.alive(tombstone.expires)?;
        let (address, id) = (tombstone.keys.address(), tombstone.id);
        let place = self.places.get(&id).copied();
        let place = place.filter(|(owner, _)| *owner == address);
        let mailbox = self.mailboxes.get(&address);
        let before = mailbox.and_then(|mailbox| mailbox.tombstones.get(&id));
        let stays = before.is_some_and(|(before, _)| before.expires >= tombstone.expires);
        let row = place.and_then(|(_, cursor)| mailbox?.rows.get(&cursor));
        if row.is_some_and(|(_, expires)| *expires > tombstone.expires) {
            return Err(NotKept::Expired);
        }
        // Where the envelope lay is known better than whoever passes the word on knows it.
        let epoch = match (row, before) {
            (Some((row, _)), _) => row.epoch(),
            (None, Some((_, before))) => *before,
            (None, None) => epoch,
        };
        let (is_new, stays) = (before.is_none(), stays);
        if is_new && place.is_none() {
            self.afford(TOMBSTONE_WEIGHT_BYTES)?;
        }
        if is_new {
            self.usage.tombstones += 1;
        }
        if !stays {
            let mailbox = self.mailbox(address, tombstone.keys);
            mailbox.tombstones.insert(id, (tombstone, epoch));
        }
        if let Some((_, cursor)) = place {
            self.remove(&address, &cursor);
        }
        Ok(StoreDone::Deleted {
            existed: place.is_some(),
        })
    }

    fn read(&self, id: &EnvelopeId) -> Option<StoredRow> {
        let (address, cursor) = self.places.get(id)?;
        let mailbox = self.mailboxes.get(address)?;
        let (row, expires) = mailbox.rows.get(cursor)?;
        Some(StoredRow {
            keys: mailbox.keys,
            row: row.clone(),
            expires: *expires,
        })
    }

    fn put_card(
        &mut self,
        keys: MailboxKeys,
        card: Card,
        epoch: Epoch,
    ) -> Result<StoreDone, NotKept> {
        self.alive(card.expires)?;
        let address = keys.address();
        let mailbox = self.mailboxes.get(&address);
        let before = mailbox.and_then(|mailbox| mailbox.card.as_ref());
        if before.is_some_and(|(before, _)| !card.supersedes(before)) {
            return Ok(StoreDone::CardKept);
        }
        if before.is_none() {
            self.afford(CARD_WEIGHT_BYTES)?;
            self.usage.cards += 1;
        }
        self.mailbox(address, keys).card = Some((card, epoch));
        Ok(StoreDone::CardKept)
    }

    fn expire(&mut self, hour: Hour) -> StoreDone {
        self.expired = self.expired.max(hour);
        let mut ended = Vec::new();
        for (address, mailbox) in &mut self.mailboxes {
            let rows = mailbox.rows.iter().filter(|(_, (_, end))| *end <= hour);
            ended.extend(rows.map(|(cursor, _)| (*address, *cursor)));
            let tombstones = mailbox.tombstones.len();
            mailbox
                .tombstones
                .retain(|_, (stone, _)| stone.expires > hour);
            self.usage.tombstones -= (tombstones - mailbox.tombstones.len()) as u64;
            let ended = |(card, _): &mut (Card, Epoch)| card.expires <= hour;
            if mailbox.card.take_if(ended).is_some() {
                self.usage.cards -= 1;
            }
        }
        for (address, cursor) in &ended {
            self.remove(address, cursor);
        }
        self.mailboxes.retain(|_, mailbox| !mailbox.is_empty());
        StoreDone::Expired {
            envelopes: ended.len() as u64,
        }
    }

    fn remove(&mut self, address: &MailboxAddress, cursor: &Cursor) {
        let Some(mailbox) = self.mailboxes.get_mut(address) else {
            return;
        };
        if let Some((row, _)) = mailbox.rows.remove(cursor) {
            mailbox.bytes -= length(&row);
            self.usage.envelopes -= 1;
            self.usage.bytes -= length(&row);
            self.places.remove(&cursor.id);
        }
    }

    fn mailbox(&mut self, address: MailboxAddress, keys: MailboxKeys) -> &mut Mailbox {
        self.mailboxes.entry(address).or_insert_with(|| Mailbox {
            keys,
            rows: BTreeMap::new(),
            bytes: 0,
            tombstones: BTreeMap::new(),
            card: None,
        })
    }

    fn alive(&self, expires: Hour) -> Result<(), NotKept> {
        if expires > self.expired {
            Ok(())
        } else {
            Err(NotKept::Expired)
        }
    }

    fn afford(&self, more: u64) -> Result<(), NotKept> {
        let weight = self.usage.weight().saturating_add(more);
        match self.budget_bytes {
            Some(budget) if weight > budget => Err(NotKept::DiskFull),
            Some(_) | None => Ok(()),
        }
    }
}

impl Mailbox {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.tombstones.is_empty() && self.card.is_none()
    }

    fn epochs(&self) -> impl Iterator<Item = Epoch> + '_ {
        let rows = self.rows.values().map(|(row, _)| row.epoch());
        let tombstones = self.tombstones.values().map(|(_, epoch)| *epoch);
        let card = self.card.as_ref().map(|(_, epoch)| *epoch);
        rows.chain(tombstones).chain(card)
    }

    fn held(&self, epoch: Epoch, held: &mut Vec<Held>) {
        let rows = self.rows.values().filter(|(row, _)| row.epoch() == epoch);
        held.extend(rows.map(|(row, expires)| Held::Envelope {
            id: row.envelope.id(),
            address: row.envelope.header().address,
            arrival: row.arrival,
            expires: *expires,
        }));
        let stones = self.tombstones.values().filter(|(_, of)| *of == epoch);
        held.extend(stones.map(|(stone, _)| Held::Tombstone(stone.clone())));
        let card = self.card.as_ref().filter(|(_, of)| *of == epoch);
        held.extend(card.map(|(card, _)| Held::Card {
            keys: self.keys,
            sequence: card.sequence,
            expires: card.expires,
            hash: card.hash(),
        }));
    }
}

fn answer(done: Result<StoreDone, NotKept>) -> StoreDone {
    done.unwrap_or_else(StoreDone::NotKept)
}

fn length(row: &Row) -> u64 {
    row.envelope.bytes().len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Signature;
    use crate::envelope::{Envelope, EnvelopeHeader, ExpiryClass, SizeClass};
    use crate::time::Tick;
    use alloc::vec;

    const SALT: [u8; 32] = [9; 32];

    fn keys(owner: u8) -> MailboxKeys {
        MailboxKeys {
            flags: 0,
            read: [owner; 32],
            write: [owner; 32],
        }
    }

    fn row(owner: u8, number: u8, arrival: u32) -> Row {
        let header = EnvelopeHeader {
            size: SizeClass::Small,
            expiry: ExpiryClass::Day,
            made: Tick(6),
            address: keys(owner).address(),
        };
        let body = vec![number; SizeClass::Small.body_bytes()];
        Row {
            write_signature: Signature([1; 64]),
            arrival: Tick(arrival),
            envelope: Envelope::assemble(header, &body).unwrap(),
            long_stay: None,
        }
    }

    fn put(owner: u8, row: &Row, expires: u32) -> StoreOp {
        StoreOp::Put {
            keys: keys(owner),
            row: row.clone(),
            expires: Hour(expires),
            quota: Quota {
                envelopes: 2,
                bytes: 1 << 20,
            },
        }
    }

    fn delete(owner: u8, row: &Row, expires: u32) -> StoreOp {
        StoreOp::Delete {
            tombstone: Tombstone {
                keys: keys(owner),
                id: row.envelope.id(),
                expires: Hour(expires),
                signature: Signature([2; 64]),
            },
            epoch: row.epoch(),
        }
    }

    fn card(sequence: u64, first: u8) -> Card {
        Card {
            sequence,
            expires: Hour(50),
            signature: Signature([3; 64]),
            sealed: Bytes::from(vec![first; 8]),
        }
    }

    fn kept(fresh: bool, arrival: u32) -> StoreDone {
        StoreDone::Kept {
            fresh,
            arrival: Tick(arrival),
        }
    }

    /// [STO-3]
    #[test]
    fn a_row_put_twice_keeps_its_first_arrival() {
        let mut store = MemStore::new();
        assert_eq!(store.apply(put(1, &row(1, 1, 7), 30)), kept(true, 7));
        assert_eq!(store.apply(put(1, &row(1, 1, 9), 30)), kept(false, 7));
    }

    /// [STO-4] A stranger's tombstone touches nobody else's mailbox.
    #[test]
    fn a_tombstone_forbids_its_owners_envelope_until_its_hour_and_no_other() {
        let mut store = MemStore::new();
        let letter = row(1, 1, 7);
        let deleted = |existed| StoreDone::Deleted { existed };
        assert_eq!(store.apply(delete(2, &letter, 30)), deleted(false));
        assert_eq!(store.apply(put(1, &letter, 30)), kept(true, 7));
        assert_eq!(store.apply(delete(2, &letter, 30)), deleted(false));
        assert_eq!(store.apply(delete(1, &letter, 30)), deleted(true));
        assert_eq!(
            store.apply(put(1, &letter, 40)),
            StoreDone::NotKept(NotKept::Deleted)
        );
        store.apply(StoreOp::Expire { hour: Hour(30) });
        assert_eq!(
            store.apply(put(1, &letter, 30)),
            StoreDone::NotKept(NotKept::Expired)
        );
        assert_eq!(store.apply(put(1, &letter, 40)), kept(true, 7));
    }

    /// [STO-4] Nobody who passes the word on can make it look as if the envelope had been lost ([EVD-4]).
    #[test]
    fn a_tombstone_lies_where_its_envelope_lay_and_as_long() {
        let mut store = MemStore::new();
        let letter = row(1, 1, 7);
        store.apply(put(1, &letter, 30));
        let early = store.apply(delete(1, &letter, 29));
        assert_eq!(early, StoreDone::NotKept(NotKept::Expired));
        let have = StoreOp::Have {
            ids: vec![letter.envelope.id()],
        };
        assert_eq!(
            store.apply(have),
            StoreDone::Have(vec![letter.envelope.id()])
        );
        let elsewhere = |expires| {
            let StoreOp::Delete { tombstone, .. } = delete(1, &letter, expires) else {
                panic!()
            };
            let epoch = letter.epoch().plus(5);
            StoreOp::Delete { tombstone, epoch }
        };
        for expires in [30, 31] {
            store.apply(elsewhere(expires));
            let cell = cell_of(&keys(1).address(), 4);
            let held = store.inventory(letter.epoch(), &[cell], 4);
            let [Held::Tombstone(tombstone)] = held.as_slice() else {
                panic!("{held:?}")
            };
            assert_eq!(tombstone.expires, Hour(expires));
        }
    }

    /// [STO-6] Deleting what is there gives room, even in a store that is full.
    #[test]
    fn a_full_mailbox_and_a_full_store_say_which_of_them_is_full() {
        let mut store = MemStore::with_budget(3 * (1_856 + ROW_WEIGHT_BYTES));
        store.apply(put(1, &row(1, 1, 7), 30));
        store.apply(put(1, &row(1, 2, 7), 30));
        let full = StoreDone::NotKept(NotKept::MailboxFull);
        assert_eq!(store.apply(put(1, &row(1, 3, 7), 30)), full);
        assert_eq!(store.apply(put(2, &row(2, 1, 7), 30)), kept(true, 7));
        let full = StoreDone::NotKept(NotKept::DiskFull);
        assert_eq!(store.apply(put(2, &row(2, 2, 7), 30)), full);
        assert_eq!(store.apply(delete(3, &row(3, 1, 7), 30)), full);
        assert_eq!(
            store.apply(delete(2, &row(2, 1, 7), 30)),
            StoreDone::Deleted { existed: true }
        );
    }

    /// [PAGE-1]
    #[test]
    fn pages_hold_the_same_rows_whatever_the_order_of_arrival() {
        let (a, b) = (row(1, 1, 8), row(1, 2, 7));
        let page = |rows: [&Row; 2], after, bytes_max| {
            let mut store = MemStore::new();
            for row in rows {
                store.apply(put(1, row, 30));
            }
            store.page(&keys(1).address(), after, bytes_max, &SALT)
        };
        let first = page([&a, &b], Cursor::START, 1_864);
        assert_eq!(first, page([&b, &a], Cursor::START, 1_864));
        assert_eq!(first.rows, [(Tick(7), b.envelope.clone())]);
        assert_eq!((first.count, first.more), (2, true));
        let second = page([&a, &b], b.cursor(), 9_999);
        assert_eq!(second.rows, [(Tick(8), a.envelope.clone())]);
        assert_eq!(
            (second.fingerprint, second.more),
            (first.fingerprint, false)
        );
    }

    /// [STO-7]
    #[test]
    fn a_card_gives_way_to_a_higher_sequence_or_a_lower_hash_only() {
        let (mut x, mut y) = (card(2, 1), card(2, 2));
        if x.supersedes(&y) {
            core::mem::swap(&mut x, &mut y);
        }
        let mut store = MemStore::new();
        for (put, held) in [(&x, &x), (&y, &y), (&x, &y), (&card(1, 3), &y)] {
            let done = store.apply(StoreOp::PutCard {
                keys: keys(1),
                card: put.clone(),
                epoch: Epoch(0),
            });
            assert_eq!(done, StoreDone::CardKept);
            let address = keys(1).address();
            let done = store.apply(StoreOp::Card { address });
            assert_eq!(done, StoreDone::Card(Some(held.clone())));
        }
    }

    /// [STO-5]
    #[test]
    fn whatever_ends_at_an_hour_is_gone_after_it_and_the_rest_stays() {
        let mut store = MemStore::new();
        store.apply(put(1, &row(1, 1, 7), 30));
        store.apply(put(1, &row(1, 2, 7), 31));
        store.apply(delete(1, &row(1, 3, 7), 30));
        let gone = |envelopes| StoreDone::Expired { envelopes };
        assert_eq!(store.apply(StoreOp::Expire { hour: Hour(30) }), gone(1));
        assert_eq!(store.apply(StoreOp::Expire { hour: Hour(29) }), gone(0));
        let left = Usage {
            envelopes: 1,
            bytes: 1_856,
            mailboxes: 1,
            ..Usage::default()
        };
        assert_eq!(store.apply(StoreOp::Usage), StoreDone::Usage(left));
        assert_eq!(store.apply(StoreOp::Expire { hour: Hour(31) }), gone(1));
        let nothing = StoreDone::Usage(Usage::default());
        assert_eq!(store.apply(StoreOp::Usage), nothing);
    }
}
