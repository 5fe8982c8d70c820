//! The loop that drives a correspondent's machine over real links: onions out, judged answers in.
//!
//! One task owns the machine; each question is wrapped, sent and opened in a task of its own. Only the
//! guard is ever linked to, and the sources of the member list. Letters and the durable outbox are not
//! known here. Source: `client/mod.rs` of the protocol, whose contract this file keeps.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant, SystemTime};

use crate::{
    AskFailure as LinkAskFailure, Endpoint, EndpointFailure, Frame, Greeting, LinkConfig, Links,
    Target,
};
use swarm_proto::client::{
    Ask, AskFailure, Client, Command, CommandId, Effect, Event, Input, JudgedPart, Pinned, Request,
    Source, judge, judge_list,
};
use swarm_proto::crypto::{OnionPublicKey, SecretKey};
use swarm_proto::id::NodeId;
use swarm_proto::kem::PureCrypto;
use swarm_proto::mailbox::statements::{AskTerms, FetchTerms, Statements};
use swarm_proto::members::{Roster, Snapshot};
use swarm_proto::network::Network;
use swarm_proto::onion::build::{Draft, Hop, Shape};
use swarm_proto::onion::reply::Replies;
use swarm_proto::onion::{self, Generation, Inner, SizeClass};
use swarm_proto::time::{Instant, Now, UnixTime};
use swarm_proto::wire::Message;
use swarm_proto::wire::frames::FrameKind;
use swarm_proto::wire::mailbox::{CardAsk, Fetch};
use swarm_proto::wire::members::{ListAsk, RosterAsk, RosterPart};
use swarm_proto::wire::refusal::Refusal;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The keys that sign what a command asks for.
#[derive(Debug, Default)]
pub struct Secrets {
    /// Signs fetches.
    pub read: Option<SecretKey>,
    /// Signs the wish for a card.
    pub write: Option<SecretKey>,
}

/// Where a courier begins.
#[derive(Clone, Debug)]
pub struct CourierConfig {
    /// The network.
    pub network: Arc<Network>,
    /// Relays that give the member list; none for a program that hands one in.
    pub sources: Vec<Source>,
    /// The pins of earlier days.
    pub pinned: Pinned,
    /// Eligible lists that were learned on earlier days, with when.
    pub rosters: Vec<(Roster, UnixTime)>,
    /// The local address to send from; port 0 lets the system choose.
    pub bind: SocketAddr,
}

/// Carries commands into the network; handles are cheap and all mean the same one.
#[derive(Clone, Debug)]
pub struct Courier {
    wanted: mpsc::Sender<Wanted>,
}

/// What the program hands in.
#[derive(Debug)]
enum Wanted {
    Command(CommandId, Command, Arc<Secrets>),
    Members(Arc<Snapshot>),
}

