//! The relay's side of its links: frames come in here, are decoded and judged, and only then reach the
//! core; onions are peeled here, on all cores.
//!
//! Nothing is decided here about mail or members. An address appears in no line of the log together with
//! anything that was asked. Source: `docs/spec/links.md`, `docs/spec/onion.md` [ONI-5].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use poste_link::{
    Answer, AskFailure, ClockHeard, Frame, Heard, Links, Peer, Refused, Serve, Target,
};
use swarm_proto::crypto::Crypto;
use swarm_proto::effects::{Input, Origin, StreamId};
use swarm_proto::id::{NetworkId, NodeId, NodeKey};
use swarm_proto::limits;
use swarm_proto::members::Snapshot;
use swarm_proto::network::Network;
use swarm_proto::onion::door::Door;
use swarm_proto::onion::peel::Peeled;
use swarm_proto::onion::replay::{NotAdmitted, Replay};
use swarm_proto::onion::reply::ReplyKeys;
use swarm_proto::onion::{Inner, SizeClass};
use swarm_proto::time::UnixTime;
use swarm_proto::wire::Message;
use swarm_proto::wire::frames::FrameKind;
use swarm_proto::wire::refusal::Refusal;
use swarm_proto::wire::verify::{Judge, Verified, Via};
use tokio::sync::{OnceCell, oneshot};

use crate::budget::Inbox;
use crate::driver::Clock;
use crate::puzzle::Puzzles;

/// What link tasks share.
pub(crate) struct Gate {
    pub(crate) me: NodeId,
    pub(crate) network: NetworkId,
    founders: Vec<NodeKey>,
    pub(crate) crypto: Arc<dyn Crypto>,
    pub(crate) clock: Clock,
    pub(crate) door: RwLock<Door>,
    pub(crate) replay: Vec<Mutex<Replay>>,
    pub(crate) book: Book,
    pub(crate) streams: Streams,
    pub(crate) core: Inbox,
    /// Set once, right after the endpoint that serves this gate was opened.
    pub(crate) links: OnceCell<Links>,
    pub(crate) counts: GateCounts,
    /// The clocks of the relays that linked or were linked to.
    pub(crate) clocks: Arc<Clocks>,
    puzzles: Puzzles,
}

/// What happened at the gate, for the operator.
#[derive(Debug, Default)]
pub(crate) struct GateCounts {
    /// Onions passed on.
    pub(crate) forwarded: AtomicU64,
    /// Onions for this relay.
    pub(crate) delivered: AtomicU64,
    /// Onions that were not for this relay, changed on the way or seen before.
    pub(crate) rejected: AtomicU64,
    /// Messages that were dropped because the core had too much to do.
    pub(crate) overflowed: AtomicU64,
}

impl Serve for Gate {
    fn is_member(&self, relay: &NodeKey) -> bool {
        self.book.find(&relay.node_id()).is_some()
    }

    async fn answer(&self, from: Peer, asked: Frame) -> Answer {
        self.note_clock(&from);
        match asked.kind {
            FrameKind::OnionSmall | FrameKind::OnionLarge => self.onion(asked).await,
            FrameKind::ListAsk | FrameKind::RosterAsk => self.list(asked).await,
            FrameKind::Hello
            | FrameKind::Refusal
            | FrameKind::Reconcile
            | FrameKind::Want
            | FrameKind::Records
            | FrameKind::ListPart
            | FrameKind::RosterPart
            | FrameKind::OnionAnswerSmall
            | FrameKind::OnionAnswerLarge
            | FrameKind::Copy
            | FrameKind::Copied
            | FrameKind::Erase
            | FrameKind::CardCopy
            | FrameKind::Compare
            | FrameKind::Probe
            | FrameKind::Sweep
            | FrameKind::ReconcileTestimonies
            | FrameKind::WantTestimonies
            | FrameKind::Heads
            | FrameKind::Testimonies
            | FrameKind::Tallies
            | FrameKind::Here
            | FrameKind::Proof
            | FrameKind::Challenge
            | FrameKind::ChallengeAnswer => Answer::Fault,
        }
    }

    async fn hear(&self, from: Peer, told: Frame) -> Heard {
        self.note_clock(&from);
        let Peer::Relay { key, .. } = from else {
            return Heard::Fault;
        };
        let bytes = told.body.len();
        let Ok(message) = Message::decode(told.kind.code(), told.body) else {
            return Heard::Fault;
        };
        let Ok(mut message) = self.judge().admit(message, Via::Relay(key)) else {
            return Heard::Fault;
        };
        let (is_member, now) = (self.is_member(&key), self.clock.read().mono);
        if !self.puzzles.screen(&mut message, is_member, now).await {
            return Heard::Fault;
        }
        let input = Input::Message {
            from: Origin::Relay(key.node_id()),
            message,
        };
        if !self.core.put(input, bytes) {
            self.counts.overflowed.fetch_add(1, Ordering::Relaxed);
        }
        Heard::Fine
    }
}

