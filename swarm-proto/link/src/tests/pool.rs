//! A relay's links to many others.

use super::*;
use crate::{AskFailure, LinkFailure, Links};

#[tokio::test]
async fn everybody_in_a_program_shares_one_link_to_a_peer() {
    let relay = Relay::start(1, LinkConfig::default());
    let other = Relay::start(2, LinkConfig::default());
    let links = Links::new(other.endpoint.clone());
    let asking: Vec<_> = (0..50)
        .map(|first| {
            let (links, to) = (links.clone(), relay.target);
            other.endpoint.shared.tracker.spawn(async move {
                let asked = onion(7_168, first);
                links.ask(to, &asked, DEADLINE).await.unwrap().body == asked.body
            })
        })
        .collect();
    for answered in asking {
        assert!(answered.await.unwrap());
    }
    assert_eq!(other.count(LinkCount::Dialled), 1);
    assert_eq!(links.len(), 1);
}

#[tokio::test]
async fn messages_reach_the_peer_over_the_pool() {
    let relay = Relay::start(1, LinkConfig::default());
    let other = Relay::start(2, LinkConfig::default());
    let links = Links::new(other.endpoint.clone());
    for fill in 0..40 {
        assert!(links.tell(
            relay.target,
            Frame::new(FrameKind::Copy, vec![fill; 32_646])
        ));
    }
    until("the messages", || relay.echo.heard().len() == 40).await;
    let mut fills: Vec<u8> = relay
        .echo
        .heard()
        .iter()
        .map(|(_, told)| told.body[0])
        .collect();
    fills.sort_unstable();
    assert_eq!(fills, (0..40).collect::<Vec<u8>>());
}

/// [LNK-12]: or a relay that can be reached no more would seem to be there as long as it speaks itself.
#[tokio::test]
async fn who_says_that_it_is_there_dials_nobody_for_that() {
    let relay = Relay::start(1, LinkConfig::default());
    let other = Relay::start(2, LinkConfig::default());
    let links = Links::new(other.endpoint.clone());
    let here = || Frame::new(FrameKind::Here, Vec::new());
    assert!(links.tell(relay.target, here()));
    until("it to be given up", || {
        other.count(LinkCount::TellFailed) == 1
    })
    .await;
    assert_eq!(other.count(LinkCount::Dialled), 0);
    links
        .ask(relay.target, &onion(9, 1), DEADLINE)
        .await
        .unwrap();
    assert!(links.tell(relay.target, here()));
    until("it", || relay.echo.heard().len() == 1).await;
    assert_eq!(other.count(LinkCount::Dialled), 1);
}

/// [LNK-8]
#[tokio::test]
async fn a_full_queue_drops_the_message_and_counts_it() {
    let config = LinkConfig {
        tells_per_peer_max: 4,
        ..LinkConfig::default()
    };
    let other = Relay::start(2, config);
    let links = Links::new(other.endpoint.clone());
    // A socket that never answers.
    let silent = bind(loopback()).unwrap();
    let to = Target {
        key: NodeKey([5; 32]),
        addr: silent.local_addr().unwrap(),
    };
    let told = Frame::new(FrameKind::Erase, vec![0; 165]);
    let queued = (0..10).filter(|_| links.tell(to, told.clone()));
    assert_eq!(queued.count(), 4);
    assert_eq!(other.count(LinkCount::TellDropped), 6);
}

/// [LNK-8]
#[tokio::test]
async fn all_queues_together_have_a_bound_in_bytes() {
    let config = LinkConfig {
        tells_bytes_max: 100 * 1024,
        ..LinkConfig::default()
    };
    let other = Relay::start(2, config);
    let links = Links::new(other.endpoint.clone());
    let silent = bind(loopback()).unwrap();
    let addr = silent.local_addr().unwrap();
    let queued = (0..10).filter(|seed| {
        let key = NodeKey([*seed; 32]);
        links.tell(
            Target { key, addr },
            Frame::new(FrameKind::Copy, vec![0; 32_646]),
        )
    });
    assert_eq!(queued.count(), 3);
}

#[tokio::test]
async fn the_pool_gives_up_the_link_unused_for_longest() {
    let config = LinkConfig {
        pool_links_max: 2,
        ..LinkConfig::default()
    };
    let relays = [1, 2, 3].map(|seed| Relay::start(seed, LinkConfig::default()));
    let other = Relay::start(9, config);
    let links = Links::new(other.endpoint.clone());
    for at in [0, 1, 0, 2] {
        links
            .ask(relays[at].target, &onion(9, 1), DEADLINE)
            .await
            .unwrap();
    }
    assert_eq!(links.len(), 2);
    assert_eq!(other.count(LinkCount::PoolEvicted), 1);
    until("the second relay's link to close", || {
        relays[1].endpoint.held_links() == (0, 0)
    })
    .await;
    assert_eq!(relays[0].endpoint.held_links(), (0, 1));
}

