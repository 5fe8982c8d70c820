//! The loop that drives one relay: inputs in, effects out, one sleep.
//!
//! One task owns the machine. Links (`links.rs`), the store's thread and discovery hand it inputs
//! through bounded queues; it carries out what the machine asks for, in order. Source: `relay.rs` and
//! `effects.rs` of the protocol, whose contract this file keeps.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as StdInstant, SystemTime};

use poste_link::network_file::NetworkFile;
use poste_link::{Endpoint, Frame, Greeting, Identity, LinkConfig, Links};
use swarm_proto::crypto::{Crypto, SecretKey};
use swarm_proto::effects::{
    Command, Effect, Effects, Event, Input, OpId, PeerChange, PlotId, SignId,
};
use swarm_proto::id::{EnvelopeId, NodeId, NodeKey};
use swarm_proto::limits;

use swarm_proto::members::possession::Score;
use swarm_proto::members::{Address, Record};
use swarm_proto::network::Network;
use swarm_proto::onion::Generation;
use swarm_proto::pledge::{OwnPledge, PlotDone, Verdict};
use swarm_proto::relay::{Relay, RelayConfig, RelayState};
use swarm_proto::standing::Judgement;
use swarm_proto::store::{StoreDone, StoreOp, Usage};
use swarm_proto::time::{Epoch, Instant, Now, Tick, TimeScale, UnixTime};
use swarm_proto::wire::Message;
use swarm_proto::wire::frames::FrameKind;
use swarm_proto::wire::proof::Conviction;
use swarm_proto::wire::refusal::Refusal;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budget::{Inbox, Waiting};
use crate::convictions::Convictions;
use crate::kem::AwsCrypto;
use crate::keys::Keys;
use crate::links::Gate;
use crate::plot::Plot;
use crate::plot::work::PlotWorkers;
use crate::puzzle::Puzzles;
use crate::store::{Store, StoreConfig, StoreFailure};

/// A relay's clocks, read together.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Now + Send + Sync>);

impl Clock {
    /// The system's clocks.
    pub fn system() -> Self {
        let start = StdInstant::now();
        Self::new(move || {
            let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let unix_ms = unix.map_or(0, |unix| unix.as_millis());
            Now {
                mono: Instant(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)),
                unix: UnixTime(u64::try_from(unix_ms).unwrap_or(u64::MAX)),
            }
        })
    }

    /// Any clocks whose monotonic part never goes back.
    pub fn new(read: impl Fn() -> Now + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// Both clocks.
    pub fn read(&self) -> Now {
        (self.0)()
    }
}

/// A machine that can stand in a relay's place; what tests wrap to make a relay lie.
pub trait Core: Send {
    /// As [`Relay::step`].
    fn step(&mut self, now: Now, input: Input, out: &mut Effects);
    /// As [`Relay::deadline`].
    fn deadline(&self) -> Option<Instant>;
    /// As [`Relay::state`].
    fn state(&self) -> RelayState;
    /// As [`Relay::score`].
    fn score(&self, id: &NodeId) -> Option<Score>;
    /// As [`Relay::judgement`].
    fn judgement(&self, id: &NodeId) -> Judgement;
}

impl Core for Relay {
    fn step(&mut self, now: Now, input: Input, out: &mut Effects) {
        Self::step(self, now, input, out);
    }

    fn deadline(&self) -> Option<Instant> {
        Self::deadline(self).map(|(at, _)| at)
    }

    fn state(&self) -> RelayState {
        Self::state(self)
    }

    fn score(&self, id: &NodeId) -> Option<Score> {
        Self::score(self, id)
    }

    fn judgement(&self, id: &NodeId) -> Judgement {
        Self::judgement(self, id)
    }
}

/// What may be put in place of the ordinary parts.
pub struct Parts {
    /// The clocks.
    pub clock: Clock,
    /// Makes the machine out of a relay.
    pub wrap: Box<dyn FnOnce(Relay) -> Box<dyn Core> + Send>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            wrap: Box::new(|relay| Box::new(relay)),
        }
    }
}