impl Gate {
    /// The gate of the relay `key`, before its endpoint is open.
    pub(crate) fn new(
        key: NodeKey,
        network: &Network,
        crypto: Arc<dyn Crypto>,
        clock: Clock,
        core: Inbox,
        puzzles: Puzzles,
    ) -> Self {
        let me = key.node_id();
        let start = clock.read().unix;
        let tags = limits::REPLAY_TAGS_PER_TICK_MAX / REPLAY_SHARDS;
        let shard = || Mutex::new(Replay::new(network.scale, start, tags));
        Self {
            me,
            network: network.id(),
            founders: network.founders.clone(),
            crypto,
            clock,
            door: RwLock::new(Door::new(me, network.scale)),
            replay: (0..REPLAY_SHARDS).map(|_| shard()).collect(),
            book: Book::default(),
            streams: Streams::default(),
            core,
            links: OnceCell::new(),
            counts: GateCounts::default(),
            clocks: Arc::default(),
            puzzles,
        }
    }

    /// The pool of links to other relays; `None` before the endpoint is open.
    pub(crate) fn links(&self) -> Option<&Links> {
        self.links.get()
    }

    fn judge(&self) -> Judge<'_> {
        Judge {
            crypto: &*self.crypto,
            network: self.network,
            me: self.me,
        }
    }

    fn note_clock(&self, from: &Peer) {
        if let Peer::Relay { key, clock, .. } = from {
            self.clocks.note(*key, *clock);
        }
    }

    /// How far the median of the members' clocks is ahead of this one, in milliseconds, and of how many ([CLK-1]).
    pub(crate) fn clock_ahead_ms(&self) -> (i64, usize) {
        let ours = self.clock.read().unix;
        self.clocks.ahead_ms(ours, |key| {
            self.founders.contains(key) || self.is_member(key)
        })
    }

    async fn list(&self, asked: Frame) -> Answer {
        let Ok(message) = Message::decode(asked.kind.code(), asked.body) else {
            return Answer::Fault;
        };
        match self.judge().admit(message, Via::Client) {
            Err(_) => Answer::Fault,
            Ok(message) => match self.ask_core(message, LIST_ASK_BYTES).await {
                Ok(answer @ Message::ListPart(_)) => {
                    Answer::Frame(Frame::new(FrameKind::ListPart, answer.encode()))
                }
                Ok(answer @ Message::RosterPart(_)) => {
                    Answer::Frame(Frame::new(FrameKind::RosterPart, answer.encode()))
                }
                Ok(_) => Answer::Refuse(refused(Refusal::TooBusy {
                    retry_after_ms: 1_000,
                })),
                Err(refusal) => Answer::Refuse(refused(refusal)),
            },
        }
    }

    /// The road of an onion: opened without a lock, admitted once, then acted on ([ONI-5]).
    async fn onion(&self, asked: Frame) -> Answer {
        let now = self.clock.read().unix;
        let kind = asked.kind;
        let opened = {
            let door = self.door.read().unwrap_or_else(PoisonError::into_inner);
            door.open(now, asked.body.into())
        };
        let Ok(opened) = opened else {
            self.counts.rejected.fetch_add(1, Ordering::Relaxed);
            return Answer::Fault;
        };
        let admitted = match self.replay.get(opened.shard(self.replay.len())) {
            Some(shard) => shard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .admit(now, opened),
            None => return Answer::Silence,
        };
        match admitted.and_then(swarm_proto::onion::peel::Admitted::act) {
            Ok(peeled) => self.act(kind, peeled).await,
            Err(NotAdmitted::Replayed) => {
                self.counts.rejected.fetch_add(1, Ordering::Relaxed);
                Answer::Silence
            }
            Err(NotAdmitted::Refused { why, reply }) => {
                let class = reply.class();
                let (code, detail) = why.refusal();
                answer_frame(class, reply.refuse(code, detail))
            }
        }
    }

    async fn act(&self, kind: FrameKind, peeled: Peeled) -> Answer {
        match peeled {
            Peeled::Forward { next, onion, reply } => {
                self.counts.forwarded.fetch_add(1, Ordering::Relaxed);
                self.forward(kind, next, onion, reply).await
            }
            Peeled::Deliver { inner, reply } => {
                self.counts.delivered.fetch_add(1, Ordering::Relaxed);
                let class = reply.class();
                let answer = self.deliver(inner, reply.hash()).await;
                let inner = Inner {
                    kind: answer.kind(),
                    body: answer.encode().into(),
                };
                let sealed = reply.seal(&inner).unwrap_or_else(|reply| {
                    let refusal = Refusal::TooLarge;
                    reply.refuse(refusal.code(), refusal.detail())
                });
                answer_frame(class, sealed)
            }
            Peeled::Drop { reply } | Peeled::Loop { reply } => {
                let class = reply.class();
                match reply.seal(&Inner::NOTHING) {
                    Ok(sealed) => answer_frame(class, sealed),
                    Err(_) => Answer::Silence,
                }
            }
        }
    }

    /// Passes an onion on and wraps its answer; whatever goes wrong behind this relay is told as this
    /// relay's own word, so that nobody can be blamed by another.
    async fn forward(
        &self,
        kind: FrameKind,
        next: NodeId,
        onion: Vec<u8>,
        reply: ReplyKeys,
    ) -> Answer {
        let class = reply.class();
        let pause = jitter();
        tokio::time::sleep(pause).await;
        let answered = match (self.links(), self.book.find(&next)) {
            (Some(links), Some(target)) => {
                links
                    .ask(target, &Frame::new(kind, onion), FORWARD_WAIT)
                    .await
            }
            (_, _) => Err(AskFailure::Late { silent: false }),
        };
        let fits = |frame: &Frame| frame.kind == answer_kind(class);
        let wrapped = match answered.ok().filter(fits) {
            Some(frame) => reply.wrap(frame.body.into()),
            None => Err(reply),
        };
        let refusal = Refusal::HopUnreachable;
        answer_frame(
            class,
            wrapped.unwrap_or_else(|reply| reply.refuse(refusal.code(), 0)),
        )
    }

    async fn deliver(&self, inner: Inner, reply_key_hash: [u8; 32]) -> Message {
        let kind = inner.kind;
        let bytes = inner.body.len();
        // A copy, so that what waits does not hold the whole onion in memory.
        let body = Bytes::copy_from_slice(&inner.body);
        drop(inner);
        let Ok(message) = Message::decode(kind, body) else {
            return Message::Refusal(Refusal::UnknownMessage { kind });
        };
        match self.judge().admit(message, Via::Onion { reply_key_hash }) {
            Err(refusal) => Message::Refusal(refusal),
            Ok(message) => self
                .ask_core(message, bytes)
                .await
                .unwrap_or_else(Message::Refusal),
        }
    }

    async fn ask_core(&self, message: Verified, bytes: usize) -> Result<Message, Refusal> {
        let busy = Refusal::TooBusy {
            retry_after_ms: 1_000,
        };
        let Some(waiting) = self.streams.open(self.core.clone()) else {
            return Err(busy);
        };
        let input = Input::Message {
            from: Origin::Stream(waiting.stream),
            message,
        };
        if !self.core.put(input, bytes) {
            self.counts.overflowed.fetch_add(1, Ordering::Relaxed);
            return Err(busy);
        }
        waiting.answer().await.ok_or(busy)
    }
}

