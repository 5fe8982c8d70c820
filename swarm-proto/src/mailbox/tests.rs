//! What holders promise beside deposits: copies, reading, deleting, cards, and an end for everything.

use alloc::vec::Vec;
use core::time::Duration;

use crate::effects::{Event, OpId, PeerChange};
use crate::envelope::{ExpiryClass, SizeClass};
use crate::id::EnvelopeId;
use crate::limits;
use crate::relay::Why;
use crate::rig::{Owner, Rig, owner};
use crate::store::{Cursor, MailboxKeys, MemStore, NotKept, Page, Row, StoreDone, StoreOp};
use crate::time::{Hour, Now, Tick};
use crate::wire::Message;
use crate::wire::copies::{Copied, Copy, CopyAge};
use crate::wire::mailbox::Deposit;
use crate::wire::refusal::Refusal;

fn copy_of(letter: &Deposit, arrival: Tick, age: CopyAge) -> Copy {
    Copy {
        age,
        keys: letter.keys,
        row: Row {
            write_signature: letter.write_signature,
            arrival,
            envelope: letter.envelope.clone(),
            long_stay: letter.long_stay,
        },
    }
}

/// What `to` makes of a copy from `from`.
fn copied(rig: &mut Rig, from: usize, to: usize, copy: Copy) -> Copied {
    rig.sent.clear();
    rig.deliver(from, to, Message::Copy(copy));
    rig.run();
    match rig.sent.as_slice() {
        [(by, back, Message::Copied(copied))] if (*by, *back) == (to, from) => copied.clone(),
        other => panic!("{other:?}"),
    }
}

