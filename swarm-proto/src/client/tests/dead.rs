//! What a correspondent is promised about relays that are down.

use core::net::{IpAddr, Ipv4Addr};

use super::super::lists::SOURCES_ASKED;
use super::super::*;
use crate::network::{Caps, Reachability};
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
