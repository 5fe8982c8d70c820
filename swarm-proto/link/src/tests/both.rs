//! Links between relays are used both ways, whichever side dialled ([LNK-12]).

use super::*;
use crate::{AskFailure, Link, Links, TellFailure};
use quinn::{ConnectionError, VarInt};

/// The link that `from` dialled to `to`, as both have it.
async fn joined(from: &Relay, to: &Relay) -> (Link, Link) {
    let dialled = from.endpoint.link(to.target.key, to.target.addr).await;
    let taken_in = || to.endpoint.link_from(&from.target.key);
    until("the link to be taken in", || taken_in().is_some()).await;
    (dialled.unwrap(), taken_in().unwrap())
}

fn handshakes(relay: &Relay) -> u64 {
    relay.count(LinkCount::HandshakeFull) + relay.count(LinkCount::HandshakeResumed)
}

fn copy(fill: u8) -> Frame {
    Frame::new(FrameKind::Copy, vec![fill; 2_000])
}

/// [LNK-12]
#[tokio::test]
async fn two_relays_that_tell_and_ask_each_other_make_one_handshake() {
    let [one, other] = [1, 2].map(|seed| Relay::start(seed, LinkConfig::default()));
    let from_one = Links::new(one.endpoint.clone());
    let (reached, found) = tokio::sync::watch::channel(Vec::new());
    let from_other = Links::watched(other.endpoint.clone(), move |key, clock| {
        reached.send_modify(|all| all.push((key, clock.is_some())));
    });
    assert!(from_one.tell(other.target, copy(0)));
    until("the first message", || other.echo.heard().len() == 1).await;
    for round in 1..20 {
        assert!(from_other.tell(one.target, copy(round)));
        assert!(from_one.tell(other.target, copy(round)));
        let asked = onion(7_168, round);
        for (links, to) in [(&from_other, one.target), (&from_one, other.target)] {
            let answer = links.ask(to, &asked, DEADLINE).await.unwrap();
            assert_eq!(answer.body, asked.body);
        }
    }
    until("every message", || {
        other.echo.heard().len() == 20 && one.echo.heard().len() == 19
    })
    .await;
    let key = other.target.key;
    let from = |(peer, _): &(Peer, Frame)| matches!(peer, Peer::Relay { key: k, .. } if *k == key);
    assert!(one.echo.heard().iter().all(from));
    assert_eq!((handshakes(&one), handshakes(&other)), (1, 1));
    assert_eq!(one.count(LinkCount::Dialled), 1);
    assert_eq!(other.count(LinkCount::Dialled), 0);
    assert_eq!(*found.borrow(), [(one.target.key, true)]);
}

#[tokio::test]
async fn two_relays_that_dial_each_other_at_one_moment_use_what_they_get() {
    let [one, other] = [1, 2].map(|seed| Relay::start(seed, LinkConfig::default()));
    let [from_one, from_other] = [&one, &other].map(|relay| Links::new(relay.endpoint.clone()));
    let (there, back) = tokio::join!(from_one.link(other.target), from_other.link(one.target));
    assert!(there.is_ok() && back.is_ok());
    for fill in 0..5 {
        assert!(from_one.tell(other.target, copy(fill)));
        assert!(from_other.tell(one.target, copy(fill)));
    }
    until("the messages", || {
        one.echo.heard().len() == 5 && other.echo.heard().len() == 5
    })
    .await;
    assert!(one.count(LinkCount::Dialled) + other.count(LinkCount::Dialled) <= 2);
}

/// [LNK-12]: a link that works says that its relay is there, whether or not it can be dialled.
#[tokio::test]
async fn a_relay_that_cannot_be_dialled_is_reached_over_the_link_that_it_keeps() {
    let config = LinkConfig {
        dial_wait: Duration::from_millis(300),
        dial_pause_min: Duration::from_secs(600),
        dial_pause_max: Duration::from_secs(600),
        ..LinkConfig::default()
    };
    let hidden = Relay::start(1, LinkConfig::default());
    let other = Relay::start(2, config);
    let silent = bind(loopback()).unwrap();
    let to = Target {
        key: hidden.target.key,
        addr: silent.local_addr().unwrap(),
    };
    let (seen, last) = tokio::sync::watch::channel(None);
    let links = Links::watched(other.endpoint.clone(), move |_, clock| {
        seen.send_replace(Some(clock.is_some()));
    });
    links.link(to).await.unwrap_err();
    assert_eq!(*last.borrow(), Some(false));
    let _kept = joined(&hidden, &other).await;
    let asked = onion(9, 1);
    let answer = links.ask(to, &asked, DEADLINE).await.unwrap();
    assert_eq!(answer.body, asked.body);
    assert_eq!(*last.borrow(), Some(true));
}

