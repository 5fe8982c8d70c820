//! The engine equals the model on any sequence of operations, across restarts and power cuts.

use proptest::prelude::*;
use swarm_proto::envelope::ExpiryClass;
use swarm_proto::place::{Cell, cell_of};
use swarm_proto::store::{Chronicle, Cursor, MemStore, Part, Quota, StoreDone, StoreOp, Swept};
use swarm_proto::time::{Epoch, Hour, Tick};

use super::disks::LoggedDisk;
use super::{Shared, ask_together, config, delete, keys, put_card, put_within, row};
use crate::store::{Store, StoreConfig};

#[derive(Clone, Debug)]
enum Step {
    /// Operations asked together.
    Ask(Vec<StoreOp>),
    /// Close and open.
    Restart,
    /// Lose what was not flushed, open.
    PowerCut,
}

const OWNERS: u8 = 3;
/// Hours of three days of expiry, so that days end with hours of theirs still alive.
const HOURS: std::ops::Range<u32> = 40..80;

fn any_chronicle() -> impl Strategy<Value = Chronicle> {
    prop_oneof![
        Just(Chronicle::Rosters),
        Just(Chronicle::Certificates),
        Just(Chronicle::Losses)
    ]
}

fn any_op() -> impl Strategy<Value = StoreOp> {
    let letter = (0..OWNERS, 0..10_u32, 1..4_u32);
    let quota = (2..8_u32, 4_000..60_000_u64);
    let after = (0..OWNERS, 0..10_u32, 0..4_u32, any::<bool>());
    prop_oneof![
        6 => (letter.clone(), HOURS, quota).prop_map(|((owner, number, arrival), hour, quota)| {
            let quota = Quota { envelopes: quota.0, bytes: quota.1 };
            put_within(owner, row(owner, number, arrival), hour, quota)
        }),
        3 => (after, 0..9_000_usize).prop_map(|((owner, number, arrival, start), bytes_max)| {
            let cursor = row(owner, number, arrival).cursor();
            StoreOp::Page {
                address: keys(owner).address(),
                after: if start { Cursor::START } else { cursor },
                bytes_max,
                salt: [owner; 32],
            }
        }),
        2 => (letter.clone(), 0..OWNERS, HOURS).prop_map(|((owner, number, said), other, hour)| {
            let signer = if number % 2 == 0 { owner } else { other };
            let mut delete = delete(signer, &row(owner, number, 1), hour);
            // Whoever passes it on may say another epoch ([STO-4]).
            if let StoreOp::Delete { epoch, .. } = &mut delete {
                *epoch = Epoch(said % 2);
            }
            delete
        }),
        2 => letter.clone().prop_map(|(owner, number, _)| StoreOp::Read {
            id: row(owner, number, 1).envelope.id(),
        }),
        1 => Just(StoreOp::Have {
            ids: (0..OWNERS).flat_map(|owner| {
                (0..10).map(move |number| row(owner, number, 1).envelope.id())
            }).collect(),
        }),
        2 => (0..OWNERS, 0..3_u64, 0..3_u8, HOURS)
            .prop_map(|(owner, sequence, first, hour)| put_card(owner, sequence, first, hour)),
        1 => (0..OWNERS).prop_map(|owner| StoreOp::Card { address: keys(owner).address() }),
        1 => (38..82_u32, any::<bool>()).prop_map(|(hour, far)| StoreOp::Expire {
            hour: Hour(if far { hour } else { 38 + hour % 12 }),
        }),
        1 => Just(StoreOp::Usage),
        2 => (any_chronicle(), 0..6_u32, 0..6_u32, any::<u8>()).prop_map(|(chronicle, epoch, oldest, byte)| {
            StoreOp::PutEntry {
                chronicle,
                epoch: Epoch(epoch),
                entry: vec![byte; usize::from(byte) * 48].into(),
                oldest: Epoch(oldest),
            }
        }),
        2 => any_chronicle().prop_map(|chronicle| StoreOp::Entries { chronicle }),
        1 => (0..=16_u8).prop_map(|cell_bits| StoreOp::Cells { cell_bits }),
        2 => (0..2_u32, 0..=16_u8, 0..OWNERS, any::<bool>(), 0..40_usize)
            .prop_map(|(epoch, cell_bits, owner, all, items_max)| {
                let first = if all { 0 } else { owner };
                let cells = (first..=owner).map(|owner| cell_of(&keys(owner).address(), cell_bits));
                // Sometimes so many that whole tables are walked.
                let more = (0..200).filter(|_| all).map(|number| Cell(number % (1_u16 << cell_bits.min(15))));
                let cells: std::collections::BTreeSet<Cell> = cells.chain(more).collect();
                StoreOp::Inventory {
                    epoch: Epoch(epoch),
                    cells: cells.into_iter().collect(),
                    cell_bits,
                    items_max,
                }
            }),
        2 => (0..OWNERS, 0..=2_u8, 0..16_u16, 6..14_u32, HOURS, any::<u8>(), 0..40_usize)
            .prop_map(|(owner, digits, prefix, tick, hour, key, items_max)| {
                let swept = Swept {
                    epoch: Epoch(0),
                    cell: cell_of(&keys(owner).address(), 4),
                    part: Part::new(digits, prefix).unwrap_or(Part::ALL),
                    arrived_by: Tick(tick),
                    ends_from: Hour(hour),
                };
                StoreOp::Tags { swept, cell_bits: 4, key: [key; 32], items_max }
            }),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => prop::collection::vec(any_op(), 1..20).prop_map(Step::Ask),
        1 => Just(Step::Restart),
        1 => Just(Step::PowerCut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// [STO-1] [STO-2] [STO-3] [STO-4] [STO-5] [STO-7] [STO-8] [STO-9]
    #[test]
    fn the_engine_answers_as_the_model_does(
        steps in prop::collection::vec(any_step(), 1..20),
        budget in prop_oneof![Just(u64::MAX), 20_000..200_000_u64],
        group_ops in 1..32_usize,
    ) {
        let mut model = MemStore::with_budget(budget);
        let config = StoreConfig { budget_bytes: budget, group_ops, ..config() };
        let mut disk = LoggedDisk::made();
        let mut store = disk.store(config.clone());
        for step in steps {
            match step {
                Step::Ask(ops) => {
                    let expected: Vec<StoreDone> =
                        ops.iter().map(|op| model.apply(op.clone())).collect();
                    let done = ask_together(&store, ops.clone());
                    for ((op, done), expected) in ops.iter().zip(done).zip(expected) {
                        prop_assert_eq!(done, expected, "{:?}", op);
                    }
                }
                Step::Restart => {
                    store.close().unwrap();
                    store = disk.store(config.clone());
                }
                Step::PowerCut => {
                    // The old engine lives on, on a disk that nobody looks at any more.
                    let left = disk.flushed_only();
                    drop(store);
                    disk = LoggedDisk::starting(left);
                    store = disk.store(config.clone());
                }
            }
        }
    }
}

/// [ROW-1]: the owner's leave adds no page, as two rows that carry it still share one.
#[test]
fn two_rows_share_a_page_with_or_without_the_owners_leave() {
    let bytes_with = |expiry| {
        let disk = LoggedDisk::made();
        let store = disk.store(config());
        let puts = (0..512).map(|n| super::put(1, super::row_of(1, n * 8, 1, expiry), 100));
        assert!(ask_together(&store, puts).iter().all(super::is_kept));
        store.close().unwrap();
        redb::StorageBackend::len(&disk).unwrap()
    };
    let (short, long) = (
        bytes_with(ExpiryClass::Day),
        bytes_with(ExpiryClass::Days30),
    );
    // One row a page would take three quarters more; how writes fall into commits decides about a hundredth.
    assert!(long < short / 8 * 9, "{short} {long}");
}

/// A file that an earlier program wrote is named as such, and not touched.
#[test]
fn a_file_of_another_layout_is_not_opened() {
    let disk = LoggedDisk::made();
    let store = disk.store(config());
    assert!(super::is_kept(&store.ask(super::put(1, row(1, 1, 1), 100))));
    store.close().unwrap();
    let open = redb::Builder::new()
        .create_with_backend(disk.clone())
        .unwrap();
    let write = open.begin_write().unwrap();
    let meta = redb::TableDefinition::<&[u8], &[u8]>::new("meta");
    let old = 1_u32.to_be_bytes();
    let mut table = write.open_table(meta).unwrap();
    table.insert(b"schema".as_slice(), old.as_slice()).unwrap();
    drop(table);
    write.commit().unwrap();
    drop(open);
    let refused = Store::open_on(disk, config()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "store: the file has layout 1, and this program knows only layout 2"
    );
}

/// [STO-5]
#[test]
fn dead_tables_are_dropped_and_their_space_is_used_again() {
    let disk = LoggedDisk::made();
    let store = disk.store(config());
    let mut sizes = Vec::new();
    for round in 0..16 {
        let hour = 100 + round * 24;
        let puts = (0..256).map(|number| super::put(1, row(1, number * 8, round), hour));
        assert!(ask_together(&store, puts).iter().all(super::is_kept));
        let ended = store.ask(StoreOp::Expire { hour: Hour(hour) });
        assert_eq!(ended, StoreDone::Expired { envelopes: 256 });
        sizes.push(redb::StorageBackend::len(&disk).unwrap());
    }
    // Tables are dropped between groups, so at times two rounds lie there together; sixteen never do.
    assert!(sizes[15] <= 2 * sizes[0], "{sizes:?}");
    store.close().unwrap();
}
