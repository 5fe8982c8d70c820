//! What the relay's store is held against: SQLite in WAL mode with `synchronous=FULL`, with the same
//! rows and the indexes that the same questions need.

use std::path::Path;

use rusqlite::{Connection, params};
use swarm_proto::id::MailboxAddress;
use swarm_proto::store::StoreOp;
use swarm_proto::time::Hour;

use crate::failure::BenchFailure;

/// A file of rows.
pub struct Sqlite {
    db: Connection,
}

impl Sqlite {
    /// Makes or opens the file in `folder`.
    ///
    /// # Errors
    /// [`BenchFailure::Sqlite`].
    pub fn open(folder: &Path) -> Result<Self, BenchFailure> {
        let db = Connection::open(folder.join("rows.sqlite"))?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.execute_batch(TABLES)?;
        Ok(Self { db })
    }

    /// Writes the rows in one transaction.
    ///
    /// # Errors
    /// [`BenchFailure`], also for an operation that writes no row.
    pub fn put(
        &mut self,
        ops: impl Iterator<Item = Result<StoreOp, BenchFailure>>,
    ) -> Result<(), BenchFailure> {
        let transaction = self.db.transaction()?;
        {
            let mut insert = transaction.prepare_cached(INSERT)?;
            for op in ops {
                let StoreOp::Put { row, expires, .. } = op? else {
                    return Err(BenchFailure::Wrong("not a row"));
                };
                let envelope = &row.envelope;
                insert.execute(params![
                    envelope.id().0.as_slice(),
                    envelope.header().address.0.as_slice(),
                    row.arrival.0,
                    expires.0,
                    row.write_signature.0.as_slice(),
                    envelope.bytes().as_ref(),
                ])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// The first rows of a mailbox: how many there were, and their bytes.
    ///
    /// # Errors
    /// [`BenchFailure::Sqlite`].
    pub fn page(
        &self,
        address: &MailboxAddress,
        rows_max: usize,
    ) -> Result<(usize, usize), BenchFailure> {
        let mut select = self.db.prepare_cached(PAGE)?;
        let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
        let rows = select.query_map(params![address.0.as_slice(), limit], |row| {
            row.get::<_, Vec<u8>>(1)
        })?;
        let mut page = (0, 0);
        for envelope in rows {
            page = (page.0 + 1, page.1 + envelope?.len());
        }
        Ok(page)
    }

    /// Deletes what ends at this hour or before, and answers how many rows that were.
    ///
    /// # Errors
    /// [`BenchFailure::Sqlite`].
    pub fn expire(&self, hour: Hour) -> Result<usize, BenchFailure> {
        let deleted = self
            .db
            .execute("DELETE FROM envelopes WHERE expires <= ?1", params![hour.0]);
        Ok(deleted?)
    }
}

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS envelopes (
        sequence INTEGER PRIMARY KEY, id BLOB UNIQUE, address BLOB, arrival INTEGER,
        expires INTEGER, signature BLOB, envelope BLOB
    );
    CREATE INDEX IF NOT EXISTS of_mailbox ON envelopes (address, arrival, id);
    CREATE INDEX IF NOT EXISTS by_end ON envelopes (expires);
";

const INSERT: &str = "
    INSERT INTO envelopes (id, address, arrival, expires, signature, envelope)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
";

const PAGE: &str = "
    SELECT arrival, envelope FROM envelopes WHERE address = ?1 ORDER BY arrival, id LIMIT ?2
";