fn refusal(rig: &Rig, stream: crate::effects::StreamId) -> Refusal {
    match rig.answer(stream) {
        Some(Message::Refusal(refusal)) => *refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn read(rig: &mut Rig, owner: &Owner, at: usize, after: Cursor) -> Page {
    let fetch = rig.fetch(owner, at, after);
    let stream = rig.ask(at, Message::Fetch(fetch));
    match rig.answer(stream) {
        Some(Message::Page(page)) => page.clone(),
        other => panic!("no page: {other:?}"),
    }
}

/// [CPY-1], [PLC-5]
#[test]
fn copies_are_taken_up_to_rank_r_plus_2_and_declined_beyond() {
    let mut rig = Rig::new(10);
    let letter = rig.letter(&owner(1, 0), 1);
    let arrival = letter.envelope.header().made;
    let ranked = rig.ranked(&rig.promise(&letter));
    for (rank, at) in ranked.iter().enumerate().skip(1) {
        let copy = copy_of(&letter, arrival, CopyAge::First);
        let done = copied(&mut rig, ranked[0], *at, copy);
        assert_eq!(done.promise, rig.promise(&letter));
        assert_eq!(rig.holds(*at, letter.envelope.id()), rank < 7);
        match done.outcome {
            Ok(receipt) => {
                assert!(rank < 7);
                assert!(receipt.binds(&done.promise, &rig.network.id(), &rig.crypto));
            }
            Err(refusal) => {
                assert!(rank >= 7);
                assert_eq!(refusal, Refusal::WrongHolder);
            }
        }
    }
}

/// [CPY-2]
#[test]
fn a_copy_whose_arrival_no_first_holder_can_have_seen_is_declined() {
    let mut rig = Rig::new(10);
    let ada = owner(1, 0);
    let today = rig.network.scale.tick_of(rig.now.unix);
    let letter = rig.letter(&ada, 1);
    let ranked = rig.ranked(&rig.promise(&letter));
    let time = rig.now.unix;
    let clock = Err(Refusal::Clock { time });
    let cases = [
        (today.plus(4), CopyAge::First),
        (today.minus(4), CopyAge::First),
        (today.plus(4), CopyAge::Later),
        (today.minus(4), CopyAge::Later),
        (Tick(0), CopyAge::Later),
    ];
    for (arrival, age) in cases {
        let copy = copy_of(&letter, arrival, age);
        let done = copied(&mut rig, ranked[0], ranked[1], copy);
        assert_eq!(done.outcome.map(|_| ()), clock, "{arrival:?} {age:?}");
    }
    let copy = copy_of(&letter, today.minus(2), CopyAge::Later);
    assert!(copied(&mut rig, ranked[0], ranked[1], copy).outcome.is_ok());
    let early = rig.letter_of(&ada, 2, today.plus(60), ExpiryClass::Day);
    let ranked = rig.ranked(&rig.promise(&early));
    let copy = copy_of(&early, today, CopyAge::Later);
    let done = copied(&mut rig, ranked[0], ranked[1], copy);
    assert_eq!(done.outcome.map(|_| ()), clock, "made ahead of the clock");
}

/// [CPY-3], [DEP-6], [ENV-4]: yesterday's letter may still be copied, but not deposited.
#[test]
fn a_later_copy_is_taken_until_the_envelope_expires() {
    let mut rig = Rig::new(10);
    let ada = owner(1, 0);
    let made = rig.network.scale.tick_of(rig.now.unix).minus(144);
    let old = rig.letter_of(&ada, 1, made, ExpiryClass::Days3);
    let ranked = rig.ranked(&rig.promise(&old));
    let first = copied(
        &mut rig,
        ranked[0],
        ranked[1],
        copy_of(&old, made, CopyAge::First),
    );
    let time = rig.now.unix;
    assert_eq!(first.outcome.map(|_| ()), Err(Refusal::Expired { time }));
    let later = copied(
        &mut rig,
        ranked[0],
        ranked[1],
        copy_of(&old, made, CopyAge::Later),
    );
    assert!(later.outcome.is_ok());
    let gone = rig.letter_of(&ada, 2, made, ExpiryClass::Hour);
    let ranked = rig.ranked(&rig.promise(&gone));
    let later = copied(
        &mut rig,
        ranked[0],
        ranked[1],
        copy_of(&gone, made, CopyAge::Later),
    );
    assert_eq!(later.outcome.map(|_| ()), Err(Refusal::Expired { time }));
    let open = owner(2, MailboxKeys::OPEN_LANE);
    let long = rig.letter_of(&open, 3, made, ExpiryClass::Days7);
    let ranked = rig.ranked(&rig.promise(&long));
    let later = copied(
        &mut rig,
        ranked[0],
        ranked[1],
        copy_of(&long, made, CopyAge::Later),
    );
    assert_eq!(later.outcome.map(|_| ()), Err(Refusal::TooLarge));
}

/// [CPY-3]
#[test]
fn a_sibling_that_cannot_keep_a_copy_says_why_and_signs_nothing() {
    let mut rig = Rig::new(10);
    let ada = owner(1, 0);
    let letter = rig.letter(&ada, 1);
    let ranked = rig.ranked(&rig.promise(&letter));
    let at = ranked[1];
    let copy = || copy_of(&letter, letter.envelope.header().made, CopyAge::First);
    rig.nodes[at].store = MemStore::with_budget(1);
    let done = copied(&mut rig, ranked[0], at, copy());
    assert_eq!(done.outcome.map(|_| ()), Err(Refusal::DiskFull));
    rig.nodes[at].store = MemStore::new();
    let erase = rig.erase(&ada, &letter);
    rig.deliver(ranked[2], at, Message::Erase(erase));
    rig.run();
    let done = copied(&mut rig, ranked[0], at, copy());
    assert_eq!(done.outcome.map(|_| ()), Err(Refusal::NotFound));
    rig.nodes[at].disk_stands = true;
    rig.sent.clear();
    rig.deliver(ranked[0], at, Message::Copy(copy()));
    rig.run();
    let (op, _) = rig.nodes[at].waiting.remove(0);
    let done = StoreDone::NotKept(NotKept::Busy);
    rig.input(at, crate::effects::Input::Stored { op, done });
    rig.run();
    let (_, _, Message::Copied(done)) = &rig.sent[0] else {
        panic!()
    };
    assert!(matches!(done.outcome, Err(Refusal::TooBusy { .. })));
}

/// [FET-1], [PAGE-1], [FET-2]
#[test]
fn pages_come_in_order_and_one_cursor_serves_at_every_holder() {
    let mut rig = Rig::new(10);
    let ada = owner(1, 0);
    let mut ids = Vec::new();
    for number in 0..45 {
        let letter = rig.letter(&ada, number);
        let ranked = rig.ranked(&rig.promise(&letter));
        ids.push(letter.envelope.id());
        rig.ask(
            ranked[usize::try_from(number).unwrap() % 5],
            Message::Deposit(letter),
        );
        rig.advance(Duration::from_secs(61));
    }
    let ranked = rig.ranked(&rig.promise(&rig.letter(&ada, 0)));
    let whole = |rig: &mut Rig, start: usize| {
        let (mut after, mut rows, mut pages) = (Cursor::START, Vec::new(), 0);
        loop {
            // Each page from another holder.
            let page = read(rig, &ada, ranked[(start + pages) % 5], after);
            assert_eq!(page.count, 45);
            for (arrival, envelope) in page.rows {
                let cursor = Cursor {
                    arrival,
                    id: envelope.id(),
                };
                assert!(cursor > after);
                after = cursor;
                rows.push(cursor);
            }
            pages += 1;
            if !page.more {
                return (rows, pages);
            }
        }
    };
    let (rows, pages) = whole(&mut rig, 0);
    assert_eq!((rows.len(), pages), (45, 3));
    for start in 1..5 {
        assert_eq!(whole(&mut rig, start).0, rows);
    }
    let mut read: Vec<EnvelopeId> = rows.iter().map(|cursor| cursor.id).collect();
    read.sort_unstable();
    ids.sort_unstable();
    assert_eq!(read, ids);
    let one = read_fingerprints(&mut rig, &ada, &ranked[..5]);
    assert!(one.windows(2).all(|pair| pair[0] == pair[1]));
}

fn read_fingerprints(rig: &mut Rig, ada: &Owner, at: &[usize]) -> Vec<[u8; 16]> {
    let of = |at: &usize| read(rig, ada, *at, Cursor::START).fingerprint;
    at.iter().map(of).collect()
}

/// [FET-1]: whatever it holds, of whoever's epoch; what it lacks is an empty page.
#[test]
fn a_relay_serves_a_reader_whether_or_not_it_is_a_holder() {
    let mut rig = Rig::new(10);
    let ada = owner(1, 0);
    let ranked = rig.ranked(&rig.promise(&rig.letter(&ada, 0)));
    assert_eq!(
        read(&mut rig, &ada, ranked[8], Cursor::START),
        Page::default()
    );
}

/// [FET-3], [SIG-2]
#[test]
fn a_request_dated_half_an_hour_off_or_meant_for_another_holder_is_refused() {
    let mut rig = Rig::new(10);
    let ada = owner(1, 0);
    let (fetch, ask) = (rig.fetch(&ada, 0, Cursor::START), rig.card_ask(&ada, 0));
    let elsewhere = rig.ask(1, Message::Fetch(fetch.clone()));
    assert_eq!(refusal(&rig, elsewhere), Refusal::NoCapability);
    let elsewhere = rig.ask(1, Message::CardAsk(ask.clone()));
    assert_eq!(refusal(&rig, elsewhere), Refusal::NoCapability);
    rig.advance(Duration::from_secs(1_801));
    let time = rig.now.unix;
    for late in [Message::Fetch(fetch), Message::CardAsk(ask)] {
        let stream = rig.ask(0, late);
        assert_eq!(refusal(&rig, stream), Refusal::Clock { time });
    }
}

/// [FET-2]: two small envelopes fit a small answer, twenty a large one.
#[test]
fn a_page_fits_the_answer_that_was_asked_for() {
    let mut rig = Rig::new(6);
    let ada = owner(1, 0);
    let ranked = rig.ranked(&rig.promise(&rig.letter(&ada, 0)));
    for number in 0..25 {
        let letter = rig.letter(&ada, number);
        rig.ask(ranked[0], Message::Deposit(letter));
    }
    let page = read(&mut rig, &ada, ranked[0], Cursor::START);
    assert_eq!((page.rows.len(), page.more), (20, true));
    let bytes = Message::Page(page).encode().len();
    assert!(bytes + limits::ANSWER_OVERHEAD_BYTES <= limits::ANSWER_LARGE_BYTES);
    let mut small = rig.fetch(&ada, ranked[0], Cursor::START);
    small.answer = SizeClass::Small;
    let terms = crate::mailbox::statements::FetchTerms {
        ask: crate::mailbox::statements::AskTerms {
            holder: rig.nodes[ranked[0]].key.node_id(),
            reply_key_hash: [5; 32],
            time: small.time,
        },
        after: small.after,
        answer: SizeClass::Small,
    };
    small.signature = rig.statements().fetch(&ada.read, &ada.keys, &terms);
    let stream = rig.ask(ranked[0], Message::Fetch(small));
    let Some(Message::Page(page)) = rig.answer(stream) else {
        panic!()
    };
    assert_eq!((page.rows.len(), page.more), (2, true));
    let bytes = rig.answer(stream).unwrap().encode().len();
    assert!(bytes + limits::ANSWER_OVERHEAD_BYTES <= limits::ANSWER_SMALL_BYTES);
}

/// [DEL-1], [DEL-2]
#[test]
fn a_deletion_spreads_to_the_siblings_and_forbids_the_envelope() {
    let mut rig = Rig::new(10);
    let ada = owner(1, 0);
    let letter = rig.letter(&ada, 1);
    let ranked = rig.ranked(&rig.promise(&letter));
    rig.ask(ranked[0], Message::Deposit(letter.clone()));
    let erase = rig.erase(&ada, &letter);
    let stream = rig.ask(ranked[3], Message::Delete(erase.clone()));
    assert_eq!(rig.answer(stream), Some(&Message::Done { existed: true }));
    for at in &ranked[..5] {
        assert!(!rig.holds(*at, letter.envelope.id()));
    }
    let passed = rig
        .sent
        .iter()
        .filter(|(_, _, m)| matches!(m, Message::Erase(_)));
    assert_eq!(
        passed.count(),
        4,
        "said once to each sibling, and not passed on by them"
    );
    let again = rig.ask(ranked[1], Message::Deposit(letter.clone()));
    assert_eq!(refusal(&rig, again), Refusal::NotFound);
    let twice = rig.ask(ranked[0], Message::Delete(erase));
    assert_eq!(rig.answer(twice), Some(&Message::Done { existed: false }));
}

/// [DEL-2], [DEL-3]
#[test]
fn a_deletion_is_refused_where_it_may_not_be_or_not_here_or_for_ever() {
    let mut rig = Rig::new(10);
    let (ada, group) = (owner(1, 0), owner(2, MailboxKeys::NO_DELETE));
    let letter = rig.letter(&group, 1);
    let at = rig.ranked(&rig.promise(&letter))[0];
    let erase = rig.erase(&group, &letter);
    let stream = rig.ask(at, Message::Delete(erase));
    assert_eq!(refusal(&rig, stream), Refusal::NoCapability);

    let letter = rig.letter(&ada, 1);
    let ranked = rig.ranked(&rig.promise(&letter));
    let erase = rig.erase(&ada, &letter);
    let stream = rig.ask(ranked[7], Message::Delete(erase.clone()));
    assert_eq!(refusal(&rig, stream), Refusal::WrongHolder);
    let time = rig.now.unix;
    let hour = rig.network.scale.hour_of(time);
    let ends = [
        (hour, Refusal::Expired { time }),
        (hour.plus(31 * 24 + 1), Refusal::TooLarge),
    ];
    for (expires, why) in ends {
        let id = letter.envelope.id();
        let mut erase = erase.clone();
        erase.tombstone = rig.statements().delete(&ada.read, &ada.keys, id, expires);
        let stream = rig.ask(ranked[0], Message::Delete(erase));
        assert_eq!(refusal(&rig, stream), why);
    }
    let mut forged = erase;
    forged.tombstone.expires = Hour(forged.tombstone.expires.0 + 1);
    let stream = rig.ask(ranked[0], Message::Delete(forged));
    assert_eq!(refusal(&rig, stream), Refusal::NoCapability);
}

/// [CRD-1], [CRD-2]
#[test]
fn a_card_is_kept_by_all_holders_and_the_highest_sequence_stays() {
    let mut rig = Rig::new(10);
    let ada = owner(1, 0);
    let ranked = rig.ranked(&rig.promise(&rig.letter(&ada, 1)));
    let none = rig.card_ask(&ada, ranked[0]);
    let none = rig.ask(ranked[0], Message::CardAsk(none));
    assert_eq!(refusal(&rig, none), Refusal::NotFound);
    for (sequence, at) in [(3, ranked[0]), (2, ranked[1])] {
        let put = rig.card(&ada, sequence);
        let stream = rig.ask(at, Message::CardPut(put));
        assert_eq!(rig.answer(stream), Some(&Message::Done { existed: true }));
    }
    for at in &ranked[..5] {
        let ask = rig.card_ask(&ada, *at);
        let stream = rig.ask(*at, Message::CardAsk(ask));
        let Some(Message::Card(card)) = rig.answer(stream) else {
            panic!()
        };
        assert_eq!(card, &rig.card(&ada, 3).card);
    }
    let put = rig.card(&ada, 4);
    let stream = rig.ask(ranked[8], Message::CardPut(put));
    assert_eq!(refusal(&rig, stream), Refusal::WrongHolder);
}

/// [EXP-1]
#[test]
fn every_hour_the_store_is_told_once_to_drop_what_has_ended() {
    let mut rig = Rig::new(6);
    let ada = owner(1, 0);
    let made = rig.network.scale.tick_of(rig.now.unix);
    let letter = rig.letter_of(&ada, 1, made, ExpiryClass::Hour);
    let at = rig.ranked(&rig.promise(&letter))[0];
    rig.ask(at, Message::Deposit(letter.clone()));
    assert!(rig.holds(at, letter.envelope.id()));
    rig.advance(Duration::from_secs(3 * 3_600 - 1));
    let hours: Vec<(Hour, u64)> = rig.nodes[at]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Expired { hour, envelopes } => Some((*hour, *envelopes)),
            _ => None,
        })
        .collect();
    let first = rig.promise(&letter).expires.minus(1);
    assert_eq!(hours, [(first, 0), (first.plus(1), 1), (first.plus(2), 0)]);
    assert!(!rig.holds(at, letter.envelope.id()));
}

