//! Durable deposits a second: the relay's store beside SQLite, on the same disk, with the same rows.
//!
//! Both flush before they answer. SQLite runs in WAL mode with `synchronous=FULL`, once with a
//! transaction a row, as a server does that answers each deposit by itself, and once with as many rows
//! in a transaction as our store puts into a commit.

use std::path::Path;
use std::sync::mpsc::{RecvError, sync_channel};
use std::time::{Duration, Instant};

use poste_node::store::{Store, StoreConfig, StoreFailure};
use swarm_proto::crypto::Signature;
use swarm_proto::envelope::{BadEnvelope, Envelope, EnvelopeHeader, ExpiryClass, SizeClass};
use swarm_proto::hash::derive;
use swarm_proto::store::{MailboxKeys, Quota, Row, StoreDone, StoreOp};
use swarm_proto::time::{Hour, Tick};

/// What is measured.
#[derive(Clone, Debug)]
pub enum Engine {
    /// The relay's store.
    Poste(StoreConfig),
    /// SQLite with this many rows in a transaction.
    Sqlite {
        /// 1 for a transaction a row.
        rows: usize,
    },
}

/// What came out.
#[derive(Clone, Copy, Debug)]
pub struct Deposits {
    /// Acknowledged rows a second.
    pub per_second: f64,
    /// How long half of them waited for their answer; zero for SQLite, whose rows do not queue here.
    pub half: Duration,
    /// How long 99 of 100 waited at most.
    pub most: Duration,
}

/// Why nothing came out.
#[derive(Debug)]
pub enum BenchFailure {
    /// Our store.
    Store(StoreFailure),
    /// SQLite.
    Sqlite(rusqlite::Error),
    /// A row could not be made.
    Row(BadEnvelope),
    /// The store did not answer, or refused.
    Refused,
}

/// Writes small rows for `duration` with `writers` deposits under way at any time, in `folder`, which
/// should be empty.
///
/// # Errors
/// [`BenchFailure`] if an engine fails or refuses.
pub fn deposits_per_second(
    engine: &Engine,
    folder: &Path,
    writers: usize,
    duration: Duration,
) -> Result<Deposits, BenchFailure> {
    match engine {
        Engine::Poste(config) => poste(folder, config.clone(), writers, duration),
        Engine::Sqlite { rows } => sqlite(folder, *rows, duration),
    }
}

/// The operation that keeps the small row with this number: 25 rows a mailbox, all ending in one hour.
///
/// # Errors
/// [`BenchFailure::Row`] never, as long as sizes agree.
pub fn small_put(number: u64) -> Result<StoreOp, BenchFailure> {
    let keys = MailboxKeys {
        flags: 0,
        read: derive("poste bench", &[&(number / 25).to_be_bytes()]),
        write: [1; 32],
    };
    let header = EnvelopeHeader {
        size: SizeClass::Small,
        expiry: ExpiryClass::Days14,
        made: Tick(2_983_335),
        address: keys.address(),
    };
    let mut body = vec![0x5a; SizeClass::Small.body_bytes()];
    for (to, from) in body.iter_mut().zip(number.to_be_bytes()) {
        *to = from;
    }
    Ok(StoreOp::Put {
        keys,
        row: Row {
            write_signature: Signature([2; 64]),
            arrival: Tick(2_983_336),
            envelope: Envelope::assemble(header, &body)?,
        },
        expires: Hour(497_500),
        quota: Quota::of(&keys),
    })
}

fn poste(
    folder: &Path,
    config: StoreConfig,
    writers: usize,
    duration: Duration,
) -> Result<Deposits, BenchFailure> {
    let store = Store::open(folder, config)?;
    let (tell, told) = sync_channel(writers);
    let mut waits = Vec::new();
    let start = Instant::now();
    let mut under_way = 0;
    for number in 0_u64.. {
        if under_way == writers {
            waits.push(told.recv()?);
            under_way -= 1;
        }
        if start.elapsed() >= duration {
            break;
        }
        let (op, tell, asked) = (small_put(number)?, tell.clone(), Instant::now());
        store.submit(op, move |done| {
            let kept = matches!(done, StoreDone::Kept { fresh: true, .. });
            let _ = tell.send(kept.then(|| asked.elapsed()));
        });
        under_way += 1;
    }
    for _ in 0..under_way {
        waits.push(told.recv()?);
    }
    let per_second = waits.len() as f64 / start.elapsed().as_secs_f64();
    let waits: Option<Vec<Duration>> = waits.into_iter().collect();
    let mut waits = waits.ok_or(BenchFailure::Refused)?;
    waits.sort_unstable();
    let at = |share: usize| waits.get(waits.len() * share / 100).copied();
    let deposits = Deposits {
        per_second,
        half: at(50).unwrap_or_default(),
        most: at(99).unwrap_or_default(),
    };
    store.close()?;
    Ok(deposits)
}

fn sqlite(folder: &Path, rows: usize, duration: Duration) -> Result<Deposits, BenchFailure> {
    let mut db = rusqlite::Connection::open(folder.join("rows.sqlite"))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.execute_batch(SQLITE_TABLES)?;
    let start = Instant::now();
    let mut number = 0_u64;
    while start.elapsed() < duration {
        let transaction = db.transaction()?;
        {
            let mut insert = transaction.prepare_cached(SQLITE_INSERT)?;
            for _ in 0..rows {
                let StoreOp::Put { row, expires, .. } = small_put(number)? else {
                    return Err(BenchFailure::Refused);
                };
                number += 1;
                let envelope = &row.envelope;
                insert.execute(rusqlite::params![
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
    }
    Ok(Deposits {
        per_second: number as f64 / start.elapsed().as_secs_f64(),
        half: Duration::ZERO,
        most: Duration::ZERO,
    })
}

const SQLITE_TABLES: &str = "
    CREATE TABLE envelopes (
        sequence INTEGER PRIMARY KEY, id BLOB UNIQUE, address BLOB, arrival INTEGER,
        expires INTEGER, signature BLOB, envelope BLOB
    );
    CREATE INDEX of_mailbox ON envelopes (address, arrival, id);
    CREATE INDEX by_end ON envelopes (expires);
";

const SQLITE_INSERT: &str = "
    INSERT INTO envelopes (id, address, arrival, expires, signature, envelope)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
";

impl From<StoreFailure> for BenchFailure {
    fn from(failure: StoreFailure) -> Self {
        Self::Store(failure)
    }
}

impl From<rusqlite::Error> for BenchFailure {
    fn from(failure: rusqlite::Error) -> Self {
        Self::Sqlite(failure)
    }
}

impl From<BadEnvelope> for BenchFailure {
    fn from(failure: BadEnvelope) -> Self {
        Self::Row(failure)
    }
}

impl From<RecvError> for BenchFailure {
    fn from(_: RecvError) -> Self {
        Self::Refused
    }
}
