//! Relays that lost what they signed for, and slanderers who hold receipts of those that did not.

use alloc::vec;
use core::time::Duration;

use bytes::Bytes;

use super::*;
use crate::crypto::{Crypto, Signature};
use crate::envelope::{ExpiryClass, SizeClass};
use crate::place::Cell;
use crate::rig::{Rig, owner};
use crate::store::{Part, Tombstone, tag_of};
use crate::time::Hour;
use crate::wire::loss::LISTED_AFTER_TICKS;
use crate::wire::standing::Tally;
use crate::wire::sweeps::{Listing, Open};
use crate::wire::verify::{Judge, Via};

const HOUR: Duration = Duration::from_secs(3_600);
/// Who lists, and who swept it.
const LOSER: usize = 3;
const OTHER: usize = 1;

fn rig() -> Rig {
    Rig::new(4)
}

/// Signs what the loser has to have signed.
fn signed(rig: &Rig, mut loss: Loss) -> Loss {
    let node = &rig.nodes[LOSER];
    let network = rig.network.id();
    let statement = loss.promise.statement(&network, loss.receipt.time);
    loss.receipt.signature = rig.crypto.sign(&node.secret, &statement);
    let Listed {
        with,
        open,
        listing,
    } = &mut loss.listed;
    let (me, other) = (node.key.node_id(), *with);
    listing.open = if listing.by_opener {
        open.digest(&me, &other)
    } else {
        open.digest(&other, &me)
    };
    listing.signature = rig.crypto.sign(&node.secret, &listing.statement(&network));
    loss
}

/// The loser signed for a small letter of two weeks, and lists other things as soon as it must list it.
fn loss(rig: &Rig, by_opener: bool) -> Loss {
    sized(rig, by_opener, SizeClass::Small)
}

fn sized(rig: &Rig, by_opener: bool, size: SizeClass) -> Loss {
    let made = rig.network.scale.tick_of(rig.now.unix);
    let life = (made, ExpiryClass::Days14);
    let letter = rig.sized_letter(&owner(1, 0), 7, life, size);
    let promise = rig.promise(&letter);
    let loss = Loss {
        promise,
        receipt: Receipt {
            holder: rig.nodes[LOSER].key,
            time: made,
            signature: Signature([0; 64]),
        },
        listed: Listed {
            with: rig.nodes[OTHER].key.node_id(),
            open: Open {
                epoch: promise.epoch,
                cell: promise.cell,
                part: Part::ALL,
                cutoff: made.plus(LISTED_AFTER_TICKS),
                nonce: [1; 32],
                commitment: [2; 32],
                signature: Signature([0; 64]),
            },
            listing: Listing {
                by_opener,
                open: [0; 32],
                items: vec![([1; 32], [9; 32]), ([0xfe; 32], [9; 32])],
                signature: Signature([0; 64]),
            },
        },
        envelope: letter.envelope,
    };
    signed(rig, loss)
}

/// Through the door, as it would come over a link; and then what the contents say.
fn convicts(rig: &Rig, bytes: Vec<u8>) -> bool {
    let kind = crate::wire::kind::PROOF;
    let Ok(message) = Message::decode(kind, Bytes::from(bytes)) else {
        return false;
    };
    let judge = Judge {
        crypto: &rig.crypto,
        network: rig.network.id(),
        me: rig.nodes[0].key.node_id(),
    };
    let admitted = judge.admit(message.clone(), Via::Relay(rig.nodes[2].key));
    let Message::Proof(Proof::Lost(loss)) = message else {
        return false;
    };
    admitted.is_ok() && loss.convicts(&rig.network)
}

fn bytes_of(loss: Loss) -> Vec<u8> {
    Message::Proof(Proof::Lost(Box::new(loss))).encode()
}

/// With other terms, which the loser signed like the true ones.
fn bent(rig: &Rig, bend: impl Fn(&mut Loss)) -> bool {
    let verdicts = [false, true].map(|by_opener| {
        let mut bent = loss(rig, by_opener);
        bend(&mut bent);
        convicts(rig, bytes_of(signed(rig, bent)))
    });
    assert_eq!(verdicts[0], verdicts[1], "whoever opened");
    verdicts[0]
}

fn list(loss: &mut Loss, item: [u8; 32], tag: [u8; 32]) {
    loss.listed.listing.items.push((item, tag));
    loss.listed.listing.items.sort_unstable();
}