/// Why a courier cannot start.
#[derive(Debug, thiserror::Error)]
pub enum CourierFailure {
    /// No socket.
    #[error("cannot open a socket on {addr}: {source}")]
    Socket {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The endpoint does not start.
    #[error(transparent)]
    Endpoint(#[from] EndpointFailure),
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random,
}

impl Courier {
    /// Starts the loop in `tracker`; it ends with `stop`. Events come out of the receiver, which must be
    /// read: the loop waits while it is full.
    ///
    /// # Errors
    /// [`CourierFailure`].
    pub fn start(
        config: CourierConfig,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<(Self, mpsc::Receiver<Event>), CourierFailure> {
        let socket = crate::bind(config.bind).map_err(|source| CourierFailure::Socket {
            addr: config.bind,
            source,
        })?;
        let greeting = Greeting::new(config.network.id());
        let links = LinkConfig {
            handshake_wait: HANDSHAKE_WAIT,
            ..LinkConfig::home()
        };
        let endpoint = Endpoint::client(socket, greeting, links)?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|_| CourierFailure::Random)?;
        let start = StdInstant::now();
        let mut client = Client::new(
            Arc::clone(&config.network),
            config.sources,
            config.pinned,
            seed,
            read_clocks(start),
        );
        for (roster, at) in config.rosters {
            client.remember(roster, at);
        }
        let (wanted, asked) = mpsc::channel(COMMANDS_MAX);
        let (events, told) = mpsc::channel(EVENTS_MAX);
        let (answers, answered) = mpsc::channel(ANSWERS_MAX);
        let driver = Driver {
            client,
            start,
            road: Arc::new(Road {
                links: Links::new(endpoint.clone()),
                network: config.network,
                crypto: PureCrypto,
            }),
            secrets: BTreeMap::new(),
            answers,
            events,
            tracker: tracker.clone(),
            stop: stop.clone(),
        };
        tracker.spawn(async move {
            driver.run(asked, answered).await;
            endpoint.close().await;
        });
        Ok((Self { wanted }, told))
    }

    /// Hands a command in. `false` if the loop has ended.
    pub async fn command(&self, id: CommandId, command: Command, secrets: Arc<Secrets>) -> bool {
        let wanted = Wanted::Command(id, command, secrets);
        self.wanted.send(wanted).await.is_ok()
    }

    /// Hands in the list of a relay that runs in the same process. `false` if the loop has ended.
    pub async fn members(&self, members: Arc<Snapshot>) -> bool {
        self.wanted.send(Wanted::Members(members)).await.is_ok()
    }
}

struct Driver {
    client: Client,
    start: StdInstant,
    road: Arc<Road>,
    secrets: BTreeMap<CommandId, Arc<Secrets>>,
    answers: mpsc::Sender<Input>,
    events: mpsc::Sender<Event>,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Driver {
    async fn run(
        mut self,
        mut wanted: mpsc::Receiver<Wanted>,
        mut answered: mpsc::Receiver<Input>,
    ) {
        let stop = self.stop.clone();
        loop {
            let wait = self.until_deadline();
            let input = tokio::select! {
                () = stop.cancelled() => return,
                Some(input) = answered.recv() => input,
                Some(wanted) = wanted.recv() => match wanted {
                    Wanted::Command(id, command, secrets) => {
                        self.secrets.insert(id, secrets);
                        Input::Command { id, command }
                    }
                    Wanted::Members(members) => Input::Members(members),
                },
                () = tokio::time::sleep(wait) => Input::Wake,
            };
            let mut effects = Vec::new();
            self.client
                .step(read_clocks(self.start), input, &mut effects);
            for effect in effects {
                if !self.carry_out(effect).await {
                    return;
                }
            }
        }
    }

    /// False if nobody listens any more.
    async fn carry_out(&mut self, effect: Effect) -> bool {
        match effect {
            Effect::Ask(ask) => {
                let secrets = self.secrets.get(&ask.command).cloned().unwrap_or_default();
                let (road, members) = (Arc::clone(&self.road), self.client.members());
                self.spawn(async move {
                    let answer = road.ask(&members, &ask, &secrets).await;
                    Input::Answered {
                        ask: ask.id,
                        answer,
                    }
                });
                true
            }
            Effect::List {
                ask,
                source,
                question,
            } => {
                let road = Arc::clone(&self.road);
                self.spawn(async move {
                    Input::Listed {
                        ask,
                        part: road.list(source, question).await,
                    }
                });
                true
            }
            Effect::Roster {
                ask,
                source,
                question,
            } => {
                let road = Arc::clone(&self.road);
                self.spawn(async move {
                    Input::Rostered {
                        ask,
                        part: road.roster(source, question).await,
                    }
                });
                true
            }
            Effect::Report(event) => {
                if let Some(id) = ended(&event) {
                    self.secrets.remove(&id);
                }
                self.events.send(event).await.is_ok()
            }
        }
    }

    fn spawn(&self, asking: impl Future<Output = Input> + Send + 'static) {
        let (answers, stop) = (self.answers.clone(), self.stop.clone());
        self.tracker.spawn(async move {
            if let Some(input) = stop.run_until_cancelled(asking).await {
                // The loop has ended if nobody takes it.
                let _ended = answers.send(input).await;
            }
        });
    }

    fn until_deadline(&self) -> Duration {
        let now = read_clocks(self.start);
        self.client
            .deadline()
            .map_or(IDLE_MAX, |at| at.since(now.mono).min(IDLE_MAX))
    }
}

/// What every question needs on its way.
struct Road {
    links: Links,
    network: Arc<Network>,
    crypto: PureCrypto,
}

impl Road {
    /// Wraps a question, sends it to the guard, opens and judges the answer.
    async fn ask(
        &self,
        members: &Snapshot,
        ask: &Ask,
        secrets: &Secrets,
    ) -> Result<Message, AskFailure> {
        let now = unix_now();
        let (onion, replies) = self
            .wrap(members, ask, secrets, now)
            .ok_or(AskFailure::Senseless)?;
        let guard = target_of(members, &ask.path.guard()).ok_or(AskFailure::Guard)?;
        let (kind, answer_kind) = kinds(ask);
        let frame = self
            .links
            .ask(guard, &Frame::new(kind, onion), ASK_WAIT)
            .await;
        let frame = frame.map_err(|failure| why(&failure))?;
        if frame.kind != answer_kind {
            return Err(AskFailure::Senseless);
        }
        let answer = replies
            .open(frame.body.into())
            .map_err(|_| AskFailure::Senseless)?;
        let message = Message::decode(answer.inner.kind, answer.inner.body);
        let message = message.map_err(|_| AskFailure::Senseless)?;
        if answer.last {
            let now = unix_now();
            return judge(&ask.request, message, &self.network, &self.crypto, now);
        }
        match message {
            Message::Refusal(refusal) => Err(AskFailure::Hop {
                hop: answer.hop,
                refusal,
            }),
            _ => Err(AskFailure::Senseless),
        }
    }

    fn wrap(
        &self,
        members: &Snapshot,
        ask: &Ask,
        secrets: &Secrets,
        now: UnixTime,
    ) -> Option<(Vec<u8>, Replies)> {
        let generation = Generation::at(self.network.scale, now);
        let hops: Vec<Hop<'_>> = ask
            .path
            .hops
            .iter()
            .map(|id| {
                Some(Hop {
                    id: *id,
                    key: onion_key(members, id, generation)?,
                })
            })
            .collect::<Option<_>>()?;
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).ok()?;
        let shape = Shape {
            class: ask.size,
            answer: ask.answer,
            generation,
        };
        let draft = Draft::new(&self.crypto, &hops, shape, &seed).ok()?;
        let message = self.sign(ask, secrets, draft.reply_hash(), now)?;
        let inner = Inner {
            kind: message.kind(),
            body: message.encode().into(),
        };
        let expire = onion::expire(self.network.scale, now);
        draft.seal(onion::Command::Deliver, expire, &inner).ok()
    }

    /// The request as its holder will read it: what must be signed for this holder and this answer is.
    fn sign(
        &self,
        ask: &Ask,
        secrets: &Secrets,
        reply_key_hash: [u8; 32],
        time: UnixTime,
    ) -> Option<Message> {
        let statements = Statements::new(&self.crypto, self.network.id());
        let terms = AskTerms {
            holder: ask.path.holder(),
            reply_key_hash,
            time,
        };
        Some(match &ask.request {
            Request::Deposit(deposit) => Message::Deposit((**deposit).clone()),
            Request::Delete(erase) => Message::Delete(erase.clone()),
            Request::CardPut(put) => Message::CardPut((**put).clone()),
            Request::Fetch {
                keys,
                after,
                answer,
            } => {
                let terms = FetchTerms {
                    ask: terms,
                    after: *after,
                    answer: *answer,
                };
                let signature = statements.fetch(secrets.read.as_ref()?, keys, &terms);
                let (keys, after, answer) = (*keys, *after, *answer);
                Message::Fetch(Fetch {
                    keys,
                    after,
                    time,
                    answer,
                    signature,
                })
            }
            Request::CardAsk { keys } => {
                let signature = statements.card_ask(secrets.write.as_ref()?, keys, &terms);
                Message::CardAsk(CardAsk {
                    keys: *keys,
                    time,
                    signature,
                })
            }
        })
    }

    async fn list(&self, source: Source, question: ListAsk) -> Option<JudgedPart> {
        let answer = self
            .ask_source(source, FrameKind::ListAsk, &Message::ListAsk(question))
            .await?;
        match answer {
            Message::ListPart(part) => judge_list(part, &self.network, &self.crypto),
            _ => None,
        }
    }

    async fn roster(&self, source: Source, question: RosterAsk) -> Option<RosterPart> {
        let answer = self
            .ask_source(source, FrameKind::RosterAsk, &Message::RosterAsk(question))
            .await?;
        match answer {
            Message::RosterPart(part) => Some(part),
            _ => None,
        }
    }

    /// Asks a relay over a link of its own, without an onion.
    async fn ask_source(
        &self,
        source: Source,
        kind: FrameKind,
        question: &Message,
    ) -> Option<Message> {
        let addr = SocketAddr::new(source.address.ip(), source.address.port());
        let target = Target {
            key: source.key,
            addr,
        };
        let frame = Frame::new(kind, question.encode());
        match self.links.ask(target, &frame, LIST_WAIT).await {
            Ok(answer) => Message::decode(answer.kind.code(), answer.body).ok(),
            Err(failure) => {
                tracing::debug!(source = %source.key, %failure, "a source does not answer");
                None
            }
        }
    }
}

/// The command that an event ends.
fn ended(event: &Event) -> Option<CommandId> {
    match event {
        Event::Stored { id, .. }
        | Event::Failed { id, .. }
        | Event::Fetched { id, .. }
        | Event::Card { id, .. }
        | Event::Done { id } => Some(*id),
        Event::Members(_)
        | Event::NoMembers { .. }
        | Event::SourcesDiffer { .. }
        | Event::Roster { .. }
        | Event::Pinned(_)
        | Event::Waiting { .. } => None,
    }
}

fn why(failure: &LinkAskFailure) -> AskFailure {
    match failure {
        LinkAskFailure::NoLink(_) | LinkAskFailure::Late { silent: true } => AskFailure::Guard,
        LinkAskFailure::Late { silent: false } => AskFailure::Timeout,
        LinkAskFailure::Refused(_)
        | LinkAskFailure::Cut
        | LinkAskFailure::Lost(_)
        | LinkAskFailure::Fault(_)
        | LinkAskFailure::Unsendable(_) => AskFailure::Hop {
            hop: 0,
            refusal: Refusal::HopUnreachable,
        },
    }
}

fn kinds(ask: &Ask) -> (FrameKind, FrameKind) {
    let kind = match ask.size {
        SizeClass::Small => FrameKind::OnionSmall,
        SizeClass::Large => FrameKind::OnionLarge,
    };
    let answer = match ask.answer {
        SizeClass::Small => FrameKind::OnionAnswerSmall,
        SizeClass::Large => FrameKind::OnionAnswerLarge,
    };
    (kind, answer)
}

fn target_of(members: &Snapshot, id: &NodeId) -> Option<Target> {
    let record = members.find(id)?.record();
    let address = record.addresses.iter().flatten().next()?;
    Some(Target {
        key: record.key,
        addr: SocketAddr::new(address.ip(), address.port()),
    })
}

/// A member's onion key of a generation, if it is known.
fn onion_key<'a>(
    members: &'a Snapshot,
    id: &NodeId,
    generation: Generation,
) -> Option<&'a OnionPublicKey> {
    let member = members.find(id)?;
    let known = member.record().onion_generation;
    if known == generation.0 {
        member.keys().current.as_ref()
    } else if known.checked_add(1) == Some(generation.0) {
        member.keys().next.as_ref()
    } else {
        None
    }
}

fn read_clocks(start: StdInstant) -> Now {
    let mono = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    Now {
        mono: Instant(mono),
        unix: unix_now(),
    }
}

/// This machine's clock.
pub fn unix_now() -> UnixTime {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixTime(unix.map_or(0, |unix| {
        u64::try_from(unix.as_millis()).unwrap_or(u64::MAX)
    }))
}

/// Commands that may wait for the loop.
const COMMANDS_MAX: usize = 64;
/// Events that may wait for the program.
const EVENTS_MAX: usize = 256;
/// Answers that may wait for the loop: more than questions can be under way.
const ANSWERS_MAX: usize = 64;
/// How long the whole road of one question may take; the machine gives up a little later.
const ASK_WAIT: Duration = Duration::from_secs(19);
/// How long a handshake may take: three round trips by satellite. A dead guard costs this once.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(4);
/// How long a part of the member list may take.
const LIST_WAIT: Duration = Duration::from_secs(10);
/// The loop looks at the clock at least this often.
const IDLE_MAX: Duration = Duration::from_secs(10);