/// [EXP-2]
#[test]
fn a_store_too_busy_to_drop_an_hour_is_asked_again_and_not_at_once() {
    let mut rig = Rig::new(3);
    rig.nodes[0].disk_stands = true;
    rig.advance(Duration::ZERO);
    // What repair asks at a start is told that nothing is there.
    let is_expiry = |(_, asked): &(OpId, StoreOp)| matches!(asked, StoreOp::Expire { .. });
    let waiting = core::mem::take(&mut rig.nodes[0].waiting);
    let (expiry, asked) = waiting.into_iter().partition(is_expiry);
    rig.nodes[0].waiting = expiry;
    for (op, _) in asked {
        let done = StoreDone::Cells(Vec::new());
        rig.input(0, crate::effects::Input::Stored { op, done });
    }
    rig.run();
    for done in [StoreDone::NotKept(NotKept::Busy), StoreDone::Failed] {
        let (op, _) = rig.nodes[0].waiting.pop().unwrap();
        rig.input(0, crate::effects::Input::Stored { op, done });
        rig.run();
        let (due, why) = rig.nodes[0].relay.deadline().unwrap();
        assert_eq!(why, Why::Expiry);
        let Now { mono, .. } = rig.now;
        assert_eq!(due.since(mono), Duration::from_secs(1));
        assert!(rig.nodes[0].waiting.is_empty());
        rig.advance(Duration::from_secs(1));
    }
    rig.disk_goes_on(0);
    assert!(matches!(
        rig.nodes[0].events.last(),
        Some(Event::Expired { .. })
    ));
}

