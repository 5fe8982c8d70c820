//! Relays that convict themselves, everybody who hears of it, and slanderers who convict nobody.

use core::time::Duration;

use bytes::Bytes;

use super::*;
use crate::crypto::{Crypto, Signature};
use crate::effects::{Command, Event, Input};
use crate::id::NodeKey;
use crate::members::Record;
use crate::network::Pledge;
use crate::rig::Rig;
use crate::standing::Judgement;
use crate::wire::Message;
use crate::wire::members::RecordWithKeys;
use crate::wire::pledge::ChallengeAnswer;
use crate::wire::proof::Twice;
use crate::wire::verify::{Judge, Via};

const HOUR: Duration = Duration::from_secs(3_600);

const SMALL: Pledge = Pledge {
    puzzle_kib: 64,
    puzzle_bits: 4,
    labels: 256,
    layers: 3,
    parents: 6,
    class_sectors: 2,
    class_min: 1,
};

/// Relays whose watchers speak for the network, and which have pledged two small sectors each.
fn watched(count: u8) -> Rig {
    Rig::tuned(count, |network| {
        network.verdicts.watchers = 15;
        network.verdicts.certificates = 2;
        network.verdicts.suspend_epochs = 1;
        network.verdicts.suspend_window = 1;
        network.pledge = SMALL;
    })
}

fn judgement(rig: &Rig, by: usize, of: usize) -> Judgement {
    let id = rig.nodes[of].key.node_id();
    rig.nodes[by].relay.judgement(&id)
}

fn others(rig: &Rig, than: usize) -> Vec<usize> {
    (0..rig.nodes.len()).filter(|at| *at != than).collect()
}

fn convictions(rig: &Rig) -> usize {
    let events = rig.nodes.iter().flat_map(|node| &node.events);
    let is_one = |event: &&Event| matches!(event, Event::Convicted { .. });
    events.filter(is_one).count()
}

/// Until shortly after the next epoch has begun.
fn next_epoch(rig: &mut Rig) {
    let scale = rig.network.scale;
    let next = scale.epoch_of(rig.now.unix).plus(1);
    let left = scale.epoch_start(next).distance(rig.now.unix);
    rig.advance(left + HOUR);
}

/// A record of the node with the sequence of the one that it has issued, and another puzzle.
fn second_record(rig: &Rig, at: usize, puzzle: u64) -> Record {
    let node = &rig.nodes[at];
    let record = Record {
        puzzle,
        ..node.last_record.clone().unwrap()
    };
    record.sign(&rig.crypto, &node.secret)
}

fn twice(rig: &Rig, at: usize, puzzle: u64) -> Proof {
    let first = rig.nodes[at].last_record.clone().unwrap();
    let twice = Twice::new(first, second_record(rig, at, puzzle));
    Proof::Twice(Box::new(twice.unwrap()))
}

/// What `at` answers to a challenge of `watcher`, with zeros for what it says of `wrong` pages.
fn answered(rig: &Rig, at: usize, watcher: usize, nonce: u8, wrong: &[usize]) -> Evidence {
    let (subject, pledge) = (rig.nodes[at].key, &rig.network.pledge);
    let mut evidence = Evidence {
        subject,
        watcher: rig.nodes[watcher].key.node_id(),
        answer: ChallengeAnswer {
            nonce: [nonce; 32],
            class: 1,
            tags: alloc::vec![[0; 8]; 2],
            signature: Signature([0; 64]),
        },
        page: 0,
    };
    for page in (0..2_u16).filter(|page| !wrong.contains(&usize::from(*page))) {
        evidence.page = page;
        let request = evidence.recompute(pledge).unwrap();
        let PlotDone::Tags(right) = request.make(pledge, &subject, |_| true) else {
            panic!()
        };
        evidence.answer.tags[usize::from(page)] = right[0];
    }
    evidence.page = u16::try_from(wrong.first().copied().unwrap_or(0)).unwrap();
    let bytes = evidence
        .answer
        .statement(&rig.network.id(), &evidence.watcher);
    evidence.answer.signature = rig.crypto.sign(&rig.nodes[at].secret, &bytes);
    evidence
}

