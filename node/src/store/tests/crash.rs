//! Power cuts: the medium keeps what was flushed, and of the rest any part in any order.

use std::collections::BTreeMap;
use std::sync::mpsc::sync_channel;

use swarm_proto::id::EnvelopeId;
use swarm_proto::store::{NotKept, Row, StoreDone, StoreOp};
use swarm_proto::time::Hour;

use super::disks::{Event, LoggedDisk, happen};
use super::{Random, Shared, config, delete, put, row};
use crate::store::StoreConfig;

const OWNERS: u8 = 4;
const HOUR: u32 = 50;
const SECTOR: usize = 512;

/// What was asked, in order.
enum Deed {
    Put(u8, Row),
    Delete(u8, Row),
    Expire,
}

impl Deed {
    fn op(&self) -> StoreOp {
        match self {
            Self::Put(owner, row) => put(*owner, row.clone(), HOUR),
            Self::Delete(owner, row) => delete(*owner, row, HOUR + 30),
            Self::Expire => StoreOp::Expire { hour: Hour(20) },
        }
    }
}

fn deeds(random: &mut Random) -> Vec<Deed> {
    let mut deeds = Vec::new();
    for number in 0..120 {
        let owner = random.below(u64::from(OWNERS)) as u8;
        deeds.push(match random.below(8) {
            0 if number > 10 => {
                let earlier = random.below(u64::from(number)) as usize;
                match &deeds[earlier] {
                    Deed::Put(owner, row) => Deed::Delete(*owner, row.clone()),
                    Deed::Delete(..) | Deed::Expire => Deed::Expire,
                }
            }
            _ => Deed::Put(owner, row(owner, number, number)),
        });
    }
    deeds
}

/// Asks for every deed, a few at once, and lets the disk's log say when each was acknowledged.
fn live(disk: &LoggedDisk, config: StoreConfig, deeds: &[Deed]) {
    let store = disk.store(config);
    for (round, some) in deeds.chunks(7).enumerate() {
        let (tell, told) = sync_channel(some.len());
        for (at, deed) in some.iter().enumerate() {
            let (disk, tell) = (disk.clone(), tell.clone());
            store.submit(deed.op(), move |done| {
                assert_ne!(done, StoreDone::Failed);
                if !matches!(done, StoreDone::NotKept(_)) {
                    disk.note(Event::Acknowledged(round * 7 + at));
                }
                tell.send(()).unwrap();
            });
        }
        for _ in some {
            told.recv().unwrap();
        }
    }
    store.close().unwrap();
}

/// A medium after a power cut, and the number of events before it.
struct Cut {
    medium: Vec<u8>,
    at: usize,
}

/// Cuts the power at `times` random moments.
fn cuts(log: &[Event], times: u64, random: &mut Random) -> Vec<Cut> {
    let mut moments: Vec<usize> = (0..times)
        .map(|_| 2 + random.below(log.len() as u64 - 2) as usize)
        .collect();
    moments.sort_unstable();
    let (mut flushed, mut until) = (Vec::new(), 0);
    let mut cuts = Vec::new();
    for at in moments {
        let sync = log[..at]
            .iter()
            .rposition(|event| matches!(event, Event::Sync));
        if let Some(sync) = sync.filter(|sync| *sync >= until) {
            log[until..sync]
                .iter()
                .for_each(|event| happen(&mut flushed, event));
            until = sync;
        }
        let mut medium = flushed.clone();
        for event in random.some_in_any_order(&log[until..at]) {
            happen(&mut medium, &torn(event, random));
        }
        cuts.push(Cut { medium, at });
    }
    cuts
}

/// Sometimes only the first sectors of a write, or its last ones, reach the medium.
fn torn(event: Event, random: &mut Random) -> Event {
    match event {
        Event::Write { at, bytes } if bytes.len() > SECTOR && random.below(4) == 0 => {
            let sectors = (bytes.len() / SECTOR) as u64;
            let cut = random.below(sectors) as usize * SECTOR;
            if random.below(2) == 0 {
                let bytes = bytes[..cut].to_vec();
                Event::Write { at, bytes }
            } else {
                let (at, bytes) = (at + cut as u64, bytes[cut..].to_vec());
                Event::Write { at, bytes }
            }
        }
        Event::Write { .. } | Event::SetLen(_) | Event::Sync | Event::Acknowledged(_) => event,
    }
}

