//! A network in a box: a UDP proxy that delays, loses, narrows and cuts, between two real processes.
//!
//! It stands where the kernel's network emulation would, needs no privileges, and takes its chances
//! from a seed: the same datagrams in the same order have the same fate. It looks into no datagram.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// The conditions on a road, the same both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProxyConfig {
    /// Time that every datagram takes, one way.
    pub delay: Duration,
    /// Further time, drawn evenly from zero to this; datagrams overtake each other.
    pub jitter: Duration,
    /// The share of datagrams that is lost, 0 to 1.
    pub loss: f64,
    /// Bytes a second, one way; `None` for no limit.
    pub bytes_per_s: Option<u64>,
    /// Nothing passes.
    pub cut: bool,
}

/// What became of datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxyCounts {
    /// Passed on.
    pub passed: u64,
    /// Lost by chance or by a cut.
    pub lost: u64,
    /// Dropped because the road was full.
    pub overflowed: u64,
}

/// A running proxy; it stops when dropped.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    road: Arc<Road>,
    tracker: TaskTracker,
    stop: DropGuard,
}

impl Proxy {
    /// Starts a proxy on the loopback interface whose other end is `target`. Must be called inside a
    /// tokio runtime.
    ///
    /// # Errors
    /// If the system gives no socket.
    pub async fn start(target: SocketAddr, config: ProxyConfig, seed: u64) -> io::Result<Self> {
        let front = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let addr = front.local_addr()?;
        let road = Arc::new(Road {
            config: Mutex::new(config),
            passed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            overflowed: AtomicU64::new(0),
        });
        let tracker = TaskTracker::new();
        let cancel = CancellationToken::new();
        let (enter, leave) = mpsc::channel(ROAD_DATAGRAMS_MAX);
        let travelling = travel(Arc::clone(&road), leave);
        let stop = cancel.clone();
        tracker.spawn(async move { stop.run_until_cancelled(travelling).await });
        let entrance = Entrance {
            front: Arc::new(front),
            target,
            seed,
            road: Arc::clone(&road),
            enter,
            tracker: tracker.clone(),
            cancel: cancel.clone(),
        };
        let stop = cancel.clone();
        tracker.spawn(async move { stop.run_until_cancelled(entrance.take_in()).await });
        Ok(Self {
            addr,
            road,
            tracker,
            stop: cancel.drop_guard(),
        })
    }

    /// Where to dial instead of the target.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes the conditions for every datagram that enters from here on.
    pub fn set(&self, config: ProxyConfig) {
        *self.road.config() = config;
    }

    /// Lets nothing pass until [`Self::heal`].
    pub fn cut(&self) {
        self.road.config().cut = true;
    }

    /// Ends a cut.
    pub fn heal(&self) {
        self.road.config().cut = false;
    }

    /// What became of datagrams so far.
    pub fn counts(&self) -> ProxyCounts {
        ProxyCounts {
            passed: self.road.passed.load(Ordering::Relaxed),
            lost: self.road.lost.load(Ordering::Relaxed),
            overflowed: self.road.overflowed.load(Ordering::Relaxed),
        }
    }

    /// Stops and waits for its tasks.
    pub async fn stop(self) {
        let Self { tracker, stop, .. } = self;
        drop(stop);
        tracker.close();
        tracker.wait().await;
    }
}

/// What both ends of the road share.
#[derive(Debug)]
struct Road {
    config: Mutex<ProxyConfig>,
    passed: AtomicU64,
    lost: AtomicU64,
    overflowed: AtomicU64,
}

impl Road {
    fn config(&self) -> std::sync::MutexGuard<'_, ProxyConfig> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One datagram on its way.
struct Flight {
    due: Instant,
    turn: u64,
    bytes: Vec<u8>,
    from: Arc<UdpSocket>,
    to: SocketAddr,
}

/// One direction of one peer: its chances, and when its last datagram has left a narrow road.
struct Lane {
    chance: Chance,
    free: Instant,
}

impl Lane {
    fn new(seed: u64) -> Self {
        Self {
            chance: Chance(seed),
            free: Instant::now(),
        }
    }

    /// When a datagram of `bytes` arrives; `None` if it is lost. Draws twice whatever happens, so that
    /// a change of conditions moves no later chance.
    fn arrival(&mut self, config: &ProxyConfig, bytes: usize) -> Option<Instant> {
        let (fate, late) = (self.chance.part(), self.chance.part());
        if config.cut || fate < config.loss {
            return None;
        }
        let now = Instant::now();
        self.free = self.free.max(now);
        if let Some(bytes_per_s) = config.bytes_per_s {
            self.free += Duration::from_secs_f64(bytes as f64 / bytes_per_s.max(1) as f64);
        }
        Some(self.free + config.delay + config.jitter.mul_f64(late))
    }
}

/// Where datagrams enter the road.
struct Entrance {
    front: Arc<UdpSocket>,
    target: SocketAddr,
    seed: u64,
    road: Arc<Road>,
    enter: mpsc::Sender<Flight>,
    tracker: TaskTracker,
    cancel: CancellationToken,
}

impl Entrance {
    /// Takes in what comes from the front, with a socket of its own for each peer, as a router has.
    async fn take_in(self) {
        let mut peers: BTreeMap<SocketAddr, (Arc<UdpSocket>, Lane)> = BTreeMap::new();
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            // On loopback an error is an earlier datagram's, sent back by a closed port.
            let Ok((count, peer)) = self.front.recv_from(&mut buffer).await else {
                continue;
            };
            if !peers.contains_key(&peer) {
                if peers.len() >= PEERS_MAX {
                    self.road.overflowed.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                let Ok(back) = self.open(peer, peers.len() as u64).await else {
                    continue;
                };
                let lane = Lane::new(self.seed ^ (2 * peers.len() as u64));
                peers.insert(peer, (back, lane));
            }
            if let Some((back, lane)) = peers.get_mut(&peer) {
                let bytes = buffer.get(..count).unwrap_or_default();
                enter(&self.road, &self.enter, lane, bytes, back, self.target);
            }
        }
    }

