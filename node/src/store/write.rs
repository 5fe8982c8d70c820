//! Changing the store: one group of operations inside one write transaction.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadableTable, Table, WriteTransaction};
use swarm_proto::id::MailboxAddress;
use swarm_proto::store::{
    CARD_WEIGHT_BYTES, Card, Cursor, MailboxKeys, NotKept, Quota, ROW_WEIGHT_BYTES, Row, StoreDone,
    StoreOp, TOMBSTONE_WEIGHT_BYTES, Tombstone,
};
use swarm_proto::time::{Epoch, Hour};

use super::catalog::Catalog;
use super::inventory::LAST_KEY;
use super::read::{self, Each, Source, View, scan_table};
use super::schema::{
    DayTable, Definition, HourRecord, PART_BYTES, Place, SCHEMA_VERSION, Span, TableName, day_of,
    decode_index_key, decode_key_address, decode_tombstone, decode_u32, encode_box, encode_card,
    encode_row, encode_tombstone, index_key, tombstone_key,
};
use super::{Damaged, StoreFailure};

/// The tables of one write transaction, opened once each, and the catalog as it will be.
pub(super) struct Group<'txn> {
    tables: Tables<'txn>,
    catalog: Catalog,
    budget_bytes: u64,
    /// Mailboxes read or changed by this group, so that each is read and written once.
    views: BTreeMap<MailboxAddress, Changed>,
    /// Hours whose records are to be written.
    hours: BTreeSet<Hour>,
}

/// A table that is being written.
type Open<'txn> = Table<'txn, &'static [u8], &'static [u8]>;

struct Tables<'txn> {
    txn: &'txn WriteTransaction,
    open: BTreeMap<TableName, Open<'txn>>,
    known: BTreeSet<TableName>,
}

#[derive(Default)]
struct Changed {
    view: View,
    /// The last hour as the hour records count it.
    last: Option<Hour>,
    /// Days whose record is to be written.
    days: BTreeSet<u32>,
}

/// Why an operation did not take place: a plain no, or a failure that ends the group.
enum Stop {
    No(NotKept),
    Failure(StoreFailure),
}

impl<F: Into<StoreFailure>> From<F> for Stop {
    fn from(failure: F) -> Self {
        Self::Failure(failure.into())
    }
}

impl<'txn> Group<'txn> {
    /// Starts from a committed catalog.
    pub(super) fn new(txn: &'txn WriteTransaction, catalog: Catalog, budget_bytes: u64) -> Self {
        Self {
            tables: Tables {
                txn,
                open: BTreeMap::new(),
                known: catalog.tables(),
            },
            catalog,
            budget_bytes,
            views: BTreeMap::new(),
            hours: BTreeSet::new(),
        }
    }

    /// Carries one operation out. After a failure the transaction has to be given up.
    pub(super) fn apply(&mut self, op: &StoreOp) -> Result<StoreDone, StoreFailure> {
        let done = match op {
            StoreOp::Put {
                keys,
                row,
                expires,
                quota,
            } => self.put(keys, row, *expires, *quota),
            StoreOp::Delete { tombstone, epoch } => self.delete(tombstone, *epoch),
            StoreOp::PutCard { keys, card, epoch } => self.put_card(keys, card, *epoch),
            StoreOp::Expire { hour } => self.expire(*hour),
            StoreOp::PutEntry {
                chronicle,
                epoch,
                entry,
                oldest,
            } => self.put_entry((*chronicle).into(), *epoch, entry, *oldest),
            StoreOp::Page { .. }
            | StoreOp::Have { .. }
            | StoreOp::Read { .. }
            | StoreOp::Card { .. }
            | StoreOp::Usage
            | StoreOp::Cells { .. }
            | StoreOp::Inventory { .. }
            | StoreOp::Entries { .. }
            | StoreOp::Tags { .. } => return self.read(op),
        };
        match done {
            Ok(done) => Ok(done),
            Err(Stop::No(why)) => Ok(StoreDone::NotKept(why)),
            Err(Stop::Failure(failure)) => Err(failure),
        }
    }

