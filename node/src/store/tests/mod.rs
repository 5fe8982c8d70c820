//! What the engine promises, checked against the model, crashes, full disks and damaged ones.

mod crash;
mod damage;
mod disks;
mod full;
mod model;
mod rosters;

use bytes::Bytes;
use std::sync::mpsc::sync_channel;
use swarm_proto::crypto::Signature;
use swarm_proto::envelope::{Envelope, EnvelopeHeader, ExpiryClass, SizeClass};
use swarm_proto::store::{Card, MailboxKeys, Quota, Row, StoreDone, StoreOp, Tombstone};
use swarm_proto::time::{Epoch, Hour, Tick};

use super::{Disk, Store, StoreConfig};

/// A small store that retries at once.
fn config() -> StoreConfig {
    StoreConfig {
        cache_bytes: 1 << 20,
        ballast_bytes: 1 << 20,
        full_retry: std::time::Duration::ZERO,
        ..StoreConfig::with_budget(u64::MAX)
    }
}

/// A disk whose clones share one content.
trait Shared: Disk + Clone {
    fn store(&self, config: StoreConfig) -> Store {
        Store::open_on(self.clone(), config).unwrap()
    }
}

impl<D: Disk + Clone> Shared for D {}

fn keys(owner: u8) -> MailboxKeys {
    MailboxKeys {
        flags: 0,
        read: [owner; 32],
        write: [owner; 32],
    }
}

/// Each eighth row is large; each fourth is to stay 30 days, the large ones among them.
fn row(owner: u8, number: u32, arrival: u32) -> Row {
    let expiry = if number % 4 == 3 {
        ExpiryClass::Days30
    } else {
        ExpiryClass::Day
    };
    row_of(owner, number, arrival, expiry)
}

fn row_of(owner: u8, number: u32, arrival: u32, expiry: ExpiryClass) -> Row {
    let size = if number % 8 == 7 {
        SizeClass::Large
    } else {
        SizeClass::Small
    };
    let header = EnvelopeHeader {
        size,
        expiry,
        made: Tick(6),
        address: keys(owner).address(),
    };
    let body: Vec<u8> = (0..size.body_bytes())
        .map(|at| number.wrapping_mul(31).wrapping_add(at as u32 / 7) as u8)
        .collect();
    let mut body = body;
    body[..4].copy_from_slice(&number.to_be_bytes());
    Row {
        write_signature: Signature([owner; 64]),
        arrival: Tick(arrival),
        envelope: Envelope::assemble(header, &body).unwrap(),
        long_stay: expiry
            .needs_leave()
            .then_some(Signature([number as u8; 64])),
    }
}

fn put(owner: u8, row: Row, expires: u32) -> StoreOp {
    let quota = Quota {
        envelopes: u32::MAX,
        bytes: u64::MAX,
    };
    put_within(owner, row, expires, quota)
}

fn put_within(owner: u8, row: Row, expires: u32, quota: Quota) -> StoreOp {
    StoreOp::Put {
        keys: keys(owner),
        row,
        expires: Hour(expires),
        quota,
    }
}

fn delete(owner: u8, row: &Row, expires: u32) -> StoreOp {
    StoreOp::Delete {
        tombstone: Tombstone {
            keys: keys(owner),
            id: row.envelope.id(),
            expires: Hour(expires),
            signature: Signature([owner; 64]),
        },
        epoch: row.epoch(),
    }
}

fn put_card(owner: u8, sequence: u64, first: u8, expires: u32) -> StoreOp {
    StoreOp::PutCard {
        keys: keys(owner),
        card: Card {
            sequence,
            expires: Hour(expires),
            signature: Signature([owner; 64]),
            sealed: Bytes::from(vec![first; swarm_proto::limits::CARD_BYTES]),
        },
        epoch: Epoch(u32::from(first % 2)),
    }
}

/// Asks everything without waiting in between, then waits for all the answers.
fn ask_together(store: &Store, ops: impl IntoIterator<Item = StoreOp>) -> Vec<StoreDone> {
    let told: Vec<_> = ops
        .into_iter()
        .map(|op| {
            let (tell, told) = sync_channel(1);
            store.submit(op, move |done| tell.send(done).unwrap());
            told
        })
        .collect();
    told.into_iter().map(|told| told.recv().unwrap()).collect()
}

fn is_kept(done: &StoreDone) -> bool {
    matches!(done, StoreDone::Kept { .. })
}

/// SplitMix64: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// A part of `all`, shuffled.
    fn some_in_any_order<T: Clone>(&mut self, all: &[T]) -> Vec<T> {
        let share = self.below(5);
        let mut some: Vec<T> = Vec::new();
        for one in all {
            if self.below(4) < share {
                let at = self.below(some.len() as u64 + 1) as usize;
                some.push(one.clone());
                let last = some.len() - 1;
                some.swap(at, last);
            }
        }
        some
    }
}
