//! A disk that gives back other bytes than were written: what it damaged is gone, and nothing else is.

use swarm_proto::id::EnvelopeId;
use swarm_proto::place::cell_of;
use swarm_proto::store::{Cursor, Part, Row, StoreDone, StoreOp, Swept, Usage};
use swarm_proto::time::{Epoch, Hour, Tick};

use super::disks::LoggedDisk;
use super::{Random, Shared, config, delete, is_kept, keys, put, row};
use crate::store::Store;

const LETTERS: u32 = 12;
const ENDS: u32 = 50;

fn letter(number: u32) -> Row {
    row(1, number, 20 + number)
}

/// A store with twelve letters of one mailbox, on a disk that then changed one byte of each of `damaged`.
fn store_with_damage(damaged: &[u32]) -> Store {
    let disk = LoggedDisk::made();
    let store = disk.store(config());
    for number in 0..LETTERS {
        assert!(is_kept(&store.ask(put(1, letter(number), ENDS))));
    }
    store.close().unwrap();
    let mut content = disk.flushed_only();
    for number in damaged {
        let envelope = letter(*number).envelope;
        let whole = envelope.bytes();
        let places = content.windows(whole.len());
        let places = places.enumerate().filter(|(_, bytes)| bytes == whole);
        let places: Vec<usize> = places.map(|(at, _)| at).collect();
        assert!(!places.is_empty(), "letter {number} is on the disk");
        for at in places {
            content[at + whole.len() / 2] ^= 1;
        }
    }
    LoggedDisk::starting(content).store(config())
}

fn page(store: &Store) -> Vec<EnvelopeId> {
    let StoreDone::Page(page) = store.ask(StoreOp::Page {
        address: keys(1).address(),
        after: Cursor::START,
        bytes_max: usize::MAX,
        salt: [0; 32],
    }) else {
        panic!("no page");
    };
    assert!(!page.more);
    assert_eq!(page.count as usize, page.rows.len());
    page.rows
        .iter()
        .map(|(_, envelope)| envelope.id())
        .collect()
}

fn swept(store: &Store) -> Vec<EnvelopeId> {
    let StoreDone::Tags(tagged) = store.ask(StoreOp::Tags {
        swept: Swept {
            epoch: letter(0).epoch(),
            cell: cell_of(&keys(1).address(), 4),
            part: Part::ALL,
            arrived_by: Tick(u32::MAX),
            ends_from: Hour(0),
        },
        cell_bits: 4,
        key: [7; 32],
        items_max: 1_000,
    }) else {
        panic!("no tags");
    };
    let ids = tagged.iter().map(|one| one.held.item());
    ids.map(EnvelopeId).collect()
}

fn usage(store: &Store) -> Usage {
    let StoreDone::Usage(usage) = store.ask(StoreOp::Usage) else {
        panic!("no usage");
    };
    usage
}

/// Every letter but those of `damaged`, by id.
fn all_but(damaged: &[u32]) -> Vec<EnvelopeId> {
    let whole = (0..LETTERS).filter(|number| !damaged.contains(number));
    let mut ids: Vec<EnvelopeId> = whole.map(|number| letter(number).envelope.id()).collect();
    ids.sort();
    ids
}

fn sorted(mut ids: Vec<EnvelopeId>) -> Vec<EnvelopeId> {
    ids.sort();
    ids
}

/// [STO-10]
#[test]
fn what_the_disk_damaged_is_forgotten_and_everything_else_is_read_and_swept() {
    let damaged = [3, 4, 9];
    let store = store_with_damage(&damaged);
    assert_eq!(sorted(swept(&store)), all_but(&damaged));
    assert_eq!(sorted(page(&store)), all_but(&damaged));
    let ids = damaged.map(|number| letter(number).envelope.id());
    let have = store.ask(StoreOp::Have { ids: ids.to_vec() });
    assert_eq!(have, StoreDone::Have(Vec::new()));
    let usage = usage(&store);
    assert_eq!((usage.envelopes, usage.damaged), (9, 3));
    let whole = (0..LETTERS).filter(|number| !damaged.contains(number));
    let bytes = whole.map(|number| letter(number).envelope.bytes().len() as u64);
    assert_eq!(usage.bytes, bytes.sum::<u64>());
}