fn right_tag(rig: &Rig, loss: &Loss) -> [u8; 32] {
    let (me, with) = (rig.nodes[LOSER].key.node_id(), loss.listed.with);
    let (opener, prover) = if loss.listed.listing.by_opener {
        (me, with)
    } else {
        (with, me)
    };
    let key = loss.listed.open.key(&opener, &prover);
    tag_of(&key, loss.envelope.bytes())
}

/// [EVD-1] [EVD-4]
#[test]
fn a_receipt_and_a_listing_without_the_bytes_convict() {
    let rig = rig();
    assert!(bent(&rig, |_| {}));
    assert!(bent(&rig, |loss| list(loss, loss.promise.id.0, [3; 32])));
    assert!(!bent(&rig, |loss| {
        let tag = right_tag(&rig, loss);
        list(loss, loss.promise.id.0, tag);
    }));
}

/// [EVD-4]: as long as envelope and listing go into one frame, which a listing of 125 items does.
#[test]
fn a_large_envelope_convicts_like_a_small_one() {
    let rig = rig();
    for by_opener in [false, true] {
        let mut large = sized(&rig, by_opener, SizeClass::Large);
        while large.listed.listing.items.len() < 125 {
            let next = u8::try_from(large.listed.listing.items.len()).unwrap();
            list(&mut large, [next; 32], [9; 32]);
        }
        let large = signed(&rig, large);
        let bytes = bytes_of(large.clone());
        assert_eq!(bytes.len(), FrameKind::Proof.body_bytes_max());
        assert!(convicts(&rig, bytes.clone()));
        let last = bytes.len() - 1;
        let mut bent = bytes.clone();
        bent[last] ^= 1;
        assert!(!convicts(&rig, bent));
        assert!(!convicts(&rig, bytes[..last].to_vec()));
        let mut kept = large;
        let tag = right_tag(&rig, &kept);
        let id = kept.promise.id.0;
        list(&mut kept, id, tag);
        assert!(!convicts(&rig, bytes_of(signed(&rig, kept))));
    }
}

/// [EVD-4]: honest relays sign all of these.
#[test]
fn what_an_honest_relay_signs_convicts_nobody() {
    let rig = rig();
    let tombstone = |loss: &mut Loss, hours: u32| {
        let address = loss.envelope.header().address;
        let expires = loss.promise.expires.plus(hours);
        let item = Tombstone::item_of(&address, &loss.promise.id, expires);
        list(loss, item, [3; 32]);
    };
    for hours in [0, 1, 24 * 17] {
        assert!(
            !bent(&rig, |loss| tombstone(loss, hours)),
            "deleted: {hours}"
        );
    }
    let early = |loss: &mut Loss| loss.listed.open.cutoff = loss.listed.open.cutoff.minus(1);
    assert!(
        !bent(&rig, early),
        "its arrival may be later than its receipt"
    );
    let ends_in = |loss: &mut Loss, hours: u32| {
        let end = rig.network.scale.hour_start(loss.promise.expires);
        let end = rig.network.scale.tick_of(end);
        loss.listed.open.cutoff = end.minus(6 * hours);
    };
    assert!(bent(&rig, |loss| ends_in(loss, 2)));
    assert!(!bent(&rig, |loss| ends_in(loss, 1)), "about to end");
    for part in Part::ALL.children() {
        let is_there = part.contains(&loss(&rig, false).promise.id.0);
        assert_eq!(bent(&rig, |loss| loss.listed.open.part = part), is_there);
    }
    let cell = |loss: &mut Loss| loss.listed.open.cell = Cell(loss.promise.cell.0 ^ 1);
    assert!(!bent(&rig, cell));
    let epoch = |loss: &mut Loss| loss.listed.open.epoch = loss.promise.epoch.plus(1);
    assert!(!bent(&rig, epoch));
}

/// [EVD-4]: what was signed was another envelope, or by somebody else.
#[test]
fn a_receipt_for_something_else_or_of_another_relay_convicts_nobody() {
    let rig = rig();
    assert!(!bent(&rig, |loss| loss.promise.id.0[0] ^= 1));
    assert!(!bent(&rig, |loss| loss.promise.expires =
        Hour(loss.promise.expires.0 + 1)));
    assert!(!bent(&rig, |loss| loss.promise.length += 1));
    let mut foreign = loss(&rig, false);
    let other = &rig.nodes[2];
    foreign.receipt.holder = other.key;
    let statement = foreign
        .promise
        .statement(&rig.network.id(), foreign.receipt.time);
    foreign.receipt.signature = rig.crypto.sign(&other.secret, &statement);
    assert!(!convicts(&rig, bytes_of(foreign)));
}

