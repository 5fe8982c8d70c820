//! Lists that become equal, records that are issued once, and exchanges that end.

use super::*;
use crate::crypto::Crypto;
use crate::effects::{Command, Effects, Input, PeerChange};
use crate::id::NodeKey;
use crate::members::testing;
use crate::rig::Rig;
use crate::time::Tick;

fn hashes(rig: &Rig) -> alloc::collections::BTreeSet<[u8; 32]> {
    let up = rig.nodes.iter().filter(|node| node.up);
    up.map(|node| *node.relay.members().hash()).collect()
}

fn issued(rig: &Rig, at: usize) -> Vec<Record> {
    let record = |event: &Event| match event {
        Event::RecordIssued(record) => Some(record.clone()),
        _ => None,
    };
    rig.nodes[at].events.iter().filter_map(record).collect()
}

/// [GOS-2], [GOS-3], [LST-3]: a chain of acquaintances is enough.
#[test]
fn lists_become_equal_when_relays_meet() {
    let mut rig = Rig::strangers(12);
    assert_eq!(hashes(&rig).len(), 12);
    for at in 1..12 {
        rig.peer(at - 1, at, PeerChange::Seen);
    }
    rig.advance(Duration::from_secs(3_600));
    assert_eq!(hashes(&rig).len(), 1);
    let members = rig.nodes[0].relay.members();
    assert_eq!(members.len(), 12);
    assert!(members.iter().all(|member| member.keys().current.is_some()));
}

/// [GOS-1]
#[test]
fn a_record_is_renewed_every_six_hours_with_a_higher_sequence() {
    let mut rig = Rig::new(3);
    rig.advance(Duration::from_secs(25 * 3_600));
    let records = issued(&rig, 0);
    assert_eq!(records.len(), 4);
    assert!(
        records
            .windows(2)
            .all(|pair| pair[0].sequence < pair[1].sequence)
    );
    assert_eq!(hashes(&rig).len(), 1, "and everybody keeps up");
    assert_eq!(rig.nodes[0].relay.members().len(), 3);
}

/// [GOS-1], [REC-2]: one sequence, one record; what changed waits for the next tick.
#[test]
fn a_change_within_a_tick_waits_for_the_next_one() {
    let mut rig = Rig::new(3);
    let addresses = [testing::address(50), None];
    rig.input(0, Input::Command(Command::Addresses(addresses)));
    rig.run();
    assert!(issued(&rig, 0).is_empty());
    rig.advance(Duration::from_secs(600));
    let records = issued(&rig, 0);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].addresses, addresses);
    for node in &rig.nodes {
        let id = records[0].key.node_id();
        let members = node.relay.members();
        assert_eq!(members.find(&id).unwrap().record(), &records[0]);
    }
}

/// Of a relay that has said nothing of itself yet.
fn config(rig: &Rig, context: &Context) -> RelayConfig {
    RelayConfig {
        network: Arc::clone(&rig.network),
        key: context.key,
        addresses: [None, None],
        family: [0; 8],
        since: Tick(1),
        last_record: None,
        convictions: Vec::new(),
        repair_bytes_per_s: 1 << 20,
        pledge: crate::pledge::OwnPledge::default(),
    }
}

/// [GOS-1]: also one that came while the record was being signed.
#[test]
fn a_change_during_the_signing_is_not_lost() {
    let rig = Rig::new(3);
    let (mut context, now) = (rig.view_of(0), rig.now);
    let mut gossip = Gossip::new(config(&rig, &context), now);
    let mut out = Effects::default();
    let key = rig.crypto.onion_key(&[1; 32]).public;
    gossip.onion_keys(&mut context, now, 1, key.clone(), key, &mut out);
    let signing: Vec<_> = out.drain().collect();
    let [crate::effects::Effect::Sign { id, .. }] = signing.as_slice() else {
        panic!("{signing:?}")
    };
    gossip.addresses(&mut context, now, [testing::address(9), None], &mut out);
    let SignTicket::Record(record) = id.0.clone() else {
        panic!()
    };
    gossip.issued(&mut context, now, record, Signature([0; 64]), &mut out);
    let due = gossip.deadline().unwrap();
    let later = Now {
        mono: now.mono.plus(Duration::from_secs(600)),
        unix: now.unix.plus(Duration::from_secs(600)),
    };
    assert!(due <= later.mono);
    out.drain().for_each(drop);
    gossip.wake(&mut context, later, &mut out);
    let wish = out.drain().find_map(|effect| match effect {
        crate::effects::Effect::Sign { id, .. } => Some(id.0),
        _ => None,
    });
    let Some(SignTicket::Record(record)) = wish else {
        panic!()
    };
    assert_eq!(record.addresses[0], testing::address(9));
}