fn tell(rig: &mut Rig, from: usize, to: usize, proof: Proof) {
    rig.deliver(from, to, Message::Proof(proof));
    rig.run();
}

fn admits(rig: &Rig, kind: u16, bytes: Vec<u8>) -> Option<Proof> {
    let Ok(Message::Proof(proof)) = Message::decode(kind, Bytes::from(bytes)) else {
        return None;
    };
    let judge = Judge {
        crypto: &rig.crypto,
        network: rig.network.id(),
        me: rig.nodes[0].key.node_id(),
    };
    let via = Via::Relay(rig.nodes[1].key);
    let admitted = judge.admit(Message::Proof(proof.clone()), via).is_ok();
    admitted.then_some(proof)
}

/// [EVD-1] [EVD-2] [EVD-5] [REC-2]: one relay saw both records; it is suspended, and holds again later.
#[test]
fn two_records_with_one_sequence_suspend_everywhere_and_expel_nobody() {
    let mut rig = watched(12);
    let liar = 3;
    let records = alloc::vec![RecordWithKeys {
        record: second_record(&rig, liar, 77),
        keys: Default::default(),
    }];
    let today = rig.network.scale.epoch_of(rig.now.unix);
    rig.deliver(4, 0, Message::Records(records));
    rig.run();
    assert_eq!(judgement(&rig, 0, liar).twice, Some(today));
    rig.advance(HOUR);
    assert_eq!(convictions(&rig), 12, "each of them knows, once");
    for by in others(&rig, liar) {
        let seen = judgement(&rig, by, liar);
        assert_eq!((seen.twice, seen.wrong), (Some(today), None), "{by}");
        assert!(seen.suspend >= seen.majority, "{by}: {seen:?}");
        for of in others(&rig, liar) {
            assert_eq!(judgement(&rig, by, of).suspend, 0, "{by} of {of}");
        }
    }
    // Voted for today and tomorrow, that is two suspensions, the second for two epochs.
    let mut held = Vec::new();
    for _ in 0..7 {
        next_epoch(&mut rig);
        held.push(judgement(&rig, 0, liar).holds);
    }
    assert!(held[0] && !held[1] && held[6], "{held:?}");
}

/// Has one relay challenge another that keeps no sector at that moment, and lets a minute pass.
fn wrong_once(rig: &mut Rig, by: usize, liar: usize) {
    let subject = rig.nodes[liar].key.node_id();
    rig.nodes[liar].plot_ends = 0;
    rig.input(by, Input::Command(Command::Challenge { subject }));
    rig.run();
    rig.nodes[liar].plot_ends = u32::MAX;
    rig.advance(Duration::from_secs(60));
}

/// [EVD-3] [EVD-5]: a watcher found it, everybody makes the sector again; after a while it holds again.
#[test]
fn a_wrong_answer_suspends_everywhere_and_expels_nobody() {
    let mut rig = watched(12);
    let liar = 5;
    let today = rig.network.scale.epoch_of(rig.now.unix);
    wrong_once(&mut rig, 2, liar);
    rig.advance(HOUR);
    assert_eq!(convictions(&rig), 12);
    for by in others(&rig, liar) {
        let seen = judgement(&rig, by, liar);
        assert_eq!((seen.wrong, seen.expelled), (Some(today), None), "{by}");
        assert!(seen.holds && seen.suspend >= seen.majority, "{seen:?}");
    }
    // Voted for today and tomorrow, as for two records.
    let mut held = Vec::new();
    for _ in 0..7 {
        next_epoch(&mut rig);
        held.push(judgement(&rig, 0, liar).holds);
    }
    assert!(held[0] && !held[1] && held[6], "{held:?}");
    assert_eq!(convictions(&rig), 12);
}