    /// Drops one table whose hour has come, if there is one.
    pub(super) fn drop_dead(&mut self) -> Result<(), StoreFailure> {
        if let Some(table) = self.catalog.next_dead() {
            self.tables
                .txn
                .delete_table(Definition::new(&table.to_string()))?;
            self.catalog.dropped(table);
        }
        Ok(())
    }

    /// Writes what is pending; the catalog is valid once the transaction is committed.
    pub(super) fn finish(mut self) -> Result<Catalog, StoreFailure> {
        self.settle()?;
        for hour in std::mem::take(&mut self.hours) {
            let record = self.catalog.hours.get(&hour).copied();
            let key = hour.0.to_be_bytes();
            if let Some(record) = record {
                self.insert(TableName::Hours, &key, &record.encode())?;
            }
        }
        if !self.catalog.has(TableName::Meta) {
            let version = SCHEMA_VERSION.to_be_bytes();
            self.insert(TableName::Meta, b"schema", &version)?;
        }
        Ok(self.catalog)
    }

    fn put(
        &mut self,
        keys: &MailboxKeys,
        row: &Row,
        expires: Hour,
        quota: Quota,
    ) -> Result<StoreDone, Stop> {
        self.alive(expires)?;
        let address = row.envelope.header().address;
        let (id, cursor) = (row.envelope.id(), row.cursor());
        let length = row.envelope.bytes().len() as u64;
        let view = self.view(&address)?;
        if self
            .tombstone(&view, &tombstone_key(&address, &id))?
            .is_some()
        {
            return Err(Stop::No(NotKept::Deleted));
        }
        let tables = view.tables(DayTable::Ids, |span| span.envelopes);
        if let Some(place) = read::place(&mut self.tables, &self.catalog, &tables, &id)? {
            let before = read::row(&mut self.tables, &place, &id)?;
            return Ok(StoreDone::Kept {
                fresh: false,
                arrival: before.arrival,
            });
        }
        let (held, held_bytes) = view.held();
        if held >= u64::from(quota.envelopes) || held_bytes.saturating_add(length) > quota.bytes {
            return Err(Stop::No(NotKept::MailboxFull));
        }
        self.afford(length.saturating_add(ROW_WEIGHT_BYTES))?;

        let bytes = encode_row(row);
        let place = self.next_place(expires, length, row.epoch());
        let sequence = place.sequence.to_be_bytes();
        self.insert(place.table(), &sequence, &bytes)?;
        let record = place.encode();
        self.insert(DayTable::Ids.at(expires), &id.0, &record)?;
        let key = index_key(&address, &cursor);
        self.insert(DayTable::Index.at(expires), &key, &record)?;
        self.change(&address, keys, expires, |span, hour| {
            span.envelopes += 1;
            span.bytes += length;
            hour.envelopes += 1;
            hour.bytes += length;
        });
        self.catalog.usage.envelopes += 1;
        self.catalog.usage.bytes += length;
        Ok(StoreDone::Kept {
            fresh: true,
            arrival: row.arrival,
        })
    }

