//! Links through a network that delays, loses and breaks: everything arrives, or its loss is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use poste_link::{
    Answer, AskFailure, Endpoint, Frame, Greeting, Heard, Identity, LinkConfig, Links, Peer, Serve,
    Target, bind,
};
use poste_tests::proxy::{Proxy, ProxyConfig};
use swarm_proto::id::{NetworkId, NodeKey};
use swarm_proto::wire::frames::FrameKind;

#[derive(Default)]
struct Echo {
    heard: AtomicUsize,
}

impl Serve for Echo {
    fn is_member(&self, _relay: &NodeKey) -> bool {
        true
    }

    async fn answer(&self, _from: Peer, asked: Frame) -> Answer {
        Answer::Frame(Frame::new(FrameKind::OnionAnswerLarge, asked.body))
    }

    async fn hear(&self, _from: Peer, _told: Frame) -> Heard {
        self.heard.fetch_add(1, Ordering::Relaxed);
        Heard::Fine
    }
}

struct Relay {
    endpoint: Endpoint,
    echo: Arc<Echo>,
    key: NodeKey,
}

fn relay(seed: u8) -> Relay {
    relay_with(seed, LinkConfig::default())
}

fn relay_with(seed: u8, config: LinkConfig) -> Relay {
    let identity = Identity::from_seed(&[seed; 32]).unwrap();
    let greeting = Greeting::new(NetworkId([1; 32]));
    let socket = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let echo = Arc::new(Echo::default());
    let serve = Arc::clone(&echo);
    Relay {
        endpoint: Endpoint::relay(socket, &identity, greeting, config, serve).unwrap(),
        echo,
        key: identity.node_key(),
    }
}

/// Waits until nothing is on the road, so that a peer is silent from the cut on.
async fn at_rest(proxy: &Proxy) {
    let mut before = None;
    while before != Some(proxy.counts()) {
        before = Some(proxy.counts());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// [LNK-8]
#[tokio::test]
async fn everything_arrives_through_five_percent_loss_and_fifty_milliseconds() {
    // Whoever hears nothing for three seconds gives a link up, which a machine that stands still for so long does, too.
    let patient = LinkConfig {
        silence_max: DEADLINE,
        dial_wait: DEADLINE,
        ..LinkConfig::default()
    };
    let (near, far) = (relay_with(1, patient.clone()), relay_with(2, patient));
    let config = ProxyConfig {
        delay: Duration::from_millis(50),
        jitter: Duration::from_millis(10),
        loss: 0.05,
        ..ProxyConfig::default()
    };
    let target = far.endpoint.local_addr().unwrap();
    let proxy = Proxy::start(target, config, 7).await.unwrap();
    let links = Links::new(near.endpoint.clone());
    let to = Target {
        key: far.key,
        addr: proxy.addr(),
    };
    for _ in 0..20 {
        assert!(links.tell(to, Frame::new(FrameKind::Copy, vec![7; 2_000])));
    }
    for fill in 0..10 {
        let bytes = if fill % 2 == 0 { 7_168 } else { 37_888 };
        let kind = if fill % 2 == 0 {
            FrameKind::OnionSmall
        } else {
            FrameKind::OnionLarge
        };
        let asked = Frame::new(kind, vec![fill; bytes]);
        let answer = links.ask(to, &asked, DEADLINE).await.unwrap();
        assert_eq!(answer.body, asked.body);
    }
    let waiting = async {
        while far.echo.heard.load(Ordering::Relaxed) < 20 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap();
    assert!(proxy.counts().lost > 0, "{:?}", proxy.counts());
    assert_eq!(proxy.counts().overflowed, 0);
}

#[tokio::test]
async fn a_cut_is_noticed_and_after_it_the_next_question_is_answered() {
    let (near, far) = (relay(1), relay(2));
    let target = far.endpoint.local_addr().unwrap();
    let proxy = Proxy::start(target, ProxyConfig::default(), 7)
        .await
        .unwrap();
    let links = Links::new(near.endpoint.clone());
    let to = Target {
        key: far.key,
        addr: proxy.addr(),
    };
    let asked = Frame::new(FrameKind::OnionSmall, vec![1; 7_168]);
    links.ask(to, &asked, DEADLINE).await.unwrap();
    at_rest(&proxy).await;
    proxy.cut();
    let late = links.ask(to, &asked, Duration::from_millis(500)).await;
    assert_eq!(late, Err(AskFailure::Late { silent: true }));
    proxy.heal();
    let answer = links.ask(to, &asked, DEADLINE).await.unwrap();
    assert_eq!(answer.body, asked.body);
}

/// The answer may take as long as it wants; a peer that is gone acknowledges nothing.
#[tokio::test]
async fn a_peer_that_is_gone_is_noticed_long_before_its_answer_would_be_late() {
    let (near, far) = (relay(1), relay(2));
    let target = far.endpoint.local_addr().unwrap();
    let proxy = Proxy::start(target, ProxyConfig::default(), 7)
        .await
        .unwrap();
    let links = Links::new(near.endpoint.clone());
    let to = Target {
        key: far.key,
        addr: proxy.addr(),
    };
    let asked = Frame::new(FrameKind::OnionSmall, vec![1; 7_168]);
    links.ask(to, &asked, DEADLINE).await.unwrap();
    at_rest(&proxy).await;
    proxy.cut();
    let for_ever = Duration::from_secs(100_000);
    let asking = links.ask(to, &asked, for_ever);
    let gone = tokio::time::timeout(DEADLINE, asking).await;
    assert_eq!(gone.unwrap(), Err(AskFailure::Late { silent: true }));
    let dialling = links.ask(to, &asked, for_ever);
    let gone = tokio::time::timeout(DEADLINE, dialling).await;
    assert!(matches!(gone.unwrap(), Err(AskFailure::NoLink(_))));
}

/// Only there to end a broken run.
const DEADLINE: Duration = Duration::from_secs(60);