/// [EVD-3] [EVD-5] [ELI-7]: two watchers found it, nobody counts on it any more.
#[test]
fn wrong_answers_to_two_challenges_expel_their_signer_everywhere() {
    let mut rig = watched(12);
    let liar = 5;
    let today = rig.network.scale.epoch_of(rig.now.unix);
    wrong_once(&mut rig, 2, liar);
    wrong_once(&mut rig, 3, liar);
    rig.advance(HOUR);
    assert_eq!(convictions(&rig), 24);
    for by in others(&rig, liar) {
        let seen = judgement(&rig, by, liar);
        assert_eq!((seen.wrong, seen.expelled), (Some(today), Some(today)));
        assert!(seen.holds && seen.suspend >= seen.majority, "{seen:?}");
    }
    next_epoch(&mut rig);
    assert!(judgement(&rig, 0, liar).holds, "M(e + 1) was made before");
    for _ in 0..6 {
        next_epoch(&mut rig);
        for by in others(&rig, liar) {
            assert!(!judgement(&rig, by, liar).holds, "{by}");
            for of in others(&rig, liar) {
                assert!(judgement(&rig, by, of).holds, "{by} of {of}");
            }
        }
    }
    assert_eq!(convictions(&rig), 24);
}

/// [EVD-3]: it needs no certificate, and one watcher is as good as two.
#[test]
fn wrong_answers_expel_where_no_watchers_speak_and_for_no_longer_than_they_are_kept() {
    let mut rig = watched(8);
    let liar = 5;
    let tell_wrong = |rig: &mut Rig, nonce, page| {
        let wrong = Evidence {
            page,
            ..answered(rig, liar, 1, nonce, &[0, 1])
        };
        tell(rig, 1, 2, Proof::Pledge(Box::new(wrong)));
        rig.advance(HOUR);
    };
    tell_wrong(&mut rig, 9, 0);
    // Another page of the same answer is the same lie.
    tell_wrong(&mut rig, 9, 1);
    assert_eq!(convictions(&rig), 8);
    for _ in 0..3 {
        next_epoch(&mut rig);
        let seen = judgement(&rig, 0, liar);
        assert!(seen.holds && seen.expelled.is_none(), "{seen:?}");
    }
    tell_wrong(&mut rig, 10, 1);
    assert_eq!(convictions(&rig), 16);
    let mut held = Vec::new();
    for _ in 0..3 {
        next_epoch(&mut rig);
        let seen = judgement(&rig, 0, liar);
        assert_eq!((seen.certificate, seen.suspended_for), (None, 0));
        held.push(seen.holds);
    }
    assert_eq!(held, [true, false, false]);
    let (context, today) = (rig.view_of(0), Epoch(20_000));
    let mut certificates = crate::standing::Certificates::default();
    let subject = rig.nodes[liar].key.node_id();
    certificates.expel(subject, expelled_in(today));
    let verdicts = &context.network.verdicts;
    let mut left_out = |oldest: u32| {
        certificates.forget_before(Epoch(oldest));
        let is_out = |days: &u32| {
            let epoch = today.plus(*days);
            certificates.allow(verdicts, 0, &subject, epoch, true) == Some(false)
        };
        (0..40).filter(is_out).count()
    };
    assert_eq!(left_out(20_000), 29);
    assert_eq!(
        left_out(20_030),
        29,
        "mail of its last epoch may still be there"
    );
    assert_eq!(left_out(20_031), 0);
}

/// [EVD-6] [EVD-5]: in the order in which they came, since then, and without a list that names anybody yet.
#[test]
fn convictions_of_an_earlier_run_count_on_as_long_as_they_would_have() {
    let rig = watched(4);
    let now = rig.now;
    let (mut context, today) = (rig.view_of(0), rig.network.scale.epoch_of(now.unix));
    let (liar, double) = (rig.nodes[3].key.node_id(), rig.nodes[2].key.node_id());
    let wrong = |nonce| Proof::Pledge(Box::new(answered(&rig, 3, 1, nonce, &[1])));
    let kept = |days: u32, proof| Conviction {
        since: today.minus(days),
        proof,
    };
    let all = alloc::vec![
        kept(6, wrong(9)),
        kept(5, wrong(9)),
        kept(4, wrong(10)),
        kept(0, twice(&rig, 2, 77)),
    ];
    for conviction in &all {
        let bytes = Bytes::from(conviction.encode());
        assert_eq!(Conviction::decode(bytes).unwrap(), *conviction);
    }
    let mut standing = Standing::new(now);
    standing.remember(&mut context, now, all.clone());
    assert_eq!(standing.proofs.wrong(&liar), Some(today.minus(6)));
    assert_eq!(standing.proofs.expelled(&liar), Some(today.minus(4)));
    assert_eq!(standing.proofs.twice(&double), Some(today));
    assert!(context.said.expelled.contains(&liar) && context.said.expelled.len() == 1);
    let holds = |context: &Context, days: u32| {
        let eligible = context.view.eligible(&rig.network, today.minus(days));
        eligible.has(&liar)
    };
    assert_eq!(
        [3, 2, 0].map(|days| holds(&context, days)),
        [true, false, false]
    );
    let mut late = Standing::new(now);
    let old = |one: &Conviction| Conviction {
        since: today.minus(limits::EPOCHS_REMEMBERED),
        ..one.clone()
    };
    assert!(old(&all[0]).is_over(today) && !all[0].is_over(today));
    late.remember(&mut context, now, alloc::vec![old(&all[0])]);
    assert_eq!(late.proofs.items().count(), 0);
}