/// What a driver is started with.
pub(crate) struct Setup {
    /// The network.
    pub(crate) network: NetworkFile,
    /// The keys' folder.
    pub(crate) keys: Keys,
    /// Where the record and the day of the first start are kept.
    pub(crate) home: PathBuf,
    /// Where the data socket listens.
    pub(crate) listen: SocketAddr,
    /// Where others reach it, if known.
    pub(crate) announce: Option<SocketAddr>,
    /// Bounds of the links.
    pub(crate) links: LinkConfig,
    /// Bytes a second that siblings may be sent because they lack them.
    pub(crate) repair_bytes_per_s: u32,
    /// Bytes of messages that may wait for the core.
    pub(crate) memory_bytes: u64,
    /// The sectors that the relay has pledged.
    pub(crate) plot: Plot,
    /// What it has to show for itself.
    pub(crate) pledge: OwnPledge,
    /// The store's folder.
    pub(crate) store_dir: PathBuf,
    /// The store's bounds.
    pub(crate) store: StoreConfig,
}

/// A running relay, as others in the program see it.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) gate: Arc<Gate>,
    pub(crate) endpoint: Endpoint,
    pub(crate) tally: Arc<Tally>,
    questions: mpsc::Sender<Question>,
}

/// What the operator may ask the loop.
enum Question {
    Usage(oneshot::Sender<(Usage, RelayState)>),
    Standing(NodeId, oneshot::Sender<(Option<Score>, Judgement)>),
    Drain(oneshot::Sender<io::Result<()>>),
    Holds(Vec<EnvelopeId>, oneshot::Sender<Vec<EnvelopeId>>),
}

/// What happened at the core, for the operator.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) acknowledged: AtomicU64,
    pub(crate) completed: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) convicted: AtomicU64,
    pub(crate) refused: Mutex<BTreeMap<u16, u64>>,
}

