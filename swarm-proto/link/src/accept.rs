//! What comes in: handshakes, hellos, and then frames for whoever serves them. Frames come in on links that
//! were taken in and, from relays, on those that were dialled; both are served by the same code ([LNK-12]).
//!
//! Each link has one task and each open stream another; QUIC's own stream limits bound how many. A
//! stream's task reads the whole frame within a deadline, hands it over, and writes the answer.
//! Nothing is served before the hello ([FRM-2]).

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use quinn::{Connection, Incoming, RecvStream, SendStream, VarInt};
use swarm_proto::id::NodeKey;
use swarm_proto::wire::frames::{FrameKind, Speaker, Way};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::admission::{Activity, Admission, Blamed, Busy, Handshake, NoPlace, Place};
use crate::counts::LinkCount;
use crate::endpoint::{Shared, peer_key};
use crate::frame::{Frame, FrameFault, read_body, read_frame, read_header};
use crate::hello::{ClockHeard, Hello};
use crate::link::{Hold, Link, Refused, code, send_frame};

/// Who sent a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A relay that proved its key.
    Relay {
        /// The key.
        key: NodeKey,
        /// Where the link came from; not where the relay is dialled. Only for debug lines.
        addr: SocketAddr,
        /// What its hello told of its clock.
        clock: ClockHeard,
    },
    /// Somebody who showed no key.
    Client(ClientLink),
}

impl Peer {
    fn speaker(&self) -> Speaker {
        match self {
            Self::Relay { .. } => Speaker::Relay,
            Self::Client(_) => Speaker::Client,
        }
    }
}

/// A client's link, named so that budgets can be kept for it without knowing its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientLink {
    /// The link; never used again after it closed.
    pub link: u64,
    /// Its /24 or /56; the number means nothing outside of this run of the program.
    pub subnet: u64,
}

/// What to do with a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Send this frame.
    Frame(Frame),
    /// Decline.
    Refuse(Refused),
    /// The question breaks the protocol: give no answer and count it against the peer.
    Fault,
    /// Give no answer.
    Silence,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It was taken, or dropped for lack of room.
    Fine,
    /// It breaks the protocol; it counts against the peer.
    Fault,
}

/// Whoever answers what comes in. Called in the task of the stream, many at a time.
pub trait Serve: Send + Sync + 'static {
    /// Whether links of `relay` belong into the members' pool. Must be quick.
    fn is_member(&self, relay: &NodeKey) -> bool;

    /// Answers a question; given up if the asker goes away.
    fn answer(&self, from: Peer, asked: Frame) -> impl Future<Output = Answer> + Send;

    /// Takes a message.
    fn hear(&self, from: Peer, told: Frame) -> impl Future<Output = Heard> + Send;
}

/// Serves what relays send on links that were dialled.
pub(crate) trait Host: Send + Sync {
    /// From now on, until the link closes.
    fn serve(self: Arc<Self>, link: &Link);
}

/// Starts to take links in. What is answered serves dialled links for as long as this endpoint is open.
pub(crate) fn start<S: Serve>(
    quinn: quinn::Endpoint,
    shared: &Arc<Shared>,
    serve: Arc<S>,
) -> (Arc<Admission>, Weak<dyn Host>) {
    let config = shared.config.clone();
    let admission = Arc::new(Admission::new(config, Arc::clone(&shared.counts)));
    let door = Arc::new(Door {
        admission: Arc::clone(&admission),
        handshakes: Arc::new(Semaphore::new(shared.config.handshakes_max)),
        shared: Arc::clone(shared),
        serve,
    });
    let itself: Weak<Door<S>> = Arc::downgrade(&door);
    let host: Weak<dyn Host> = itself;
    shared.tracker.spawn(async move {
        let cancel = door.shared.cancel.clone();
        let accepting = async {
            while let Some(incoming) = quinn.accept().await {
                door.knock(incoming);
            }
        };
        cancel.run_until_cancelled(accepting).await;
    });
    (admission, host)
}

/// Where links come in.
struct Door<S> {
    shared: Arc<Shared>,
    admission: Arc<Admission>,
    handshakes: Arc<Semaphore>,
    serve: Arc<S>,
}