/// [STO-10] It is taken again like any other, and is there after the next start.
#[test]
fn a_damaged_letter_is_taken_again() {
    let store = store_with_damage(&[5]);
    let again = store.ask(put(1, letter(5), ENDS));
    assert!(
        matches!(again, StoreDone::Kept { fresh: true, .. }),
        "{again:?}"
    );
    assert_eq!(sorted(page(&store)), all_but(&[]));
    let id = letter(5).envelope.id();
    let StoreDone::Row(Some(stored)) = store.ask(StoreOp::Read { id }) else {
        panic!("it is not there");
    };
    assert_eq!(stored.row, letter(5));
    assert_eq!(usage(&store).damaged, 1);
}

/// [STO-10] Its owner can delete it all the same, and it does not come back.
#[test]
fn a_damaged_letter_is_deleted() {
    let store = store_with_damage(&[5]);
    let deleted = store.ask(delete(1, &letter(5), ENDS));
    assert_eq!(deleted, StoreDone::Deleted { existed: false });
    let again = store.ask(put(1, letter(5), ENDS));
    assert!(!is_kept(&again), "{again:?}");
    assert_eq!(sorted(page(&store)), all_but(&[5]));
}

/// [STO-10] Reading a letter that is damaged finds nothing, also when others have to be written first.
#[test]
fn a_damaged_letter_is_not_read() {
    let store = store_with_damage(&[0, 11]);
    for number in [0, 11] {
        let id = letter(number).envelope.id();
        assert_eq!(store.ask(StoreOp::Read { id }), StoreDone::Row(None));
    }
    assert_eq!(usage(&store).envelopes, 10);
    assert_eq!(letter(0).epoch(), Epoch(0));
}

/// [STO-11] Bits change anywhere in the file, in its structure too: the store opens or says that it cannot, each operation is
/// answered, what it says it keeps it reads back, and when it can keep nothing any more it says that.
#[test]
fn a_store_damaged_anywhere_keeps_what_it_says_or_tells_that_it_cannot() {
    let letter = |number: u32| (1 + (number % 7) as u8, ENDS + number);
    let letters = |number: u32| row(letter(number).0, number, 20 + number);
    let disk = LoggedDisk::made();
    let store = disk.store(config());
    for number in 0..MANY {
        let (owner, ends) = letter(number);
        assert!(is_kept(&store.ask(put(owner, letters(number), ends))));
    }
    store.close().unwrap();
    let content = disk.flushed_only();
    let mut random = Random(5);
    let (mut unopened, mut ruined, mut served) = (0, 0, 0);
    for _ in 0..WORLDS {
        let mut content = content.clone();
        for _ in 0..FLIPS {
            let at = random.below(content.len() as u64) as usize;
            content[at] ^= 1 << random.below(8);
        }
        let config = config();
        let ruin = config.ruin.clone();
        let Ok(store) = Store::open_on(LoggedDisk::starting(content), config) else {
            unopened += 1;
            continue;
        };
        let mut failed = 0;
        for number in 0..MANY {
            let (owner, ends) = letter(number);
            let row = letters(number);
            let id = row.envelope.id();
            let kept = is_kept(&store.ask(put(owner, row.clone(), ends)));
            match store.ask(StoreOp::Read { id }) {
                StoreDone::Row(Some(read)) => assert_eq!(read.row.envelope, row.envelope),
                StoreDone::Failed => failed += 1,
                other => assert!(!kept, "letter {number}: {other:?}"),
            }
        }
        if ruin.is_cancelled() {
            ruined += 1;
        } else {
            served += 1;
            assert!(failed < MANY, "nothing is read, and nobody is told");
        }
    }
    println!("of {WORLDS}: {unopened} not opened, {ruined} ruined, {served} served");
    assert!(unopened > 0 && ruined > 0 && served > WORLDS / 2);
}

const MANY: u32 = 60;
const WORLDS: u32 = 120;
const FLIPS: u32 = 8;