/// [LNK-10]: somebody who only tells notices too, and a peer that lives is not given up.
#[tokio::test]
async fn a_peer_that_died_without_a_word_is_noticed_by_what_it_is_told() {
    let config = LinkConfig {
        silence_max: SHORT,
        dial_wait: SHORT,
        ..LinkConfig::default()
    };
    let other = Relay::start(2, config);
    let (gone, lost) = tokio::sync::watch::channel(0);
    let links = Links::watched(other.endpoint.clone(), move |_, ahead_ms| {
        gone.send_modify(|count| *count += usize::from(ahead_ms.is_none()));
    });
    let process = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let started = process.spawn(async { Relay::start(1, LinkConfig::default()) });
    let relay = started.await.unwrap();
    let to = relay.target;
    let message = || Frame::new(FrameKind::Copy, vec![1; 100]);
    for told in 1..3 {
        assert!(links.tell(to, message()));
        until("the message", || relay.echo.heard().len() == told).await;
        // Long enough for a peer that says nothing to be given up, if that were enough.
        tokio::time::sleep(SHORT + SHORT / 4).await;
    }
    assert_eq!(*lost.borrow(), 0, "it lives");
    process.shutdown_background();
    drop(relay);
    until("the port to be free", || bind(to.addr).is_ok()).await;
    // Somebody else has the port, so that nothing says that it is closed.
    let _silent = bind(to.addr).unwrap();
    assert!(links.tell(to, message()));
    until("its death to be noticed", || *lost.borrow() > 0).await;
    // Handed to the network, and lost.
    other.until_counted(LinkCount::TellFailed, 1).await;
}

/// [LNK-7]
#[tokio::test]
async fn a_peer_that_crashed_and_came_back_is_reached_by_the_next_question() {
    let other = Relay::start(2, LinkConfig::default());
    let links = Links::new(other.endpoint.clone());
    // A runtime of its own, so that the relay can be torn down without a word, as by a crash.
    let process = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let started = process.spawn(async { Relay::start(1, LinkConfig::default()) });
    let relay = started.await.unwrap();
    let to = relay.target;
    links.ask(to, &onion(9, 1), DEADLINE).await.unwrap();
    process.shutdown_background();
    drop(relay);
    until("the port to be free", || bind(to.addr).is_ok()).await;

    let config = LinkConfig::default();
    let again = Relay::start_as(1, to.addr, greeting(), config, Vec::new());
    links.ask(to, &onion(9, 1), DEADLINE).await.unwrap();
    assert_eq!(again.count(LinkCount::Accepted), 1);
    assert_eq!(other.count(LinkCount::Dialled), 2);
}

/// [LNK-9]
#[tokio::test]
async fn nobody_waits_for_a_relay_that_failed_before_and_it_is_found_when_it_is_back() {
    let config = LinkConfig {
        dial_wait: SHORT,
        dial_pause_min: Duration::ZERO,
        dial_pause_max: Duration::ZERO,
        ..LinkConfig::default()
    };
    let other = Relay::start(2, config);
    let links = Links::new(other.endpoint.clone());
    let silent = bind(loopback()).unwrap();
    let to = Target {
        key: Relay::start(1, LinkConfig::default()).target.key,
        addr: silent.local_addr().unwrap(),
    };
    assert_eq!(links.link(to).await.unwrap_err(), LinkFailure::Unreachable);
    // Each of these is answered although a dial is under way that nobody answers.
    for _ in 0..10 {
        assert_eq!(links.link(to).await.unwrap_err(), LinkFailure::Pausing);
    }
    assert!(other.count(LinkCount::DialFailed) < 10);
    drop(silent);
    let back = Relay::start_as(1, to.addr, greeting(), LinkConfig::default(), Vec::new());
    until_linked(&links, to).await;
    assert_eq!(back.count(LinkCount::Accepted), 1);
}

/// Asks again until the relay is found.
async fn until_linked(links: &Links, to: Target) {
    let linking = async {
        while links.link(to).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, linking).await.unwrap();
}

#[tokio::test]
async fn a_dead_address_is_not_dialled_again_at_once_but_another_one_is() {
    let config = LinkConfig {
        dial_wait: SHORT,
        dial_pause_min: Duration::from_secs(600),
        dial_pause_max: Duration::from_secs(600),
        ..LinkConfig::default()
    };
    let relay = Relay::start(1, LinkConfig::default());
    let other = Relay::start(2, config);
    let links = Links::new(other.endpoint.clone());
    let silent = bind(loopback()).unwrap();
    let dead = Target {
        key: relay.target.key,
        addr: silent.local_addr().unwrap(),
    };
    assert_eq!(
        links.link(dead).await.unwrap_err(),
        LinkFailure::Unreachable
    );
    assert_eq!(links.link(dead).await.unwrap_err(), LinkFailure::Pausing);
    let asked = links.ask(dead, &onion(9, 1), DEADLINE).await;
    assert_eq!(asked, Err(AskFailure::NoLink(LinkFailure::Pausing)));
    assert_eq!(other.count(LinkCount::DialFailed), 1);
    links
        .ask(relay.target, &onion(9, 1), DEADLINE)
        .await
        .unwrap();
}

/// What a test waits for in vain; more than an honest handshake takes on a machine with much else to do.
const SHORT: Duration = Duration::from_secs(2);
