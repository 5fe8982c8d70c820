//! What idle machines weigh: large worlds must fit into the memory of one computer.
//!
//! Measured as growth of the resident set, so this test has a program of its own and needs Linux.

use std::fs;
use std::io::{self, Write};
use std::sync::Arc;

use poste_sim::{Scenario, World};
use swarm_proto::client::{Client, Pinned};
use swarm_proto::crypto::SecretKey;
use swarm_proto::id::NodeKey;
use swarm_proto::network::Network;
use swarm_proto::pledge::OwnPledge;
use swarm_proto::relay::{Relay, RelayConfig};
use swarm_proto::time::{Now, Tick};

#[test]
fn memory_of_an_idle_relay_is_small() {
    let Some(start) = resident_bytes() else {
        let name = "memory_of_an_idle_relay_is_small";
        writeln!(io::stderr(), "skipped: {name}: no /proc/self/statm").unwrap();
        return;
    };
    let key = NodeKey(*SecretKey::from_seed(&[1; 32]).public());
    let network = Arc::new(Network::public("weighed", &[key]));
    let now = Now::default();
    let config = RelayConfig {
        network: Arc::clone(&network),
        key,
        addresses: [None, None],
        family: [0; 8],
        since: Tick(0),
        convictions: Vec::new(),
        last_record: None,
        repair_bytes_per_s: 1 << 20,
        pledge: OwnPledge::default(),
    };
    let relays: Vec<Relay> = (0..MACHINES)
        .map(|_| Relay::new(config.clone(), [1; 32], now))
        .collect();
    let after_relays = resident_bytes().unwrap();
    let clients: Vec<Client> = (0..MACHINES)
        .map(|_| {
            Client::new(
                Arc::clone(&network),
                Vec::new(),
                Pinned::default(),
                [1; 32],
                now,
            )
        })
        .collect();
    let after_clients = resident_bytes().unwrap();
    let relay = (after_relays - start) / MACHINES;
    let client = (after_clients - after_relays) / MACHINES;
    drop((relays, clients));

    // With a list: every relay keeps the records of all others.
    let before = resident_bytes().unwrap();
    let mut world = World::new(Scenario::calm(1, KNOWN, 0));
    world.run_minutes(120);
    let knows_all = |relay| world.relay(relay).unwrap().relay().unwrap().members().len();
    assert!(
        world
            .relays()
            .map(knows_all)
            .all(|known| known as u64 == u64::from(KNOWN))
    );
    let listed = (resident_bytes().unwrap() - before) / u64::from(KNOWN);
    let member = listed.saturating_sub(relay) / u64::from(KNOWN);
    writeln!(
        io::stdout(),
        "an idle relay {relay} bytes, an idle correspondent {client} bytes; a relay that knows {KNOWN} \
         members {listed} bytes with its driver, {member} for each member"
    )
    .unwrap();
    assert!(relay * 10_000 < BUDGET, "{relay} bytes for an idle relay");
    assert!(
        client * 10_000 < BUDGET,
        "{client} bytes for an idle correspondent"
    );
    assert!(
        member < MEMBER_BYTES_MAX,
        "{member} bytes for a member of a list"
    );
}

/// Pages in use times their size.
fn resident_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4_096)
}

/// Enough that pages do not blur the figure.
const MACHINES: u64 = 4_000;
/// Relays of the world whose lists are weighed.
const KNOWN: u32 = 120;
/// Ten thousand machines that know nobody fit into 8 GB many times over. With whole lists they do not: each
/// relay keeps its own copy of each record, so that about 1,600 relays that all know each other fill it.
const BUDGET: u64 = 8 * 1024 * 1024 * 1024;
/// A record, two onion keys of 1,216 bytes, and what maps and allocations add.
const MEMBER_BYTES_MAX: u64 = 6_000;
