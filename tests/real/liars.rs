//! A relay that says that it keeps what it has lost is found out by the others, and they say why.

use poste_node::devnet::DevnetLauncher;
use poste_node::status;
use poste_tests::correspondent::Correspondent;
use poste_tests::net::{Net, until};

use crate::RELAY;

const LAZY_RELAY: &str = env!("CARGO_BIN_EXE_test-lazy-relay");

/// [SWP-3] [SWP-6] [SWP-7]
#[tokio::test]
async fn a_relay_that_kept_only_the_names_of_letters_is_not_counted_on() {
    let mut net = Net::start(RELAY, 7).await;
    let liar = 3;
    net.stop(liar).await;
    let lazy = DevnetLauncher {
        exe: "env".into(),
        relay_args_prefix: vec!["TEST_LIE=names:1000000".into(), LAZY_RELAY.into()],
    };
    net.restart_as(liar, lazy).await;
    net.meet().await;
    // One after the other: a subnet has four links to a relay.
    for seed in 60..80 {
        let who = Correspondent::new(net.file(), seed);
        for _ in 0..3 {
            who.deposit_one().await.unwrap();
        }
    }
    let node = net.told(liar).await.node_id;
    let mut found = 0;
    until("somebody does not count on it", async || {
        for index in (0..net.nodes()).filter(|index| *index != liar) {
            let status = net.told(index).await;
            if status.sweeps.failed > 0 {
                found = index;
                return true;
            }
        }
        false
    })
    .await;
    let socket = net.home(found).socket_path();
    let mut told = None;
    until("it says why", async || {
        told = status::ask_standing(&socket, &node[..12]).await.ok();
        told.is_some()
    })
    .await;
    let standing = told.unwrap();
    assert_eq!(standing.node, node);
    assert!(
        !standing.is_counted_on && standing.missing > 0,
        "{standing:?}"
    );
    assert!(standing.ranges >= standing.ranges_needed, "{standing:?}");
    let text = status::standing_text(&standing);
    assert!(text.contains("not counted on"), "{text}");
    for index in (0..net.nodes()).filter(|index| *index != liar) {
        assert!(net.told(index).await.sweeps.failed <= 1, "{index}");
    }
    let log = net.log(found);
    assert!(log.contains("others take its place"), "{log}");
    until("it goes on relaying", async || {
        net.status(liar).await.is_some()
    })
    .await;
}