/// Why a relay could not start.
#[derive(Debug, thiserror::Error)]
pub enum DriverFailure {
    /// The store does not open.
    #[error("the store in {path}: {source}")]
    Store {
        /// Its folder.
        path: PathBuf,
        /// Why.
        source: StoreFailure,
    },
    /// The plot cannot be read.
    #[error("the plot in {path}: {source}")]
    Plot {
        /// Its folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The data port cannot be had.
    #[error("data port {addr}/udp: {source}")]
    Port {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The endpoint does not start.
    #[error("data port: {0}")]
    Endpoint(#[from] poste_link::EndpointFailure),
    /// A key is missing or damaged.
    #[error(transparent)]
    Keys(#[from] crate::keys::KeyFailure),
    /// The identity is no usable key.
    #[error("the node key cannot be used for links")]
    Identity,
    /// A file of the relay's memory cannot be read or written.
    #[error("{path}: {source}")]
    Memory {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("a thread cannot be started: {0}")]
    Thread(io::Error),
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random,
}

/// Everything the loop owns.
struct Driver {
    core: Box<dyn Core>,
    clock: Clock,
    crypto: Arc<dyn Crypto>,
    key: SecretKey,
    gate: Arc<Gate>,
    store: Store,
    stored: mpsc::Sender<(OpId, StoreDone)>,
    plot: PlotWorkers<PlotId>,
    memory: Memory,
    keys: Keys,
    tally: Arc<Tally>,
    generation: Option<Generation>,
    scale: TimeScale,
}

/// Opens store, keys and port and starts the loop; it ends when `stop` is cancelled.
pub(crate) fn start(
    setup: Setup,
    parts: Parts,
    tracker: &TaskTracker,
    stop: CancellationToken,
) -> Result<(Handle, Inbox), DriverFailure> {
    let seed = setup.keys.node()?;
    let crypto: Arc<dyn Crypto> = Arc::new(AwsCrypto);
    let key = SecretKey::from_seed(seed.bytes());
    let node_key = NodeKey(*key.public());
    let network = Arc::new(setup.network.network.clone());
    let clock = parts.clock.clone();
    let now = clock.read();
    let memory = Memory::open(&setup.home)?;
    let (core_in, core_out) = Inbox::new(setup.memory_bytes);
    let gate = Gate::new(
        node_key,
        &network,
        Arc::clone(&crypto),
        clock.clone(),
        core_in.clone(),
        Puzzles::open(setup.home.join("puzzles"), network.pledge),
    );
    let gate = Arc::new(gate);
    let endpoint = open_endpoint(&setup, &seed, &network, &clock, &gate, &core_in)?;
    let store = Store::open(&setup.store_dir, setup.store.clone()).map_err(|source| {
        DriverFailure::Store {
            path: setup.store_dir.clone(),
            source,
        }
    })?;
    let relay = relay_config(&setup, &endpoint, &memory, &network, node_key, now)?;
    let (plot, plotted) =
        PlotWorkers::start(setup.plot, network.pledge, tracker).map_err(DriverFailure::Thread)?;
    let core = (parts.wrap)(Relay::new(relay, chance()?, now));
    // Room for every operation that waits in the store and for all that one round may have refused at once.
    let (stored, answers) = mpsc::channel(setup.store.queue_ops + 2 * limits::EFFECTS_PER_STEP);
    let tally = Arc::new(Tally::default());
    let driver = Driver {
        core,
        clock,
        crypto,
        key,
        gate: Arc::clone(&gate),
        store,
        stored,
        plot,
        memory,
        keys: setup.keys,
        tally: Arc::clone(&tally),
        generation: None,
        scale: network.scale,
    };
    let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
    let closing = endpoint.clone();
    tracker.spawn(async move {
        driver.run(core_out, answers, plotted, asked, stop).await;
        closing.close().await;
    });
    Ok((
        Handle {
            gate,
            endpoint,
            tally,
            questions,
        },
        core_in,
    ))
}

/// All chance of a machine.
fn chance() -> Result<[u8; 32], DriverFailure> {
    let mut chance = [0; 32];
    getrandom::fill(&mut chance).map_err(|_| DriverFailure::Random)?;
    Ok(chance)
}

fn relay_config(
    setup: &Setup,
    endpoint: &Endpoint,
    memory: &Memory,
    network: &Arc<Network>,
    key: NodeKey,
    now: Now,
) -> Result<RelayConfig, DriverFailure> {
    let addr = setup.announce.or_else(|| endpoint.local_addr().ok());
    let address = addr.and_then(|addr| Address::new(addr.ip(), addr.port()));
    Ok(RelayConfig {
        network: Arc::clone(network),
        key,
        addresses: [address, None],
        family: [0; 8],
        since: memory.since(network.scale.tick_of(now.unix))?,
        last_record: memory.record(),
        convictions: memory.convictions(network.scale.epoch_of(now.unix))?,
        repair_bytes_per_s: setup.repair_bytes_per_s,
        pledge: setup.pledge,
    })
}

fn open_endpoint(
    setup: &Setup,
    seed: &crate::keys::Seed,
    network: &Network,
    clock: &Clock,
    gate: &Arc<Gate>,
    core: &Inbox,
) -> Result<Endpoint, DriverFailure> {
    let identity = Identity::from_seed(seed.bytes()).map_err(|_| DriverFailure::Identity)?;
    let socket = poste_link::bind(setup.listen).map_err(|source| DriverFailure::Port {
        addr: setup.listen,
        source,
    })?;
    let read = clock.clone();
    let mut greeting = Greeting::new(network.id());
    greeting.clock = poste_link::Clock::new(move || read.read().unix);
    let endpoint = Endpoint::relay(
        socket,
        &identity,
        greeting,
        setup.links.clone(),
        Arc::clone(gate),
    )?;
    let changes = core.clone();
    let clocks = Arc::clone(&gate.clocks);
    let links = Links::watched(endpoint.clone(), move |key, heard| {
        let change = match heard {
            Some(heard) => {
                clocks.note(key, heard);
                PeerChange::Linked
            }
            None => PeerChange::Gone,
        };
        // Only a hint: the core copes without it.
        let _full = changes.hint(Input::Peer {
            id: key.node_id(),
            change,
        });
    });
    // The gate is new, so nothing was set before.
    let _set = gate.links.set(links);
    Ok(endpoint)
}

impl Handle {
    /// What the store holds, and how the relay stands.
    pub(crate) async fn usage(&self) -> Option<(Usage, RelayState)> {
        let (to, answer) = oneshot::channel();
        self.questions.send(Question::Usage(to)).await.ok()?;
        answer.await.ok()
    }

    /// How another relay was found to keep what it had, and how it stands with the network.
    pub(crate) async fn standing(&self, id: NodeId) -> Option<(Option<Score>, Judgement)> {
        let (to, answer) = oneshot::channel();
        self.questions.send(Question::Standing(id, to)).await.ok()?;
        answer.await.ok()
    }

    /// Has the relay leave for good: it hands over what it holds.
    pub(crate) async fn drain(&self) -> io::Result<()> {
        let (to, answer) = oneshot::channel();
        let gone = |_| io::Error::other("the relay is stopping");
        let asked = self.questions.send(Question::Drain(to)).await;
        asked.map_err(|_| io::Error::other("the relay is stopping"))?;
        answer.await.map_err(gone)?
    }

    /// Which of these envelopes are durable here; at most [`limits::IDS_PER_MESSAGE_MAX`].
    pub(crate) async fn holds(&self, ids: Vec<EnvelopeId>) -> Option<Vec<EnvelopeId>> {
        let (to, answer) = oneshot::channel();
        self.questions.send(Question::Holds(ids, to)).await.ok()?;
        answer.await.ok()
    }
}

impl Driver {
    async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Waiting>,
        mut answers: mpsc::Receiver<(OpId, StoreDone)>,
        mut plotted: mpsc::Receiver<(PlotId, PlotDone)>,
        mut questions: mpsc::Receiver<Question>,
        stop: CancellationToken,
    ) {
        self.renew_onion_keys();
        if self.memory.is_leaving() {
            self.step(Input::Command(Command::Drain));
        }
        loop {
            let wait = self.until_deadline();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some((op, done)) = answers.recv() => self.step(Input::Stored { op, done }),
                Some((op, done)) = plotted.recv() => self.step(Input::Plotted { op, done }),
                Some(waiting) = inputs.recv() => self.step(waiting.input),
                Some(question) = questions.recv() => self.tell(question),
                () = tokio::time::sleep(wait) => {
                    self.renew_onion_keys();
                    self.step(Input::Wake);
                }
            }
        }
        let closed = tokio::task::spawn_blocking(move || self.store.close()).await;
        if let Ok(Err(failure)) = closed {
            tracing::warn!(%failure, "the store did not close in time");
        }
    }

    /// One input and all that follows from it at once.
    fn step(&mut self, input: Input) {
        let mut out = Effects::default();
        self.core.step(self.clock.read(), input, &mut out);
        let mut waiting: Vec<Effect> = out.drain().collect();
        while !waiting.is_empty() {
            let mut signed = Vec::new();
            for effect in waiting {
                if let Some(input) = self.carry_out(effect) {
                    signed.push(input);
                }
            }
            for input in signed {
                self.core.step(self.clock.read(), input, &mut out);
            }
            waiting = out.drain().collect();
        }
    }

    /// Carries an effect out; a signature comes back at once.
    fn carry_out(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Send { to, message } => self.send(to, &message),
            Effect::Answer { stream, message } => self.gate.streams.answer(stream, message),
            Effect::Sign { id, bytes } => return Some(self.sign(id, &bytes)),
            Effect::Store { op, request } => self.submit(op, request),
            Effect::Plot { op, request } => self.plot.submit(op, request),
            Effect::Report(event) => self.report(event),
        }
        None
    }

    fn send(&self, to: NodeId, message: &Message) {
        let kind = FrameKind::from_code(message.kind());
        let (Some(kind), Some(links)) = (kind, self.gate.links()) else {
            return;
        };
        if let Some(target) = self.gate.book.find(&to) {
            // A full queue is a loss, which the machine recovers from by itself.
            let _dropped = links.tell(target, Frame::new(kind, message.encode()));
        }
    }

    fn sign(&self, id: SignId, bytes: &[u8]) -> Input {
        Input::Signed {
            id,
            signature: self.crypto.sign(&self.key, bytes),
        }
    }

    fn submit(&self, op: OpId, request: StoreOp) {
        let stored = self.stored.clone();
        self.store.submit(request, move |done| {
            if stored.try_send((op, done)).is_err() {
                tracing::error!("an answer of the store found no room");
            }
        });
    }

    fn report(&self, event: Event) {
        match event {
            Event::RecordIssued(record) => {
                if let Err(failure) = self.memory.keep_record(&record) {
                    tracing::error!(%failure, "the own record could not be kept");
                }
            }
            Event::MembersChanged(members) => {
                tracing::debug!(members = members.len(), "member list changed");
                self.gate.book.set_members(members);
            }
            Event::Acknowledged { .. } => count(&self.tally.acknowledged, 1),
            Event::Completed { .. } => count(&self.tally.completed, 1),
            Event::CopiesAbandoned { .. } => {
                tracing::warn!("too many unfinished copies: one was left to repair");
            }
            Event::Refused(refusal) => self.count_refusal(refusal),
            Event::Convicted { id } => {
                count(&self.tally.convicted, 1);
                tracing::warn!(node = %id, "a relay is convicted by what it signed");
            }
            Event::Proven(conviction) => {
                if let Err(failure) = self.memory.convictions.keep(&conviction) {
                    tracing::error!(%failure, "what convicts a relay could not be kept");
                }
            }
            Event::Expired { envelopes, .. } => count(&self.tally.expired, envelopes),
            Event::Compared { differed, .. } => {
                tracing::debug!(differed, "compared with a sibling");
            }
            Event::Drained => {
                tracing::info!(
                    "all that this relay held is with others: it may be stopped for good"
                );
            }
            Event::Failed { id } => {
                tracing::warn!(node = %id, "a relay lacks too much of what it had: others take its place here");
            }
            Event::Condemned { id } => {
                tracing::warn!(node = %id, "a majority of a relay's watchers wants it suspended: others take its place");
            }
            Event::Challenged(verdict) => say_verdict(&verdict),
            Event::ClockOff { ahead_ms } => {
                tracing::error!(
                    "this machine's clock is off, others are {ahead_ms} ms ahead: nothing is taken until it is right; set it by NTP"
                );
            }
            Event::ClockRight => tracing::info!("this machine's clock is right again"),
            Event::EffectsOverflowed => {
                tracing::error!("one step wanted more effects than allowed");
            }
        }
    }

    fn count_refusal(&self, refusal: Refusal) {
        let mut refused = self
            .tally
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *refused.entry(refusal.code()).or_default() += 1;
    }

    fn tell(&mut self, question: Question) {
        match question {
            Question::Usage(to) => {
                let state = self.core.state();
                self.store.submit(StoreOp::Usage, move |done| {
                    if let StoreDone::Usage(usage) = done {
                        // The asker may have given up meanwhile.
                        let _given_up = to.send((usage, state));
                    }
                });
            }
            Question::Standing(id, to) => {
                let standing = (self.core.score(&id), self.core.judgement(&id));
                let _given_up = to.send(standing);
            }
            Question::Drain(to) => {
                let kept = self.memory.keep_leaving();
                if kept.is_ok() {
                    self.step(Input::Command(Command::Drain));
                }
                let _given_up = to.send(kept);
            }
            Question::Holds(ids, to) => {
                self.store.submit(StoreOp::Have { ids }, move |done| {
                    if let StoreDone::Have(here) = done {
                        let _given_up = to.send(here);
                    }
                });
            }
        }
    }

    /// Makes the keys of this generation and the next when the generation changes ([ONI-8]).
    fn renew_onion_keys(&mut self) {
        let now = self.clock.read();
        let generation = Generation::at(self.scale, now.unix);
        let mut door = self
            .gate
            .door
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        door.retire(now.unix);
        if self.generation == Some(generation) {
            return;
        }
        let seeds = match self.keys.onion(generation.0) {
            Ok(seeds) => seeds,
            Err(failure) => {
                tracing::error!(%failure, "onion keys");
                return;
            }
        };
        let [current, next] = seeds.map(|seed| self.crypto.onion_key(seed.bytes()));
        let command = Command::OnionKeys {
            generation: generation.0,
            current: current.public.clone(),
            next: next.public.clone(),
        };
        door.set_key(generation, current);
        door.set_key(Generation(generation.0.saturating_add(1)), next);
        drop(door);
        if let Err(failure) = self.keys.erase_onion_before(generation.0.saturating_sub(1)) {
            tracing::warn!(%failure, "an old onion key could not be erased");
        }
        self.generation = Some(generation);
        self.step(Input::Command(command));
    }

    fn until_deadline(&self) -> Duration {
        let now = self.clock.read();
        let deadline = self.core.deadline();
        deadline.map_or(IDLE_MAX, |at| at.since(now.mono).min(IDLE_MAX))
    }
}

fn say_verdict(verdict: &Verdict) {
    match verdict {
        Verdict::Shown { subject, class } => {
            tracing::debug!(node = %subject, class, "a relay showed what it has pledged");
        }
        Verdict::Wrong { subject, .. } => {
            tracing::warn!(node = %subject, "a relay signed something wrong about its pledge");
        }
        Verdict::Silent { subject } => {
            tracing::debug!(node = %subject, "a relay did not show what it has pledged");
        }
    }
}

/// What a relay must remember beside its keys and its store.
struct Memory {
    since: PathBuf,
    record: PathBuf,
    leaving: PathBuf,
    convictions: Convictions,
}

impl Memory {
    fn open(home: &Path) -> Result<Self, DriverFailure> {
        let fail = |source| DriverFailure::Memory {
            path: home.to_owned(),
            source,
        };
        fs::create_dir_all(home).map_err(fail)?;
        Ok(Self {
            since: home.join("since"),
            record: home.join("record"),
            leaving: home.join("leaving"),
            convictions: Convictions::at(home.join("convictions")),
        })
    }

