//! A relay's links to many others: opened on demand, shared by everybody in the program, given up when
//! unused.
//!
//! Each peer has one task that owns its link: so there is one dial at a time and one connection,
//! whoever asks; and none is dialled while the peer keeps a link to us that can be used ([LNK-12]). Once a dial has failed nobody waits for the next one: askers are told at once, and it goes
//! on beside them, since a relay on an onion's way that waits for a dead one takes the time that the sender
//! has for another way ([LNK-9]). Messages are best effort: a full queue drops the newest and counts it, and the
//! protocol's machines recover as from any loss ([LNK-8]).

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use swarm_proto::id::NodeKey;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::counts::LinkCount;
use crate::endpoint::{Endpoint, LinkFailure};
use crate::frame::Frame;
use crate::hello::ClockHeard;
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

/// Told after each dial, and when a link is taken up that the relay keeps to us, what the relay's hello said of its
/// clock; nothing if it was not reached.
type Watch = Arc<dyn Fn(NodeKey, Option<ClockHeard>) + Send + Sync>;

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

    /// The same; `watch` is told after each dial, and when a link is taken up that a relay keeps to us, which relay
    /// it was, and what its hello said of its clock or nothing if it was not reached. It must not block.
    pub fn watched(
        endpoint: Endpoint,
        watch: impl Fn(NodeKey, Option<ClockHeard>) + Send + Sync + 'static,
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

    /// The peer's link, dialled if neither side has.
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
            listening: None,
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
    listening: Option<Listening>,
    watch: Watch,
}

