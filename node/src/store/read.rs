//! Reading of the store, the same over a committed snapshot and inside a write transaction.

use std::collections::BTreeMap;

use bytes::Bytes;
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, TableError};
use swarm_proto::id::{EnvelopeId, MailboxAddress};
use swarm_proto::store::{
    Card, Cursor, MailboxKeys, Page, StoreDone, StoreOp, StoredRow, page_fingerprint,
};
use swarm_proto::time::{Epoch, Hour};

use super::catalog::Catalog;
use super::schema::{
    DayTable, Definition, Place, Span, TableName, decode_box, decode_card, decode_index_key,
    decode_row, decode_u32,
};
use super::{Damaged, StoreFailure, inventory};

/// Is shown the key and value of each record; its failure ends the scan.
pub(super) type Each<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), StoreFailure> + 'a;

/// A table of a committed state.
type Committed = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Where records are read from.
pub(super) trait Source {
    /// One record.
    fn record(&mut self, table: TableName, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFailure>;

    /// The records from `first` to `last`, both included, in order.
    fn scan(
        &mut self,
        table: TableName,
        first: &[u8],
        last: &[u8],
        each: &mut Each<'_>,
    ) -> Result<(), StoreFailure>;
}

/// A committed state: later commits do not change what it reads.
pub(super) struct Snapshot {
    read: ReadTransaction,
    open: BTreeMap<TableName, Committed>,
}

impl Snapshot {
    /// Reads what `read` sees.
    pub(super) fn new(read: ReadTransaction) -> Self {
        Self {
            read,
            open: BTreeMap::new(),
        }
    }

    fn opened(&mut self, name: TableName) -> Result<Option<&Committed>, StoreFailure> {
        if !self.open.contains_key(&name) {
            match self.read.open_table(Definition::new(&name.to_string())) {
                Ok(table) => self.open.insert(name, table),
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                Err(failure) => return Err(failure.into()),
            };
        }
        Ok(self.open.get(&name))
    }
}

impl Source for Snapshot {
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

/// The records of one table from `first` to `last`, both included.
pub(super) fn scan_table(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    first: &[u8],
    last: &[u8],
    each: &mut Each<'_>,
) -> Result<(), StoreFailure> {
    for entry in table.range::<&[u8]>(first..=last)? {
        let (key, value) = entry?;
        each(key.value(), value.value())?;
    }
    Ok(())
}

/// What one mailbox has, by the hour of its end.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// Its keys, if it has anything.
    pub(super) keys: Option<MailboxKeys>,
    /// What lives, by its end.
    pub(super) spans: BTreeMap<Hour, Span>,
}

impl View {
    /// Live envelopes and their bytes.
    pub(super) fn held(&self) -> (u64, u64) {
        self.spans.values().fold((0, 0), |(count, bytes), span| {
            (count + u64::from(span.envelopes), bytes + span.bytes)
        })
    }

    /// The hour after which nothing is left of it.
    pub(super) fn last(&self) -> Option<Hour> {
        let mut living = self.spans.iter().rev().filter(|(_, span)| !span.is_empty());
        living.next().map(|(hour, _)| *hour)
    }

