//! A relay's links to many others: opened on demand, shared by everybody in the program, given up when
//! unused.
//!
//! Each peer has one task that owns its link: so there is one dial at a time and one connection,
//! whoever asks. Messages are best effort: a full queue drops the newest and counts it, and the
//! protocol's machines recover as from any loss ([LNK-8]).

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use swarm_proto::id::NodeKey;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::counts::LinkCount;
use crate::endpoint::{Endpoint, LinkFailure};
use crate::frame::Frame;
use crate::link::{AskFailure, Link};

/// Where a relay is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its key.
    pub key: NodeKey,
    /// Its address, from its member record or the network file.
    pub addr: SocketAddr,
}

/// The links of one endpoint to others; handles are cheap and all mean the same pool.
#[derive(Clone)]
pub struct Links(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    /// KiB of messages that may wait in all queues together.
    tells: Arc<Semaphore>,
    peers: Mutex<Peers>,
    watch: Watch,
}

/// Told after each dial how far the relay's clock is ahead, in milliseconds; nothing if it was not reached.
type Watch = Arc<dyn Fn(NodeKey, Option<i64>) + Send + Sync>;

#[derive(Default)]
struct Peers {
    tick: u64,
    by_key: BTreeMap<NodeKey, Handle>,
}

/// The way to one peer's task; when it is dropped, the task ends and with it the link.
#[derive(Clone)]
struct Handle {
    used: u64,
    wanted: mpsc::Sender<Wanted>,
    tells: Arc<Semaphore>,
}

/// What a peer's task is asked for.
enum Wanted {
    Link {
        addr: SocketAddr,
        /// A link that turned out to be dead and must not be given out again.
        dead: Option<usize>,
        to: oneshot::Sender<Result<Link, LinkFailure>>,
    },
    Tell {
        addr: SocketAddr,
        waiting: Waiting,
    },
}

/// A message and its share of the queues.
struct Waiting {
    frame: Frame,
    _place: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Links {
    /// A pool that dials from `endpoint`, with the bounds of its configuration.
    pub fn new(endpoint: Endpoint) -> Self {
        Self::watched(endpoint, |_, _| {})
    }

    /// The same; `watch` is told after each dial which relay it was, and how far its clock is ahead in
    /// milliseconds or nothing if it was not reached. It must not block.
    pub fn watched(
        endpoint: Endpoint,
        watch: impl Fn(NodeKey, Option<i64>) + Send + Sync + 'static,
    ) -> Self {
        let kib = endpoint.shared.config.tells_bytes_max / 1024;
        Self(Arc::new(Inner {
            endpoint,
            tells: Arc::new(Semaphore::new(kib.clamp(1, Semaphore::MAX_PERMITS))),
            peers: Mutex::default(),
            watch: Arc::new(watch),
        }))
    }

    /// Asks over the peer's link, dialling it first if there is none; all within `deadline`. If the
    /// link is lost under the question, it is asked once more over a new one: every request of the
    /// protocol may be repeated.
    ///
    /// # Errors
    /// [`AskFailure`].
    pub async fn ask(
        &self,
        to: Target,
        frame: &Frame,
        deadline: Duration,
    ) -> Result<Frame, AskFailure> {
        let until = Instant::now() + deadline;
        let link = self.link_until(to, None, until).await?;
        let asked = link.ask(frame, until - Instant::now()).await;
        let Err(failure) = asked else { return asked };
        match failure {
            AskFailure::Lost(_) => {
                let dead = Some(link.connection.stable_id());
                let link = self.link_until(to, dead, until).await?;
                link.ask(frame, until - Instant::now()).await
            }
            AskFailure::Late { silent: true } => {
                // Nobody is there as far as this link can tell; whoever asks next dials anew.
                link.close();
                Err(failure)
            }
            AskFailure::Refused(_)
            | AskFailure::Late { silent: false }
            | AskFailure::Cut
            | AskFailure::Fault(_)
            | AskFailure::Unsendable(_)
            | AskFailure::NoLink(_) => Err(failure),
        }
    }

    /// Hands a message to the peer's queue. `false` if it was dropped: the queue or the memory for all
    /// queues is full.
    pub fn tell(&self, to: Target, frame: Frame) -> bool {
        let counts = self.0.endpoint.counts();
        let kib = u32::try_from(frame.wire_bytes().div_ceil(1024)).unwrap_or(u32::MAX);
        let handle = self.handle(to.key);
        let place = Arc::clone(&handle.tells).try_acquire_owned();
        let bytes = Arc::clone(&self.0.tells).try_acquire_many_owned(kib);
        let (Ok(place), Ok(bytes)) = (place, bytes) else {
            counts.one(LinkCount::TellDropped);
            return false;
        };
        let waiting = Waiting {
            frame,
            _place: place,
            _bytes: bytes,
        };
        let wanted = Wanted::Tell {
            addr: to.addr,
            waiting,
        };
        let queued = handle.wanted.try_send(wanted).is_ok();
        if !queued {
            counts.one(LinkCount::TellDropped);
        }
        queued
    }

    /// The peer's link, dialled if there is none.
    ///
    /// # Errors
    /// [`LinkFailure`].
    pub async fn link(&self, to: Target) -> Result<Link, LinkFailure> {
        let wait = 2 * self.0.endpoint.shared.config.handshake_wait;
        self.link_until(to, None, Instant::now() + wait).await
    }

    /// Peers in the pool.
    pub fn len(&self) -> usize {
        self.peers().by_key.len()
    }

    /// Whether there is no peer in the pool.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    async fn link_until(
        &self,
        to: Target,
        dead: Option<usize>,
        until: Instant,
    ) -> Result<Link, LinkFailure> {
        let handle = self.handle(to.key);
        let (reply, link) = oneshot::channel();
        let wanted = Wanted::Link {
            addr: to.addr,
            dead,
            to: reply,
        };
        let linking = async {
            let sent = handle.wanted.send(wanted).await;
            sent.map_err(|_| LinkFailure::Unreachable)?;
            link.await.map_err(|_| LinkFailure::Unreachable)?
        };
        timeout_at(until, linking)
            .await
            .unwrap_or(Err(LinkFailure::Unreachable))
    }

