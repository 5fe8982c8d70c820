//! Rows of a home: how they are named, sealed, found, and changed together ([HOME-1] to [HOME-3],
//! [HOME-6], [HOME-7]).

use bytes::Bytes;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};
use swarm_proto::hash;
use swarm_proto::id::hex;
use swarm_proto::seal;
use swarm_proto::wire::codec::{Reader, Writer};
use zeroize::Zeroizing;

use super::{HomeError, Record, Table, disk, random};

/// What rows are sealed with and named by.
pub(super) struct RowKeys {
    sealing: Zeroizing<[u8; 32]>,
    naming: Zeroizing<[u8; 32]>,
}

impl RowKeys {
    pub(super) fn new(data_key: &[u8; 32]) -> Self {
        let derive = |context| Zeroizing::new(hash::derive(context, &[data_key]));
        Self {
            sealing: derive("poste home sealing"),
            naming: derive("poste home naming"),
        }
    }

    /// The row's name in the file: a hash that only the data key's owner can compute.
    fn name(&self, table: Table, key: &[u8]) -> [u8; 32] {
        let table = table.name().as_bytes();
        hash::derive(
            "poste home row",
            &[self.naming.as_slice(), table, &[0], key],
        )
    }

    #[cfg(test)]
    pub(super) fn name_for_test(&self, table: Table, key: &[u8]) -> [u8; 32] {
        self.name(table, key)
    }

    fn seal<R: Record>(&self, record: &R, name: &[u8; 32]) -> Result<Vec<u8>, HomeError> {
        let mut writer = Writer::default();
        record.encode(&mut writer);
        let plain = Zeroizing::new(writer.finish());
        let sealed = seal::seal(&self.sealing, &random()?, &aad(R::TABLE, name), &plain);
        sealed.ok_or_else(|| damaged(R::TABLE, name))
    }

    fn open<R: Record>(&self, name: &[u8; 32], sealed: &[u8]) -> Result<R, HomeError> {
        let plain = seal::open(&self.sealing, &aad(R::TABLE, name), sealed)
            .ok_or_else(|| damaged(R::TABLE, name))?;
        let mut reader = Reader::new(Bytes::copy_from_slice(&plain));
        let malformed = |source| HomeError::RowMalformed {
            table: R::TABLE.name(),
            source,
        };
        let record = R::decode(&mut reader).map_err(malformed)?;
        reader.end().map_err(malformed)?;
        Ok(record)
    }
}

/// What a table has: the rows that can be read, and an error for each that cannot ([HOME-6]).
#[derive(Debug)]
pub struct Listing<R> {
    /// By key, ascending.
    pub rows: Vec<R>,
    /// One for each unreadable row.
    pub damaged: Vec<HomeError>,
}

impl<R: Record> Listing<R> {
    fn collect(
        keys: &RowKeys,
        table: &impl ReadableTable<&'static [u8; 32], &'static [u8]>,
    ) -> Result<Self, HomeError> {
        let mut listing = Self {
            rows: Vec::new(),
            damaged: Vec::new(),
        };
        for entry in table.iter().map_err(disk)? {
            let (name, sealed) = entry.map_err(disk)?;
            match keys.open(name.value(), sealed.value()) {
                Ok(row) => listing.rows.push(row),
                Err(error) => listing.damaged.push(error),
            }
        }
        listing.rows.sort_by_cached_key(R::key);
        Ok(listing)
    }
}

/// The home as it was at one moment.
pub struct View<'a> {
    snapshot: ReadTransaction,
    keys: &'a RowKeys,
}

impl<'a> View<'a> {
    pub(super) fn new(snapshot: ReadTransaction, keys: &'a RowKeys) -> Self {
        Self { snapshot, keys }
    }

