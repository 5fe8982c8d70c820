//! Endpoints on real sockets of the loopback interface, honest and hostile.

mod both;
mod cost;
mod hostile;
mod links;
mod pool;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use swarm_proto::id::{NetworkId, NodeKey};
use swarm_proto::wire::frames::FrameKind;

use crate::{
    Answer, Endpoint, Frame, Greeting, Heard, Identity, LinkConfig, LinkCount, Peer, Refused,
    Serve, Target, bind,
};

/// Answers an onion with its own bytes, never answers an onion that begins with [`HANG`], and keeps
/// what it hears.
#[derive(Default)]
pub(crate) struct Echo {
    members: Vec<NodeKey>,
    heard: Mutex<Vec<(Peer, Frame)>>,
    asked_by: Mutex<Vec<Peer>>,
}

impl Echo {
    fn heard(&self) -> Vec<(Peer, Frame)> {
        self.heard.lock().unwrap().clone()
    }

    fn asked_by(&self) -> Vec<Peer> {
        self.asked_by.lock().unwrap().clone()
    }
}

impl Serve for Echo {
    fn is_member(&self, relay: &NodeKey) -> bool {
        self.members.contains(relay)
    }

    async fn answer(&self, from: Peer, asked: Frame) -> Answer {
        self.asked_by.lock().unwrap().push(from);
        let kind = match asked.kind {
            FrameKind::OnionSmall | FrameKind::OnionLarge => FrameKind::OnionAnswerLarge,
            FrameKind::ListAsk => FrameKind::ListPart,
            _ => {
                return Answer::Refuse(Refused {
                    code: 11,
                    detail: 5,
                });
            }
        };
        if asked.body.first() == Some(&HANG) {
            std::future::pending::<()>().await;
        }
        Answer::Frame(Frame::new(kind, asked.body))
    }

    async fn hear(&self, from: Peer, told: Frame) -> Heard {
        self.heard.lock().unwrap().push((from, told));
        Heard::Fine
    }
}

/// A relay under test.
pub(crate) struct Relay {
    endpoint: Endpoint,
    echo: Arc<Echo>,
    target: Target,
}

impl Relay {
    fn start(seed: u8, config: LinkConfig) -> Self {
        Self::start_knowing(seed, config, Vec::new())
    }

    fn start_knowing(seed: u8, config: LinkConfig, members: Vec<NodeKey>) -> Self {
        Self::start_as(seed, loopback(), greeting(), config, members)
    }

    fn start_as(
        seed: u8,
        addr: SocketAddr,
        greeting: Greeting,
        config: LinkConfig,
        members: Vec<NodeKey>,
    ) -> Self {
        let identity = Identity::from_seed(&[seed; 32]).unwrap();
        let echo = Arc::new(Echo {
            members,
            ..Echo::default()
        });
        let socket = bind(addr).unwrap();
        let serve = Arc::clone(&echo);
        let endpoint = Endpoint::relay(socket, &identity, greeting, config, serve).unwrap();
        let target = Target {
            key: identity.node_key(),
            addr: endpoint.local_addr().unwrap(),
        };
        Self {
            endpoint,
            echo,
            target,
        }
    }

    fn count(&self, count: LinkCount) -> u64 {
        self.endpoint.counts().of(count)
    }

    async fn until_counted(&self, count: LinkCount, most: u64) {
        let what = format!("{} to reach {most}", count.name());
        until(&what, || self.count(count) >= most).await;
    }
}

fn client(config: LinkConfig) -> Endpoint {
    Endpoint::client(bind(loopback()).unwrap(), greeting(), config).unwrap()
}

fn greeting() -> Greeting {
    Greeting::new(NetworkId([9; 32]))
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn onion(bytes: usize, first: u8) -> Frame {
    let kind = if bytes > FrameKind::OnionSmall.body_bytes_max() {
        FrameKind::OnionLarge
    } else {
        FrameKind::OnionSmall
    };
    let mut body: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
    if let Some(byte) = body.first_mut() {
        *byte = first;
    }
    Frame::new(kind, body)
}

/// Waits for a condition; the deadline is only there to end a broken run.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, waiting).await;
    assert!(waited.is_ok(), "waited in vain for {what}");
}

const DEADLINE: Duration = Duration::from_secs(120);

/// The first byte of an onion that is never answered.
const HANG: u8 = 0xff;