/// What is wrong in a store opened on a cut medium: nothing, if every promise was kept.
fn broken_promises(cut: Cut, log: &[Event], deeds: &[Deed]) -> Vec<String> {
    let mut promised: BTreeMap<EnvelopeId, (u8, &Row, bool)> = BTreeMap::new();
    let acknowledged = log[..cut.at].iter().filter_map(|event| match event {
        Event::Acknowledged(deed) => Some(&deeds[*deed]),
        Event::Write { .. } | Event::SetLen(_) | Event::Sync => None,
    });
    for deed in acknowledged {
        match deed {
            Deed::Put(owner, row) => promised.insert(row.envelope.id(), (*owner, row, true)),
            Deed::Delete(owner, row) => promised.insert(row.envelope.id(), (*owner, row, false)),
            Deed::Expire => None,
        };
    }
    // A deletion that was asked for but not acknowledged may have happened.
    let maybe_deleted = |id: &EnvelopeId| {
        let mut deletions = deeds.iter().filter_map(|deed| match deed {
            Deed::Delete(_, row) => Some(row.envelope.id()),
            Deed::Put(..) | Deed::Expire => None,
        });
        deletions.any(|deleted| deleted == *id)
    };
    let disk = LoggedDisk::starting(cut.medium);
    let opened = std::panic::catch_unwind(|| crate::store::Store::open_on(disk, config()));
    let Ok(Ok(store)) = opened else {
        return vec!["the store does not open".into()];
    };
    let mut broken = Vec::new();
    for (id, (owner, row, kept)) in promised {
        let read = store.ask(StoreOp::Read { id });
        let read = match read {
            StoreDone::Row(read) => read.map(|stored| stored.row),
            other => {
                broken.push(format!("{id}: {other:?}"));
                continue;
            }
        };
        if kept && read.as_ref() != Some(row) && !(read.is_none() && maybe_deleted(&id)) {
            broken.push(format!("{id} was promised and is {read:?}"));
        }
        let deleted = StoreDone::NotKept(NotKept::Deleted);
        if !kept && store.ask(put(owner, row.clone(), HOUR)) != deleted {
            broken.push(format!("{id} was deleted and came back"));
        }
    }
    let rows = deeds.iter().filter_map(|deed| match deed {
        Deed::Put(_, row) => Some(row.envelope.id()),
        Deed::Delete(..) | Deed::Expire => None,
    });
    let here = store.ask(StoreOp::Have {
        ids: rows.collect(),
    });
    let usage = store.ask(StoreOp::Usage);
    match (here, usage) {
        (StoreDone::Have(here), StoreDone::Usage(usage)) => {
            if here.len() as u64 != usage.envelopes {
                broken.push(format!("{} rows, counted {}", here.len(), usage.envelopes));
            }
        }
        other => broken.push(format!("{other:?}")),
    }
    let _ = store.close();
    broken
}

/// Lives, cuts, and counts the media on which a promise is broken.
fn media_with_broken_promises(
    seed: u64,
    times: u64,
    disk: &LoggedDisk,
    config: StoreConfig,
) -> Vec<(usize, Vec<String>)> {
    let mut random = Random(seed);
    let deeds = deeds(&mut random);
    live(disk, config, &deeds);
    let log = disk.log();
    cuts(&log, times, &mut random)
        .into_iter()
        .map(|cut| (cut.at, broken_promises(cut, &log, &deeds)))
        .filter(|(_, broken)| !broken.is_empty())
        .collect()
}

/// [STO-1]
#[test]
fn whatever_was_acknowledged_survives_a_power_cut_at_any_moment() {
    for seed in 1..=4 {
        let disk = LoggedDisk::made();
        let broken = media_with_broken_promises(seed, 40, &disk, config());
        assert!(broken.is_empty(), "seed {seed}: {broken:?}");
    }
}

/// [STO-1] The test above is able to fail: an engine that does not wait for the disk is caught.
#[test]
fn an_engine_that_acknowledges_too_early_is_caught() {
    let disk = LoggedDisk::made();
    let early = StoreConfig {
        durable: false,
        ..config()
    };
    assert!(!media_with_broken_promises(1, 40, &disk, early).is_empty());
}

/// [STO-1] And so is a disk that only says that it flushed.
#[test]
fn a_disk_that_does_not_flush_is_caught() {
    let mut disk = LoggedDisk::made();
    disk.skips_sync = true;
    assert!(!media_with_broken_promises(1, 40, &disk, config()).is_empty());
}