impl<S: Serve> Door<S> {
    /// Starts a handshake, or sends the newcomer to prove its address, or turns it away.
    fn knock(self: &Arc<Self>, incoming: Incoming) {
        let counts = &self.shared.counts;
        let busy = self.handshakes.available_permits() <= self.shared.config.handshakes_max / 2;
        if busy && !incoming.remote_address_validated() {
            counts.one(LinkCount::Retried);
            // Fails only for a validated address.
            let _validated = incoming.retry();
            return;
        }
        let permit = Arc::clone(&self.handshakes).try_acquire_owned();
        let under_way = self.admission.handshake(incoming.remote_address());
        let (Ok(permit), Some(under_way)) = (permit, under_way) else {
            counts.one(LinkCount::TurnedAway);
            incoming.refuse();
            return;
        };
        let door = Arc::clone(self);
        self.shared.tracker.spawn(async move {
            let cancel = door.shared.cancel.clone();
            let opening = door.open(incoming, under_way);
            let opened = cancel.run_until_cancelled(opening).await;
            drop(permit);
            if let Some(Some((guest, connection))) = opened {
                cancel.run_until_cancelled(guest.serve(connection)).await;
            }
        });
    }

    /// Handshake, place, hello. `None` if the link does not come to be.
    async fn open(
        self: &Arc<Self>,
        incoming: Incoming,
        under_way: Handshake,
    ) -> Option<(Arc<Guest<S>>, Connection)> {
        let config = &self.shared.config;
        let counts = &self.shared.counts;
        let started = Instant::now();
        let connecting = incoming.accept().ok()?;
        let connected = timeout(config.handshake_wait, connecting).await;
        let Ok(Ok(connection)) = connected else {
            counts.one(LinkCount::HandshakeFailed);
            return None;
        };
        let key = peer_key(&connection);
        let member = key.is_some_and(|key| self.serve.is_member(&key));
        let place = match self.admission.admit(&connection, key, member) {
            Ok(place) => place,
            Err(why) => {
                counts.one(match why {
                    NoPlace::Full => LinkCount::TurnedAway,
                    NoPlace::KeptOut => LinkCount::KeptOut,
                });
                close(&connection, code::BUSY);
                return None;
            }
        };
        let full = self.shared.is_full(key.as_ref());
        let greeted = timeout(config.handshake_wait, self.greet(&connection, key, started)).await;
        drop(under_way);
        let Ok(Ok(greeted)) = greeted else {
            close(&connection, code::FAULT);
            return None;
        };
        counts.one(LinkCount::Accepted);
        self.shared.count_handshake(&connection, full);
        let peer = match key {
            Some(key) => {
                let tells_max = VarInt::from_u32(config.tells_per_link_max);
                connection.set_max_concurrent_uni_streams(tells_max);
                place.offer(self.usable(&connection, key, &greeted, place.activity()));
                Peer::Relay {
                    key,
                    addr: connection.remote_address(),
                    clock: greeted.clock,
                }
            }
            None => Peer::Client(ClientLink {
                link: place.id(),
                subnet: place.subnet_tag(),
            }),
        };
        let terms = Terms {
            blamed: place.blamed(),
            activity: Arc::clone(place.activity()),
            _place: Some(place),
            hold: None,
        };
        Some((Guest::new(self, peer, terms), connection))
    }

    /// A relay's link, for this side to ask and tell over.
    fn usable(
        &self,
        connection: &Connection,
        key: NodeKey,
        greeted: &Greeted,
        activity: &Arc<Activity>,
    ) -> Link {
        let config = &self.shared.config;
        Link {
            connection: connection.clone(),
            counts: Arc::clone(&self.shared.counts),
            key,
            speaker: Speaker::Relay,
            version: greeted.version,
            clock: greeted.clock,
            frame_wait: config.frame_wait,
            silence_max: config.silence_max,
            activity: Arc::clone(activity),
            hold: None,
        }
    }

    /// Reads the first frame, which must be a hello, and answers it. Their clock was read after the handshake
    /// `started`.
    async fn greet(
        &self,
        connection: &Connection,
        key: Option<NodeKey>,
        started: Instant,
    ) -> Result<Greeted, NotGreeted> {
        let shared = &self.shared;
        let (send, mut receive) = connection.accept_bi().await.map_err(|_| NotGreeted)?;
        let speaker = key.map_or(Speaker::Client, |_| Speaker::Relay);
        let first = read_frame(&mut receive, speaker, Way::Ask).await;
        let theirs = first
            .ok()
            .filter(|frame| frame.kind == FrameKind::Hello)
            .and_then(|frame| Hello::read(frame.body).ok());
        let at = Instant::now();
        let Some(theirs) = theirs else {
            shared.counts.one(LinkCount::Fault);
            return Err(NotGreeted);
        };
        shared.counts.received(&theirs.frame());
        let ours = Hello::of(&shared.greeting);
        let version = ours.versions.common(theirs.versions);
        let refused = if theirs.network != ours.network {
            shared.counts.one(LinkCount::WrongNetwork);
            Some(Refused {
                code: code::WRONG_NETWORK,
                detail: 0,
            })
        } else if version.is_none() {
            shared.counts.one(LinkCount::WrongVersion);
            Some(Refused {
                code: code::WRONG_VERSION,
                detail: u64::from(ours.versions.highest),
            })
        } else {
            None
        };
        let answer = refused.map_or_else(|| ours.frame(), Refused::frame);
        send_frame(send, &answer).await.map_err(|_| NotGreeted)?;
        shared.counts.sent(&answer);
        let Some(version) = version.filter(|_| refused.is_none()) else {
            // Closing at once could overtake the refusal; the other side closes when it has read it.
            connection.closed().await;
            return Err(NotGreeted);
        };
        let half_trip = connection.rtt() / 2;
        let clock = ClockHeard {
            theirs: theirs.time.plus(half_trip),
            at,
            error: at.duration_since(started),
        };
        Ok(Greeted { clock, version })
    }
}