    /// The tables of the days on which it has what `counts` counts.
    pub(super) fn tables(&self, kind: DayTable, counts: fn(&Span) -> u32) -> Vec<TableName> {
        let held = self.spans.iter().filter(|(_, span)| counts(span) > 0);
        let mut tables: Vec<TableName> = held.map(|(hour, _)| kind.at(*hour)).collect();
        tables.dedup();
        tables
    }
}

/// Reads a mailbox's view: asks every day that has mail.
pub(super) fn view(
    source: &mut impl Source,
    catalog: &Catalog,
    address: &MailboxAddress,
) -> Result<View, StoreFailure> {
    let mut view = View::default();
    for table in catalog.day_tables(DayTable::Boxes) {
        if let Some(record) = source.record(table, &address.0)? {
            view.keys = Some(decode_box(&record, &mut view.spans)?);
        }
    }
    view.spans.retain(|hour, _| *hour > catalog.expired);
    Ok(view)
}

/// Where an envelope of one of `tables` stands, if it lives.
pub(super) fn place(
    source: &mut impl Source,
    catalog: &Catalog,
    tables: &[TableName],
    id: &EnvelopeId,
) -> Result<Option<Place>, StoreFailure> {
    for table in tables {
        if let Some(record) = source.record(*table, &id.0)? {
            let place = Place::decode(&record)?;
            if place.hour > catalog.expired {
                return Ok(Some(place));
            }
        }
    }
    Ok(None)
}

/// Reads the row at `place` and insists that it is `id`'s; an id is a hash of all that is in an envelope.
pub(super) fn row(
    source: &mut impl Source,
    place: &Place,
    id: &EnvelopeId,
) -> Result<swarm_proto::store::Row, StoreFailure> {
    let bytes = source.record(place.table(), &place.sequence.to_be_bytes())?;
    let row = bytes.and_then(|bytes| decode_row(bytes).ok());
    row.filter(|row| row.envelope.id() == *id)
        .ok_or(StoreFailure::Row(Damaged {
            id: *id,
            place: *place,
        }))
}

/// The living card in `view`'s mailbox.
pub(super) fn card(
    source: &mut impl Source,
    catalog: &Catalog,
    view: &View,
    address: &MailboxAddress,
) -> Result<Option<Card>, StoreFailure> {
    for table in view.tables(DayTable::Cards, |span| span.cards) {
        if let Some(bytes) = source.record(table, &address.0)? {
            let (card, _) = decode_card(bytes)?;
            if card.expires > catalog.expired {
                return Ok(Some(card));
            }
        }
    }
    Ok(None)
}

/// All entries of a chronicle.
fn entries(
    source: &mut impl Source,
    table: TableName,
) -> Result<Vec<(Epoch, Bytes)>, StoreFailure> {
    let mut entries = Vec::new();
    source.scan(table, &[], &[0xff; 4], &mut |key, value| {
        entries.push((Epoch(decode_u32(key)?), Bytes::copy_from_slice(value)));
        Ok(())
    })?;
    Ok(entries)
}

/// Answers an operation that changes nothing; `None` for one that does.
pub(super) fn answer(
    source: &mut impl Source,
    catalog: &Catalog,
    op: &StoreOp,
) -> Result<Option<StoreDone>, StoreFailure> {
    let done = match op {
        StoreOp::Page {
            address,
            after,
            bytes_max,
            salt,
        } => StoreDone::Page(page(source, catalog, address, *after, *bytes_max, salt)?),
        StoreOp::Have { ids } => {
            let tables = catalog.day_tables(DayTable::Ids);
            let mut here = Vec::new();
            for id in ids {
                if place(source, catalog, &tables, id)?.is_some() {
                    here.push(*id);
                }
            }
            StoreDone::Have(here)
        }
        StoreOp::Read { id } => StoreDone::Row(stored_row(source, catalog, id)?),
        StoreOp::Card { address } => {
            let view = view(source, catalog, address)?;
            StoreDone::Card(card(source, catalog, &view, address)?)
        }
        StoreOp::Usage => StoreDone::Usage(catalog.usage),
        StoreOp::Cells { cell_bits } => inventory::cells(source, catalog, *cell_bits)?,
        StoreOp::Inventory {
            epoch,
            cells,
            cell_bits,
            items_max,
        } => inventory::of(source, catalog, *epoch, cells, *cell_bits, *items_max)?,
        StoreOp::Tags {
            swept,
            cell_bits,
            key,
            items_max,
        } => inventory::tags(source, catalog, swept, *cell_bits, key, *items_max)?,
        StoreOp::Entries { chronicle } => StoreDone::Entries(entries(source, (*chronicle).into())?),
        StoreOp::PutEntry { .. }
        | StoreOp::Put { .. }
        | StoreOp::Delete { .. }
        | StoreOp::PutCard { .. }
        | StoreOp::Expire { .. } => return Ok(None),
    };
    Ok(Some(done))
}

fn stored_row(
    source: &mut impl Source,
    catalog: &Catalog,
    id: &EnvelopeId,
) -> Result<Option<StoredRow>, StoreFailure> {
    let tables = catalog.day_tables(DayTable::Ids);
    let Some(place) = place(source, catalog, &tables, id)? else {
        return Ok(None);
    };
    let row = row(source, &place, id)?;
    let address = row.envelope.header().address;
    let record = source.record(DayTable::Boxes.at(place.hour), &address.0)?;
    let record = record.ok_or(StoreFailure::Record("mailbox is missing"))?;
    Ok(Some(StoredRow {
        keys: decode_box(&record, &mut BTreeMap::new())?,
        row,
        expires: place.hour,
    }))
}

fn page(
    source: &mut impl Source,
    catalog: &Catalog,
    address: &MailboxAddress,
    after: Cursor,
    bytes_max: usize,
    salt: &[u8; 32],
) -> Result<Page, StoreFailure> {
    let view = view(source, catalog, address)?;
    let mut places: Vec<(Cursor, Place)> = Vec::new();
    let first = [address.0.as_slice(), &[0; 36]].concat();
    let last = [address.0.as_slice(), &[0xff; 36]].concat();
    for table in view.tables(DayTable::Index, |span| span.envelopes) {
        source.scan(table, &first, &last, &mut |key, value| {
            let place = Place::decode(value)?;
            if place.hour > catalog.expired {
                places.push((decode_index_key(key)?, place));
            }
            Ok(())
        })?;
    }
    places.sort_unstable_by_key(|(cursor, _)| *cursor);
    let mut page = Page {
        count: u32::try_from(places.len()).unwrap_or(u32::MAX),
        fingerprint: page_fingerprint(salt, places.iter().map(|(cursor, _)| cursor.id)),
        ..Page::default()
    };
    let mut bytes = 0_usize;
    for (cursor, place) in places.iter().filter(|(cursor, _)| *cursor > after) {
        let length = usize::try_from(place.length).unwrap_or(usize::MAX);
        bytes = bytes.saturating_add(length).saturating_add(8);
        if bytes > bytes_max {
            page.more = true;
            break;
        }
        let row = row(source, place, &cursor.id)?;
        page.rows.push((cursor.arrival, row.envelope));
    }
    Ok(page)
}
