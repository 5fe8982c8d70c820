//! The ledger against the design's own figures.

use super::*;
use crate::time::UnixTime;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

const RANGE: usize = 256;

/// A relay that was found whole for long.
fn good() -> Score {
    let mut score = Score::new();
    (0..400).for_each(|_| score.add(RANGE, 0, Tick(1)));
    score
}

/// Sweeps until `ends`, if each envelope is lost with this probability in a million.
fn sweeps_until(
    seed: u64,
    per_million: u64,
    most: u32,
    ends: impl Fn(&Score) -> bool,
) -> Option<u32> {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let mut score = good();
    (1..=most).find(|_| {
        let lost = (0..RANGE).filter(|_| rng.next_u64() % 1_000_000 < per_million);
        score.add(RANGE, lost.count(), Tick(1));
        ends(&score)
    })
}

fn median(mut numbers: alloc::vec::Vec<u32>) -> u32 {
    numbers.sort_unstable();
    numbers[numbers.len() / 2]
}

/// [SWP-6]: nine sweeps at 5 % loss, five at 10 %, one sweep or 30 % off.
#[test]
fn a_relay_that_loses_some_is_noticed_as_soon_as_the_sums_say() {
    for (per_million, expected) in [(50_000, 9), (100_000, 4)] {
        let sweeps = (0..200).map(|seed| {
            sweeps_until(seed, per_million, 100, Score::is_failed).expect("never noticed")
        });
        let median = median(sweeps.collect());
        let off = (expected * 3 / 10).max(1);
        assert!(median.abs_diff(expected) <= off, "{per_million}: {median}");
    }
    let line = |score: &Score| score.share() < 0.95;
    let sweeps = (0..200).map(|seed| sweeps_until(seed, 10_000, 100, line).expect("never noticed"));
    let median = median(sweeps.collect());
    assert!(median.abs_diff(13) <= 4, "{median}");
}

/// [SWP-6]
#[test]
fn a_bad_sector_now_and_then_suspends_nobody() {
    for seed in 0..200 {
        assert_eq!(
            sweeps_until(seed, 1_000, 2_000, Score::is_failed),
            None,
            "{seed}"
        );
    }
}

/// [SWP-6]
#[test]
fn a_newcomer_is_not_judged_before_twenty_ranges_and_comes_back_by_keeping() {
    let mut score = Score::new();
    for _ in 1..limits::SWEEPS_BEFORE_JUDGED {
        score.add(RANGE, RANGE, Tick(1));
        assert!(!score.is_failed());
    }
    score.add(RANGE, RANGE, Tick(1));
    assert!(score.is_failed());
    let back = (1..200).find(|_| {
        score.add(RANGE, 0, Tick(2));
        !score.is_failed()
    });
    assert!(back.is_some_and(|sweeps| sweeps > 15), "{back:?}");
    score.add(0, 0, Tick(3));
    assert_eq!(score.at, Tick(2), "an empty range says nothing");
}

fn at(minutes: u64) -> Now {
    Now {
        mono: Instant::default().plus(Duration::from_secs(60 * minutes)),
        unix: UnixTime(60_000 * (1_000_000 + minutes)),
    }
}

const SCALE: TimeScale = TimeScale { minute_ms: 60_000 };
const PEER: NodeId = NodeId([7; 32]);
const PLACE: (Epoch, Cell, NodeId) = (Epoch(3), Cell(9), PEER);
const ID: EnvelopeId = EnvelopeId([5; 32]);

fn tick(minutes: u64) -> Tick {
    SCALE.tick_of(at(minutes).unix)
}

/// [SWP-5]
#[test]
fn only_what_was_agreed_on_after_its_first_hour_was_surely_there() {
    let mut known = Possession::default();
    let had = |known: &Possession, arrival: u64, began: u64| {
        known.had(SCALE, PLACE, ID, tick(arrival), at(began).mono)
    };
    assert!(!had(&known, 0, 500));
    known.agreed(at(100), SCALE, PLACE);
    assert!(had(&known, 20, 500));
    assert!(!had(&known, 60, 500), "it may have come to one side alone");
    assert!(
        !had(&known, 20, 160),
        "it may have come there within the hour"
    );
    // Every hour another one: the older counts until the younger is old enough.
    for minutes in [140, 180, 220] {
        known.agreed(at(minutes), SCALE, PLACE);
        assert!(had(&known, 20, minutes + 60), "{minutes}");
    }
    assert!(!had(&known, 130, 240));
    assert!(had(&known, 110, 260));
    known.late(Epoch(3), Cell(9));
    assert!(!had(&known, 20, 500));
    known.agreed(at(600), SCALE, PLACE);
    assert!(had(&known, 20, 700));
    known.forget_before(Epoch(4), Hour(0));
    assert!(!had(&known, 20, 700));
}

/// [SWP-5]
#[test]
fn a_receipt_counts_until_a_comparison_says_the_same() {
    let mut known = Possession::default();
    let promise = Promise {
        cell: Cell(9),
        epoch: Epoch(3),
        id: EnvelopeId([5; 32]),
        length: 1_856,
        expires: Hour(9),
    };
    known.receipted(at(10), PEER, &promise, &receipt());
    let had =
        |known: &Possession, began: u64| known.had(SCALE, PLACE, ID, tick(10), at(began).mono);
    assert!(
        !had(&known, 79),
        "by its own arrival there it may not be swept yet"
    );
    assert!(had(&known, 80));
    known.agreed(at(50), SCALE, PLACE);
    assert!(
        had(&known, 81),
        "younger than an hour: the comparison says nothing of it"
    );
    known.agreed(at(200), SCALE, PLACE);
    assert!(known.receipts.is_empty());
    assert_eq!(known.signed(PLACE, ID), Some(&receipt()), "[EVD-4]");
    known.forget_before(Epoch(3), Hour(8));
    assert!(known.signed(PLACE, ID).is_some());
    known.forget_before(Epoch(3), Hour(9));
    assert_eq!(known.signed(PLACE, ID), None);
    assert!(had(&known, 272));
    assert!(!had(&known, 100));
}

fn receipt() -> Receipt {
    Receipt {
        holder: crate::id::NodeKey([3; 32]),
        time: Tick(1),
        signature: crate::crypto::Signature([4; 64]),
    }
}

/// [EVD-4]
#[test]
fn receipts_of_the_oldest_epoch_make_room_for_newer_ones() {
    let mut known = Possession::default();
    let promise = |number: u32| {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        Promise {
            cell: Cell(9),
            epoch: Epoch(3 + number / 60_000),
            id: EnvelopeId(id),
            length: 1_856,
            expires: Hour(9),
        }
    };
    for number in 0..70_000 {
        known.receipted(at(10), PEER, &promise(number), &receipt());
    }
    let has = |number| {
        let Promise { epoch, id, .. } = promise(number);
        known.signed((epoch, Cell(9), PEER), id).is_some()
    };
    assert_eq!(known.signed.len(), limits::VOUCHED_MAX);
    assert!(!has(0) && has(59_999) && has(69_999));
}