    fn delete(&mut self, tombstone: &Tombstone, epoch: Epoch) -> Result<StoreDone, Stop> {
        self.alive(tombstone.expires)?;
        let (keys, id) = (&tombstone.keys, &tombstone.id);
        let address = keys.address();
        let view = self.view(&address)?;
        let tables = view.tables(DayTable::Ids, |span| span.envelopes);
        let place = read::place(&mut self.tables, &self.catalog, &tables, id)?;
        let mut existed = false;
        let key = tombstone_key(&address, id);
        let before = self.tombstone(&view, &key)?;
        // Where the envelope lay is known better than whoever passes the word on knows it.
        let mut epoch = before.map_or(epoch, |(_, before)| before);
        let before = before.map(|(hour, _)| hour);
        if let Some(place) = place {
            let row = read::row(&mut self.tables, &place, id)?;
            if row.envelope.header().address == address {
                // One that ends first would leave nothing that tells where the envelope is.
                if place.hour > tombstone.expires {
                    return Err(Stop::No(NotKept::Expired));
                }
                existed = true;
                epoch = row.epoch();
                self.remove_row(keys, &address, &row.cursor(), &place)?;
            }
        }
        if before.is_none() && !existed {
            self.afford(TOMBSTONE_WEIGHT_BYTES)?;
        }
        if before.is_none_or(|before| before < tombstone.expires) {
            if let Some(before) = before {
                self.remove(DayTable::Tombstones.at(before), &key)?;
                self.change(&address, keys, before, |span, hour| {
                    span.tombstones = span.tombstones.saturating_sub(1);
                    hour.tombstones = hour.tombstones.saturating_sub(1);
                });
            } else {
                self.catalog.usage.tombstones += 1;
            }
            let record = encode_tombstone(tombstone, epoch);
            self.insert(DayTable::Tombstones.at(tombstone.expires), &key, &record)?;
            self.change(&address, keys, tombstone.expires, |span, hour| {
                span.tombstones += 1;
                hour.tombstones += 1;
            });
        }
        Ok(StoreDone::Deleted { existed })
    }

    fn put_card(
        &mut self,
        keys: &MailboxKeys,
        card: &Card,
        epoch: Epoch,
    ) -> Result<StoreDone, Stop> {
        self.alive(card.expires)?;
        let address = keys.address();
        let view = self.view(&address)?;
        match read::card(&mut self.tables, &self.catalog, &view, &address)? {
            Some(before) if !card.supersedes(&before) => return Ok(StoreDone::CardKept),
            Some(before) => {
                self.remove(DayTable::Cards.at(before.expires), &address.0)?;
                self.change(&address, keys, before.expires, |span, hour| {
                    span.cards = 0;
                    hour.cards = hour.cards.saturating_sub(1);
                });
            }
            None => {
                self.afford(CARD_WEIGHT_BYTES)?;
                self.catalog.usage.cards += 1;
            }
        }
        let record = encode_card(card, epoch);
        self.insert(DayTable::Cards.at(card.expires), &address.0, &record)?;
        self.change(&address, keys, card.expires, |span, hour| {
            span.cards = 1;
            hour.cards += 1;
        });
        Ok(StoreDone::CardKept)
    }

    /// Entries are few and bounded by the longest member list, so no budget weighs them ([STO-9]).
    fn put_entry(
        &mut self,
        table: TableName,
        epoch: Epoch,
        entry: &[u8],
        oldest: Epoch,
    ) -> Result<StoreDone, Stop> {
        self.insert(table, &epoch.0.to_be_bytes(), entry)?;
        let mut old = Vec::new();
        let last = oldest.0.saturating_sub(1).to_be_bytes();
        let note = &mut |key: &[u8], _: &[u8]| {
            old.extend((decode_u32(key)? < oldest.0).then(|| key.to_vec()));
            Ok(())
        };
        self.tables.scan(table, &[], &last, note)?;
        for key in old {
            self.remove(table, &key)?;
        }
        Ok(StoreDone::EntryKept)
    }

    fn expire(&mut self, hour: Hour) -> Result<StoreDone, Stop> {
        self.settle()?;
        self.views.clear();
        if hour <= self.catalog.expired {
            return Ok(StoreDone::Expired { envelopes: 0 });
        }
        let (ended, envelopes) = self.catalog.expire(hour);
        for hour in ended {
            self.remove(TableName::Hours, &hour.0.to_be_bytes())?;
        }
        self.insert(TableName::Meta, b"expired", &hour.0.to_be_bytes())?;
        let version = SCHEMA_VERSION.to_be_bytes();
        self.insert(TableName::Meta, b"schema", &version)?;
        Ok(StoreDone::Expired { envelopes })
    }

