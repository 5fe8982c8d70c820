//! Full and failing disks: deposits are refused, reads go on, nothing acknowledged is lost.

use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use swarm_proto::limits::ENVELOPE_SMALL_BYTES;
use swarm_proto::store::{
    Cursor, NotKept, ROW_WEIGHT_BYTES, Row, StoreDone, StoreOp, StoredRow, Usage,
};
use swarm_proto::time::Hour;

use super::disks::FaultyDisk;
use super::{Random, Shared, ask_together, config, delete, is_kept, keys, put, row};
use crate::store::{Store, StoreConfig};

const FULL: StoreDone = StoreDone::NotKept(NotKept::DiskFull);

/// A small letter of its own number.
fn letter(number: u32, arrival: u32) -> Row {
    row(1, number * 8, arrival)
}

fn stored(row: &Row, expires: u32) -> StoreDone {
    StoreDone::Row(Some(StoredRow {
        keys: keys(1),
        row: row.clone(),
        expires: Hour(expires),
    }))
}

/// Puts letters until not even single ones fit; returns those that were kept, each with its end.
fn fill(store: &Store) -> Vec<(Row, u32)> {
    let mut kept = Vec::new();
    let (mut number, mut together, mut refused) = (0, 64, 0);
    while refused < 5 {
        let letters = number..number + together;
        let letters: Vec<(Row, u32)> = letters.map(|n| (letter(n, n), 50 + n % 2 * 30)).collect();
        number += together;
        assert!(number < 20_000, "the disk never became full");
        let puts = letters.iter().map(|(row, hour)| put(1, row.clone(), *hour));
        let done = ask_together(store, puts);
        if done.contains(&FULL) {
            together = 1;
            refused += 1;
        } else {
            refused = 0;
        }
        let done = letters.into_iter().zip(done);
        kept.extend(
            done.filter(|(_, done)| is_kept(done))
                .map(|(letter, _)| letter),
        );
    }
    kept
}

/// What has to hold on a full disk, whichever disk it is.
fn outlive_a_full_disk(store: &Store) {
    let kept = fill(store);
    assert!(kept.len() > 100, "{}", kept.len());
    assert_eq!(store.ask(put(1, letter(99_999, 1), 50)), FULL);
    for (row, hour) in &kept {
        let id = row.envelope.id();
        assert_eq!(store.ask(StoreOp::Read { id }), stored(row, *hour));
    }
    let page = store.ask(StoreOp::Page {
        address: keys(1).address(),
        after: Cursor::START,
        bytes_max: 4_000,
        salt: [0; 32],
    });
    assert!(matches!(page, StoreDone::Page(page) if page.rows.len() == 2));

    let ended = kept.iter().filter(|(_, hour)| *hour == 50).count() as u64;
    let existed = StoreDone::Deleted { existed: true };
    assert_eq!(store.ask(delete(1, &kept[1].0, 80)), existed);
    let expired = store.ask(StoreOp::Expire { hour: Hour(50) });
    assert_eq!(expired, StoreDone::Expired { envelopes: ended });

    // Space that was freed is used: the first tries may come before the dead tables are dropped.
    let more = (0..u32::MAX).map(|number| letter(100_000 + number, 2));
    let mut tries = more.take(10_000).map(|row| store.ask(put(1, row, 80)));
    assert!(tries.any(|done| is_kept(&done)));
    for (row, hour) in kept.iter().filter(|(_, hour)| *hour == 80).skip(1) {
        let id = row.envelope.id();
        assert_eq!(store.ask(StoreOp::Read { id }), stored(row, *hour));
    }
}

/// [STO-6]
#[test]
fn a_full_disk_refuses_deposits_serves_reads_and_recovers_by_expiry() {
    let disk = FaultyDisk::new(6 << 20);
    let store = disk.store(config());
    outlive_a_full_disk(&store);
    store.close().unwrap();
}