/// The clocks of other relays, as each one's last hello told.
#[derive(Debug, Default)]
pub(crate) struct Clocks(Mutex<BTreeMap<NodeKey, ClockHeard>>);

impl Clocks {
    /// Notes what one relay's hello told, unless a later one told something or it says too little.
    pub(crate) fn note(&self, key: NodeKey, heard: ClockHeard) {
        let mut clocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = clocks.get(&key);
        let is_later = known.is_none_or(|known| known.at < heard.at);
        let has_room = known.is_some() || clocks.len() < CLOCKS_MAX;
        if is_later && has_room && heard.error <= CLOCK_ERROR_MAX {
            clocks.insert(key, heard);
        }
    }

    /// How far the median of those that `counts` is ahead of this relay's clock, which shows `ours`, in
    /// milliseconds, and of how many.
    pub(crate) fn ahead_ms(
        &self,
        ours: UnixTime,
        counts: impl Fn(&NodeKey) -> bool,
    ) -> (i64, usize) {
        let clocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = clocks.iter().filter(|(key, _)| counts(key));
        let mut ahead: Vec<i64> = counted.map(|(_, heard)| heard.ahead_ms(ours)).collect();
        ahead.sort_unstable();
        (
            ahead.get(ahead.len() / 2).copied().unwrap_or(0),
            ahead.len(),
        )
    }
}

/// Streams that wait for the core's answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams(Arc<Mutex<Waiters>>);

#[derive(Debug, Default)]
struct Waiters {
    next: u64,
    waiting: BTreeMap<StreamId, oneshot::Sender<Message>>,
}

