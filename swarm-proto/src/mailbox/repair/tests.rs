//! Envelopes, tombstones and cards stay at R relays while relays go, come back and leave.

use super::*;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::effects::{Command, Event, Input, PeerChange};
use crate::id::EnvelopeId;
use crate::rig::{Owner, Rig, owner};
use crate::wire::copies::Scope;
use crate::wire::mailbox::Deposit;

const QUARTER: Duration = Duration::from_secs(15 * 60);
const HOUR: Duration = Duration::from_secs(3_600);

/// Relays that notice who is not there, a mailbox, and letters that all of its holders have.
fn scene(count: u8, letters: u32) -> (Rig, Owner, Vec<Deposit>, Vec<usize>) {
    let mut rig = Rig::new(count);
    rig.misses = true;
    let ada = owner(1, 0);
    let letters: Vec<Deposit> = (0..letters)
        .map(|number| rig.letter(&ada, number))
        .collect();
    let ranked = rig.ranked(&rig.promise(&letters[0]));
    for letter in &letters {
        rig.ask(ranked[0], Message::Deposit(letter.clone()));
    }
    rig.advance(Duration::from_secs(1));
    for letter in &letters {
        assert_eq!(copies(&mut rig, letter.envelope.id()), ranked[..5].len());
    }
    (rig, ada, letters, ranked)
}

/// Running relays that have it.
fn copies(rig: &mut Rig, id: EnvelopeId) -> usize {
    let up: Vec<usize> = (0..rig.nodes.len())
        .filter(|at| rig.nodes[*at].up)
        .collect();
    up.into_iter().filter(|at| rig.holds(*at, id)).count()
}

fn come_back(rig: &mut Rig, at: usize) {
    rig.nodes[at].up = true;
    rig.restart(at);
    for other in (0..rig.nodes.len()).filter(|other| *other != at) {
        rig.peer(at, other, PeerChange::Linked);
        rig.peer(other, at, PeerChange::Linked);
    }
}

/// [REP-1] [REP-4] [REP-5]
#[test]
fn the_next_in_rank_take_what_two_dead_holders_had() {
    let (mut rig, _, letters, ranked) = scene(10, 20);
    for at in &ranked[1..3] {
        rig.nodes[*at].up = false;
    }
    rig.advance(2 * HOUR);
    for letter in &letters {
        let id = letter.envelope.id();
        assert_eq!(copies(&mut rig, id), 5);
        assert!(rig.holds(ranked[5], id) && rig.holds(ranked[6], id));
    }
    assert!(rig.nodes[ranked[0]].relay.repair().away >= 2);
    let pushed = |at: &usize| rig.nodes[*at].relay.repair().counts.pushed;
    let pushed: u64 = [0, 3, 4].iter().map(|rank| pushed(&ranked[*rank])).sum();
    assert!(pushed >= 2 * letters.len() as u64, "{pushed}");
}

/// [REP-1]: four of five are enough, or every nap of a relay would be copied about.
#[test]
fn nobody_stands_in_while_enough_holders_are_present() {
    let (mut rig, _, letters, ranked) = scene(10, 3);
    rig.nodes[ranked[1]].up = false;
    rig.advance(3 * HOUR);
    for letter in &letters {
        assert_eq!(copies(&mut rig, letter.envelope.id()), 4);
    }
}

/// [REP-1]: beyond the two spares that take any copy, a relay must know itself that others are away.
#[test]
fn a_third_and_fourth_dead_holder_are_replaced_too() {
    let (mut rig, _, letters, ranked) = scene(12, 4);
    for at in &ranked[1..3] {
        rig.nodes[*at].up = false;
    }
    rig.advance(2 * HOUR);
    for at in &ranked[3..5] {
        rig.nodes[*at].up = false;
    }
    rig.advance(2 * HOUR);
    for letter in &letters {
        assert_eq!(copies(&mut rig, letter.envelope.id()), 5);
    }
}

/// [REP-5]: it keeps what it had, and gets what came meanwhile.
#[test]
fn a_holder_that_comes_back_gets_what_it_missed() {
    let (mut rig, ada, letters, ranked) = scene(10, 3);
    let away = ranked[2];
    rig.nodes[away].up = false;
    rig.advance(2 * QUARTER);
    let late: Vec<Deposit> = (100..110).map(|number| rig.letter(&ada, number)).collect();
    for letter in &late {
        rig.ask(ranked[0], Message::Deposit(letter.clone()));
    }
    rig.advance(QUARTER);
    // The relay that took them forgets what was unfinished.
    rig.restart(ranked[0]);
    come_back(&mut rig, away);
    rig.advance(HOUR);
    for letter in letters.iter().chain(&late) {
        assert!(rig.holds(away, letter.envelope.id()));
    }
}