/// [STO-6]
#[test]
fn a_full_disk_recovers_when_somebody_else_gives_space_back() {
    let disk = FaultyDisk::new(6 << 20);
    let store = disk.store(config());
    fill(&store);
    disk.set_bytes_max(60 << 20);
    assert!(is_kept(&store.ask(put(1, letter(99_999, 1), 50))));
    store.close().unwrap();
}

/// [STO-6]
#[test]
fn the_budget_refuses_deposits_long_before_the_disk_is_full() {
    let disk = FaultyDisk::new(60 << 20);
    let weight = ENVELOPE_SMALL_BYTES as u64 + ROW_WEIGHT_BYTES;
    let store = disk.store(StoreConfig {
        budget_bytes: 10 * weight,
        ..config()
    });
    let done = ask_together(&store, (0..11).map(|number| put(1, letter(number, 1), 50)));
    assert!(done[..10].iter().all(is_kept));
    assert_eq!(done[10], FULL);
    store.close().unwrap();
}

/// [STO-6] [STO-1]
#[test]
fn an_engine_on_a_failing_disk_keeps_what_it_acknowledged_and_goes_on() {
    for seed in 1..=6 {
        let mut random = Random(seed);
        let disk = FaultyDisk::new(8 << 20);
        let store = disk.store(config());
        let mut kept: Vec<Row> = Vec::new();
        for round in 0..30 {
            disk.fail_after(random.below(60) as u32);
            let letters: Vec<Row> = (0..12).map(|at| letter(round * 12 + at, round)).collect();
            let puts = letters.iter().map(|row| put(1, row.clone(), 50));
            let done = ask_together(&store, puts);
            let done = letters.into_iter().zip(done);
            kept.extend(done.filter(|(_, done)| is_kept(done)).map(|(row, _)| row));
            disk.heal();
            for row in &kept {
                let id = row.envelope.id();
                let read = store.ask(StoreOp::Read { id });
                assert_eq!(read, stored(row, 50), "seed {seed}, round {round}");
            }
        }
        assert!(kept.len() > 12, "seed {seed}: {}", kept.len());
        assert!(is_kept(&store.ask(put(1, letter(99_999, 1), 50))));
        store.close().unwrap();
        let store = disk.store(config());
        let ids = kept.iter().map(|row| row.envelope.id()).collect();
        let here = store.ask(StoreOp::Have { ids });
        assert!(matches!(here, StoreDone::Have(here) if here.len() == kept.len()));
    }
}

/// [STO-1] The system may take pages for written that are not: later flushes prove nothing.
#[test]
fn after_a_failed_flush_nothing_is_acknowledged_until_the_store_is_opened_anew() {
    let disk = FaultyDisk::new(8 << 20);
    let store = disk.store(config());
    assert!(is_kept(&store.ask(put(1, letter(1, 1), 50))));
    disk.fail_flush();
    for number in 2..5 {
        let done = store.ask(put(1, letter(number, 1), 50));
        assert_eq!(done, StoreDone::Failed);
        let id = letter(1, 1).envelope.id();
        let read = store.ask(StoreOp::Read { id });
        assert_eq!(read, stored(&letter(1, 1), 50));
    }
    store.close().unwrap();
    let store = disk.store(config());
    assert!(is_kept(&store.ask(put(1, letter(5, 1), 50))));
}

/// [STO-11] After a failed reading redb refuses all others until the file is opened again.
#[test]
fn a_reading_that_fails_is_made_again_and_takes_no_other_along() {
    let disk = FaultyDisk::new(60 << 20);
    let config = StoreConfig {
        cache_bytes: 0,
        ..config()
    };
    let ruin = config.ruin.clone();
    let store = disk.store(config);
    let letters: Vec<Row> = (0..40).map(|number| letter(number, 1)).collect();
    for row in &letters {
        assert!(is_kept(&store.ask(put(1, row.clone(), 50))));
    }
    for row in &letters {
        disk.fail_read();
        let id = row.envelope.id();
        assert_eq!(store.ask(StoreOp::Read { id }), stored(row, 50));
    }
    assert!(!disk.has_read_trouble(), "readings reached the disk");
    assert!(!ruin.is_cancelled());
}

