//! What two honest sides can rely on.

use super::*;
use crate::hello::{Clock, ClockHeard, Versions};
use crate::{AskFailure, LinkFailure, TellFailure};
use swarm_proto::time::UnixTime;

#[tokio::test]
async fn questions_and_answers_of_every_size_arrive_whole() {
    let relay = Relay::start(1, LinkConfig::default());
    let client = client(LinkConfig::default());
    let link = client
        .link(relay.target.key, relay.target.addr)
        .await
        .unwrap();
    for bytes in [0, 1, 36, 4_096, 7_168, 7_169, 32_512, 37_888] {
        let asked = onion(bytes, 1);
        let answer = link.ask(&asked, DEADLINE).await.unwrap();
        assert_eq!(answer.kind, FrameKind::OnionAnswerLarge);
        assert_eq!(answer.body, asked.body);
    }
}

#[tokio::test]
async fn sixteen_large_onions_share_one_link() {
    let relay = Relay::start(1, LinkConfig::default());
    let client = client(LinkConfig::default());
    let link = client
        .link(relay.target.key, relay.target.addr)
        .await
        .unwrap();
    let asking: Vec<_> = (0..16)
        .map(|first| {
            let link = link.clone();
            client.shared.tracker.spawn(async move {
                let asked = onion(37_888, first);
                link.ask(&asked, DEADLINE).await.unwrap().body == asked.body
            })
        })
        .collect();
    for answered in asking {
        assert!(answered.await.unwrap());
    }
    assert_eq!(relay.count(LinkCount::Accepted), 1);
}

#[tokio::test]
async fn a_relay_tells_another_in_every_size() {
    let relay = Relay::start(1, LinkConfig::default());
    let other = Relay::start(2, LinkConfig::default());
    let to = relay.target;
    let link = other.endpoint.link(to.key, to.addr).await.unwrap();
    for (kind, bytes) in [
        (FrameKind::Erase, 165),
        (FrameKind::Reconcile, 32_773),
        (FrameKind::Copy, 32_646),
        (FrameKind::Want, 0),
    ] {
        let told = Frame::new(kind, vec![7; bytes]);
        link.tell(&told).await.unwrap();
        until("the message", || !relay.echo.heard().is_empty()).await;
        let (from, heard) = relay.echo.heard.lock().unwrap().remove(0);
        assert_eq!(heard, told);
        assert!(matches!(from, Peer::Relay { key, .. } if key == other.target.key));
    }
}

#[tokio::test]
async fn a_refusal_reaches_the_asker() {
    let relay = Relay::start(1, LinkConfig::default());
    let other = Relay::start(2, LinkConfig::default());
    let to = relay.target;
    let link = other.endpoint.link(to.key, to.addr).await.unwrap();
    let asked = Frame::new(FrameKind::Want, vec![0; 2]);
    let answer = link.ask(&asked, DEADLINE).await;
    let refused = Refused {
        code: 11,
        detail: 5,
    };
    assert_eq!(answer, Err(AskFailure::Refused(refused)));
}

/// [LNK-1]
#[tokio::test]
async fn a_relay_with_another_key_is_not_taken_for_the_one_that_was_meant() {
    let relay = Relay::start(1, LinkConfig::default());
    let meant = Identity::from_seed(&[3; 32]).unwrap().node_key();
    for endpoint in [
        client(LinkConfig::default()),
        Relay::start(2, LinkConfig::default()).endpoint,
    ] {
        let linked = endpoint.link(meant, relay.target.addr).await;
        assert_eq!(linked.unwrap_err(), LinkFailure::WrongKey);
    }
}

/// [FRM-2], [LNK-4]
#[tokio::test]
async fn a_wrong_network_is_told() {
    let relay = Relay::start(1, LinkConfig::default());
    let elsewhere = Greeting::new(NetworkId([8; 32]));
    let socket = bind(loopback()).unwrap();
    let client = Endpoint::client(socket, elsewhere, LinkConfig::default()).unwrap();
    let linked = client.link(relay.target.key, relay.target.addr).await;
    let failure = linked.unwrap_err();
    assert_eq!(failure, LinkFailure::WrongNetwork { theirs: None });
    relay.until_counted(LinkCount::WrongNetwork, 1).await;
    until("the link's place to be free", || {
        relay.endpoint.held_links() == (0, 0)
    })
    .await;
}

/// [FRM-2]
#[tokio::test]
async fn a_wrong_version_is_told_with_the_right_one() {
    let mut spoken = greeting();
    spoken.versions = Versions {
        lowest: 3,
        highest: 4,
    };
    let config = LinkConfig::default();
    let relay = Relay::start_as(1, loopback(), spoken, config.clone(), Vec::new());
    let linked = client(config)
        .link(relay.target.key, relay.target.addr)
        .await;
    let failure = LinkFailure::WrongVersion { theirs_highest: 4 };
    assert_eq!(linked.unwrap_err(), failure);
    assert_eq!(relay.count(LinkCount::WrongVersion), 1);
}