impl Streams {
    /// Opens a stream, unless too many wait.
    fn open(&self, core: Inbox) -> Option<Waiting> {
        let mut waiters = self.lock();
        if waiters.waiting.len() >= STREAMS_MAX {
            return None;
        }
        let stream = StreamId(waiters.next);
        waiters.next += 1;
        let (to, answer) = oneshot::channel();
        waiters.waiting.insert(stream, to);
        Some(Waiting {
            stream,
            answer: Some(answer),
            streams: self.clone(),
            core,
        })
    }

    /// Gives the core's answer to whoever waits for it.
    pub(crate) fn answer(&self, stream: StreamId, message: Message) {
        let waiter = self.lock().waiting.remove(&stream);
        if let Some(to) = waiter {
            // The asker may have given up meanwhile.
            let _given_up = to.send(message);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One asker's place; the core is told if it goes away first.
struct Waiting {
    stream: StreamId,
    answer: Option<oneshot::Receiver<Message>>,
    streams: Streams,
    core: Inbox,
}

impl Waiting {
    async fn answer(mut self) -> Option<Message> {
        let answer = self.answer.take()?;
        tokio::time::timeout(limits::REPLY_LIFE, answer)
            .await
            .ok()?
            .ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.streams.lock().waiting.remove(&self.stream).is_some() {
            // If the core is that busy, its answer finds nobody and is dropped.
            let _full = self.core.hint(Input::StreamClosed {
                stream: self.stream,
            });
        }
    }
}

/// Where relays are dialled.
#[derive(Debug, Default)]
pub(crate) struct Book(RwLock<Pages>);

#[derive(Debug, Default)]
struct Pages {
    members: Option<Arc<Snapshot>>,
    found: BTreeMap<NodeId, Target>,
}

impl Book {
    /// The members, whose own word on their address counts most.
    pub(crate) fn set_members(&self, members: Arc<Snapshot>) {
        let mut pages = self.0.write().unwrap_or_else(PoisonError::into_inner);
        pages.found.retain(|id, _| members.find(id).is_none());
        pages.members = Some(members);
    }

    /// The members, if any are known.
    pub(crate) fn members(&self) -> Option<Arc<Snapshot>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .members
            .clone()
    }

    /// A relay that discovery found; known until it is a member.
    pub(crate) fn add_found(&self, key: NodeKey, addr: SocketAddr) {
        let mut pages = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if pages.found.len() < limits::MEMBERS_MAX {
            pages.found.insert(key.node_id(), Target { key, addr });
        }
    }

    /// Where to dial a relay.
    pub(crate) fn find(&self, id: &NodeId) -> Option<Target> {
        let pages = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let member = pages
            .members
            .as_ref()
            .and_then(|members| members.find(id))
            .and_then(|m| {
                let address = m.record().addresses.iter().flatten().next()?;
                Some(Target {
                    key: m.record().key,
                    addr: SocketAddr::new(address.ip(), address.port()),
                })
            });
        member.or_else(|| pages.found.get(id).copied())
    }
}

/// The refusal as a link tells it.
fn refused(refusal: Refusal) -> Refused {
    Refused {
        code: refusal.code(),
        detail: refusal.detail(),
    }
}

fn answer_kind(class: SizeClass) -> FrameKind {
    match class {
        SizeClass::Small => FrameKind::OnionAnswerSmall,
        SizeClass::Large => FrameKind::OnionAnswerLarge,
    }
}

fn answer_frame(class: SizeClass, sealed: Vec<u8>) -> Answer {
    Answer::Frame(Frame::new(answer_kind(class), sealed))
}

/// 0 to 20 ms, so that onions that came together do not leave together.
fn jitter() -> Duration {
    let mut random = [0; 2];
    // Without randomness there is no pause; nothing else depends on it.
    let _no_randomness = getrandom::fill(&mut random);
    Duration::from_micros(u64::from(u16::from_be_bytes(random)) * 20_000 / 65_536)
}

/// How long the rest of a path may take.
const FORWARD_WAIT: Duration = Duration::from_secs(18);
/// What a wish for the member list, or an eligible one, counts for.
const LIST_ASK_BYTES: usize = 64;
/// Requests that wait for the core at once; further ones are told *too busy*.
const STREAMS_MAX: usize = 8_192;
/// Relays whose clock is remembered.
const CLOCKS_MAX: usize = 1_024;
/// A hello that came slower than this says nothing of a clock.
const CLOCK_ERROR_MAX: Duration = Duration::from_secs(1);
/// Replay filters side by side, so that link tasks seldom wait for each other.
const REPLAY_SHARDS: usize = 8;