/// [LNK-7]
#[tokio::test]
async fn a_dialler_that_crashed_and_came_back_is_dialled_by_the_next_question() {
    let other = Relay::start(2, LinkConfig::default());
    let links = Links::new(other.endpoint.clone());
    let to_other = other.target;
    // A runtime of its own, so that the relay can be torn down without a word, as by a crash.
    let process = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let started = process.spawn(async move {
        let relay = Relay::start(1, LinkConfig::default());
        let link = relay.endpoint.link(to_other.key, to_other.addr).await;
        (relay, link.unwrap())
    });
    let (relay, link) = started.await.unwrap();
    let to = relay.target;
    links.ask(to, &onion(9, 1), DEADLINE).await.unwrap();
    assert_eq!(other.count(LinkCount::Dialled), 0);
    process.shutdown_background();
    drop((relay, link));
    until("the port to be free", || bind(to.addr).is_ok()).await;

    let again = Relay::start_as(1, to.addr, greeting(), LinkConfig::default(), Vec::new());
    links.ask(to, &onion(9, 1), DEADLINE).await.unwrap();
    assert_eq!(again.count(LinkCount::Accepted), 1);
}

/// [LNK-6]
#[tokio::test]
async fn a_link_that_this_side_asks_over_makes_no_room() {
    let [asked, relay] = [1, 2].map(|seed| Relay::start(seed, LinkConfig::default()));
    let (_dialled, link) = joined(&asked, &relay).await;
    let asking = link.clone();
    let waiting = relay
        .endpoint
        .shared
        .tracker
        .spawn(async move { asking.ask(&onion(9, HANG), DEADLINE).await });
    until("the question", || !asked.echo.asked_by().is_empty()).await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let endpoint = client(LinkConfig::default());
        let to = relay.target;
        clients.push((endpoint.link(to.key, to.addr).await.unwrap(), endpoint));
    }
    assert!(relay.count(LinkCount::MadeRoom) > 0);
    assert!(link.is_open(), "it was given up under an open stream");
    waiting.abort();
}