/// [LNK-4]
#[tokio::test]
async fn a_client_may_ask_but_not_tell() {
    let relay = Relay::start(1, LinkConfig::default());
    let client = client(LinkConfig::default());
    let link = client
        .link(relay.target.key, relay.target.addr)
        .await
        .unwrap();
    let told = Frame::new(FrameKind::Erase, vec![0; 165]);
    let failure = TellFailure::Unsendable(FrameKind::Erase);
    assert_eq!(link.tell(&told).await, Err(failure));
    link.ask(&onion(1, 1), DEADLINE).await.unwrap();
    assert!(matches!(relay.echo.asked_by()[..], [Peer::Client(_)]));
    let stream = tokio::time::timeout(Duration::ZERO, link.connection.open_uni());
    assert!(
        stream.await.is_err(),
        "the relay gave a client a stream to tell on"
    );
}

#[tokio::test]
async fn both_sides_learn_how_far_their_clocks_are_apart() {
    let ahead = Clock::new(|| UnixTime(Clock::system().read().0 + HOUR_MS));
    let mut greeting = greeting();
    greeting.clock = ahead.clone();
    let config = LinkConfig::default();
    let relay = Relay::start_as(1, loopback(), greeting, config.clone(), Vec::new());
    let other = Relay::start(2, config.clone());
    let to = relay.target;
    let link = other.endpoint.link(to.key, to.addr).await.unwrap();
    let ahead_ms = |clock: ClockHeard| clock.ahead_ms(Clock::system().read());
    assert!(ahead_ms(link.clock()).abs_diff(HOUR_MS as i64) < HOUR_MS / 2);
    link.ask(&onion(1, 1), DEADLINE).await.unwrap();
    let asked_by = relay.echo.asked_by();
    let [Peer::Relay { clock, .. }] = asked_by[..] else {
        panic!("{asked_by:?}");
    };
    let back_then = ahead.read();
    assert!(clock.ahead_ms(back_then).abs_diff(-(HOUR_MS as i64)) < HOUR_MS / 2);
    // A step of the own clock shows at once, without another hello.
    let right = Clock::system().read();
    assert!(clock.ahead_ms(right).unsigned_abs() < HOUR_MS / 2);
    assert!(clock.error < config.handshake_wait + config.handshake_wait);
}

const HOUR_MS: u64 = 3_600_000;

/// [LNK-7]
#[tokio::test]
async fn a_client_keeps_its_link_when_its_address_changes() {
    let relay = Relay::start(1, LinkConfig::default());
    let client = client(LinkConfig::default());
    let link = client
        .link(relay.target.key, relay.target.addr)
        .await
        .unwrap();
    let before = client.local_addr().unwrap();
    client.rebind(bind(loopback()).unwrap()).unwrap();
    assert_ne!(client.local_addr().unwrap(), before);
    link.ask(&onion(37_888, 1), DEADLINE).await.unwrap();
    assert_eq!(relay.count(LinkCount::Accepted), 1);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_late_and_leaves_the_link_alive() {
    let relay = Relay::start(1, LinkConfig::default());
    let client = client(LinkConfig::default());
    let link = client
        .link(relay.target.key, relay.target.addr)
        .await
        .unwrap();
    let late = link.ask(&onion(9, HANG), Duration::from_millis(200)).await;
    assert!(matches!(late, Err(AskFailure::Late { .. })));
    link.ask(&onion(9, 1), DEADLINE).await.unwrap();
}

#[tokio::test]
async fn closing_ends_every_task() {
    let relay = Relay::start(1, LinkConfig::default());
    let client = client(LinkConfig::default());
    let link = client
        .link(relay.target.key, relay.target.addr)
        .await
        .unwrap();
    let asking = {
        let link = link.clone();
        client
            .shared
            .tracker
            .spawn(async move { link.ask(&onion(9, HANG), DEADLINE).await })
    };
    until("the question", || !relay.echo.asked_by().is_empty()).await;
    relay.endpoint.close().await;
    assert!(relay.endpoint.shared.tracker.is_empty());
    assert!(matches!(
        asking.await.unwrap(),
        Err(AskFailure::Lost(_) | AskFailure::Cut)
    ));
    let linked = relay
        .endpoint
        .link(relay.target.key, relay.target.addr)
        .await;
    assert!(matches!(linked, Err(LinkFailure::Undialable(_))));
}