/// A request that only relays or only correspondents may make does not pass the other's door.
#[test]
fn every_message_comes_in_by_its_own_door_only() {
    use crate::wire::verify::{Judge, Via};
    let rig = Rig::new(3);
    let ada = owner(1, 0);
    let letter = rig.letter(&ada, 1);
    let copy = copy_of(&letter, Tick(1), CopyAge::First);
    let erase = rig.erase(&ada, &letter);
    let judge = Judge {
        crypto: &rig.crypto,
        network: rig.network.id(),
        me: rig.nodes[0].key.node_id(),
    };
    let onion = Via::Onion {
        reply_key_hash: [0; 32],
    };
    let relay = Via::Relay(rig.nodes[1].key);
    let cases = [
        (Message::Deposit(letter), [true, false, false]),
        (Message::Copy(copy), [false, true, false]),
        (Message::Delete(erase.clone()), [true, false, false]),
        (Message::Erase(erase), [false, true, false]),
        (Message::CardPut(rig.card(&ada, 1)), [true, false, false]),
        (Message::CardCopy(rig.card(&ada, 1)), [false, true, false]),
        (
            Message::Want(crate::wire::members::Want {
                with_keys: false,
                items: Vec::new(),
            }),
            [false, true, false],
        ),
        (Message::Done { existed: true }, [false, false, false]),
    ];
    for (message, by) in cases {
        for (via, may) in [onion, relay, Via::Client].into_iter().zip(by) {
            let admitted = judge.admit(message.clone(), via);
            let kind = message.kind();
            let unknown = Err(Refusal::UnknownMessage { kind });
            assert_eq!(admitted.is_ok(), may, "{kind:#06x} {via:?}");
            assert!(may || admitted == unknown);
        }
    }
}