    fn read(&mut self, op: &StoreOp) -> Result<StoreDone, StoreFailure> {
        self.settle()?;
        let done = read::answer(&mut self.tables, &self.catalog, op);
        match done {
            Ok(done) => Ok(done.unwrap_or(StoreDone::Failed)),
            Err(failure @ StoreFailure::Record(_)) => {
                tracing::error!(%failure, "a record of the store is damaged");
                Ok(StoreDone::Failed)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Forgets an envelope whose row cannot be read ([STO-10]): looks through the day's index for where it
    /// belongs. False if nothing leads to it.
    pub(super) fn forget(&mut self, damaged: &Damaged) -> Result<bool, StoreFailure> {
        let Damaged { id, place } = damaged;
        let mut found = None;
        let index = DayTable::Index.at(place.hour);
        self.tables.scan(index, &[], &LAST_KEY, &mut |key, value| {
            let cursor = decode_index_key(key)?;
            if cursor.id == *id && Place::decode(value)? == *place {
                found = Some((decode_key_address(key)?, cursor));
            }
            Ok(())
        })?;
        let Some((address, cursor)) = found else {
            return Ok(false);
        };
        let Some(keys) = self.view(&address)?.keys else {
            return Ok(false);
        };
        self.remove_row(&keys, &address, &cursor, place)?;
        self.catalog.usage.damaged += 1;
        Ok(true)
    }

    fn remove_row(
        &mut self,
        keys: &MailboxKeys,
        address: &MailboxAddress,
        cursor: &Cursor,
        place: &Place,
    ) -> Result<(), StoreFailure> {
        self.remove(place.table(), &place.sequence.to_be_bytes())?;
        self.remove(DayTable::Ids.at(place.hour), &cursor.id.0)?;
        let key = index_key(address, cursor);
        self.remove(DayTable::Index.at(place.hour), &key)?;
        let length = u64::from(place.length);
        self.change(address, keys, place.hour, |span, hour| {
            span.envelopes = span.envelopes.saturating_sub(1);
            span.bytes = span.bytes.saturating_sub(length);
            hour.envelopes = hour.envelopes.saturating_sub(1);
            hour.bytes = hour.bytes.saturating_sub(length);
        });
        let usage = &mut self.catalog.usage;
        usage.envelopes = usage.envelopes.saturating_sub(1);
        usage.bytes = usage.bytes.saturating_sub(length);
        Ok(())
    }

    /// The hour of a living tombstone.
    fn tombstone(
        &mut self,
        view: &View,
        key: &[u8],
    ) -> Result<Option<(Hour, Epoch)>, StoreFailure> {
        for table in view.tables(DayTable::Tombstones, |span| span.tombstones) {
            if let Some(record) = self.tables.record(table, key)? {
                let (hour, _, epoch) = decode_tombstone(&record)?;
                if hour > self.catalog.expired {
                    return Ok(Some((hour, epoch)));
                }
            }
        }
        Ok(None)
    }

    fn view(&mut self, address: &MailboxAddress) -> Result<View, StoreFailure> {
        if let Some(changed) = self.views.get(address) {
            return Ok(changed.view.clone());
        }
        let view = read::view(&mut self.tables, &self.catalog, address)?;
        let changed = Changed {
            last: view.last(),
            view: view.clone(),
            days: BTreeSet::new(),
        };
        self.views.insert(*address, changed);
        Ok(view)
    }

    /// Counts a change of a mailbox, whose view was read before, in its span and in its hour.
    fn change(
        &mut self,
        address: &MailboxAddress,
        keys: &MailboxKeys,
        hour: Hour,
        count: impl FnOnce(&mut Span, &mut HourRecord),
    ) {
        let changed = self.views.entry(*address).or_default();
        changed.view.keys.get_or_insert(*keys);
        changed.days.insert(day_of(hour));
        let span = changed.view.spans.entry(hour).or_default();
        count(span, self.catalog.hours.entry(hour).or_default());
        self.hours.insert(hour);
    }

    /// Writes the records of changed mailboxes and counts each at the hour of its end.
    fn settle(&mut self) -> Result<(), StoreFailure> {
        let mut views = std::mem::take(&mut self.views);
        for (address, changed) in &mut views {
            let Some(keys) = changed.view.keys else {
                continue;
            };
            changed.view.spans.retain(|_, span| !span.is_empty());
            for day in std::mem::take(&mut changed.days) {
                let spans = changed.view.spans.iter();
                let mut spans = spans.filter(|(hour, _)| day_of(**hour) == day).peekable();
                let kind = DayTable::Boxes;
                let table = TableName::Day { kind, day };
                if spans.peek().is_some() {
                    let record = encode_box(&keys, spans);
                    self.insert(table, &address.0, &record)?;
                } else {
                    self.remove(table, &address.0)?;
                }
            }
            let last = changed.view.last();
            if last != changed.last {
                self.count_mailbox(changed.last, |count| count.saturating_sub(1));
                self.count_mailbox(last, |count| count.saturating_add(1));
                changed.last = last;
            }
        }
        self.views = views;
        Ok(())
    }

    fn count_mailbox(&mut self, hour: Option<Hour>, count: fn(u64) -> u64) {
        if let Some(hour) = hour {
            let record = self.catalog.hours.entry(hour).or_default();
            record.mailboxes = count(record.mailboxes);
            self.catalog.usage.mailboxes = count(self.catalog.usage.mailboxes);
            self.hours.insert(hour);
        }
    }

    fn next_place(&mut self, hour: Hour, length: u64, epoch: Epoch) -> Place {
        let record = self.catalog.hours.entry(hour).or_default();
        if record.part_bytes >= PART_BYTES {
            record.part = record.part.saturating_add(1);
            record.part_bytes = 0;
        }
        record.part_bytes += length;
        record.sequence += 1;
        Place {
            hour,
            part: record.part,
            sequence: record.sequence,
            length: u32::try_from(length).unwrap_or(u32::MAX),
            epoch,
        }
    }

    fn alive(&self, expires: Hour) -> Result<(), Stop> {
        if expires > self.catalog.expired {
            Ok(())
        } else {
            Err(Stop::No(NotKept::Expired))
        }
    }

    fn afford(&self, more: u64) -> Result<(), Stop> {
        if self.catalog.usage.weight().saturating_add(more) > self.budget_bytes {
            Err(Stop::No(NotKept::DiskFull))
        } else {
            Ok(())
        }
    }

    fn insert(&mut self, name: TableName, key: &[u8], value: &[u8]) -> Result<(), StoreFailure> {
        self.catalog.note(name);
        self.tables.known.insert(name);
        if let Some(table) = self.tables.opened(name)? {
            table.insert(key, value)?;
        }
        Ok(())
    }

    fn remove(&mut self, name: TableName, key: &[u8]) -> Result<(), StoreFailure> {
        if let Some(table) = self.tables.opened(name)? {
            table.remove(key)?;
        }
        Ok(())
    }
}

impl<'txn> Tables<'txn> {
    /// Opens a table that is known; opening another one would create it.
    fn opened(&mut self, name: TableName) -> Result<Option<&mut Open<'txn>>, StoreFailure> {
        if !self.known.contains(&name) {
            return Ok(None);
        }
        if !self.open.contains_key(&name) {
            let table = self.txn.open_table(Definition::new(&name.to_string()))?;
            self.open.insert(name, table);
        }
        Ok(self.open.get_mut(&name))
    }
}

impl Source for Tables<'_> {
    fn record(&mut self, table: TableName, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFailure> {
        let Some(table) = self.opened(table)? else {
            return Ok(None);
        };
        Ok(table.get(key)?.map(|value| value.value().to_vec()))
    }

    fn scan(
        &mut self,
        table: TableName,
        first: &[u8],
        last: &[u8],
        each: &mut Each<'_>,
    ) -> Result<(), StoreFailure> {
        match self.opened(table)? {
            Some(table) => scan_table(table, first, last, each),
            None => Ok(()),
        }
    }
}
