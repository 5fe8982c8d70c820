//! Somebody who wants a relay down: nonsense on its ports, and requests that look right and are false.
//!
//! Each link comes from a subnet of its own, since a relay keeps out a subnet that broke the protocol too
//! often. What is sent is counted, so that a test can tell an attack from silence.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what only tests call fails as a test does"
)]

use std::net::{SocketAddr, UdpSocket as StdUdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use poste_link::{
    Answer, Endpoint, Frame, Greeting, Heard, Identity, LinkConfig, Links, Peer, Serve, Target,
    bind,
};
use swarm_proto::id::{NetworkId, NodeKey};
use swarm_proto::kem::PureCrypto;
use swarm_proto::members::Snapshot;
use swarm_proto::network::Network;
use swarm_proto::onion::build::{Draft, Hop, Shape};
use swarm_proto::onion::{self, Command, Generation, Inner, SizeClass};
use swarm_proto::wire::Message;
use swarm_proto::wire::copies::{Copy, CopyAge};
use swarm_proto::wire::frames::FrameKind;
use swarm_proto::wire::mailbox::Deposit;

use crate::correspondent::{random, unix_now};

/// How long an attack goes on: to its end, and on a slow machine until it is one, after so many things sent.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// When it may end.
    pub end: Instant,
    /// After how many.
    pub least: u64,
}

impl Length {
    fn goes_on(self, sent: u64) -> bool {
        let now = Instant::now();
        now < self.end || (sent < self.least && now < self.end + crate::net::PATIENCE)
    }
}

/// Random datagrams to a data port; answers how many were sent.
pub fn datagrams(to: SocketAddr, length: Length) -> u64 {
    let socket = StdUdpSocket::bind(source(1)).unwrap();
    let mut sent = 0;
    while length.goes_on(sent) {
        let bytes = random(20 + usize::try_from(sent).unwrap() * 7 % 1_400);
        sent += u64::from(socket.send_to(&bytes, to).is_ok());
        if sent.is_multiple_of(16) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    sent
}

/// Random bytes on connections to a discovery port; answers how many connections there were.
pub fn connections(to: SocketAddr, length: Length) -> u64 {
    use std::io::Write;
    let mut made = 0;
    while length.goes_on(made) {
        let Ok(mut stream) = std::net::TcpStream::connect_timeout(&to, Duration::from_secs(1))
        else {
            continue;
        };
        // The relay may close before all is written.
        let _cut = stream.write_all(&random(4_000));
        made += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
    made
}

/// Frames over valid links: `make` is called for each. Answers how many were sent.
pub async fn frames(
    network: NetworkId,
    to: Target,
    length: Length,
    make: impl Fn() -> Frame,
) -> u64 {
    let mut sent = 0;
    while length.goes_on(sent) {
        let socket = bind(source(fresh())).unwrap();
        let endpoint =
            Endpoint::client(socket, Greeting::new(network), LinkConfig::home()).unwrap();
        if let Ok(link) = endpoint.link(to.key, to.addr).await {
            while link.is_open() && length.goes_on(sent) {
                // No answer is the usual answer.
                let _silence = link.ask(&make(), Duration::from_millis(30)).await;
                sent += 1;
            }
        }
        endpoint.close().await;
    }
    sent
}

/// A frame of a type that correspondents may send, with a body of random bytes.
pub fn nonsense() -> Frame {
    let chance = random(3);
    let (kind, bytes) = match chance[0] % 4 {
        0 => (FrameKind::OnionSmall, SizeClass::Small.onion_bytes()),
        1 => (FrameKind::OnionLarge, SizeClass::Large.onion_bytes()),
        2 => (FrameKind::ListAsk, 1 + usize::from(chance[1]) % 40),
        _ => (FrameKind::OnionSmall, usize::from(chance[1]) * 20),
    };
    Frame::new(kind, random(bytes))
}

/// An onion for this relay that is right but for one bit of its authenticator.
pub fn bent_onion(network: &Network, members: &Snapshot, guard: &NodeKey) -> Frame {
    let now = unix_now();
    let generation = Generation::at(network.scale, now);
    let member = members.find(&guard.node_id()).expect("a member");
    let key = member.keys().current.as_ref().expect("its onion key");
    let hop = Hop {
        id: guard.node_id(),
        key,
    };
    let shape = Shape {
        class: SizeClass::Small,
        answer: SizeClass::Small,
        generation,
    };
    let seed = random(32).try_into().unwrap();
    let draft = Draft::new(&PureCrypto, &[hop], shape, &seed).unwrap();
    let expire = onion::expire(network.scale, now);
    let (mut onion, _) = draft
        .seal(Command::Deliver, expire, &Inner::NOTHING)
        .unwrap();
    onion[2 + 1_120] ^= 1;
    Frame::new(FrameKind::OnionSmall, onion)
}

/// The deposit with another signature.
pub fn unsigned(deposit: &Deposit) -> Arc<Deposit> {
    let mut deposit = deposit.clone();
    deposit.write_signature.0 = random(64).try_into().unwrap();
    Arc::new(deposit)
}

/// A relay's key in wrong hands: tells other relays what it likes.
pub struct Traitor {
    links: Links,
    endpoint: Endpoint,
}

struct Deaf;

impl Serve for Deaf {
    fn is_member(&self, _relay: &NodeKey) -> bool {
        true
    }

    async fn answer(&self, _from: Peer, _asked: Frame) -> Answer {
        Answer::Silence
    }

    async fn hear(&self, _from: Peer, _told: Frame) -> Heard {
        Heard::Fine
    }
}

impl Traitor {
    /// Links as the relay whose node key has this seed.
    pub fn new(network: NetworkId, seed: &[u8; 32]) -> Self {
        let identity = Identity::from_seed(seed).unwrap();
        let socket = bind(source(fresh())).unwrap();
        let (greeting, config) = (Greeting::new(network), LinkConfig::home());
        let endpoint =
            Endpoint::relay(socket, &identity, greeting, config, Arc::new(Deaf)).unwrap();
        Self {
            links: Links::new(endpoint.clone()),
            endpoint,
        }
    }

    /// Sends copies of `deposit` that its mailbox's writer never signed; answers how many.
    pub async fn false_copies(&self, to: Target, deposit: &Deposit, length: Length) -> u64 {
        let mut sent = 0;
        while length.goes_on(sent) {
            let row = swarm_proto::store::Row {
                write_signature: unsigned(deposit).write_signature,
                arrival: deposit.envelope.header().made,
                envelope: deposit.envelope.clone(),
                long_stay: deposit.long_stay,
            };
            let copy = Message::Copy(Copy {
                age: CopyAge::First,
                keys: deposit.keys,
                row,
            });
            sent += u64::from(
                self.links
                    .tell(to, Frame::new(FrameKind::Copy, copy.encode())),
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        sent
    }

    /// Closes its links.
    pub async fn close(self) {
        self.endpoint.close().await;
    }
}

fn fresh() -> u8 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    u8::try_from(1 + NEXT.fetch_add(1, Ordering::Relaxed) % 250).unwrap()
}

/// An address in a /24 of its own.
fn source(subnet: u8) -> SocketAddr {
    SocketAddr::from(([127, 200, subnet, 1], 0))
}
