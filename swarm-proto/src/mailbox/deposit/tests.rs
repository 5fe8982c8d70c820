//! What a depositor is promised, and what it is told when that cannot be kept.

use super::*;
use crate::effects::PeerChange;
use crate::rig::{Owner, Rig, owner};
use crate::store::MemStore;
use crate::time::Tick;
use crate::wire::verify::Verified;

/// Relays, a mailbox, a letter for it, and the relays around its cell, best rank first.
fn scene(count: u8) -> (Rig, Owner, Deposit, Vec<usize>) {
    let rig = Rig::new(count);
    let ada = owner(1, 0);
    let letter = rig.letter(&ada, 1);
    let ranked = rig.ranked(&rig.promise(&letter));
    (rig, ada, letter, ranked)
}

fn put(rig: &mut Rig, at: usize, letter: &Deposit) -> StreamId {
    rig.ask(at, Message::Deposit(letter.clone()))
}

fn receipts(rig: &Rig, stream: StreamId) -> Option<usize> {
    match rig.answer(stream)? {
        Message::Deposited(deposited) => Some(deposited.receipts.len()),
        other => panic!("not deposited: {other:?}"),
    }
}

fn refusal(rig: &Rig, stream: StreamId) -> Refusal {
    match rig.answer(stream) {
        Some(Message::Refusal(refusal)) => *refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// [DEP-1], [DEP-2], [RCP-1]: no disk of a sibling, and not the own one either, may be left out.
#[test]
fn a_deposit_is_answered_with_w_receipts_one_of_them_its_first_holders() {
    let (mut rig, _, letter, ranked) = scene(10);
    let id = letter.envelope.id();
    for at in &ranked[..5] {
        rig.nodes[*at].disk_stands = true;
    }
    let stream = put(&mut rig, ranked[0], &letter);
    assert!(rig.answer(stream).is_none());
    for at in &ranked[1..4] {
        rig.disk_goes_on(*at);
        assert!(rig.holds(*at, id));
    }
    assert!(rig.answer(stream).is_none(), "the own copy is not durable");
    rig.disk_goes_on(ranked[0]);
    assert!(receipts(&rig, stream) >= Some(3));
    let Some(Message::Deposited(deposited)) = rig.answer(stream).cloned() else {
        panic!()
    };
    let promise = rig.promise(&letter);
    for receipt in &deposited.receipts {
        assert!(receipt.binds(&promise, &rig.network.id(), &rig.crypto));
        let signer = rig.index(&receipt.holder.node_id());
        assert!(rig.holds(signer, id));
    }
}

/// [RCP-1]
#[test]
fn nobody_signs_before_the_row_is_durable() {
    let (mut rig, _, letter, ranked) = scene(10);
    for at in &ranked[..5] {
        rig.nodes[*at].disk_stands = true;
    }
    put(&mut rig, ranked[0], &letter);
    let copied = |rig: &Rig| {
        let is = |(_, _, message): &&(usize, usize, Message)| matches!(message, Message::Copied(_));
        rig.sent.iter().filter(is).count()
    };
    assert_eq!(copied(&rig), 0);
    rig.disk_goes_on(ranked[1]);
    assert_eq!(copied(&rig), 1);
}

/// [DEP-3]
#[test]
fn a_depositor_is_told_honestly_how_far_it_got_after_five_seconds() {
    let (mut rig, _, letter, ranked) = scene(10);
    for at in &ranked[1..] {
        rig.nodes[*at].up = false;
    }
    let stream = put(&mut rig, ranked[0], &letter);
    rig.advance(Duration::from_millis(4_999));
    assert!(rig.answer(stream).is_none());
    rig.advance(Duration::from_millis(2));
    assert_eq!(receipts(&rig, stream), Some(1));
    assert_eq!(rig.nodes[ranked[0]].relay.unfinished_copies(), 1);
}

/// [DEP-3]: fewer than W without the own copy promise nothing.
#[test]
fn a_holder_whose_disk_stands_answers_busy_and_promises_nothing() {
    let (mut rig, _, letter, ranked) = scene(10);
    for at in &ranked[2..] {
        rig.nodes[*at].up = false;
    }
    rig.nodes[ranked[0]].disk_stands = true;
    let stream = put(&mut rig, ranked[0], &letter);
    rig.advance(Duration::from_secs(6));
    assert!(matches!(refusal(&rig, stream), Refusal::TooBusy { .. }));
    rig.disk_goes_on(ranked[0]);
    assert!(rig.holds(ranked[0], letter.envelope.id()));
}

/// [DEP-4]
#[test]
fn a_deposit_made_twice_is_one_envelope_with_one_arrival() {
    let (mut rig, ada, letter, ranked) = scene(10);
    let first = put(&mut rig, ranked[0], &letter);
    rig.advance(Duration::from_secs(1_200));
    let second = put(&mut rig, ranked[1], &letter);
    let arrival = |stream| match rig.answer(stream) {
        Some(Message::Deposited(deposited)) => deposited.arrival,
        other => panic!("{other:?}"),
    };
    assert_eq!(arrival(first), arrival(second));
    let fetch = rig.fetch(&ada, ranked[1], crate::store::Cursor::START);
    let page = rig.ask(ranked[1], Message::Fetch(fetch));
    let Some(Message::Page(page)) = rig.answer(page) else {
        panic!()
    };
    assert_eq!((page.count, page.rows.len()), (1, 1));
}

/// [DEP-4]: and only so many wait for one answer.
#[test]
fn everybody_who_deposits_the_same_at_once_is_answered() {
    let (mut rig, _, letter, ranked) = scene(10);
    rig.nodes[ranked[0]].disk_stands = true;
    let streams: Vec<StreamId> = (0..STREAMS_PER_DEPOSIT_MAX)
        .map(|_| put(&mut rig, ranked[0], &letter))
        .collect();
    let one_more = put(&mut rig, ranked[0], &letter);
    assert!(matches!(refusal(&rig, one_more), Refusal::TooBusy { .. }));
    let stays_away = streams[0];
    rig.input(
        ranked[0],
        crate::effects::Input::StreamClosed { stream: stays_away },
    );
    rig.run();
    rig.disk_goes_on(ranked[0]);
    assert!(rig.answer(stays_away).is_none());
    for stream in &streams[1..] {
        assert!(receipts(&rig, *stream) >= Some(3));
    }
}

/// [DEP-5], [PLC-5]
#[test]
fn a_relay_that_is_no_holder_names_the_holders_and_keeps_nothing() {
    let (mut rig, _, letter, ranked) = scene(10);
    let right: Vec<NodeId> = rig.placement(&rig.promise(&letter)).holders().to_vec();
    let wrong = ranked[7];
    let stream = put(&mut rig, wrong, &letter);
    assert_eq!(rig.answer(stream), Some(&Message::Elsewhere(right)));
    assert!(rig.sent.is_empty());
    assert!(!rig.holds(wrong, letter.envelope.id()));
    let stream = put(&mut rig, ranked[6], &letter);
    assert!(receipts(&rig, stream) >= Some(3), "rank R + 2 takes it");
}

/// [ENV-4], [DEP-6]
#[test]
fn an_envelope_out_of_its_time_or_lane_is_refused_before_it_is_kept() {
    let rig = Rig::new(10);
    let (ada, open) = (owner(1, 0), owner(2, MailboxKeys::OPEN_LANE));
    let tick = rig.network.scale.tick_of(rig.now.unix);
    let time = rig.now.unix;
    let cases = [
        (
            rig.letter_of(&ada, 1, tick.plus(4), ExpiryClass::Day),
            Refusal::Clock { time },
        ),
        (
            rig.letter_of(&ada, 2, tick.minus(144), ExpiryClass::Days7),
            Refusal::Expired { time },
        ),
        (
            rig.letter_of(&ada, 3, tick.minus(12), ExpiryClass::Hour),
            Refusal::Expired { time },
        ),
        (
            rig.letter_of(&open, 4, tick, ExpiryClass::Days7),
            Refusal::TooLarge,
        ),
    ];
    let mut rig = rig;
    for (letter, why) in cases {
        let at = rig.ranked(&rig.promise(&letter))[0];
        let stream = put(&mut rig, at, &letter);
        assert_eq!(refusal(&rig, stream), why);
        assert!(!rig.holds(at, letter.envelope.id()));
        assert!(rig.nodes[at].events.contains(&Event::Refused(why)));
    }
    assert!(rig.sent.is_empty());
}

/// [DEP-6]: the owner's word lifts the limit.
#[test]
fn the_longest_stay_needs_the_owners_signature() {
    let mut rig = Rig::new(10);
    let ada = owner(1, 0);
    let letter = rig.long_letter(&ada, 1);
    let at = rig.ranked(&rig.promise(&letter))[0];
    let stream = put(&mut rig, at, &letter);
    assert!(receipts(&rig, stream) >= Some(3));
}

/// A stranger's signature does not pass the door.
#[test]
fn a_deposit_without_the_write_key_is_refused() {
    let (mut rig, _, mut letter, ranked) = scene(10);
    letter.write_signature.0[0] ^= 1;
    let stream = put(&mut rig, ranked[0], &letter);
    assert_eq!(refusal(&rig, stream), Refusal::NoCapability);
}

/// [DEP-7]
#[test]
fn a_full_mailbox_a_full_lane_and_a_full_disk_are_told_apart() {
    let mut rig = Rig::new(10);
    let open = owner(2, MailboxKeys::OPEN_LANE);
    for number in 0..=limits::OPEN_LANE_ENVELOPES_MAX {
        let letter = rig.letter(&open, number);
        let at = rig.ranked(&rig.promise(&letter))[0];
        let stream = put(&mut rig, at, &letter);
        if number < limits::OPEN_LANE_ENVELOPES_MAX {
            assert!(receipts(&rig, stream) >= Some(3), "letter {number}");
        } else {
            assert_eq!(refusal(&rig, stream), Refusal::OpenLaneFull);
            assert!(!rig.holds(at, letter.envelope.id()));
        }
    }
    let letter = rig.letter(&owner(3, 0), 1);
    let at = rig.ranked(&rig.promise(&letter))[0];
    rig.nodes[at].store = MemStore::with_budget(1);
    let stream = put(&mut rig, at, &letter);
    assert_eq!(refusal(&rig, stream), Refusal::DiskFull);
}

/// [DEP-7]
#[test]
fn a_mailbox_has_room_for_its_quota_at_the_first_holder_and_for_twice_that_at_a_sibling() {
    let keys = owner(1, 0).keys;
    let (first, replica) = (Quota::of(&keys), Quota::of_replica(&keys));
    assert_eq!(first.envelopes, limits::MAILBOX_ENVELOPES_MAX);
    assert_eq!(first.bytes, limits::MAILBOX_BYTES_MAX);
    assert_eq!(replica.envelopes, 2 * first.envelopes);
    assert_eq!(replica.bytes, 2 * first.bytes);
}

/// [DEP-1], [DEP-8]: their receipts go along, but do not stand in for those of holders.
#[test]
fn spares_are_asked_when_holders_are_silent_and_end_no_waiting() {
    let (mut rig, _, letter, ranked) = scene(10);
    for at in &ranked[2..5] {
        rig.nodes[*at].up = false;
    }
    let stream = put(&mut rig, ranked[0], &letter);
    rig.advance(SPARES_AFTER);
    assert!(rig.holds(ranked[5], letter.envelope.id()));
    assert!(rig.holds(ranked[6], letter.envelope.id()));
    assert!(rig.answer(stream).is_none(), "two holders have signed");
    rig.advance(limits::RECEIPTS_WAIT - SPARES_AFTER);
    assert_eq!(receipts(&rig, stream), Some(4));
}

/// [DEP-1]: a spare that takes a deposit does not count itself, but says what it has signed.
#[test]
fn a_spare_answers_when_w_holders_have_signed_beside_it() {
    let (mut rig, _, letter, ranked) = scene(10);
    for at in &ranked[..3] {
        rig.nodes[*at].disk_stands = true;
    }
    let stream = put(&mut rig, ranked[5], &letter);
    assert!(rig.answer(stream).is_none(), "two holders and a spare");
    rig.disk_goes_on(ranked[0]);
    assert_eq!(receipts(&rig, stream), Some(4));
}

/// [DEP-8]: who declined for good is not asked again.
#[test]
fn a_holder_that_declined_for_good_is_left_alone() {
    let (mut rig, _, letter, ranked) = scene(10);
    let promise = rig.promise(&letter);
    for at in &ranked[1..7] {
        rig.nodes[*at].up = false;
    }
    put(&mut rig, ranked[0], &letter);
    let copied = Copied {
        arrival: Tick(0),
        promise,
        outcome: Err(Refusal::MailboxFull),
    };
    for at in &ranked[1..5] {
        rig.deliver(*at, ranked[0], Message::Copied(copied.clone()));
    }
    rig.run();
    rig.sent.clear();
    rig.advance(Duration::from_secs(120));
    let again = rig.sent.iter().filter(|(_, to, message)| {
        matches!(message, Message::Copy(_)) && ranked[1..5].contains(to)
    });
    assert_eq!(again.count(), 0);
    assert_eq!(rig.nodes[ranked[0]].relay.unfinished_copies(), 0);
}

/// [DEP-1], [PLC-5]: a sybil's receipt is worth nothing, however well it is signed.
#[test]
fn receipts_of_relays_that_do_not_hold_the_cell_do_not_count() {
    let (mut rig, _, letter, ranked) = scene(12);
    let promise = rig.promise(&letter);
    for at in &ranked[1..] {
        rig.nodes[*at].up = false;
    }
    let stream = put(&mut rig, ranked[0], &letter);
    let strangers: Vec<usize> = (0..12).filter(|at| !ranked.contains(at)).collect();
    assert!(strangers.len() >= 3);
    let time = rig.network.scale.tick_of(rig.now.unix);
    for at in strangers {
        let bytes = promise.statement(&rig.network.id(), time);
        let signature = crate::crypto::Crypto::sign(&rig.crypto, &rig.nodes[at].secret, &bytes);
        let receipt = Receipt {
            holder: rig.nodes[at].key,
            time,
            signature,
        };
        let copied = Copied {
            arrival: time,
            promise,
            outcome: Ok(receipt),
        };
        rig.deliver(at, ranked[0], Message::Copied(copied));
    }
    rig.run();
    assert!(rig.answer(stream).is_none());
    rig.advance(Duration::from_secs(6));
    assert_eq!(receipts(&rig, stream), Some(1));
}

/// [EVD-4]: nobody could be held to it, so its signer has not signed at all.
#[test]
fn a_receipt_dated_ahead_counts_for_nothing() {
    let (mut rig, _, letter, ranked) = scene(12);
    let promise = rig.promise(&letter);
    for at in &ranked[1..] {
        rig.nodes[*at].up = false;
    }
    let stream = put(&mut rig, ranked[0], &letter);
    let tick = rig.network.scale.tick_of(rig.now.unix);
    for (at, ahead) in [(ranked[1], 4), (ranked[2], 3)] {
        let time = tick.plus(ahead);
        let bytes = promise.statement(&rig.network.id(), time);
        let signature = crate::crypto::Crypto::sign(&rig.crypto, &rig.nodes[at].secret, &bytes);
        let receipt = Receipt {
            holder: rig.nodes[at].key,
            time,
            signature,
        };
        let copied = Copied {
            arrival: tick,
            promise,
            outcome: Ok(receipt),
        };
        rig.deliver(at, ranked[0], Message::Copied(copied));
    }
    rig.run();
    rig.advance(Duration::from_secs(6));
    assert_eq!(receipts(&rig, stream), Some(2), "its own and one other");
}

/// [CPY-4]
#[test]
fn unfinished_copies_are_tried_again_with_growing_pauses_until_all_have_them() {
    let (mut rig, _, letter, ranked) = scene(10);
    let id = letter.envelope.id();
    rig.cut.insert((ranked[0], ranked[4]));
    let stream = put(&mut rig, ranked[0], &letter);
    assert!(receipts(&rig, stream) >= Some(3));
    rig.sent.clear();
    rig.advance(Duration::from_secs(600));
    let tries = rig.sent.iter().filter(|(from, to, message)| {
        (*from, *to) == (ranked[0], ranked[4]) && matches!(message, Message::Copy(_))
    });
    let tries = tries.count();
    assert!((10..30).contains(&tries), "{tries} tries in ten minutes");
    rig.cut.clear();
    rig.advance(limits::COPY_RETRY_MAX);
    assert!(rig.holds(ranked[4], id));
    assert_eq!(rig.nodes[ranked[0]].relay.unfinished_copies(), 0);
    let done = Event::Completed { id };
    assert!(rig.nodes[ranked[0]].events.contains(&done));
}

/// [CPY-4]
#[test]
fn a_relay_that_comes_back_gets_at_once_what_it_missed() {
    let (mut rig, _, letter, ranked) = scene(10);
    let (first, last) = (ranked[0], ranked[4]);
    rig.advance(Duration::ZERO);
    rig.nodes[last].up = false;
    rig.peer(first, last, PeerChange::Gone);
    put(&mut rig, first, &letter);
    rig.advance(Duration::from_secs(200));
    rig.sent.clear();
    rig.advance(Duration::from_secs(130));
    let tries = rig.sent.iter().filter(|(_, to, _)| *to == last).count();
    assert_eq!(tries, 0, "nobody is written to who cannot be reached");
    rig.nodes[last].up = true;
    rig.peer(first, last, PeerChange::Seen);
    rig.advance(Duration::ZERO);
    assert!(rig.holds(last, letter.envelope.id()));
}

/// [CPY-4]
#[test]
fn copies_are_given_up_when_the_envelope_expires_or_was_deleted() {
    let mut rig = Rig::new(10);
    let ada = owner(1, 0);
    let made = rig.network.scale.tick_of(rig.now.unix);
    let short = rig.letter_of(&ada, 1, made, ExpiryClass::Hour);
    let long = rig.letter_of(&ada, 2, made, ExpiryClass::Days3);
    let ranked = rig.ranked(&rig.promise(&short));
    rig.nodes[ranked[4]].up = false;
    put(&mut rig, ranked[0], &short);
    put(&mut rig, ranked[0], &long);
    assert_eq!(rig.nodes[ranked[0]].relay.unfinished_copies(), 2);
    rig.advance(Duration::from_secs(7_300));
    assert_eq!(rig.nodes[ranked[0]].relay.unfinished_copies(), 1);
    let erase = rig.erase(&ada, &long);
    rig.ask(ranked[0], Message::Delete(erase));
    rig.advance(Duration::from_secs(130));
    assert_eq!(rig.nodes[ranked[0]].relay.unfinished_copies(), 0);
    assert!(!rig.holds(ranked[4], long.envelope.id()));
}

/// [CPY-4]: a second deposit of what is still unfinished neither loses nor doubles it.
#[test]
fn a_deposit_of_an_unfinished_envelope_ends_with_nothing_left_over() {
    let (mut rig, _, letter, ranked) = scene(10);
    rig.nodes[ranked[4]].up = false;
    put(&mut rig, ranked[0], &letter);
    assert_eq!(rig.nodes[ranked[0]].relay.unfinished_copies(), 1);
    for at in &ranked[..4] {
        rig.nodes[*at].disk_stands = true;
    }
    rig.nodes[ranked[4]].up = true;
    let stream = put(&mut rig, ranked[0], &letter);
    for at in [1, 2, 3, 0] {
        rig.disk_goes_on(ranked[at]);
    }
    assert!(receipts(&rig, stream) >= Some(3));
    rig.advance(Duration::from_secs(300));
    assert_eq!(rig.nodes[ranked[0]].relay.unfinished_copies(), 0);
    let due = rig.nodes[ranked[0]].relay.deadline();
    assert!(due.is_some_and(|(_, why)| why != crate::relay::Why::Deposit));
}

/// [PAGE-1], [ROW-1]: what is copied is the row itself: arrival, signatures, envelope, keys and end.
#[test]
fn every_field_of_a_row_survives_replication_and_a_retry_later() {
    let mut rig = Rig::new(10);
    let ada = owner(1, 0);
    for letter in [rig.letter(&ada, 1), rig.long_letter(&ada, 2)] {
        copied_whole(&mut rig, &letter);
    }
}

fn copied_whole(rig: &mut Rig, letter: &Deposit) {
    let ranked = rig.ranked(&rig.promise(letter));
    let arrival = rig.network.scale.tick_of(rig.now.unix);
    rig.nodes[ranked[4]].up = false;
    put(rig, ranked[0], letter);
    rig.advance(Duration::from_secs(1_200));
    rig.nodes[ranked[4]].up = true;
    rig.advance(Duration::from_secs(120));
    let id = letter.envelope.id();
    let read = |rig: &mut Rig, at: usize| match rig.nodes[at].store.apply(StoreOp::Read { id }) {
        StoreDone::Row(Some(stored)) => stored,
        other => panic!("{other:?}"),
    };
    let first = read(rig, ranked[0]);
    assert_eq!(first.keys, letter.keys);
    assert_eq!(first.row.write_signature, letter.write_signature);
    assert_eq!(first.row.long_stay, letter.long_stay);
    assert_eq!(first.row.envelope, letter.envelope);
    assert_eq!(first.expires, rig.promise(letter).expires);
    assert_eq!(first.row.arrival, arrival);
    for at in &ranked[1..5] {
        assert_eq!(read(rig, *at), first);
    }
}

/// [DEP-9]
#[test]
fn a_relay_with_all_the_deposits_it_can_bear_says_busy() {
    let mut rig = Rig::new(3);
    let ada = owner(1, 0);
    let node = &mut rig.nodes[0];
    node.disk_stands = true;
    let mut deposits = Deposits::default();
    let mut out = Effects::default();
    let now = rig.now;
    let view = rig.view_of(0);
    let mut refused = 0;
    for number in 0..=u32::try_from(limits::DEPOSITS_UNDER_WAY_MAX).unwrap() {
        let letter = rig.letter(&ada, number);
        deposits.deposit(&view, now, StreamId(u64::from(number)), letter, &mut out);
        let is = |effect: &crate::effects::Effect| {
            matches!(effect, crate::effects::Effect::Answer { .. })
        };
        refused += out.drain().filter(is).count();
    }
    assert_eq!(
        (deposits.under_way.len(), refused),
        (limits::DEPOSITS_UNDER_WAY_MAX, 1)
    );
    assert!(deposits.under_way_bytes <= limits::DEPOSITS_UNDER_WAY_BYTES_MAX);
    for id in deposits.under_way.keys().copied().collect::<Vec<_>>() {
        deposits.stored(&view, now, id, StoreDone::Failed, &mut out);
        out.drain().for_each(drop);
    }
    assert_eq!((deposits.under_way_bytes, deposits.deadlines.len()), (0, 0));
    deposits.under_way_bytes = limits::DEPOSITS_UNDER_WAY_BYTES_MAX;
    deposits.deposit(&view, now, StreamId(1), rig.letter(&ada, 0), &mut out);
    assert!(deposits.under_way.is_empty());
}

/// [CPY-5]
#[test]
fn copies_beyond_the_bound_are_left_to_repair_and_reported() {
    let rig = Rig::new(5);
    let ada = owner(1, 0);
    let (view, now) = (rig.view_of(0), rig.now);
    let mut deposits = Deposits::default();
    for number in 0..limits::COPIES_UNFINISHED_MAX {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let promise = Promise {
            id: EnvelopeId(id),
            ..rig.promise(&rig.letter(&ada, 0))
        };
        let unfinished = Unfinished {
            promise,
            missing: Vec::new(),
            pause: Duration::ZERO,
            wakes: Instant(u64::MAX),
        };
        deposits.unfinished.insert(promise.id, unfinished);
    }
    let letter = rig.letter(&ada, 1);
    let id = letter.envelope.id();
    let mut out = Effects::default();
    deposits.deposit(&view, now, StreamId(1), letter, &mut out);
    let later = Now {
        mono: now.mono.plus(limits::RECEIPTS_WAIT),
        unix: now.unix,
    };
    deposits.stored(&view, now, id, kept(&view, now), &mut out);
    let receipt = Receipt {
        holder: view.key,
        time: Tick(0),
        signature: crate::crypto::Signature([0; 64]),
    };
    deposits.receipt(&view, now, id, receipt, &mut out);
    deposits.wake(&view, later, &mut out);
    deposits.wake(&view, later, &mut out);
    let abandoned = crate::effects::Effect::Report(Event::CopiesAbandoned { id });
    assert!(out.drain().any(|effect| effect == abandoned));
    assert_eq!(deposits.unfinished.len(), limits::COPIES_UNFINISHED_MAX);
}

fn kept(context: &Context, now: Now) -> StoreDone {
    StoreDone::Kept {
        fresh: true,
        arrival: context.network.scale.tick_of(now.unix),
    }
}

/// A machine is told verified messages only; the type has no other maker outside of tests.
#[test]
fn the_door_hands_the_message_on_as_it_is() {
    let (rig, _, letter, _) = scene(3);
    let judge = crate::wire::verify::Judge {
        crypto: &rig.crypto,
        network: rig.network.id(),
        me: rig.nodes[0].key.node_id(),
    };
    let via = crate::wire::verify::Via::Onion {
        reply_key_hash: [1; 32],
    };
    let verified: Verified = judge.admit(Message::Deposit(letter.clone()), via).unwrap();
    assert_eq!(verified.message, Message::Deposit(letter));
    assert_eq!(verified.reply_key_hash, [1; 32]);
}
