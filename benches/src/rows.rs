//! The rows about the store: deposits beside SQLite, and what a store of 100,000 envelopes answers.
//!
//! Writers wait for their flush, so these are measured by the clock on the wall; pairs run one after
//! the other on the same disk.

use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use poste_node::store::{GROUP_OPS_MAX, Store, StoreConfig};
use swarm_proto::envelope::SizeClass;
use swarm_proto::limits::SWEEP_ITEMS_MAX;
use swarm_proto::place::Cell;
use swarm_proto::store::{Cursor, Part, StoreDone, StoreOp, Swept, tag_of};
use swarm_proto::time::{Hour, Tick};

use crate::failure::BenchFailure;
use crate::row::Row;
use crate::sqlite::Sqlite;
use crate::store::{
    Engine, ROWS_PER_MAILBOX, deposits_per_second, keys_of, small_epoch, small_put,
};

/// Durable deposits a second at 1, 64 and 1,024 writers; about `most` of wall time. Folders are made
/// and emptied in `folder`.
///
/// # Errors
/// [`BenchFailure`] if an engine fails or refuses.
pub fn measure_deposits(folder: &Path, most: Duration) -> Result<Vec<Row>, BenchFailure> {
    let ours = |writers| {
        (
            Engine::Poste(StoreConfig::with_budget(BUDGET_BYTES)),
            writers,
        )
    };
    let theirs = |rows| (Engine::Sqlite { rows }, rows);
    let engines = [
        ours(1),
        theirs(1),
        ours(1_024),
        theirs(GROUP_OPS_MAX),
        ours(64),
        theirs(64),
    ];
    let rounds = u32::try_from(ROUNDS * engines.len()).unwrap_or(1);
    let each = most / rounds;
    let mut results = vec![Vec::new(); engines.len()];
    for _ in 0..ROUNDS {
        for ((engine, writers), results) in engines.iter().zip(&mut results) {
            let folder = tempfile::tempdir_in(folder)?;
            let deposits = deposits_per_second(engine, folder.path(), *writers, each)?;
            results.push(deposits.per_second);
        }
    }
    let [one, one_row, many, group, some, some_rows] = results.as_slice() else {
        return Err(BenchFailure::Wrong("not all engines ran"));
    };
    Ok(vec![
        Row::beside("store/deposits/1/sqlite-one-row", PER_SECOND, one, one_row),
        Row::beside(
            "store/deposits/64/sqlite-one-row",
            PER_SECOND,
            some,
            one_row,
        ),
        Row::beside(
            "store/deposits/64/sqlite-64-rows",
            PER_SECOND,
            some,
            some_rows,
        ),
        Row::beside(
            "store/deposits/1024/sqlite-one-row",
            PER_SECOND,
            many,
            one_row,
        ),
        Row::beside(
            "store/deposits/1024/sqlite-512-rows",
            PER_SECOND,
            many,
            group,
        ),
    ])
}

/// Puts `count` rows that end at `expires` into the store in `folder`.
///
/// # Errors
/// [`BenchFailure`] if the store fails or refuses a row.
pub fn fill(folder: &Path, count: u64, expires: Hour) -> Result<(), BenchFailure> {
    let store = Store::open(folder, StoreConfig::with_budget(BUDGET_BYTES))?;
    let (tell, told) = sync_channel(WRITERS);
    let mut under_way = 0;
    let kept = |kept| match kept {
        true => Ok(()),
        false => Err(BenchFailure::Wrong("the store refused a row")),
    };
    for number in 0..count {
        if under_way == WRITERS {
            kept(told.recv()?)?;
            under_way -= 1;
        }
        let tell = tell.clone();
        store.submit(small_put(number, expires)?, move |done| {
            // Nobody listens any more if filling failed.
            let _ = tell.send(matches!(done, StoreDone::Kept { .. }));
        });
        under_way += 1;
    }
    for _ in 0..under_way {
        kept(told.recv()?)?;
    }
    Ok(store.close()?)
}