/// Something was told, and the peer has to acknowledge it by then.
struct Listening {
    until: Instant,
    heard: u64,
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
        loop {
            let idle = Instant::now() + idle_max;
            let until = self.listening.as_ref().map_or(idle, |one| one.until);
            let wanted = match timeout_at(until, want.recv()).await {
                Ok(Some(wanted)) => wanted,
                Err(_late) if self.listening.is_some() => {
                    self.check_silence();
                    continue;
                }
                // Nobody here wants the link, but the peer may be using it.
                Err(_late) if self.was_used_since(Instant::now() - idle_max) => continue,
                Ok(None) | Err(_) => return,
            };
            match wanted {
                Wanted::Link { addr, dead, to } => {
                    self.forget(dead);
                    let failing = self.is_failing(addr);
                    let linked = if failing {
                        Err(LinkFailure::Pausing)
                    } else {
                        self.link(addr).await
                    };
                    // The asker may have given up meanwhile.
                    let _given_up = to.send(linked);
                    if failing {
                        self.redial(addr, &mut want, Vec::new()).await;
                    }
                }
                Wanted::Tell { waiting, .. }
                    if !waiting.frame.kind.opens_links() && self.open_link().is_none() =>
                {
                    self.endpoint.counts().one(LinkCount::TellFailed);
                }
                Wanted::Tell { addr, waiting } if self.is_failing(addr) => {
                    self.redial(addr, &mut want, vec![waiting]).await;
                }
                Wanted::Tell { addr, waiting } => self.tell(addr, waiting).await,
            }
        }
    }

    fn was_used_since(&self, then: Instant) -> bool {
        let open = self.link.as_ref().filter(|link| link.is_open());
        open.is_some_and(|link| link.activity.idle_since().is_none_or(|since| since > then))
    }

    /// Whether the last dial of that address failed, and there is no link.
    fn is_failing(&mut self, addr: SocketAddr) -> bool {
        let failed = self.failed.as_ref();
        failed.is_some_and(|failed| failed.addr == addr) && self.open_link().is_none()
    }

    /// The link in use if it is open, else one that the peer keeps to us. To take that one up is to reach the
    /// peer: it has proven its key and been greeted.
    fn open_link(&mut self) -> Option<Link> {
        if self.link.as_ref().is_none_or(|link| !link.is_open()) {
            self.link = self.endpoint.link_from(&self.key);
            if let Some(link) = &self.link {
                (self.watch)(self.key, Some(link.clock()));
            }
        }
        self.link.clone()
    }

    /// Dials a peer that failed before, if its pause is over; meanwhile askers are told that it fails, and
    /// messages wait.
    async fn redial(
        &mut self,
        addr: SocketAddr,
        want: &mut mpsc::Receiver<Wanted>,
        mut tells: Vec<Waiting>,
    ) {
        if self.pauses(addr) {
            let counts = self.endpoint.counts();
            tells.iter().for_each(|_| counts.one(LinkCount::TellFailed));
            return;
        }
        let endpoint = self.endpoint.clone();
        let dial = endpoint.link(self.key, addr);
        tokio::pin!(dial);
        let linked = loop {
            tokio::select! {
                linked = &mut dial => break linked,
                Some(wanted) = want.recv() => match wanted {
                    Wanted::Link { to, .. } => {
                        // It may have dialled us meanwhile.
                        let kept = endpoint.link_from(&self.key);
                        let _given_up = to.send(kept.ok_or(LinkFailure::Pausing));
                    }
                    // Their number is bounded by the places in the peer's queue.
                    Wanted::Tell { waiting, .. } => tells.push(waiting),
                },
            }
        };
        let _told = self.dialled(addr, linked);
        for waiting in tells {
            self.tell(addr, waiting).await;
        }
    }

    async fn tell(&mut self, addr: SocketAddr, waiting: Waiting) {
        let shared = Arc::clone(&self.endpoint.shared);
        let counts = Arc::clone(&shared.counts);
        let tracker = shared.tracker.clone();
        let cancel = shared.cancel.clone();
        let Ok(link) = self.link(addr).await else {
            counts.one(LinkCount::TellFailed);
            return;
        };
        let until = Instant::now() + shared.config.silence_max;
        let heard = link.datagrams_heard();
        self.listening.get_or_insert(Listening { until, heard });
        // A task of its own, so that a peer that takes messages slowly does not keep askers waiting;
        // the places in the queue bound how many there are.
        tracker.spawn(async move {
            let told = cancel.run_until_cancelled(link.tell(&waiting.frame)).await;
            if told.is_none_or(|told| told.is_err()) {
                counts.one(LinkCount::TellFailed);
            }
        });
    }

    /// A peer that lives acknowledges what it is told ([LNK-10]). One of which nothing at all was heard since is given up,
    /// or whoever only tells it things would believe it alive until the link ends of itself.
    fn check_silence(&mut self) {
        let Some(listening) = self.listening.take() else {
            return;
        };
        let silent = |link: &mut Link| link.is_open() && link.datagrams_heard() == listening.heard;
        if let Some(link) = self.link.take_if(silent) {
            link.close();
            (self.watch)(self.key, None);
        }
    }

    fn forget(&mut self, dead: Option<usize>) {
        let current = self.link.as_ref().map(|link| link.connection.stable_id());
        if dead.is_some() && dead == current {
            self.link = None;
        }
    }

    async fn link(&mut self, addr: SocketAddr) -> Result<Link, LinkFailure> {
        if let Some(link) = self.open_link() {
            return Ok(link);
        }
        if self.pauses(addr) {
            return Err(LinkFailure::Pausing);
        }
        let linked = self.endpoint.link(self.key, addr).await;
        self.dialled(addr, linked)
    }

    fn pauses(&self, addr: SocketAddr) -> bool {
        let failed = self.failed.as_ref().filter(|failed| failed.addr == addr);
        failed.is_some_and(|failed| failed.until > Instant::now())
    }

    /// What a dial led to.
    fn dialled(
        &mut self,
        addr: SocketAddr,
        linked: Result<Link, LinkFailure>,
    ) -> Result<Link, LinkFailure> {
        let failed = self.failed.as_ref().filter(|failed| failed.addr == addr);
        let config = &self.endpoint.shared.config;
        let pause = failed.map_or(config.dial_pause_min, |failed| {
            (failed.pause * 2).min(config.dial_pause_max)
        });
        (self.watch)(self.key, linked.as_ref().ok().map(Link::clock));
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