impl<S: Serve> Host for Door<S> {
    fn serve(self: Arc<Self>, link: &Link) {
        let blamed = Blamed::Key(link.key);
        if self.admission.is_kept_out(blamed) {
            // What it opens waits, within its bounds, until the link ends.
            return;
        }
        let peer = Peer::Relay {
            key: link.key,
            addr: link.connection.remote_address(),
            clock: link.clock,
        };
        let terms = Terms {
            blamed,
            activity: Arc::clone(&link.activity),
            _place: None,
            hold: link.hold.as_ref().map(Arc::downgrade),
        };
        let guest = Guest::new(&self, peer, terms);
        let (connection, cancel) = (link.connection.clone(), self.shared.cancel.clone());
        self.shared.tracker.spawn(async move {
            cancel.run_until_cancelled(guest.serve(connection)).await;
        });
    }
}

/// What a hello told.
struct Greeted {
    clock: ClockHeard,
    version: u16,
}

/// The peer did not greet, or was told why it is not welcome.
struct NotGreeted;

/// A link on which a peer is served.
struct Guest<S> {
    door: Arc<Door<S>>,
    peer: Peer,
    terms: Terms,
    bodies: Semaphore,
    /// Messages being heard; QUIC's own limit ends when a message is read, not when it is heard.
    tells: Arc<Semaphore>,
    faults: AtomicU32,
}

/// How a link came to be, as far as those matter who are served on it.
struct Terms {
    blamed: Blamed,
    activity: Arc<Activity>,
    /// Of a link that was taken in.
    _place: Option<Place>,
    /// Of a link that was dialled: it ends with whoever dialled it, but not under an open stream.
    hold: Option<Weak<Hold>>,
}

impl Terms {
    /// Keeps the link while a stream is open on it.
    fn busy(&self) -> (Busy, Option<Arc<Hold>>) {
        let hold = self.hold.as_ref().and_then(Weak::upgrade);
        (self.activity.busy(), hold)
    }
}