/// A receipt in another's name, or for another envelope, does not pass either ([RCP-2]).
#[test]
fn a_receipt_of_another_relay_or_for_another_promise_does_not_pass_the_door() {
    use crate::crypto::Crypto;
    use crate::wire::verify::{Judge, Via};
    let mut rig = Rig::new(6);
    let ada = owner(1, 0);
    let (letter, other) = (rig.letter(&ada, 1), rig.letter(&ada, 2));
    let ranked = rig.ranked(&rig.promise(&letter));
    let copy = copy_of(&letter, letter.envelope.header().made, CopyAge::First);
    let good = copied(&mut rig, ranked[0], ranked[1], copy);
    let mut bad = good.clone();
    bad.promise = rig.promise(&other);
    let crypto: &dyn Crypto = &rig.crypto;
    let judge = Judge {
        crypto,
        network: rig.network.id(),
        me: rig.nodes[ranked[0]].key.node_id(),
    };
    let via = |at: usize| Via::Relay(rig.nodes[at].key);
    assert!(
        judge
            .admit(Message::Copied(good.clone()), via(ranked[1]))
            .is_ok()
    );
    assert!(judge.admit(Message::Copied(good), via(ranked[2])).is_err());
    assert!(judge.admit(Message::Copied(bad), via(ranked[1])).is_err());
}