/// [GOS-1], [REC-2]: and the relay counts meanwhile with the record that it issued before.
#[test]
fn a_restart_within_a_tick_issues_no_second_record_of_one_sequence() {
    let mut rig = Rig::new(3);
    let before = rig.nodes[0].last_record.clone().unwrap();
    rig.restart(0);
    assert!(issued(&rig, 0).is_empty());
    let id = before.key.node_id();
    let own = rig.nodes[0].relay.members();
    assert_eq!(own.find(&id).map(|member| member.record()), Some(&before));
    rig.advance(Duration::from_secs(601));
    let records = issued(&rig, 0);
    assert_eq!(records.len(), 1);
    assert!(records[0].sequence > before.sequence);
    assert_eq!(hashes(&rig).len(), 1);
}

/// [REC-2], [LST-4]
#[test]
fn contradicting_records_convict_their_key_wherever_they_meet() {
    let mut rig = Rig::new(4);
    let record = rig.nodes[3].last_record.clone().unwrap();
    let second = Record {
        puzzle: 99,
        ..record
    };
    let second = second.sign(&rig.crypto, &rig.nodes[3].secret);
    let keys = OnionKeys::default();
    let message = Message::Records(alloc::vec![RecordWithKeys {
        record: second,
        keys
    }]);
    for at in [0, 1] {
        rig.deliver(3, at, message.clone());
    }
    rig.run();
    let id = rig.nodes[3].key.node_id();
    for at in [0, 1] {
        assert!(rig.nodes[at].events.contains(&Event::Convicted { id }));
    }
    assert_eq!(
        rig.nodes[0].relay.members().hash(),
        rig.nodes[1].relay.members().hash()
    );
}

/// [GOS-4]
#[test]
fn a_list_is_handed_out_in_parts_and_not_again_to_who_has_it() {
    let mut rig = Rig::new(30);
    let list = rig.nodes[0].relay.members();
    let (mut held, mut from, mut keys) = ([0; 32], 0, Vec::<NodeKey>::new());
    for expected in [13, 13, 4] {
        let stream = rig.ask(0, Message::ListAsk(ListAsk { held, from }));
        let Some(Message::ListPart(part)) = rig.answer(stream) else {
            panic!()
        };
        assert_eq!((part.hash, part.total, part.from), (*list.hash(), 30, from));
        assert_eq!(part.members.len(), expected);
        keys.extend(part.members.iter().map(|member| member.record.key));
        held = part.hash;
        from += u32::try_from(expected).unwrap();
    }
    let whole: Vec<NodeKey> = list.iter().map(|member| member.record().key).collect();
    assert_eq!(keys, whole);
    for (held, from) in [(held, 0), ([0; 32], 30), ([0; 32], u32::MAX)] {
        let stream = rig.ask(0, Message::ListAsk(ListAsk { held, from }));
        let Some(Message::ListPart(part)) = rig.answer(stream) else {
            panic!()
        };
        assert!(part.members.is_empty());
        assert_eq!(part.total, 30);
    }
}

/// [ELI-6]
#[test]
fn a_relay_whose_record_lapses_stays_a_holder_of_the_epochs_before() {
    let rig = Rig::new(8);
    let mut context = rig.view_of(0);
    let scale = rig.network.scale;
    let today = scale.epoch_of(rig.now.unix);
    let cell = crate::place::Cell(7);
    let before = context.placement(today, cell);
    let later = Now {
        mono: rig.now.mono,
        unix: rig.now.unix.plus(Duration::from_secs(30 * 3_600)),
    };
    assert!(context.view.refresh(&rig.network, later));
    assert!(context.view.snapshot().is_empty());
    assert_eq!(context.placement(today, cell).ranked(), before.ranked());
    assert!(context.placement(today.plus(2), cell).ranked().is_empty());
}