/// Nobody here wants the link any more, but the other side does.
#[tokio::test]
async fn a_link_lives_while_the_other_side_uses_it() {
    let config = LinkConfig {
        idle_max: Duration::from_secs(3),
        ..LinkConfig::default()
    };
    let [one, other] = [1, 2].map(|seed| Relay::start(seed, config.clone()));
    let [from_one, from_other] = [&one, &other].map(|relay| Links::new(relay.endpoint.clone()));
    let ask = |links: &Links, to| {
        let links = links.clone();
        async move { links.ask(to, &onion(9, 1), DEADLINE).await.unwrap() }
    };
    ask(&from_one, other.target).await;
    let start = std::time::Instant::now();
    while start.elapsed() < 2 * config.idle_max {
        ask(&from_other, one.target).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(handshakes(&other), 1);
    // And ends when neither does.
    until("it to end", || other.endpoint.held_links() == (0, 0)).await;
}

/// [LNK-8]
#[tokio::test]
async fn a_relay_given_up_for_another_still_hears_what_it_was_told() {
    let config = LinkConfig {
        pool_links_max: 1,
        ..LinkConfig::default()
    };
    let relays = [1, 2, 3].map(|seed| Relay::start(seed, LinkConfig::default()));
    let other = Relay::start(9, config);
    let links = Links::new(other.endpoint.clone());
    for relay in &relays {
        for fill in 0..10 {
            assert!(links.tell(relay.target, copy(fill)));
        }
    }
    assert_eq!(other.count(LinkCount::PoolEvicted), 2);
    until("every message", || {
        relays.iter().all(|relay| relay.echo.heard().len() == 10)
    })
    .await;
    assert_eq!(other.count(LinkCount::TellFailed), 0);
}

/// [LNK-8]: what was handed to the network and not acknowledged is told to have failed.
#[tokio::test]
async fn a_message_that_its_link_took_along_is_counted() {
    let [one, other] = [1, 2].map(|seed| Relay::start(seed, LinkConfig::default()));
    let (dialled, taken_in) = joined(&one, &other).await;
    let links = Links::new(other.endpoint.clone());
    // Nobody takes the streams of this link, so that the seventeenth message waits.
    let mut streams = Vec::new();
    for _ in 0..16 {
        let mut stream = taken_in.connection.open_uni().await.unwrap();
        stream.write_all(&[4]).await.unwrap();
        streams.push(stream);
    }
    assert!(links.tell(one.target, copy(1)));
    until("it to be on its way", || links.len() == 1).await;
    dialled.close();
    other.until_counted(LinkCount::TellFailed, 1).await;
    assert!(one.echo.heard().is_empty());
}

/// [LNK-12]
#[tokio::test]
async fn a_relay_cannot_open_a_stream_to_a_client() {
    let relay = Relay::start(1, LinkConfig::default());
    let endpoint = client(LinkConfig::default());
    let to = relay.target;
    let link = endpoint.link(to.key, to.addr).await.unwrap();
    link.ask(&onion(9, 1), DEADLINE).await.unwrap();
    let held = relay.endpoint.admission.as_ref().unwrap().connections();
    let [connection] = &held[..] else {
        panic!("{} links", held.len());
    };
    let wait = Duration::from_millis(300);
    let told = tokio::time::timeout(wait, connection.open_uni()).await;
    assert!(told.is_err(), "a client gave a relay a stream to tell on");
    let asked = tokio::time::timeout(wait, connection.open_bi()).await;
    assert!(asked.is_err(), "a client gave a relay a stream to ask on");
}

/// [LNK-12], [FRM-1]
#[tokio::test]
async fn a_dialled_relay_that_sends_too_long_a_frame_is_cut_off_at_once() {
    let [dialler, hostile] = [1, 2].map(|seed| Relay::start(seed, LinkConfig::default()));
    let (_dialled, link) = joined(&dialler, &hostile).await;
    let (mut send, _receive) = link.connection.open_bi().await.unwrap();
    let header = [&0x0302_u16.to_be_bytes()[..], &37_889_u32.to_be_bytes()].concat();
    send.write_all(&header).await.unwrap();
    let ConnectionError::ApplicationClosed(close) = link.connection.closed().await else {
        panic!("the link was not closed by the dialler");
    };
    assert_eq!(close.error_code, VarInt::from_u32(256));
    assert_eq!(dialler.count(LinkCount::OverLength), 1);
    assert_eq!(dialler.count(LinkCount::Fault), 1);
    let told = link.tell(&copy(1)).await;
    assert!(matches!(told, Err(TellFailure::Lost(_))));
}

/// [LNK-12], [LNK-5]
#[tokio::test]
async fn a_dialled_relay_has_its_share_of_streams_and_of_faults() {
    let config = LinkConfig {
        faults_per_link_max: 3,
        ..LinkConfig::default()
    };
    let [dialler, hostile] = [1, 2].map(|seed| Relay::start(seed, config.clone()));
    let (dialled, link) = joined(&dialler, &hostile).await;
    let mut streams = Vec::new();
    for _ in 0..16 {
        let (mut send, receive) = link.connection.open_bi().await.unwrap();
        send.write_all(&[3]).await.unwrap();
        streams.push((send, receive));
    }
    let more = tokio::time::timeout(Duration::from_millis(300), link.connection.open_bi());
    assert!(more.await.is_err(), "a seventeenth stream was given");
    // The dialler's own questions are not held up by it.
    dialled.ask(&onion(9, 1), DEADLINE).await.unwrap();
    for (mut send, _) in streams {
        // A type that nobody knows.
        let _closed = send.write_all(&[7, 0, 0, 0, 0]).await;
        let _closed = send.finish();
    }
    link.connection.closed().await;
    assert_eq!(dialler.count(LinkCount::ClosedForFaults), 1);
    let back = hostile
        .endpoint
        .link(dialler.target.key, dialler.target.addr);
    assert_eq!(back.await.unwrap_err(), crate::LinkFailure::Busy);
    // Who dials it nevertheless does not serve it.
    let (_dialled, link) = joined(&dialler, &hostile).await;
    let asked = link.ask(&onion(9, 1), Duration::from_millis(300)).await;
    assert!(matches!(asked, Err(AskFailure::Late { .. })), "{asked:?}");
}
