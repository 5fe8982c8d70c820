//! The promises of a reconciliation, with another implementation as the judge.

use super::*;
use crate::hash;
use crate::id::hex;
use crate::members::testing::check_vectors;
use alloc::string::String;
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use proptest::prelude::*;

const VECTORS: &str = include_str!("../../../docs/spec/vectors/reconcile.txt");

type Items = BTreeSet<[u8; 32]>;

fn item(number: u32) -> [u8; 32] {
    hash::derive("test item", &[&number.to_be_bytes()])
}

fn items(numbers: impl IntoIterator<Item = u32>) -> Items {
    numbers.into_iter().map(item).collect()
}

/// What an exchange came to.
#[derive(Debug, Default)]
struct Outcome {
    opener: (Items, Items),
    answerer: (Items, Items),
    messages: usize,
    bytes: usize,
}

impl Outcome {
    fn took(side: &mut (Items, Items), step: &Step) {
        for item in &step.have {
            assert!(side.0.insert(*item), "reported twice");
        }
        for item in &step.want {
            assert!(side.1.insert(*item), "reported twice");
        }
    }

    fn sent(&mut self, message: &Bytes, most: usize) {
        assert!(message.len() <= most);
        self.messages += 1;
        self.bytes += message.len();
    }
}

/// Runs an exchange to its end and checks that both sides know the exact difference.
fn exchange(ours: &Items, theirs: &Items, key: [u8; 32]) -> Outcome {
    let mut outcome = Outcome::default();
    let mut opener = Reconciler::opener(ours.iter().copied(), key);
    let opening = opener.open();
    outcome.sent(&opening, 32 + limits::RECONCILE_BYTES_MAX);
    let (mut answerer, mut step) = Reconciler::accept(theirs.iter().copied(), opening).unwrap();
    Outcome::took(&mut outcome.answerer, &step);
    let mut settled = [false, step.settled];
    let mut answerers_turn = false;
    while let Some(message) = step.reply {
        outcome.sent(&message, limits::RECONCILE_BYTES_MAX);
        let (side, reports) = if answerers_turn {
            (&mut answerer, &mut outcome.answerer)
        } else {
            (&mut opener, &mut outcome.opener)
        };
        step = side.answer(message).unwrap();
        Outcome::took(reports, &step);
        settled[usize::from(answerers_turn)] |= step.settled;
        answerers_turn = !answerers_turn;
    }
    assert_eq!(settled, [true, true]);
    let lack: Items = ours.difference(theirs).copied().collect();
    let more: Items = theirs.difference(ours).copied().collect();
    assert_eq!(outcome.opener, (lack.clone(), more.clone()));
    assert_eq!(outcome.answerer, (more, lack));
    outcome
}

/// The same with the other implementation, its items ordered by id as ours are.
fn negentropy(ours: &Items, theirs: &Items) -> Outcome {
    let storage = |items: &Items| {
        let mut storage = NegentropyStorageVector::new();
        for item in items {
            storage.insert(0, Id::from_byte_array(*item)).unwrap();
        }
        storage.seal().unwrap();
        storage
    };
    let mut opener = Negentropy::owned(storage(ours), 32 * 1024).unwrap();
    let mut answerer = Negentropy::owned(storage(theirs), 32 * 1024).unwrap();
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let mut outcome = Outcome::default();
    let mut next = Some(opener.initiate().unwrap());
    while let Some(message) = next {
        let answer = answerer.reconcile(&message).unwrap();
        outcome.messages += 2;
        outcome.bytes += message.len() + answer.len();
        next = opener
            .reconcile_with_ids(&answer, &mut have, &mut need)
            .unwrap();
    }
    let set = |ids: Vec<Id>| ids.iter().map(|id| id.to_bytes()).collect();
    outcome.opener = (set(have), set(need));
    outcome
}