/// [GOS-6]
#[test]
fn onion_keys_travel_only_to_who_lacks_them() {
    let mut rig = Rig::new(4);
    rig.sent.clear();
    rig.advance(Duration::from_secs(7 * 3_600));
    let told = |rig: &Rig| {
        let records = |message: &Message| match message {
            Message::Records(records) => records.clone(),
            _ => Vec::new(),
        };
        let sent = rig
            .sent
            .iter()
            .map(|(_, to, message)| (*to, records(message)));
        sent.flat_map(|(to, records)| records.into_iter().map(move |record| (to, record)))
            .collect::<Vec<_>>()
    };
    let renewed = told(&rig);
    assert!(renewed.len() >= 12, "all were renewed: {}", renewed.len());
    let bare = OnionKeys::default();
    assert!(renewed.iter().all(|(_, record)| record.keys == bare));

    // One that starts with an empty list is given them, by whoever told it of a record.
    let before = rig.nodes[0].relay.members();
    rig.restart(0);
    rig.advance(Duration::from_secs(1_300));
    let members = rig.nodes[0].relay.members();
    assert_eq!(members.len(), before.len());
    assert!(
        members
            .iter()
            .all(|one| one.keys().are_all_of(one.record()))
    );
    let given = told(&rig).into_iter().skip(renewed.len());
    let given: Vec<_> = given.filter(|(_, record)| record.keys != bare).collect();
    assert!(!given.is_empty() && given.iter().all(|(to, _)| *to == 0));
}

/// [GOS-6]: what was lost on the way is asked for again in the next round.
#[test]
fn keys_that_did_not_come_are_asked_for_in_the_next_round() {
    let mut rig = Rig::new(3);
    let next = rig.crypto.onion_key(&[9; 32]).public;
    let hash = onion_key_hash(&next);
    rig.cut.extend([(0, 1), (0, 2)]);
    let current = rig.crypto.onion_key(&[8; 32]).public;
    rig.advance(Duration::from_secs(700));
    let turned = Command::OnionKeys {
        generation: 9,
        current,
        next,
    };
    rig.input(0, Input::Command(turned));
    rig.run();
    // Only the bare record reaches the others.
    let mut record = rig.nodes[0].last_record.clone().unwrap();
    assert_eq!(record.onion_next, Some(hash));
    record.signature = rig.nodes[0].last_record.clone().unwrap().signature;
    let keys = OnionKeys::default();
    let bare = Message::Records(alloc::vec![RecordWithKeys { record, keys }]);
    for at in [1, 2] {
        rig.deliver(0, at, bare.clone());
    }
    rig.run();
    let id = rig.nodes[0].key.node_id();
    let has = |rig: &Rig, at: usize| {
        let members = rig.nodes[at].relay.members();
        let member = members.find(&id).unwrap();
        member.keys().are_all_of(member.record())
    };
    assert!(!has(&rig, 1) && !has(&rig, 2));
    rig.cut.clear();
    rig.advance(Duration::from_secs(1_300));
    assert!(has(&rig, 1) && has(&rig, 2));
}

/// [GOS-3]: a relay that offers records without end fills no memory here.
#[test]
fn what_was_asked_for_is_remembered_within_bounds() {
    let rig = Rig::new(2);
    let context = rig.view_of(0);
    let snapshot = context.view.snapshot();
    let config = config(&rig, &context);
    let mut gossip = Gossip::new(config, rig.now);
    let offered: Vec<[u8; 32]> = (0..2 * limits::MEMBERS_MAX as u32)
        .map(|number| crate::hash::derive("test", &[&number.to_be_bytes()]))
        .collect();
    let mut out = Effects::default();
    let peer = rig.nodes[1].key.node_id();
    for items in offered.chunks(1_000) {
        gossip.want(rig.now, peer, &snapshot, items, &mut out);
        out.drain().for_each(drop);
    }
    assert_eq!(gossip.asked.len(), limits::MEMBERS_MAX);
}
