//! Durable deposits a second: the relay's store beside SQLite, on the same disk, with the same rows.
//!
//! Both flush before they answer. SQLite runs in WAL mode with `synchronous=FULL`, once with a
//! transaction a row, as a server does that answers each deposit by itself, and once with as many rows
//! in a transaction as our store puts into a commit.

use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use poste_node::store::{Store, StoreConfig};
use swarm_proto::crypto::Signature;
use swarm_proto::envelope::{Envelope, EnvelopeHeader, ExpiryClass, SizeClass};
use swarm_proto::hash::derive;
use swarm_proto::store::{MailboxKeys, Quota, Row, StoreDone, StoreOp};
use swarm_proto::time::{Epoch, Hour, Tick};

use crate::failure::BenchFailure;
use crate::sqlite::Sqlite;

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

/// The keys of the mailbox with this number.
pub fn keys_of(mailbox: u64) -> MailboxKeys {
    MailboxKeys {
        flags: 0,
        read: derive("poste bench", &[&mailbox.to_be_bytes()]),
        write: [1; 32],
    }
}

/// The operation that keeps the small row with this number until `expires`: [`ROWS_PER_MAILBOX`] rows
/// a mailbox.
///
/// # Errors
/// [`BenchFailure::Row`] never, as long as sizes agree.
pub fn small_put(number: u64, expires: Hour) -> Result<StoreOp, BenchFailure> {
    let keys = keys_of(number / ROWS_PER_MAILBOX);
    let header = EnvelopeHeader {
        size: SizeClass::Small,
        expiry: ExpiryClass::Days14,
        made: MADE,
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
            long_stay: None,
        },
        expires,
        quota: Quota::of(&keys),
    })
}

/// The epoch of all rows of [`small_put`].
pub fn small_epoch() -> Epoch {
    MADE.epoch()
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
        let (op, tell, asked) = (small_put(number, END)?, tell.clone(), Instant::now());
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
    let mut waits = waits.ok_or(BenchFailure::Wrong("the store refused a row"))?;
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
    let mut sqlite = Sqlite::open(folder)?;
    let start = Instant::now();
    let mut number = 0_u64;
    while start.elapsed() < duration {
        let group = (number..).take(rows);
        sqlite.put(group.map(|number| small_put(number, END)))?;
        number += u64::try_from(rows).unwrap_or(u64::MAX);
    }
    Ok(Deposits {
        per_second: number as f64 / start.elapsed().as_secs_f64(),
        half: Duration::ZERO,
        most: Duration::ZERO,
    })
}

/// So many rows lie in each mailbox.
pub const ROWS_PER_MAILBOX: u64 = 25;
const MADE: Tick = Tick(2_983_335);
/// When the rows of a measurement end; nothing expires while it lasts.
pub const END: Hour = Hour(497_500);