/// [EVD-1] [EVD-4]
#[test]
fn a_loss_with_any_bit_turned_convicts_nobody() {
    let rig = rig();
    for by_opener in [false, true] {
        let bytes = bytes_of(loss(&rig, by_opener));
        assert!(convicts(&rig, bytes.clone()));
        let body = bytes.len() - 1_800;
        // All of what is signed, and a bit of every eighth byte of the envelope's body.
        let places = (0..body).chain((body..bytes.len()).step_by(8));
        for place in places {
            let bits = if place < body { 0..8 } else { 3..4 };
            for bit in bits {
                let mut bent = bytes.clone();
                bent[place] ^= 1 << bit;
                assert!(!convicts(&rig, bent), "byte {place}, bit {bit}");
            }
        }
    }
}

/// [EVD-4]: more than one of a hundred, three at least, once enough was swept to say so.
#[test]
fn one_in_a_hundred_is_let_pass_and_more_are_not() {
    let rig = Rig::tuned(12, |network| network.verdicts.reporters = 5);
    let context = rig.view_of(0);
    let subject = rig.nodes[1].key.node_id();
    let today = Epoch(20_000);
    let reports = |by_each: u32| swept(&rig, today, by_each);
    let lost = |count: u8| {
        let mut losses = Losses::default();
        for id in 0..count {
            losses.add(subject, EnvelopeId([id; 32]), today);
            losses.add(subject, EnvelopeId([id; 32]), today);
        }
        assert_eq!(losses.of(&subject), usize::from(count), "each counts once");
        losses
    };
    let many = |count, swept| lost(count).are_too_many(&context, &reports(swept), &subject);
    assert_eq!(
        [many(3, 30), many(4, 30), many(4, 40)],
        [false, true, false]
    );
    assert_eq!([many(2, 30), many(9, 29)], [false, false]);
    assert!(!lost(9).are_too_many(&context, &Reports::default(), &subject));
    // What reporters say is good, and the watcher wants it suspended all the same.
    let mut standing = Standing::new(rig.now);
    standing
        .duties
        .insert(subject, crate::standing::Duty::new());
    standing.reports = reports(30);
    for (count, suspend) in [(3, false), (4, true)] {
        standing.losses = lost(count);
        let words = standing.words(&context, today, &subject, false).unwrap();
        assert_eq!((words.kept, words.suspend), (Some(100), suspend));
    }
    // A week together: what was swept in the days before counts as well, and is forgotten with them.
    let mut losses = lost(4);
    losses.turn(&context, &reports(30), today.plus(1));
    assert!(losses.are_too_many(&context, &Reports::default(), &subject));
    assert!(!losses.are_too_many(&context, &reports(10), &subject));
    losses.turn(&context, &Reports::default(), today.plus(6));
    assert_eq!(losses.of(&subject), 4);
    losses.turn(&context, &Reports::default(), today.plus(7));
    assert_eq!(losses.of(&subject), 0);
}

/// [EVD-7]
#[test]
fn what_was_counted_as_lost_before_a_restart_counts_on_with_what_was_swept() {
    let rig = Rig::tuned(12, |network| network.verdicts.reporters = 5);
    let context = rig.view_of(0);
    let subject = rig.nodes[1].key.node_id();
    let today = Epoch(20_000);
    let mut losses = Losses::default();
    for id in 0..5 {
        losses.add(
            subject,
            EnvelopeId([id; 32]),
            today.minus(u32::from(id) + 1),
        );
    }
    losses.turn(&context, &swept(&rig, today, 10), today);
    // 30 by each of 10 in the days before, and 10 by each today: 400 of which it lost 5.
    losses.turn(&context, &swept(&rig, today, 20), today);
    let bytes = Bytes::from(losses.encode(&context, &swept(&rig, today, 10), today));
    assert_eq!(bytes.len(), 32 + 1 + 2 * 12 + 2 + 5 * 36);
    let again = |bytes: Bytes, today| {
        let mut losses = Losses::default();
        losses.restore(bytes, today);
        losses
    };
    let restored = again(bytes.clone(), today);
    let is_too_much = |losses: &Losses, by_each| {
        losses.are_too_many(&context, &swept(&rig, today, by_each), &subject)
    };
    assert_eq!(restored.of(&subject), 5);
    assert!(is_too_much(&restored, 9) && !is_too_much(&restored, 10));
    // What was swept before and after counts for the day, and each envelope once.
    let mut next = again(bytes.clone(), today);
    next.add(subject, EnvelopeId([0; 32]), today);
    next.turn(&context, &swept(&rig, today, 10), today.plus(1));
    assert_eq!(next.of(&subject), 5);
    assert!(!is_too_much(&next, 0));
    // Each is forgotten in its time.
    assert_eq!(again(bytes.clone(), today.plus(3)).of(&subject), 3);
    assert!(again(bytes.clone(), today.plus(6)).are_none());
    assert!(again(bytes.clone(), today.minus(6)).are_none(), "to come");
    for end in 0..bytes.len() {
        assert!(again(bytes.slice(..end), today).are_none(), "{end}");
    }
}