/// [EVD-3]: who was asked has answers that an honest relay signed, and no use for them.
#[test]
fn right_answers_convict_nobody_and_cost_a_liar_his_hearing() {
    let mut rig = watched(12);
    let (honest, slanderer, judge) = (5, 1, 2);
    for page in 0..2 {
        let evidence = Evidence {
            page,
            ..answered(&rig, honest, slanderer, 9, &[])
        };
        tell(
            &mut rig,
            slanderer,
            judge,
            Proof::Pledge(Box::new(evidence)),
        );
    }
    rig.advance(HOUR);
    assert_eq!(convictions(&rig), 0);
    // Even what is true he has to leave to others for the rest of the epoch.
    let wrong = answered(&rig, honest, slanderer, 9, &[1]);
    let wrong = Proof::Pledge(Box::new(wrong));
    tell(&mut rig, slanderer, judge, wrong.clone());
    assert_eq!(judgement(&rig, judge, honest).wrong, None);
    tell(&mut rig, 7, judge, wrong);
    assert!(judgement(&rig, judge, honest).wrong.is_some());
}

/// [EVD-1] [EVD-2] [EVD-3]
#[test]
fn a_proof_with_any_bit_turned_convicts_nobody() {
    let rig = watched(4);
    let wrong = answered(&rig, 3, 1, 9, &[1]);
    assert!(wrong.check(&rig.crypto, &rig.network));
    for proof in [twice(&rig, 3, 77), Proof::Pledge(Box::new(wrong))] {
        let message = Message::Proof(proof.clone());
        let (kind, bytes) = (message.kind(), message.encode());
        assert_eq!(admits(&rig, kind, bytes.clone()), Some(proof));
        for bit in 0..8 * bytes.len() {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            match admits(&rig, kind, bent) {
                None => {}
                Some(Proof::Twice(_) | Proof::Lost(_)) => panic!("bit {bit}"),
                Some(Proof::Pledge(evidence)) => {
                    assert!(!evidence.check(&rig.crypto, &rig.network), "bit {bit}");
                }
            }
        }
    }
}

/// [EVD-2]: it takes two records of one relay, one network and one sequence.
#[test]
fn records_that_do_not_contradict_each_other_are_no_proof() {
    let rig = watched(4);
    let of = |at: usize| rig.nodes[at].last_record.clone().unwrap();
    let (one, other) = (of(3), second_record(&rig, 3, 77));
    assert!(Twice::new(one.clone(), one.clone()).is_none());
    assert!(Twice::new(one.clone(), of(2)).is_none());
    let later = Record {
        sequence: other.sequence.plus(1),
        ..other.clone()
    };
    assert!(Twice::new(one.clone(), later).is_none());
    let (here, there) = (
        Twice::new(one.clone(), other.clone()),
        Twice::new(other, one),
    );
    assert!(here.is_some());
    assert_eq!(here, there, "one proof, whichever came first");
}