/// A put that the disk fails.
fn fail(disk: &FaultyDisk, store: &Store, number: u32) {
    disk.fail_after(0);
    let done = store.ask(put(1, letter(number, 1), 50));
    assert_eq!(done, StoreDone::Failed);
    disk.heal();
}

/// [STO-11] A disk on which nothing can be written any more ends its relay; one that is full, or failed once, does not.
#[test]
fn a_disk_that_takes_nothing_any_more_is_told() {
    let told = |trouble: fn(&FaultyDisk, &Store)| {
        let disk = FaultyDisk::new(8 << 20);
        let config = config();
        let ruin = config.ruin.clone();
        let store = disk.store(config);
        assert!(is_kept(&store.ask(put(1, letter(1, 1), 50))));
        trouble(&disk, &store);
        ruin.is_cancelled()
    };
    assert!(!told(|_, store| drop(fill(store))), "full");
    assert!(!told(|disk, store| {
        for number in [2, 4, 6] {
            fail(disk, store, number);
            assert!(is_kept(&store.ask(put(1, letter(number + 1, 1), 50))));
        }
    }));
    assert!(told(|disk, store| {
        fail(disk, store, 2);
        fail(disk, store, 3);
    }));
    assert!(told(|disk, store| {
        disk.fail_flush();
        let done = store.ask(put(1, letter(2, 1), 50));
        assert_eq!(done, StoreDone::Failed);
    }));
}

/// [STO-6] The same on a real file system that is really full.
#[test]
fn a_full_file_system_refuses_deposits_serves_reads_and_recovers_by_expiry() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let ran = std::thread::spawn(move || {
        mount_small_tmpfs(&path)?;
        let store = Store::open(&path, config()).unwrap();
        outlive_a_full_disk(&store);
        store.close().unwrap();
        nix::Result::Ok(())
    });
    if let Err(reason) = ran.join().unwrap() {
        println!("skipped: no private tmpfs: {reason}");
    }
}

/// Mounts 8 MiB of tmpfs that only this thread and its children see.
fn mount_small_tmpfs(path: &Path) -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let nothing: Option<&str> = None;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(nothing, "/", nothing, private, nothing)?;
    let tmpfs = Some("tmpfs");
    mount(tmpfs, path, tmpfs, MsFlags::empty(), Some("size=8m"))
}

/// The queue is bounded: what does not fit is refused at once, and reads still fit.
#[test]
fn a_full_queue_refuses_writes_and_still_takes_reads() {
    let disk = FaultyDisk::new(60 << 20);
    let store = disk.store(StoreConfig {
        queue_bytes: 3 * ENVELOPE_SMALL_BYTES,
        ..config()
    });
    let (hold, held) = std::sync::mpsc::sync_channel::<()>(0);
    let (begin, begun) = std::sync::mpsc::sync_channel(1);
    store.submit(StoreOp::Usage, move |_| {
        begin.send(()).unwrap();
        held.recv().unwrap();
    });
    begun.recv().unwrap();
    let (tell, told) = std::sync::mpsc::sync_channel(10);
    for number in 0..5 {
        let tell = tell.clone();
        store.submit(put(1, letter(number, 1), 50), move |done| {
            tell.send(done).unwrap();
        });
    }
    let busy = StoreDone::NotKept(NotKept::Busy);
    assert_eq!(
        [told.recv().unwrap(), told.recv().unwrap()],
        [busy.clone(), busy]
    );
    store.submit(StoreOp::Usage, move |done| tell.send(done).unwrap());
    hold.send(()).unwrap();
    for _ in 0..3 {
        assert!(is_kept(&told.recv().unwrap()));
    }
    let usage = told.recv().unwrap();
    let is_three = |usage: &Usage| usage.envelopes == 3;
    assert!(
        matches!(&usage, StoreDone::Usage(usage) if is_three(usage)),
        "{usage:?}"
    );
    store.close().unwrap();
}