/// Ten relays report that each has swept so many envelopes of the second one, and found them all.
fn swept(rig: &Rig, epoch: Epoch, swept: u32) -> Reports {
    let mut reports = Reports::default();
    for at in 2..12 {
        let tally = Tally {
            subject: rig.nodes[1].key.node_id(),
            epoch,
            swept,
            missing: 0,
            asked: 0,
            failed: 0,
        };
        reports.take(rig.nodes[at].key.node_id(), tally);
    }
    reports
}

/// [EVD-4]: its siblings have its receipts; its watchers count what they show. Nobody else is charged with anything,
/// though owners delete, some of them with words that end too early or name another day.
#[test]
fn a_relay_that_kept_only_the_names_of_letters_is_convicted_by_its_own_receipts() {
    let mut rig = Rig::tuned(12, |network| {
        network.verdicts.watchers = 15;
        network.verdicts.reporters = 5;
        network.verdicts.certificates = 2;
        network.pledge.class_min = 0;
        network.sweep_hours = 6;
    });
    rig.misses = true;
    let made = rig.network.scale.tick_of(rig.now.unix);
    let mut letters = Vec::new();
    for seed in 1..=40 {
        let who = owner(seed, 0);
        for number in 0..3 {
            let size = if number == 2 {
                SizeClass::Large
            } else {
                SizeClass::Small
            };
            let life = (made, ExpiryClass::Days14);
            let letter = rig.sized_letter(&who, number, life, size);
            let first = rig.ranked(&rig.promise(&letter))[0];
            rig.ask(first, Message::Deposit(letter.clone()));
            letters.push((seed, first, letter));
        }
    }
    rig.advance(HOUR * 4);
    for (seed, first, letter) in letters.iter().step_by(3) {
        let who = owner(*seed, 0);
        let mut erase = rig.erase(&who, letter);
        match seed % 3 {
            0 => {}
            1 => erase.epoch = erase.epoch.minus(1),
            _ => {
                let soon = rig.network.scale.hour_of(rig.now.unix).plus(1);
                let id = letter.envelope.id();
                erase.tombstone = rig.statements().delete(&who.read, &who.keys, id, soon);
            }
        }
        // Only one of its holders is told, so that the others have what it does not list.
        let ranked = rig.ranked(&rig.promise(letter));
        rig.deliver(*first, ranked[2], Message::Erase(erase));
        rig.run();
    }
    let liar = 5;
    rig.nodes[liar].hollow = true;
    rig.advance(HOUR * 9);
    let mut counted = Vec::new();
    for by in (0..12).filter(|by| *by != liar) {
        for of in (0..12).filter(|of| *of != liar) {
            let id = rig.nodes[of].key.node_id();
            assert_eq!(rig.nodes[by].relay.judgement(&id).lost, 0, "{by} of {of}");
        }
        let id = rig.nodes[liar].key.node_id();
        counted.push(rig.nodes[by].relay.judgement(&id).lost);
    }
    assert!(counted.iter().all(|lost| *lost >= 3), "{counted:?}");
    // [EVD-7]: what they counted an hour ago is on their disks.
    rig.advance(HOUR);
    (0..12).for_each(|at| rig.restart(at));
    rig.advance(HOUR / 6);
    let id = rig.nodes[liar].key.node_id();
    for by in (0..12).filter(|by| *by != liar) {
        let lost = rig.nodes[by].relay.judgement(&id).lost;
        assert!(lost >= counted.remove(0), "{by}: {lost}");
    }
}