/// [REP-2]: neither the relay that slept nor anybody else brings a deleted envelope back.
#[test]
fn what_its_owner_deleted_does_not_come_back_with_a_relay_that_slept() {
    let (mut rig, ada, letters, ranked) = scene(10, 3);
    let (gone, kept) = (&letters[0], &letters[1]);
    let asleep = ranked[3];
    rig.nodes[asleep].up = false;
    let erase = rig.erase(&ada, gone);
    rig.ask(ranked[0], Message::Delete(erase));
    rig.advance(QUARTER);
    assert!(rig.holds(asleep, gone.envelope.id()));
    come_back(&mut rig, asleep);
    rig.advance(HOUR);
    assert_eq!(copies(&mut rig, gone.envelope.id()), 0);
    assert_eq!(copies(&mut rig, kept.envelope.id()), 5);
    rig.advance(2 * HOUR);
    assert_eq!(copies(&mut rig, gone.envelope.id()), 0);
}

/// [REP-2]
#[test]
fn a_card_reaches_a_holder_that_slept_when_it_was_left() {
    let (mut rig, ada, _, ranked) = scene(10, 1);
    let asleep = ranked[4];
    rig.nodes[asleep].up = false;
    let card = rig.card(&ada, 3);
    rig.ask(ranked[0], Message::CardPut(card.clone()));
    rig.advance(QUARTER);
    come_back(&mut rig, asleep);
    rig.advance(HOUR);
    let address = ada.keys.address();
    let done = rig.nodes[asleep].store.apply(StoreOp::Card { address });
    assert_eq!(done, StoreDone::Card(Some(card.card)));
}

/// [REP-4]: the work goes on after a restart of the only relay that knew of it.
#[test]
fn unfinished_copies_are_finished_after_a_restart() {
    let mut rig = Rig::new(10);
    rig.misses = true;
    let ada = owner(1, 0);
    let letter = rig.letter(&ada, 1);
    let id = letter.envelope.id();
    let ranked = rig.ranked(&rig.promise(&letter));
    for at in &ranked[3..7] {
        rig.nodes[*at].up = false;
    }
    rig.ask(ranked[0], Message::Deposit(letter));
    rig.advance(Duration::from_secs(10));
    rig.restart(ranked[0]);
    for at in &ranked[1..3] {
        rig.nodes[*at].up = false;
    }
    for at in &ranked[3..5] {
        come_back(&mut rig, *at);
    }
    rig.advance(HOUR);
    assert!(rig.holds(ranked[3], id) && rig.holds(ranked[4], id));
}

/// [REP-3]: a relay learns nothing of cells that are not its own.
#[test]
fn a_relay_that_is_none_of_its_keepers_is_told_nothing_about_a_cell() {
    let (mut rig, _, letters, ranked) = scene(12, 2);
    let promise = rig.promise(&letters[0]);
    let opening = crate::reconcile::Reconciler::opener([], [7; 32]).open();
    let compare = |scope: Scope, ranges: Bytes| {
        Message::Compare(Compare {
            exchange: 99,
            step: 1,
            scope: Some(scope),
            ranges,
        })
    };
    let scope = Scope {
        epoch: promise.epoch,
        cells: alloc::vec![promise.cell],
    };
    rig.sent.clear();
    rig.deliver(
        ranked[8],
        ranked[0],
        compare(scope.clone(), opening.clone()),
    );
    rig.run();
    assert!(rig.sent.is_empty(), "{:?}", rig.sent);

    rig.deliver(ranked[5], ranked[0], compare(scope, opening));
    rig.run();
    assert!(!rig.sent.is_empty(), "a spare is answered");
}

/// [REP-7]
#[test]
fn a_relay_that_leaves_hands_everything_over_first() {
    let (mut rig, ada, letters, ranked) = scene(10, 20);
    let card = rig.card(&ada, 1);
    rig.ask(ranked[0], Message::CardPut(card));
    let leaver = ranked[1];
    // A record of this tick exists already; the one that says so is issued in the next.
    rig.input(leaver, Input::Command(Command::Drain));
    rig.run();
    rig.advance(HOUR);
    assert!(rig.nodes[leaver].events.contains(&Event::Drained));
    assert_eq!(rig.nodes[leaver].relay.repair().drained, Some(true));
    rig.nodes[leaver].up = false;
    for letter in &letters {
        let id = letter.envelope.id();
        assert_eq!(copies(&mut rig, id), 5);
        assert!(rig.holds(ranked[5], id), "the next in rank has it");
    }
}

/// [REP-5]: once all are equal, only comparisons travel.
#[test]
fn equal_siblings_send_each_other_nothing() {
    let (mut rig, _, _, _) = scene(10, 10);
    rig.advance(HOUR);
    rig.sent.clear();
    let before: u64 = (0..10)
        .map(|at| rig.nodes[at].relay.repair().counts.compared)
        .sum();
    rig.advance(3 * HOUR);
    let after: u64 = (0..10)
        .map(|at| rig.nodes[at].relay.repair().counts.compared)
        .sum();
    assert!(after > before, "they do compare");
    for (_, _, message) in &rig.sent {
        assert!(!matches!(
            message,
            Message::Copy(_) | Message::Erase(_) | Message::CardCopy(_)
        ));
    }
}