/// Pages of 20, and the end of everything, in the store that [`fill`] made in `ours`; beside the same
/// rows in SQLite in the empty folder `theirs`.
///
/// # Errors
/// [`BenchFailure`] if an engine fails or refuses.
pub fn measure_filled(
    ours: &Path,
    theirs: &Path,
    count: u64,
    expires: Hour,
) -> Result<Vec<Row>, BenchFailure> {
    let mut sqlite = Sqlite::open(theirs)?;
    let numbers: Vec<u64> = (0..count).collect();
    for group in numbers.chunks(GROUP_OPS_MAX) {
        sqlite.put(group.iter().map(|number| small_put(*number, expires)))?;
    }
    let store = Store::open(ours, StoreConfig::with_budget(BUDGET_BYTES))?;
    let mailboxes = (count / ROWS_PER_MAILBOX).max(1);
    let mut pages = (Vec::new(), Vec::new());
    for step in 0..PAGES {
        // Strides through all mailboxes, so that caches hold what they hold of any.
        let mailbox = step * 7_919 % mailboxes;
        pages.0.push(page(&store, mailbox)?);
        let start = Instant::now();
        let (rows, _) = sqlite.page(&keys_of(mailbox).address(), PAGE_ROWS)?;
        pages.1.push(micros(start));
        if rows != PAGE_ROWS {
            return Err(BenchFailure::Wrong("a page is not full"));
        }
    }
    let mut sweeps = (Vec::new(), Vec::new());
    for step in 0..SWEEPS {
        let (swept, floor) = sweep(&store, Cell(step))?;
        sweeps.0.push(swept);
        sweeps.1.push(floor);
    }
    let start = Instant::now();
    let done = store.ask(StoreOp::Expire { hour: expires });
    let expired = micros(start) / 1e3;
    if done != (StoreDone::Expired { envelopes: count }) {
        return Err(BenchFailure::Wrong("not everything expired"));
    }
    let start = Instant::now();
    sqlite.expire(expires)?;
    let theirs = micros(start) / 1e3;
    // Dropping the tables may outlast it; what was measured is over.
    let _ = store.close();
    Ok(vec![
        Row::beside("store/page/20-small/sqlite", "us", &pages.0, &pages.1),
        Row::beside("store/sweep/envelope/blake3", "us", &sweeps.0, &sweeps.1),
        Row::beside(
            "store/expiry/100k/sqlite-delete",
            "ms",
            &[expired],
            &[theirs],
        ),
    ])
}

/// The microseconds that one page of [`PAGE_ROWS`] takes.
fn page(store: &Store, mailbox: u64) -> Result<f64, BenchFailure> {
    let op = StoreOp::Page {
        address: keys_of(mailbox).address(),
        after: Cursor::START,
        bytes_max: PAGE_ROWS * (8 + SizeClass::Small.envelope_bytes()),
        salt: [3; 32],
    };
    let start = Instant::now();
    let done = store.ask(op);
    let took = micros(start);
    match done {
        StoreDone::Page(page) if page.rows.len() == PAGE_ROWS => Ok(took),
        _ => Err(BenchFailure::Wrong("a page is not full")),
    }
}

/// The microseconds an envelope that a sweep of one cell takes, and those of the bare keyed hash.
fn sweep(store: &Store, cell: Cell) -> Result<(f64, f64), BenchFailure> {
    let key = [4; 32];
    let op = StoreOp::Tags {
        swept: Swept {
            epoch: small_epoch(),
            cell,
            part: Part::ALL,
            arrived_by: Tick(u32::MAX),
            ends_from: Hour(0),
        },
        cell_bits: SWEEP_CELL_BITS,
        key,
        items_max: SWEEP_ITEMS_MAX,
    };
    let start = Instant::now();
    let done = store.ask(op);
    let took = micros(start);
    let StoreDone::Tags(tags) = done else {
        return Err(BenchFailure::Wrong("a cell was not swept"));
    };
    let count = tags.len().max(1) as f64;
    let body = vec![0x5a; SizeClass::Small.envelope_bytes()];
    let start = Instant::now();
    for _ in &tags {
        std::hint::black_box(tag_of(&key, std::hint::black_box(&body)));
    }
    Ok((took / count, micros(start) / count))
}

fn micros(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}

/// Envelopes of the store that is measured full.
pub const FULL_ENVELOPES: u64 = 100_000;

const PER_SECOND: &str = "rows/s";
const BUDGET_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// Odd, so that one disturbed round moves no median.
const ROUNDS: usize = 5;
/// As many deposits as a store takes at its best.
const WRITERS: usize = 1_024;
const PAGE_ROWS: usize = 20;
const PAGES: u64 = 1_001;
/// Cells of about 200 rows, a sweep's size.
const SWEEP_CELL_BITS: u8 = 9;
const SWEEPS: u16 = 101;