    fn handle(&self, key: NodeKey) -> Handle {
        let mut peers = self.peers();
        peers.tick += 1;
        let tick = peers.tick;
        if let Some(handle) = peers.by_key.get_mut(&key)
            && !handle.wanted.is_closed()
        {
            handle.used = tick;
            return handle.clone();
        }
        let config = &self.0.endpoint.shared.config;
        if !peers.by_key.contains_key(&key) && peers.by_key.len() >= config.pool_links_max {
            self.evict(&mut peers);
        }
        let handle = self.start(key, tick);
        peers.by_key.insert(key, handle.clone());
        handle
    }

    fn evict(&self, peers: &mut Peers) {
        let oldest = peers.by_key.iter().min_by_key(|(_, handle)| handle.used);
        if let Some(key) = oldest.map(|(key, _)| *key) {
            peers.by_key.remove(&key);
            self.0.endpoint.counts().one(LinkCount::PoolEvicted);
        }
    }

    fn start(&self, key: NodeKey, used: u64) -> Handle {
        let shared = &self.0.endpoint.shared;
        let tells_max = shared.config.tells_per_peer_max;
        let (wanted, want) = mpsc::channel(tells_max.saturating_add(ASKS_WAITING_MAX));
        let peer = PeerTask {
            endpoint: self.0.endpoint.clone(),
            key,
            link: None,
            failed: None,
            watch: Arc::clone(&self.0.watch),
        };
        let cancel = shared.cancel.clone();
        shared.tracker.spawn(async move {
            cancel.run_until_cancelled(peer.run(want)).await;
        });
        Handle {
            used,
            wanted,
            tells: Arc::new(Semaphore::new(tells_max)),
        }
    }

    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.0.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("peers", &self.len()).finish()
    }
}

/// Owns the link to one peer.
struct PeerTask {
    endpoint: Endpoint,
    key: NodeKey,
    link: Option<Link>,
    failed: Option<Failed>,
    watch: Watch,
}

/// The last dial failed.
struct Failed {
    addr: SocketAddr,
    pause: Duration,
    until: Instant,
}

impl PeerTask {
    /// Serves until the pool forgets the peer, or nobody wanted anything for as long as a link lives.
    async fn run(mut self, mut want: mpsc::Receiver<Wanted>) {
        let idle_max = self.endpoint.shared.config.idle_max;
        while let Ok(Some(wanted)) = timeout(idle_max, want.recv()).await {
            match wanted {
                Wanted::Link { addr, dead, to } => {
                    self.forget(dead);
                    let linked = self.link(addr).await;
                    // The asker may have given up meanwhile.
                    let _given_up = to.send(linked);
                }
                Wanted::Tell { addr, waiting } => self.tell(addr, waiting).await,
            }
        }
    }

    async fn tell(&mut self, addr: SocketAddr, waiting: Waiting) {
        let shared = &self.endpoint.shared;
        let counts = Arc::clone(&shared.counts);
        let tracker = shared.tracker.clone();
        let cancel = shared.cancel.clone();
        let Ok(link) = self.link(addr).await else {
            counts.one(LinkCount::TellFailed);
            return;
        };
        // A task of its own, so that a peer that takes messages slowly does not keep askers waiting;
        // the places in the queue bound how many there are.
        tracker.spawn(async move {
            let told = cancel.run_until_cancelled(link.tell(&waiting.frame)).await;
            if told.is_none_or(|told| told.is_err()) {
                counts.one(LinkCount::TellFailed);
            }
        });
    }

    fn forget(&mut self, dead: Option<usize>) {
        let current = self.link.as_ref().map(|link| link.connection.stable_id());
        if dead.is_some() && dead == current {
            self.link = None;
        }
    }

    async fn link(&mut self, addr: SocketAddr) -> Result<Link, LinkFailure> {
        if let Some(link) = self.link.as_ref().filter(|link| link.is_open()) {
            return Ok(link.clone());
        }
        self.link = None;
        let failed = self.failed.as_ref().filter(|failed| failed.addr == addr);
        let config = &self.endpoint.shared.config;
        let pause = failed.map_or(config.dial_pause_min, |failed| {
            (failed.pause * 2).min(config.dial_pause_max)
        });
        if failed.is_some_and(|failed| failed.until > Instant::now()) {
            return Err(LinkFailure::Pausing);
        }
        let linked = self.endpoint.link(self.key, addr).await;
        (self.watch)(self.key, linked.as_ref().ok().map(Link::clock_offset_ms));
        match linked {
            Ok(link) => {
                self.failed = None;
                self.link = Some(link.clone());
                Ok(link)
            }
            Err(failure) => {
                self.failed = Some(Failed {
                    addr,
                    pause,
                    until: Instant::now() + pause,
                });
                Err(failure)
            }
        }
    }
}

/// Askers that wait for one peer's link at once; more wait before the queue.
const ASKS_WAITING_MAX: usize = 64;