    /// The tick of the first start, written down at the first start.
    fn since(&self, tick: Tick) -> Result<Tick, DriverFailure> {
        let fail = |source| DriverFailure::Memory {
            path: self.since.clone(),
            source,
        };
        match fs::read_to_string(&self.since) {
            Ok(text) => {
                let wrong = || io::Error::other("expected a number of ticks");
                text.trim().parse().map(Tick).map_err(|_| fail(wrong()))
            }
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                write_whole(&self.since, tick.0.to_string().as_bytes()).map_err(fail)?;
                Ok(tick)
            }
            Err(source) => Err(fail(source)),
        }
    }

    /// What convicts others and is not over.
    fn convictions(&self, today: Epoch) -> Result<Vec<Conviction>, DriverFailure> {
        let fail = |source| DriverFailure::Memory {
            path: self.record.with_file_name("convictions"),
            source,
        };
        self.convictions.read(today).map_err(fail)
    }

    /// Whether the operator wanted the relay to leave for good, in this run or an earlier one.
    fn is_leaving(&self) -> bool {
        self.leaving.exists()
    }

    fn keep_leaving(&self) -> io::Result<()> {
        write_whole(&self.leaving, b"")
    }

    /// The last record; a damaged file only costs a tick of waiting elsewhere.
    fn record(&self) -> Option<Record> {
        Record::decode(fs::read(&self.record).ok()?.into()).ok()
    }

    fn keep_record(&self, record: &Record) -> io::Result<()> {
        write_whole(&self.record, &record.encode())
    }
}

/// Replaces a file so that a crash leaves the old or the new one.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    let beside = path.with_extension("new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    if let Some(folder) = path.parent() {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// Questions of the operator that may wait.
const QUESTIONS_MAX: usize = 8;
/// The loop looks at clock and keys at least this often.
const IDLE_MAX: Duration = Duration::from_secs(10);
