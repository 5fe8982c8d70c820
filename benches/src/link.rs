//! What a link costs two relays: opening it, with signatures and by a ticket, and a message over it.
//!
//! Both ends run on one thread, so that its processor time is what both pay together, the system's part
//! included. Bytes are those of UDP, until nothing more comes. Source: docs/spec/links.md, [LNK-11].

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use poste_link::{
    Answer, Endpoint, Frame, Greeting, Heard, Identity, Link, LinkConfig, LinkCount, Peer, Serve,
    Target, bind,
};
use swarm_proto::id::{NetworkId, NodeKey};
use swarm_proto::wire::frames::FrameKind;

use crate::cpu::take_turns;
use crate::failure::BenchFailure;
use crate::row::Row;

/// All rows about links; about `most` of wall time.
///
/// # Errors
/// [`BenchFailure`] if a link does not come to be, or a handshake is not of the kind that is measured.
pub fn measure(most: Duration) -> Result<Vec<Row>, BenchFailure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let entered = runtime.enter();
    let without_tickets = LinkConfig {
        tickets_max: 0,
        ..LinkConfig::default()
    };
    let relay = relay(1, LinkConfig::default())?;
    let ends = Ends {
        to: Target {
            key: relay.1,
            addr: relay.0.local_addr()?,
        },
        relay: relay.0,
        first: self::relay(2, without_tickets)?.0,
        again: self::relay(3, LinkConfig::default())?.0,
    };
    drop(entered);
    let results = take_turns(
        &mut [
            &mut || runtime.block_on(ends.open(&ends.first)),
            &mut || runtime.block_on(ends.open(&ends.again)),
            &mut || runtime.block_on(ends.tell()),
        ],
        TURNS,
        most,
    )?;
    let [full, resumed, message] = results.as_slice() else {
        return Err(BenchFailure::Wrong("not everything was measured"));
    };
    // The first turn of the one that keeps tickets had none yet.
    let counts = ends.again.counts();
    if counts.of(LinkCount::HandshakeFull) > 1
        || ends.first.counts().of(LinkCount::HandshakeResumed) > 0
    {
        return Err(BenchFailure::Wrong("a handshake was of the other kind"));
    }
    let mut rows = vec![
        Row::beside("link/handshake/resumed/full", CPU, resumed, full),
        Row::alone("link/message/100", CPU, message),
    ];
    rows.extend(runtime.block_on(ends.weigh())?);
    Ok(rows)
}

/// A relay that is dialled, and two that dial it: one always as if for the first time, one again.
struct Ends {
    relay: Endpoint,
    to: Target,
    first: Endpoint,
    again: Endpoint,
}

impl Ends {
    /// The processor time that opening a link takes, in microseconds.
    async fn open(&self, dialler: &Endpoint) -> Result<f64, BenchFailure> {
        let start = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        for _ in 0..BATCH {
            let link = self.link(dialler).await?;
            link.close();
        }
        while self.relay.held_links() != (0, 0) {
            tokio::time::sleep(A_MOMENT).await;
        }
        took(start)
    }

    /// The processor time that a message of 100 bytes takes with its acknowledgement.
    async fn tell(&self) -> Result<f64, BenchFailure> {
        let link = self.link(&self.again).await?;
        let start = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        for _ in 0..BATCH {
            tell(&link).await?;
        }
        took(start)
    }

    /// The bytes of handshakes and messages, one after the other at rest.
    async fn weigh(&self) -> Result<Vec<Row>, BenchFailure> {
        let mut full = [Vec::new(), Vec::new()];
        let mut resumed = [Vec::new(), Vec::new()];
        for _ in 0..WEIGHED {
            for (dialler, weights) in [(&self.first, &mut full), (&self.again, &mut resumed)] {
                let before = at_rest(dialler).await;
                let link = self.link(dialler).await?;
                let after = at_rest(dialler).await;
                for ((weights, before), after) in weights.iter_mut().zip(before).zip(after) {
                    weights.push(after - before);
                }
                link.close();
            }
        }
        let link = self.link(&self.again).await?;
        let before = at_rest(&self.again).await;
        for _ in 0..MESSAGES {
            tell(&link).await?;
        }
        let after = at_rest(&self.again).await;
        let message = before
            .iter()
            .zip(after)
            .map(|(before, after)| after - before);
        let message = message.sum::<f64>() / f64::from(MESSAGES);
        let [full_up, full_down] = &full;
        let [resumed_up, resumed_down] = &resumed;
        Ok(vec![
            Row::beside("link/handshake/resumed/full/up", BYTES, resumed_up, full_up),
            Row::beside(
                "link/handshake/resumed/full/down",
                BYTES,
                resumed_down,
                full_down,
            ),
            Row::alone("link/message/100/both-ways", BYTES, &[message]),
        ])
    }

    async fn link(&self, dialler: &Endpoint) -> Result<Link, BenchFailure> {
        let linked = dialler.link(self.to.key, self.to.addr).await;
        linked.map_err(|_| BenchFailure::Wrong("a link did not come to be"))
    }
}

fn took(start: nix::sys::time::TimeSpec) -> Result<f64, BenchFailure> {
    let end = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    let took = Duration::from(end).saturating_sub(Duration::from(start));
    Ok(took.as_secs_f64() * 1e6 / f64::from(BATCH))
}

async fn tell(link: &Link) -> Result<(), BenchFailure> {
    let told = link.tell(&Frame::new(FrameKind::Copy, vec![7; 100])).await;
    told.map_err(|_| BenchFailure::Wrong("a message did not arrive"))
}

/// Bytes sent and received once nothing more comes.
async fn at_rest(endpoint: &Endpoint) -> [f64; 2] {
    let read = || {
        let counts = [LinkCount::UdpBytesOut, LinkCount::UdpBytesIn];
        counts.map(|count| endpoint.counts().of(count) as f64)
    };
    let mut last = read();
    for _ in 0..QUIET_TRIES {
        tokio::time::sleep(QUIET).await;
        let now = read();
        if now == last {
            break;
        }
        last = now;
    }
    last
}

/// A relay on the loopback interface that takes every message.
fn relay(seed: u8, config: LinkConfig) -> Result<(Endpoint, NodeKey), BenchFailure> {
    let identity = Identity::from_seed(&[seed; 32]);
    let identity = identity.map_err(|_| BenchFailure::Wrong("a key was refused"))?;
    let socket = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let greeting = Greeting::new(NetworkId([1; 32]));
    let endpoint = Endpoint::relay(socket, &identity, greeting, config, Arc::new(Deaf));
    let endpoint = endpoint.map_err(|_| BenchFailure::Wrong("an endpoint did not start"))?;
    Ok((endpoint, identity.node_key()))
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

const CPU: &str = "us of CPU, both";
const BYTES: &str = "bytes of UDP";
/// Links, or messages, in a row.
const BATCH: u32 = 10;
const TURNS: usize = 101;
/// Handshakes that are weighed: they differ by an acknowledgement.
const WEIGHED: u32 = 5;
const MESSAGES: u32 = 50;
/// Until the other side has seen a link end.
const A_MOMENT: Duration = Duration::from_millis(1);
/// Acknowledgements may be 25 ms late.
const QUIET: Duration = Duration::from_millis(100);
const QUIET_TRIES: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_about_links_has_a_figure() {
        let rows = measure(Duration::ZERO).unwrap();
        assert_eq!(rows.len(), 5);
        assert!(rows.iter().all(|row| row.ours > 0.0), "{rows:?}");
    }
}