    /// One row.
    ///
    /// # Errors
    /// [`HomeError::RowDamaged`], [`HomeError::RowMalformed`]; failures of the disk.
    pub fn load<R: Record>(&self, key: &[u8]) -> Result<Option<R>, HomeError> {
        let table = match self.snapshot.open_table(R::TABLE.definition()) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(disk(error)),
        };
        load(self.keys, &table, key)
    }

    /// All rows of a table.
    ///
    /// # Errors
    /// Failures of the disk; a row that cannot be read is no error of the whole.
    pub fn list<R: Record>(&self) -> Result<Listing<R>, HomeError> {
        match self.snapshot.open_table(R::TABLE.definition()) {
            Ok(table) => Listing::collect(self.keys, &table),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(Listing {
                rows: Vec::new(),
                damaged: Vec::new(),
            }),
            Err(error) => Err(disk(error)),
        }
    }
}

/// A change under way; nothing of it counts before it is whole ([HOME-2]).
pub struct Change<'a> {
    transaction: WriteTransaction,
    keys: &'a RowKeys,
}

impl<'a> Change<'a> {
    pub(super) fn new(transaction: WriteTransaction, keys: &'a RowKeys) -> Self {
        Self { transaction, keys }
    }

    pub(super) fn into_transaction(self) -> WriteTransaction {
        self.transaction
    }

    /// One row, as this change has left it.
    ///
    /// # Errors
    /// As [`View::load`].
    pub fn load<R: Record>(&self, key: &[u8]) -> Result<Option<R>, HomeError> {
        let table = self.transaction.open_table(R::TABLE.definition());
        load(self.keys, &table.map_err(disk)?, key)
    }

    /// All rows of a table, as this change has left them.
    ///
    /// # Errors
    /// As [`View::list`].
    pub fn list<R: Record>(&self) -> Result<Listing<R>, HomeError> {
        let table = self.transaction.open_table(R::TABLE.definition());
        Listing::collect(self.keys, &table.map_err(disk)?)
    }

    /// Writes a row, over the one with the same key if there is one.
    ///
    /// # Errors
    /// [`HomeError::Full`] for one row more than the table may have; failures.
    pub fn put<R: Record>(&mut self, record: &R) -> Result<(), HomeError> {
        let name = self.keys.name(R::TABLE, &record.key());
        let sealed = self.keys.seal(record, &name)?;
        let table = self.transaction.open_table(R::TABLE.definition());
        let mut table = table.map_err(disk)?;
        let rows_max = R::TABLE.rows_max();
        let is_fresh = table.get(&name).map_err(disk)?.is_none();
        if is_fresh && table.len().map_err(disk)? >= rows_max {
            return Err(HomeError::Full {
                table: R::TABLE.name(),
                rows_max,
            });
        }
        table.insert(&name, sealed.as_slice()).map_err(disk)?;
        Ok(())
    }

    /// Removes a row, readable or not; true if there was one.
    ///
    /// # Errors
    /// Failures of the disk.
    pub fn remove<R: Record>(&mut self, key: &[u8]) -> Result<bool, HomeError> {
        let name = self.keys.name(R::TABLE, key);
        let table = self.transaction.open_table(R::TABLE.definition());
        let mut table = table.map_err(disk)?;
        let removed = table.remove(&name).map_err(disk)?.is_some();
        Ok(removed)
    }
}

fn load<R: Record>(
    keys: &RowKeys,
    table: &impl ReadableTable<&'static [u8; 32], &'static [u8]>,
    key: &[u8],
) -> Result<Option<R>, HomeError> {
    let name = keys.name(R::TABLE, key);
    match table.get(&name).map_err(disk)? {
        Some(sealed) => keys.open(&name, sealed.value()).map(Some),
        None => Ok(None),
    }
}

/// table | 0 | name: a row moved to another place does not open.
fn aad(table: Table, name: &[u8; 32]) -> Vec<u8> {
    [table.name().as_bytes(), &[0], name].concat()
}

fn damaged(table: Table, name: &[u8; 32]) -> HomeError {
    HomeError::RowDamaged {
        table: table.name(),
        row: hex(name.first_chunk::<4>().unwrap_or(&[0; 4])),
    }
}