/// A relay that was given up is tried again after a round, whether or not it was seen ([GOS-2]).
#[test]
fn nobody_is_given_up_for_good() {
    let mut rig = Rig::new(3);
    rig.advance(Duration::ZERO);
    for other in [1, 2] {
        rig.peer(0, other, PeerChange::Gone);
        rig.nodes[other].up = false;
    }
    rig.sent.clear();
    rig.advance(Duration::from_secs(1_400));
    assert!(rig.sent.iter().any(|(from, _, _)| *from == 0));
}

/// [DEP-6], [CPY-1]: a relay cannot fill holders with mail for 30 days that the mailbox's owner never allowed.
#[test]
fn mail_for_30_days_passes_no_door_without_its_owners_leave() {
    use crate::wire::verify::{Judge, Via};
    let rig = Rig::new(3);
    let (ada, eve) = (owner(1, 0), owner(2, 0));
    let asked_for = rig.long_letter(&ada, 1);
    let id = asked_for.envelope.id();
    let elsewhere = rig.long_letter(&ada, 2).long_stay;
    let cases = [
        (asked_for.long_stay, true),
        (None, false),
        (elsewhere, false),
        (Some(rig.statements().long_stay(&eve.read, &id)), false),
        (Some(rig.statements().long_stay(&ada.write, &id)), false),
    ];
    let judge = Judge {
        crypto: &rig.crypto,
        network: rig.network.id(),
        me: rig.nodes[0].key.node_id(),
    };
    let relay = Via::Relay(rig.nodes[1].key);
    let onion = Via::Onion {
        reply_key_hash: [0; 32],
    };
    for (long_stay, holds) in cases {
        let letter = Deposit {
            long_stay,
            ..asked_for.clone()
        };
        for age in [CopyAge::First, CopyAge::Later] {
            let copy = Message::Copy(copy_of(&letter, letter.envelope.header().made, age));
            assert_eq!(judge.admit(copy, relay).is_ok(), holds);
        }
        let deposit = Message::Deposit(letter);
        assert_eq!(judge.admit(deposit, onion).is_ok(), holds);
    }
    let mut short = rig.letter(&ada, 3);
    let id = short.envelope.id();
    short.long_stay = Some(rig.statements().long_stay(&ada.read, &id));
    let unneeded = judge.admit(Message::Deposit(short), onion);
    assert_eq!(unneeded, Err(Refusal::NoCapability));
}
