//! What a hostile peer can do to an endpoint: use its own share and no more.

use super::*;
use crate::{AskFailure, Link, LinkFailure};
use quinn::{ConnectionError, VarInt};
use std::net::UdpSocket;

async fn link(endpoint: &Endpoint, relay: &Relay) -> Result<Link, LinkFailure> {
    endpoint.link(relay.target.key, relay.target.addr).await
}

async fn serves(relay: &Relay, honest: &Link) {
    let asked = onion(37_888, 1);
    let answer = honest.ask(&asked, DEADLINE).await.unwrap();
    assert_eq!(answer.body, asked.body, "{:?}", relay.endpoint);
}

/// Writes bytes on a new stream and leaves it open or ends it.
async fn write(link: &Link, bytes: &[u8], end: bool) -> (quinn::SendStream, quinn::RecvStream) {
    let (mut send, receive) = link.connection.open_bi().await.unwrap();
    // The relay may close the link while this is under way.
    let _closed = send.write_all(bytes).await;
    if end {
        let _closed = send.finish();
    }
    (send, receive)
}

fn header(kind: u16, bytes: u32) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &bytes.to_be_bytes()].concat()
}

#[tokio::test]
async fn garbage_datagrams_leave_an_honest_peer_served() {
    let relay = Relay::start(1, LinkConfig::default());
    let client = client(LinkConfig::default());
    let honest = link(&client, &relay).await.unwrap();
    let socket = UdpSocket::bind(loopback()).unwrap();
    let mut state = 7_u64;
    for round in 0..2_000 {
        let mut datagram = vec![0; round % 1_400];
        for byte in &mut datagram {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
        // Half look like the first datagram of QUIC version 1.
        if round % 2 == 0 && datagram.len() > 6 {
            datagram[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
        }
        socket.send_to(&datagram, relay.target.addr).unwrap();
    }
    serves(&relay, &honest).await;
    assert_eq!(relay.endpoint.held_links(), (0, 1));
    assert_eq!(relay.endpoint.open_links(), 1);
}

/// [FRM-1]
#[tokio::test]
async fn a_length_above_the_maximum_closes_the_link_at_once() {
    let relay = Relay::start(1, LinkConfig::default());
    let (good, bad) = (client(LinkConfig::default()), client(LinkConfig::default()));
    let honest = link(&good, &relay).await.unwrap();
    let hostile = link(&bad, &relay).await.unwrap();
    let _streams = write(&hostile, &header(0x0302, 37_889), false).await;
    let ConnectionError::ApplicationClosed(close) = hostile.connection.closed().await else {
        panic!("the link was not closed by the relay");
    };
    assert_eq!(close.error_code, VarInt::from_u32(256));
    assert_eq!(relay.count(LinkCount::OverLength), 1);
    assert_eq!(relay.count(LinkCount::Fault), 1);
    serves(&relay, &honest).await;
    until("the hostile link's place to be free", || {
        relay.endpoint.held_links() == (0, 1)
    })
    .await;
}

/// [LNK-4]
#[tokio::test]
async fn an_unknown_type_is_refused_and_the_link_lives() {
    let relay = Relay::start(1, LinkConfig::default());
    let client = client(LinkConfig::default());
    let link = link(&client, &relay).await.unwrap();
    // A type that nobody knows, and one that only relays send.
    for kind in [0x0777, 0x0401] {
        let (_send, mut receive) = write(&link, &header(kind, 4), false).await;
        let answer = receive.read_to_end(16).await.unwrap();
        let refused = Refused {
            code: 12,
            detail: u64::from(kind),
        };
        assert_eq!(answer[6..], refused.frame().body);
    }
    serves(&relay, &link).await;
    assert_eq!(relay.count(LinkCount::UnknownFrame), 2);
}

/// [LNK-5]
#[tokio::test]
async fn too_many_faults_close_the_link_and_keep_the_peer_out() {
    let config = LinkConfig {
        faults_per_link_max: 3,
        ..LinkConfig::default()
    };
    let friend = Relay::start(2, config.clone());
    let relay = Relay::start_knowing(1, config.clone(), vec![friend.target.key]);
    let honest = link(&friend.endpoint, &relay).await.unwrap();
    let client = client(config);
    let hostile = link(&client, &relay).await.unwrap();
    // Too short, and going on after the end, in turn.
    for round in 0..4 {
        let mut bytes = header(0x0301, 2);
        bytes.resize(if round % 2 == 0 { 7 } else { 9 }, 0);
        let Ok((mut send, _)) = hostile.connection.open_bi().await else {
            break;
        };
        let _closed = send.write_all(&bytes).await;
        let _closed = send.finish();
    }
    hostile.connection.closed().await;
    assert_eq!(relay.count(LinkCount::ClosedForFaults), 1);
    assert_eq!(link(&client, &relay).await.unwrap_err(), LinkFailure::Busy);
    assert_eq!(relay.count(LinkCount::KeptOut), 1);
    serves(&relay, &honest).await;
}

/// [LNK-6]
#[tokio::test]
async fn frames_that_never_end_are_cut_off_and_nobody_waits_for_them() {
    let config = LinkConfig {
        frame_wait: Duration::from_secs(2),
        faults_per_link_max: 100,
        ..LinkConfig::default()
    };
    let relay = Relay::start(1, config);
    let (good, bad) = (client(LinkConfig::default()), client(LinkConfig::default()));
    let honest = link(&good, &relay).await.unwrap();
    let hostile = link(&bad, &relay).await.unwrap();
    let mut streams = Vec::new();
    for at in 0..12 {
        let mut bytes = header(0x0302, 37_888);
        bytes.resize(3 + at * 100, 0);
        streams.push(write(&hostile, &bytes, false).await);
    }
    serves(&relay, &honest).await;
    relay.until_counted(LinkCount::Late, 12).await;
    serves(&relay, &honest).await;
    drop(streams);
    serves(&relay, &hostile).await;
}

/// [FRM-2]
#[tokio::test]
async fn nothing_is_served_before_the_hello() {
    let relay = Relay::start(1, LinkConfig::default());
    let client = client(LinkConfig::default());
    let to = relay.target;
    for bytes in [
        [&header(0x0301, 1)[..], &[1]].concat(),
        header(0x0101, 45),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        let connection = client.connect(to.key, to.addr).await.unwrap();
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        send.finish().unwrap();
        assert!(matches!(
            connection.closed().await,
            ConnectionError::ApplicationClosed(close) if close.error_code == VarInt::from_u32(256)
        ));
    }
    assert!(relay.echo.asked_by().is_empty());
    assert_eq!(relay.count(LinkCount::Accepted), 0);
}

/// [LNK-6]
#[tokio::test]
async fn one_subnet_has_its_share_of_links_and_idle_ones_make_room() {
    let relay = Relay::start(1, LinkConfig::default());
    let mut busy = Vec::new();
    for _ in 0..4 {
        let endpoint = client(LinkConfig::default());
        let link = link(&endpoint, &relay).await.unwrap();
        let asking = link.clone();
        endpoint
            .shared
            .tracker
            .spawn(async move { asking.ask(&onion(9, HANG), Duration::from_secs(600)).await });
        busy.push((endpoint, link));
    }
    until("four questions", || relay.echo.asked_by().len() == 4).await;
    let fifth = client(LinkConfig::default());
    assert_eq!(link(&fifth, &relay).await.unwrap_err(), LinkFailure::Busy);
    assert_eq!(relay.endpoint.held_links(), (0, 4));

    // A fifth from elsewhere finds room, and so does one at home once a link there is idle.
    let elsewhere = bind(SocketAddr::from(([127, 9, 9, 9], 0))).unwrap();
    let elsewhere = Endpoint::client(elsewhere, greeting(), LinkConfig::default()).unwrap();
    let far = link(&elsewhere, &relay).await.unwrap();
    serves(&relay, &far).await;
    let (_, given_up) = busy.pop().unwrap();
    given_up.close();
    until("a place", || relay.endpoint.held_links() == (0, 4)).await;
    let idle = link(&fifth, &relay).await.unwrap();
    serves(&relay, &idle).await;
    let sixth = client(LinkConfig::default());
    serves(&relay, &link(&sixth, &relay).await.unwrap()).await;
    idle.connection.closed().await;
    assert_eq!(relay.count(LinkCount::MadeRoom), 1);
    assert_eq!(relay.endpoint.held_links(), (0, 5));
}

/// [LNK-5]
#[tokio::test]
async fn a_crowd_of_clients_costs_no_member_its_link() {
    let config = LinkConfig {
        client_links_max: 3,
        client_links_per_subnet_max: 0,
        member_links_max: 2,
        ..LinkConfig::default()
    };
    let members = [2, 3].map(|seed| Relay::start(seed, config.clone()));
    let keys = members.iter().map(|member| member.target.key);
    let relay = Relay::start_knowing(1, config.clone(), keys.collect());
    let mut links = Vec::new();
    for member in &members {
        links.push(link(&member.endpoint, &relay).await.unwrap());
    }
    let mut crowd = Vec::new();
    for _ in 0..12 {
        let endpoint = client(config.clone());
        crowd.push((link(&endpoint, &relay).await.unwrap(), endpoint));
    }
    // A key alone makes no member.
    let stranger = Relay::start(4, config);
    let _stranger_link = link(&stranger.endpoint, &relay).await.unwrap();
    assert_eq!(relay.endpoint.held_links(), (2, 3));
    for honest in &links {
        serves(&relay, honest).await;
    }
    assert_eq!(relay.count(LinkCount::MadeRoom), 10);
}

#[tokio::test]
async fn newcomers_prove_their_address_when_handshakes_pile_up() {
    let config = LinkConfig {
        handshakes_max: 1,
        ..LinkConfig::default()
    };
    let relay = Relay::start(1, config);
    let client = client(LinkConfig::default());
    let first = link(&client, &relay).await.unwrap();
    serves(&relay, &first).await;
    // With a single place, even one handshake is half of them: while it is under way others are sent
    // to prove their address.
    let silent = client
        .connect(relay.target.key, relay.target.addr)
        .await
        .unwrap();
    let endpoint = super::client(LinkConfig::default());
    let _turned_away = link(&endpoint, &relay).await.unwrap_err();
    assert!(relay.count(LinkCount::Retried) >= 1);
    assert!(relay.count(LinkCount::TurnedAway) >= 1);
    silent.close(VarInt::from_u32(0), b"");
    until("the handshake's place", || relay.endpoint.open_links() == 1).await;
    let third = link(&endpoint, &relay).await.unwrap();
    serves(&relay, &third).await;
}

#[tokio::test]
async fn a_question_that_no_relay_would_take_is_not_sent() {
    let relay = Relay::start(1, LinkConfig::default());
    let client = client(LinkConfig::default());
    let link = link(&client, &relay).await.unwrap();
    for (kind, bytes) in [(FrameKind::OnionSmall, 7_169), (FrameKind::Copy, 1)] {
        let unsendable = Frame::new(kind, vec![1; bytes]);
        let failure = AskFailure::Unsendable(kind);
        assert_eq!(link.ask(&unsendable, DEADLINE).await, Err(failure));
    }
    serves(&relay, &link).await;
    assert_eq!(relay.count(LinkCount::Fault), 0);
}