/// [EVD-5]
#[test]
fn one_proof_of_a_kind_and_a_second_wrong_answer_are_kept_of_each_member_and_of_nobody_else() {
    let mut rig = watched(12);
    for puzzle in 0..20 {
        let proof = twice(&rig, 3, 1_000 + puzzle);
        tell(&mut rig, 1, 2, proof);
        let wrong = answered(&rig, 3, 1, u8::try_from(puzzle).unwrap(), &[0]);
        tell(&mut rig, 1, 2, Proof::Pledge(Box::new(wrong)));
    }
    rig.advance(HOUR);
    let pushed: BTreeSet<[u8; 32]> = rig
        .sent
        .iter()
        .filter_map(|(from, _, message)| match message {
            Message::Proof(proof) if *from == 2 => Some(proof.item()),
            _ => None,
        })
        .collect();
    assert_eq!(pushed.len(), 3, "two records and two wrong answers");
    assert_eq!(convictions(&rig), 36);
    // A key that is nobody's.
    let (context, today) = (rig.view_of(0), rig.network.scale.epoch_of(rig.now.unix));
    let mut stranger = answered(&rig, 3, 1, 9, &[0]);
    stranger.subject = NodeKey([9; 32]);
    let mut proofs = Proofs::default();
    let kept = proofs.keep(&context, today, Proof::Pledge(Box::new(stranger)));
    assert_eq!(kept, None);
}

/// [EVD-5]: what everybody drops within a month of each other does not go round for ever.
#[test]
fn a_proof_is_forgotten_after_a_month_and_not_learned_again() {
    let rig = watched(4);
    let (context, today) = (rig.view_of(0), rig.network.scale.epoch_of(rig.now.unix));
    let subject = rig.nodes[3].key.node_id();
    let wrong = Proof::Pledge(Box::new(answered(&rig, 3, 1, 9, &[1])));
    let again = Proof::Pledge(Box::new(answered(&rig, 3, 2, 10, &[1])));
    let both = twice(&rig, 3, 77);
    let mut proofs = Proofs::default();
    proofs.turn(today);
    for proof in [&wrong, &both, &again] {
        assert_eq!(
            proofs.keep(&context, today, proof.clone()),
            Some(proof.item())
        );
        assert_eq!(proofs.find(&proof.item()), Some(proof));
    }
    assert!(proofs.suspend(&subject, today.plus(1), 1));
    let last = today.plus(limits::EPOCHS_REMEMBERED - 1);
    assert!(proofs.turn(last) && !proofs.turn(last));
    assert_eq!(proofs.items().count(), 3);
    assert!(
        proofs.suspend(&subject, last, 1),
        "the two wrong answers count on"
    );
    proofs.turn(last.plus(1));
    assert_eq!(proofs.items().count(), 0);
    assert!(!proofs.suspend(&subject, last.plus(1), 1));
    for proof in [&wrong, &both, &again] {
        assert!(!proofs.is_news(&proof.item()));
    }
    assert_eq!(proofs.keep(&context, last.plus(1), both), None);
    assert!(!proofs.may_remake(&subject, &subject, &wrong.item()));
}

/// [EVD-2]: in its own epoch and in `suspend_window` more; a later one counts anew.
#[test]
fn two_records_count_from_the_epoch_of_their_sequence() {
    let rig = watched(4);
    let (context, today) = (rig.view_of(0), rig.network.scale.epoch_of(rig.now.unix));
    let subject = rig.nodes[3].key.node_id();
    let at = |days: u32| {
        let record = |puzzle| Record {
            sequence: rig.nodes[3]
                .last_record
                .clone()
                .unwrap()
                .sequence
                .plus(144 * days),
            ..second_record(&rig, 3, puzzle)
        };
        Proof::Twice(Box::new(Twice::new(record(1), record(2)).unwrap()))
    };
    let mut proofs = Proofs::default();
    assert_eq!(proofs.keep(&context, today, at(1)), None, "not yet");
    assert!(proofs.keep(&context, today, at(0)).is_some());
    let counts = |proofs: &Proofs| {
        let days = (0..8).filter(|days| proofs.suspend(&subject, today.plus(*days), 3));
        days.collect::<Vec<u32>>()
    };
    assert_eq!(counts(&proofs), [0, 1, 2, 3]);
    assert!(proofs.keep(&context, today.plus(2), at(2)).is_some());
    assert_eq!(counts(&proofs), [2, 3, 4, 5]);
    assert_eq!(proofs.keep(&context, today.plus(2), at(1)), None);
    assert_eq!(proofs.items().count(), 1);
}