/// [RBR-3], [RBR-4], [RBR-5]
#[test]
fn both_sides_learn_the_exact_difference_as_another_implementation_finds_it() {
    for (both, left, right) in [
        (0_u32, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
        (1, 0, 0),
        (31, 1, 1),
        (32, 1, 1),
        (33, 0, 33),
        (100, 100, 0),
        (2_000, 0, 0),
        (2_000, 1, 0),
        (2_000, 20, 20),
        (2_000, 200, 200),
        (0, 2_000, 0),
        (0, 0, 2_000),
        (0, 1_000, 1_000),
        (10_000, 100, 100),
    ] {
        let ours = items(0..both + left);
        let theirs = items((0..both).chain(both + left..both + left + right));
        let outcome = exchange(&ours, &theirs, [7; 32]);
        let judge = negentropy(&ours, &theirs);
        assert_eq!(outcome.opener, judge.opener);
        // The judge's answering side learns nothing; ours is told each item that it lacks.
        let told = usize::try_from(48 * (left + right)).unwrap();
        assert!(outcome.bytes <= judge.bytes + told + 512);
    }
}

/// [RBR-4]: the usual cases between two member lists.
#[test]
fn traffic_follows_the_difference_and_not_the_sets() {
    let of = |both: u32, each: u32| {
        let theirs = items((0..both).chain(both + each..both + 2 * each));
        exchange(&items(0..both + each), &theirs, [7; 32])
    };
    let (equal, one, some) = (of(2_000, 0), of(2_000, 1), of(2_000, 20));
    assert!(equal.messages <= 2 && equal.bytes <= 64, "{}", equal.bytes);
    assert!(one.messages <= 7 && one.bytes <= 1_500, "{}", one.bytes);
    assert!(some.messages <= 7 && some.bytes <= 10_000, "{}", some.bytes);
    assert!(of(10_000, 20).bytes <= 3 * some.bytes);
}

/// [RBR-7]
#[test]
fn two_full_lists_without_a_common_member_still_come_to_an_end() {
    let number = u32::try_from(limits::MEMBERS_MAX).unwrap();
    let outcome = exchange(&items(0..number), &items(number..2 * number), [7; 32]);
    assert!(outcome.messages <= 2 * limits::RECONCILE_STEPS_MAX);
}

/// [RBR-1]: also where items are anything but evenly spread.
#[test]
fn items_that_share_nearly_all_digits_are_told_apart() {
    let close = |numbers: core::ops::Range<u16>| -> Items {
        let near = |n: u16| {
            let mut item = [0xa5; 32];
            item[30..].copy_from_slice(&n.to_be_bytes());
            item
        };
        numbers.map(near).collect()
    };
    exchange(&close(0..500), &close(100..600), [7; 32]);
    let mut edges = close(0..100);
    edges.extend([[0; 32], [0xff; 32]]);
    exchange(&edges, &close(50..60), [7; 32]);
    exchange(&close(50..60), &edges, [7; 32]);
}

/// [RBR-2]
#[test]
fn messages_are_those_of_the_vectors() {
    let mut opener = Reconciler::opener(items(0..40), [7; 32]);
    let opening = opener.open();
    let (mut answerer, second) = Reconciler::accept(items(1..41), opening.clone()).unwrap();
    let second = second.reply.unwrap();
    let third = opener.answer(second.clone()).unwrap().reply.unwrap();
    let fourth = answerer.answer(third.clone()).unwrap().reply.unwrap();
    let fifth = opener.answer(fourth.clone()).unwrap().reply.unwrap();
    let last = answerer.answer(fifth.clone()).unwrap();
    let names = ["opening", "second", "third", "fourth", "fifth"];
    let lines: Vec<(&str, String)> = names
        .into_iter()
        .zip([opening, second, third, fourth, fifth].map(|message| hex(&message)))
        .collect();
    check_vectors(VECTORS, &lines);
    assert_eq!(
        (last.reply.clone(), last.settled),
        (Some(Bytes::new()), true)
    );
    let end = opener.answer(last.reply.unwrap()).unwrap();
    assert_eq!((end.reply, end.settled), (None, true));
}

/// [RBR-6]
#[test]
fn a_message_that_breaks_the_form_is_a_fault() {
    let side = || Reconciler::opener(items(0..100), [7; 32]);
    let inside = item(3);
    let settle = |items: &[[u8; 32]], lacking: &[u8]| {
        let mut writer = Writer::default();
        writer
            .put(&[0, 2])
            .put(lacking)
            .u8(u8::try_from(items.len()).unwrap());
        for item in items {
            writer.put(item);
        }
        writer.finish()
    };
    let again: &[u8] = &[1, 0x10, 4];
    for (why, message) in [
        ("a kind that is none", alloc::vec![0, 5]),
        ("too many digits", alloc::vec![65]),
        ("half a digit", alloc::vec![1, 0x11, 4]),
        ("a range twice", [again, again].concat()),
        ("a range within another", [&[0, 4], again].concat()),
        ("ranges descending", [again, &[1, 0x00, 4]].concat()),
        ("too many tags", alloc::vec![0, 1, 33]),
        ("bits for tags that were not sent", settle(&[], &[8, 0xff])),
        ("an unused bit", settle(&[], &[1, 0x40])),
        ("an item that we have", settle(&[inside], &[0])),
        ("an item twice", settle(&[[1; 32], [1; 32]], &[0])),
        (
            "an item outside",
            [&[1, 0x10, 3, 1][..], &[0x20; 32]].concat(),
        ),
        ("too long", alloc::vec![0; limits::RECONCILE_BYTES_MAX + 1]),
        ("cut off", alloc::vec![0, 0, 1]),
    ] {
        assert!(side().answer(Bytes::from(message)).is_err(), "{why}");
    }
    assert!(side().answer(Bytes::copy_from_slice(again)).is_ok());
    assert!(Reconciler::accept(items(0..3), Bytes::from_static(&[7; 31])).is_err());
}

/// [RBR-7]
#[test]
fn whoever_asks_forever_or_brings_forever_is_cut_off() {
    let mut side = Reconciler::opener(items(0..3_000), [7; 32]);
    let again = Bytes::from_static(&[0, 4]);
    let replies = (0..500).filter(|_| side.answer(again.clone()).unwrap().reply.is_some());
    assert_eq!(replies.count(), limits::RECONCILE_STEPS_MAX);

    let mut side = Reconciler::opener([], [7; 32]);
    let mut taken = 0;
    let ended = (0..2_000_u16).find_map(|n| {
        let mut message = Writer::default();
        message.u8(0).u8(3).u8(64);
        for low in 0..64_u8 {
            message.u16(n).put(&[low; 30]);
        }
        match side.answer(Bytes::from(message.finish())) {
            Ok(step) => {
                taken += step.want.len();
                None
            }
            Err(fault) => Some(fault),
        }
    });
    assert!(ended.is_some());
    assert!(taken <= limits::RECONCILE_ITEMS_MAX);
}

/// [RBR-6]: whatever comes, no answer is too long and nothing is reported that is not so.
#[test]
fn any_message_is_answered_within_bounds_or_a_fault() {
    let ours = items(0..300);
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut side = Reconciler::opener(ours.iter().copied(), [7; 32]);
        for message in bytes.chunks(64) {
            let Ok(step) = side.answer(Bytes::copy_from_slice(message)) else {
                return;
            };
            let length = step.reply.map_or(0, |reply| reply.len());
            assert!(length <= limits::RECONCILE_BYTES_MAX);
            assert!(step.have.iter().all(|item| ours.contains(item)));
            assert!(!step.want.iter().any(|item| ours.contains(item)));
        }
    });
}

