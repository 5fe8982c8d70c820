//! What the store keeps in memory about its tables: small, loaded when it opens, swapped at each commit.
//!
//! It holds one record for each hour that has mail, never anything for each envelope.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadTransaction, TableHandle};
use swarm_proto::store::Usage;
use swarm_proto::time::Hour;

use super::StoreFailure;
use super::schema::{DayTable, Definition, HourRecord, SCHEMA_VERSION, TableName, decode_u32};

/// The store's tables, hours and sums.
#[derive(Clone, Debug, Default)]
pub(super) struct Catalog {
    /// Whatever ends at or before it is gone.
    pub(super) expired: Hour,
    /// What ends at each hour after it.
    pub(super) hours: BTreeMap<Hour, HourRecord>,
    /// The tables that exist and live.
    tables: BTreeSet<TableName>,
    /// The tables that exist and wait to be dropped.
    dead: BTreeSet<TableName>,
    /// The sum over `hours`.
    pub(super) usage: Usage,
}

impl Catalog {
    /// Reads the catalog of a committed state; an empty one if nothing was ever written.
    pub(super) fn load(read: &ReadTransaction) -> Result<Self, StoreFailure> {
        let mut catalog = Self::default();
        let handles = read.list_tables()?;
        let names = handles.filter_map(|table| TableName::parse(table.name()));
        let names: BTreeSet<TableName> = names.collect();
        if names.contains(&TableName::Meta) {
            let meta = read.open_table(Definition::new("meta"))?;
            let version = meta.get(b"schema".as_slice())?;
            let version = version.map(|value| decode_u32(value.value())).transpose()?;
            if version != Some(SCHEMA_VERSION) {
                return Err(StoreFailure::Schema(version.unwrap_or(0)));
            }
            if let Some(expired) = meta.get(b"expired".as_slice())? {
                catalog.expired = Hour(decode_u32(expired.value())?);
            }
        }
        if names.contains(&TableName::Hours) {
            let hours = read.open_table(Definition::new("hours"))?;
            for entry in hours.range::<&[u8]>(..)? {
                let (hour, record) = entry?;
                let hour = Hour(decode_u32(hour.value())?);
                let record = HourRecord::decode(record.value())?;
                catalog.hours.insert(hour, record);
            }
        }
        let expired = catalog.expired;
        let split = names.into_iter().partition(|name| name.is_dead(expired));
        (catalog.dead, catalog.tables) = split;
        catalog.add_up();
        Ok(catalog)
    }

    /// Whether a table was ever written.
    pub(super) fn has(&self, table: TableName) -> bool {
        self.tables.contains(&table)
    }

    /// The tables that exist and live.
    pub(super) fn tables(&self) -> BTreeSet<TableName> {
        self.tables.clone()
    }

    /// Takes note of a table that is about to be written.
    pub(super) fn note(&mut self, table: TableName) {
        self.tables.insert(table);
    }

    /// Ends every hour up to `hour`; says which hours and how many envelopes went.
    pub(super) fn expire(&mut self, hour: Hour) -> (Vec<Hour>, u64) {
        self.expired = self.expired.max(hour);
        let living = self.hours.split_off(&self.expired.plus(1));
        let ended = std::mem::replace(&mut self.hours, living);
        let envelopes = ended.values().map(|record| record.envelopes).sum();
        let expired = self.expired;
        let dead = self.tables.iter().filter(|name| name.is_dead(expired));
        let dead: BTreeSet<TableName> = dead.copied().collect();
        self.tables.retain(|name| !dead.contains(name));
        self.dead.extend(dead);
        self.add_up();
        (ended.into_keys().collect(), envelopes)
    }

    /// A table to drop next, if there is one.
    pub(super) fn next_dead(&self) -> Option<TableName> {
        self.dead.first().copied()
    }

    /// Takes note that a dead table was dropped.
    pub(super) fn dropped(&mut self, table: TableName) {
        self.dead.remove(&table);
    }

    /// The tables of one kind that may hold something living, soonest end first.
    pub(super) fn day_tables(&self, kind: DayTable) -> Vec<TableName> {
        let [first, last] = [0, u32::MAX].map(|day| TableName::Day { kind, day });
        self.tables.range(first..=last).copied().collect()
    }

    fn add_up(&mut self) {
        self.usage = Usage::default();
        for record in self.hours.values() {
            record.add_to(&mut self.usage);
        }
    }
}