/// [REP-3]: broken and unasked steps end an exchange and nothing else.
#[test]
fn garbage_in_a_comparison_harms_nobody() {
    let (mut rig, _, letters, ranked) = scene(10, 5);
    let promise = rig.promise(&letters[0]);
    for step in 0..=9_u8 {
        for length in [0, 1, 16, 33, 200] {
            let scope = (step == 1).then(|| Scope {
                epoch: promise.epoch,
                cells: alloc::vec![promise.cell],
            });
            let compare = Compare {
                exchange: u32::from(step / 2),
                step,
                scope,
                ranges: Bytes::from(alloc::vec![step; length]),
            };
            rig.deliver(ranked[1], ranked[0], Message::Compare(compare));
            rig.run();
        }
    }
    rig.advance(HOUR);
    for letter in &letters {
        assert_eq!(copies(&mut rig, letter.envelope.id()), 5);
    }
}

/// [REP-2]: computed by another implementation of BLAKE3.
#[test]
fn what_stands_for_a_thing_is_as_in_the_vectors() {
    use crate::crypto::Signature;
    use crate::store::{Held, Tombstone};
    use crate::time::{Hour, Tick};
    let keys = MailboxKeys {
        flags: 0,
        read: [1; 32],
        write: [1; 32],
    };
    let envelope = Held::Envelope {
        id: EnvelopeId([2; 32]),
        address: keys.address(),
        arrival: Tick(0),
        expires: Hour(9),
    };
    let tombstone = Held::Tombstone(Tombstone {
        keys,
        id: EnvelopeId([2; 32]),
        expires: Hour(500),
        signature: Signature([4; 64]),
    });
    let card = Held::Card {
        keys,
        sequence: 7,
        expires: Hour(600),
        hash: [3; 32],
    };
    let hex = |bytes: &[u8; 32]| crate::id::hex(bytes);
    let lines = [
        ("address", hex(&keys.address().0)),
        ("envelope", hex(&envelope.item())),
        ("tombstone", hex(&tombstone.item())),
        ("card", hex(&card.item())),
    ];
    let file = include_str!("../../../../docs/spec/vectors/repair.txt");
    crate::members::testing::check_vectors(file, &lines);
}

/// [REP-8]
#[test]
fn a_comparison_waits_for_a_link_and_then_opens_one() {
    let (rig, _, letters, ranked) = scene(10, 1);
    let promise = rig.promise(&letters[0]);
    let (mut context, start) = (rig.view_of(ranked[0]), rig.now);
    let peers: Vec<NodeId> = ranked[1..5]
        .iter()
        .map(|at| rig.nodes[*at].key.node_id())
        .collect();
    let later = |minutes: u64| Now {
        mono: start.mono.plus(Duration::from_secs(60 * minutes)),
        unix: start.unix.plus(Duration::from_secs(60 * minutes)),
    };
    let begun = |out: &mut Effects| {
        let asks = out.drain().filter(|effect| {
            matches!(
                effect,
                crate::effects::Effect::Store {
                    request: StoreOp::Inventory { .. },
                    ..
                }
            )
        });
        asks.count()
    };
    let mut out = Effects::default();
    let mut repair = Repair::new(1 << 20, start);
    repair.note(&context, start, promise.epoch, promise.cell);
    // Within an hour and a quarter the epoch is looked through; who is met meanwhile is compared with at once.
    repair.wake(&mut context, later(76), &mut out);
    assert_eq!(begun(&mut out), 0, "nobody was met");
    repair.met(&context, later(77), peers[0], &mut out);
    let first = begun(&mut out);
    for peer in &peers {
        repair.met(&context, later(78), *peer, &mut out);
        repair.met(&context, later(79), *peer, &mut out);
    }
    let all = first + begun(&mut out);
    let turn = context.network.scale.hour_of(later(76).unix).0;
    let is_mine = |peer: &NodeId| opens(&context.me, peer, turn);
    let mine = peers.iter().filter(|peer| is_mine(peer)).count();
    assert!(all > 0 && all == mine, "each of them once: {all}");
    assert_eq!(first, usize::from(is_mine(&peers[0])));

    // Whoever is not met is compared with in the end.
    let mut lonely = Repair::new(1 << 20, start);
    lonely.note(&context, start, promise.epoch, promise.cell);
    lonely.wake(&mut context, later(76), &mut out);
    lonely.wake(&mut context, later(105), &mut out);
    assert_eq!(begun(&mut out), 0);
    lonely.wake(&mut context, later(107), &mut out);
    assert_eq!(begun(&mut out), all);
}