fn any_body() -> impl Strategy<Value = Body> {
    let items = || {
        proptest::collection::btree_set(any::<[u8; 32]>(), 0..6)
            .prop_map(|items| items.into_iter().collect::<Vec<_>>())
    };
    prop_oneof![
        any::<[u8; 16]>().prop_map(Body::Fingerprint),
        proptest::collection::vec(any::<[u8; 8]>(), 0..=32).prop_map(Body::Tags),
        (proptest::collection::vec(any::<bool>(), 0..=32), items())
            .prop_map(|(lacking, items)| Body::Settle { lacking, items }),
        items().prop_map(Body::Items),
        Just(Body::Again),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// [RBR-5]
    #[test]
    fn random_sets_are_told_apart(
        both in 0_u32..1_500, left in 0_u32..300, right in 0_u32..300, key: [u8; 32],
    ) {
        let ours = items(0..both + left);
        let theirs = items((0..both).chain(both + left..both + left + right));
        exchange(&ours, &theirs, key);
    }

    /// [RBR-6]
    #[test]
    fn a_message_comes_back(bodies in proptest::collection::vec(any_body(), 0..16)) {
        let whole = bodies.len() <= 1;
        let spans = if whole {
            alloc::vec![Span::ALL]
        } else {
            Span::ALL.children().collect()
        };
        let ranges: Vec<Range> = spans
            .into_iter()
            .zip(bodies)
            .map(|(span, mut body)| {
                if let Body::Settle { items, .. } | Body::Items(items) = &mut body {
                    items.retain(|item| span.contains(item));
                }
                Range { span, body }
            })
            .collect();
        let mut writer = Writer::default();
        for range in &ranges {
            range.encode(&mut writer);
        }
        let again = Message::decode(Bytes::from(writer.finish())).unwrap();
        prop_assert_eq!(again.ranges, ranges);
    }
}