impl<S: Serve> Guest<S> {
    fn new(door: &Arc<Door<S>>, peer: Peer, terms: Terms) -> Arc<Self> {
        let config = &door.shared.config;
        let tells_max = usize::try_from(config.tells_per_link_max).unwrap_or(usize::MAX);
        let tells_max = tells_max.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            door: Arc::clone(door),
            peer,
            terms,
            bodies: Semaphore::new(config.bodies_per_link_max),
            tells: Arc::new(Semaphore::new(tells_max)),
            faults: AtomicU32::new(0),
        })
    }

    /// Serves streams until the link closes.
    async fn serve(self: Arc<Self>, connection: Connection) {
        loop {
            tokio::select! {
                asked = connection.accept_bi() => match asked {
                    Ok((send, receive)) => self.spawn_ask(&connection, send, receive),
                    Err(_closed) => return,
                },
                told = self.next_tell(&connection) => match told {
                    Some((place, receive)) => self.spawn_tell(&connection, place, receive),
                    None => return,
                },
            }
        }
    }

    async fn next_tell(
        &self,
        connection: &Connection,
    ) -> Option<(OwnedSemaphorePermit, RecvStream)> {
        let place = Arc::clone(&self.tells).acquire_owned().await.ok()?;
        let receive = connection.accept_uni().await.ok()?;
        Some((place, receive))
    }

    fn spawn_ask(self: &Arc<Self>, connection: &Connection, send: SendStream, receive: RecvStream) {
        let guest = Arc::clone(self);
        let connection = connection.clone();
        let cancel = self.door.shared.cancel.clone();
        self.door.shared.tracker.spawn(async move {
            let asking = guest.asked(&connection, send, receive);
            cancel.run_until_cancelled(asking).await;
        });
    }

    fn spawn_tell(
        self: &Arc<Self>,
        connection: &Connection,
        place: OwnedSemaphorePermit,
        receive: RecvStream,
    ) {
        let guest = Arc::clone(self);
        let connection = connection.clone();
        let cancel = self.door.shared.cancel.clone();
        self.door.shared.tracker.spawn(async move {
            let hearing = guest.told(&connection, receive);
            cancel.run_until_cancelled(hearing).await;
            drop(place);
        });
    }

    async fn asked(&self, connection: &Connection, mut send: SendStream, mut receive: RecvStream) {
        let _busy = self.terms.busy();
        let answer = match self.read(&mut receive, Way::Ask).await {
            Ok(asked) => {
                tokio::select! {
                    answer = self.door.serve.answer(self.peer, asked) => answer,
                    _gone = send.stopped() => return,
                }
            }
            Err(fault) => {
                self.fault(connection, fault);
                // What more comes on this stream is not wanted; it may be closed already.
                let _closed = receive.stop(VarInt::from_u32(0));
                match fault {
                    FrameFault::Unknown(kind) => Answer::Refuse(Refused {
                        code: code::UNKNOWN_MESSAGE,
                        detail: u64::from(kind),
                    }),
                    FrameFault::OverLength { .. }
                    | FrameFault::Trailing
                    | FrameFault::Short
                    | FrameFault::Cut => Answer::Silence,
                }
            }
        };
        let frame = match answer {
            Answer::Frame(frame) => frame,
            Answer::Refuse(refused) => refused.frame(),
            Answer::Fault => {
                self.count_fault(connection);
                return reset(&mut send);
            }
            Answer::Silence => return reset(&mut send),
        };
        self.reply(send, &frame).await;
    }

    async fn told(&self, connection: &Connection, mut receive: RecvStream) {
        let _busy = self.terms.busy();
        match self.read(&mut receive, Way::Tell).await {
            Ok(told) => match self.door.serve.hear(self.peer, told).await {
                Heard::Fine => {}
                Heard::Fault => self.count_fault(connection),
            },
            Err(fault) => self.fault(connection, fault),
        }
    }

    /// Reads one frame within the deadline; few bodies of one link at a time.
    async fn read(&self, receive: &mut RecvStream, way: Way) -> Result<Frame, FrameFault> {
        let counts = &self.door.shared.counts;
        let reading = async {
            let announced = read_header(receive, self.peer.speaker(), way).await?;
            let _permit = self.bodies.acquire().await;
            read_body(receive, announced).await
        };
        let Ok(read) = timeout(self.door.shared.config.frame_wait, reading).await else {
            counts.one(LinkCount::Late);
            return Err(FrameFault::Short);
        };
        let frame = read?;
        counts.received(&frame);
        Ok(frame)
    }

    async fn reply(&self, send: SendStream, frame: &Frame) {
        let counts = &self.door.shared.counts;
        let sending = send_frame(send, frame);
        match timeout(self.door.shared.config.frame_wait, sending).await {
            Ok(Ok(())) => counts.sent(frame),
            Ok(Err(_gone)) => {}
            Err(_late) => counts.one(LinkCount::Late),
        }
    }

    fn fault(&self, connection: &Connection, fault: FrameFault) {
        let counts = &self.door.shared.counts;
        match fault {
            FrameFault::Cut => {}
            FrameFault::OverLength { .. } => {
                counts.one(LinkCount::OverLength);
                counts.one(LinkCount::Fault);
                self.expel(connection);
            }
            FrameFault::Unknown(_) => {
                counts.one(LinkCount::UnknownFrame);
                self.count_fault(connection);
            }
            FrameFault::Trailing | FrameFault::Short => self.count_fault(connection),
        }
    }

    fn count_fault(&self, connection: &Connection) {
        self.door.shared.counts.one(LinkCount::Fault);
        let faults = self.faults.fetch_add(1, Ordering::Relaxed);
        if faults >= self.door.shared.config.faults_per_link_max {
            self.door.admission.keep_out(self.terms.blamed);
            self.expel(connection);
        }
    }

    fn expel(&self, connection: &Connection) {
        if connection.close_reason().is_some() {
            return;
        }
        self.door.shared.counts.one(LinkCount::ClosedForFaults);
        close(connection, code::FAULT);
    }
}

fn close(connection: &Connection, code: u16) {
    connection.close(VarInt::from_u32(u32::from(code)), b"");
}

fn reset(send: &mut SendStream) {
    // Fails only if the stream is closed, which is what is wanted.
    let _closed = send.reset(VarInt::from_u32(0));
}