    /// The socket towards the target for one peer, and a task for what comes back.
    async fn open(&self, peer: SocketAddr, number: u64) -> io::Result<Arc<UdpSocket>> {
        let back = Arc::new(UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?);
        let (road, sender) = (Arc::clone(&self.road), self.enter.clone());
        let (front, from) = (Arc::clone(&self.front), Arc::clone(&back));
        let mut lane = Lane::new(self.seed ^ (2 * number + 1));
        let cancel = self.cancel.clone();
        let target = self.target;
        self.tracker.spawn(async move {
            let taking_in = async {
                let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
                loop {
                    let Ok((count, sent_by)) = from.recv_from(&mut buffer).await else {
                        continue;
                    };
                    if sent_by == target {
                        let bytes = buffer.get(..count).unwrap_or_default();
                        enter(&road, &sender, &mut lane, bytes, &front, peer);
                    }
                }
            };
            cancel.run_until_cancelled(taking_in).await;
        });
        Ok(back)
    }
}

fn enter(
    road: &Road,
    sender: &mpsc::Sender<Flight>,
    lane: &mut Lane,
    bytes: &[u8],
    from: &Arc<UdpSocket>,
    to: SocketAddr,
) {
    let config = *road.config();
    let Some(due) = lane.arrival(&config, bytes.len()) else {
        road.lost.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let flight = Flight {
        due,
        turn: 0,
        bytes: bytes.to_vec(),
        from: Arc::clone(from),
        to,
    };
    if sender.try_send(flight).is_err() {
        road.overflowed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Keeps datagrams until they are due; equal moments leave in the order of entry.
async fn travel(road: Arc<Road>, mut leave: mpsc::Receiver<Flight>) {
    let mut flights: BinaryHeap<Reverse<Flight>> = BinaryHeap::new();
    let mut turn = 0;
    loop {
        let due = flights.peek().map(|Reverse(first)| first.due);
        tokio::select! {
            entered = leave.recv() => {
                let Some(mut flight) = entered else { return };
                if flights.len() >= ROAD_DATAGRAMS_MAX {
                    road.overflowed.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                turn += 1;
                flight.turn = turn;
                flights.push(Reverse(flight));
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let Some(Reverse(flight)) = flights.pop() else { continue };
                let sent = flight.from.send_to(&flight.bytes, flight.to).await;
                let count = if sent.is_ok() { &road.passed } else { &road.lost };
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Flight {
    fn order(&self) -> (Instant, u64) {
        (self.due, self.turn)
    }
}

impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Flight {}

impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Flight {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

/// SplitMix64: small, seeded and good enough to lose datagrams.
struct Chance(u64);

impl Chance {
    /// Evenly from 0 to 1, 1 excluded.
    fn part(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Datagrams on the road at once: a second of 50 Mbit/s.
const ROAD_DATAGRAMS_MAX: usize = 4_096;

/// Peers at the front; more have no way through.
const PEERS_MAX: usize = 256;

/// Bytes of the largest datagram of UDP.
const DATAGRAM_BYTES_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(seed: u64, config: &ProxyConfig) -> Vec<bool> {
        let mut lane = Lane::new(seed);
        (0..2_000)
            .map(|_| lane.arrival(config, 1_200).is_some())
            .collect()
    }

    #[tokio::test]
    async fn one_seed_has_one_fate_and_loses_its_share() {
        let config = ProxyConfig {
            loss: 0.05,
            ..ProxyConfig::default()
        };
        assert_eq!(fates(1, &config), fates(1, &config));
        assert_ne!(fates(1, &config), fates(2, &config));
        let lost = fates(1, &config)
            .iter()
            .filter(|arrived| !**arrived)
            .count();
        assert!((50..150).contains(&lost), "lost {lost} of 2000 at 5 %");
    }

    #[tokio::test]
    async fn a_narrow_road_lets_datagrams_through_one_after_the_other() {
        let config = ProxyConfig {
            delay: Duration::from_millis(50),
            bytes_per_s: Some(1_000),
            ..ProxyConfig::default()
        };
        let mut lane = Lane::new(1);
        let first = lane.arrival(&config, 500).unwrap();
        let second = lane.arrival(&config, 500).unwrap();
        assert!(second - first >= Duration::from_millis(500));
    }

    #[tokio::test]
    async fn a_cut_road_passes_nothing_until_it_heals() {
        let target = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let config = ProxyConfig::default();
        let proxy = Proxy::start(target.local_addr().unwrap(), config, 1)
            .await
            .unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        proxy.cut();
        peer.send_to(b"lost", proxy.addr()).await.unwrap();
        while proxy.counts().lost == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        proxy.heal();
        peer.send_to(b"passed", proxy.addr()).await.unwrap();
        let mut buffer = [0; 16];
        let (count, via) = target.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..count], b"passed");
        target.send_to(b"back", via).await.unwrap();
        let (count, _) = peer.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..count], b"back");
        assert_eq!(proxy.counts().passed, 2);
        proxy.stop().await;
    }
}
