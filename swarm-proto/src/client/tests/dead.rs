//! What a correspondent is promised about relays that are down.

use core::net::{IpAddr, Ipv4Addr};

use super::super::lists::SOURCES_ASKED;
use super::super::*;
use super::{fetch_all, letter, over, scene};
use crate::network::{Caps, Reachability};
use crate::rig::Rig;
use crate::time::UnixTime;

fn key(n: u8) -> NodeKey {
    NodeKey([n; 32])
}

fn source(n: u8) -> Source {
    let ip = IpAddr::V4(Ipv4Addr::new(127, n, 0, 1));
    Source {
        key: key(n),
        address: Address::new(ip, 7_700).unwrap(),
    }
}

fn at(ms: u64) -> Now {
    Now {
        mono: Instant(ms * 1_000),
        unix: UnixTime(1_790_000_000_000 + ms),
    }
}

fn client(sources: u8) -> Client {
    let keys: Vec<NodeKey> = (1..=sources).map(key).collect();
    let mut network = Network::public("test", &keys);
    network.caps = Caps {
        v4_24: 0,
        v4_16: 0,
        v6_48: 0,
        v6_32: 0,
        per_set: 0,
        per_path: 0,
    };
    network.reachability = Reachability::Assume;
    let sources = (1..=sources).map(source).collect();
    Client::new(
        Arc::new(network),
        sources,
        Pinned::default(),
        [1; 32],
        at(0),
    )
}

fn step(client: &mut Client, now: Now, input: Input) -> Vec<Effect> {
    let mut out = Vec::new();
    client.step(now, input, &mut out);
    out
}

fn asked(effects: &[Effect]) -> Vec<(AskId, NodeKey)> {
    let list = |effect: &Effect| match effect {
        Effect::List { ask, source, .. } => Some((*ask, source.key)),
        _ => None,
    };
    effects.iter().filter_map(list).collect()
}

#[test]
fn others_are_asked_beside_silent_sources() {
    let mut client = client(8);
    let first = asked(&step(&mut client, at(0), Input::Wake));
    let due = client.deadline().unwrap();
    let second = asked(&step(
        &mut client,
        Now {
            mono: due,
            ..at(3_000)
        },
        Input::Wake,
    ));
    assert_eq!(second.len(), 8 - SOURCES_ASKED);
    assert!(
        second
            .iter()
            .all(|(_, key)| first.iter().all(|(_, other)| other != key))
    );
}

/// [PTH-2]: the other guard is one that was pinned before, never a fresh one.
#[test]
fn a_guard_that_is_down_is_put_last_and_stays_pinned() {
    let pin = |n: u8| Pin {
        id: NodeId([n; 32]),
        until: UnixTime(u64::MAX),
    };
    let mut pinned = Pinned {
        guards: alloc::vec![pin(1), pin(2)],
        second: Vec::new(),
    };
    assert!(pinned.put_last(&NodeId([1; 32])));
    assert_eq!(pinned.guards, [pin(2), pin(1)]);
    assert!(!pinned.put_last(&NodeId([1; 32])), "it is last already");
    assert!(!pinned.put_last(&NodeId([9; 32])), "it is no guard");
}

/// The nodes of a correspondent's guards.
fn guards(rig: &Rig) -> Vec<usize> {
    let pinned = &rig.person.as_ref().unwrap().client.pinned;
    pinned.guards.iter().map(|pin| rig.index(&pin.id)).collect()
}

/// [PTH-10]: on a busy machine one guard was dead and the other late for a moment; for half a minute there was
/// then no path to anybody, and a reading gave up after three seconds of it.
#[test]
fn a_guard_that_was_late_is_tried_again_when_the_other_is_dead() {
    let mut rig = scene(12);
    let guards = guards(&rig);
    assert_eq!(guards.len(), 2);
    guards.iter().for_each(|at| rig.nodes[*at].up = false);
    rig.command(1, fetch_all(&rig));
    let told = rig.told();
    let waits = |event: &Event| match event {
        Event::Waiting { why, .. } => Some(*why),
        _ => None,
    };
    assert_eq!(told.iter().find_map(waits), Some(Trouble::NoGuard));
    rig.nodes[guards[1]].up = true;
    rig.advance(Duration::from_secs(2));
    let told = rig.told();
    assert!(
        matches!(over(&told), Some(Event::Fetched { .. })),
        "{told:?}"
    );
}

/// [PTH-2], [PTH-7], [PTH-10]
#[test]
fn while_all_guards_are_dead_nobody_else_is_entered_by_and_the_reason_is_told() {
    let mut rig = scene(12);
    let guards = guards(&rig);
    guards.iter().for_each(|at| rig.nodes[*at].up = false);
    rig.command(1, fetch_all(&rig));
    rig.command(2, letter(&rig, 1));
    rig.advance(Duration::from_secs(60));
    let told = rig.told();
    let (id, why) = (CommandId(1), Trouble::NoGuard);
    assert_eq!(over(&told), Some(&Event::Failed { id, why }));
    let entered: BTreeSet<usize> = rig
        .asks()
        .iter()
        .map(|ask| rig.index(&ask.path.guard()))
        .collect();
    assert_eq!(entered, guards.iter().copied().collect());
    assert!(rig.asks().len() < 120, "{} tries", rig.asks().len());
    guards.iter().for_each(|at| rig.nodes[*at].up = true);
    rig.advance(Duration::from_secs(31));
    let told = rig.told();
    assert!(
        matches!(over(&told), Some(Event::Stored { .. })),
        "{told:?}"
    );
}

/// [PTH-10]: in a network of five a path takes four of them.
#[test]
fn relays_that_failed_are_tried_again_when_no_path_is_left_without_them() {
    let mut rig = scene(5);
    rig.person.as_mut().unwrap().mute = true;
    rig.command(1, letter(&rig, 1));
    let mut asked = 0;
    for _ in 0..12 {
        // The second layer says that the middle cannot be reached.
        let answer = Err(AskFailure::Hop {
            hop: 1,
            refusal: Refusal::HopUnreachable,
        });
        let Some(ask) = rig.asks().get(asked).map(|ask| ask.id) else {
            break;
        };
        asked += 1;
        rig.person(Input::Answered { ask, answer });
        rig.advance(Duration::from_secs(2));
    }
    assert_eq!(asked, 12, "within 24 seconds");
}
