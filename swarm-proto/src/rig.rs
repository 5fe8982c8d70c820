//! A few relays and one correspondent in one thread, for tests: every machine of the road driven as its
//! contract says, with instant links, a store in memory, stand-in signatures and a clock that a test moves.
//!
//! Every message passes its own encoding and the door, so a test of a machine is one of its wire too.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;

use crate::client::{self, Ask, AskFailure, AskId, Client, CommandId, Pinned, Request, Source};
use crate::context::Context;
use crate::crypto::null::NullCrypto;
use crate::crypto::{Crypto, SecretKey, Signature};
use crate::effects::{Command, Effect, Effects, Event, Input, OpId, Origin, PeerChange, StreamId};
use crate::id::{EnvelopeId, NodeId, NodeKey};
use crate::mailbox::receipt::Promise;
use crate::members::presence::Presence;
use crate::members::view::View;
use crate::members::{Record, testing};
use crate::network::Network;
use crate::place::Placement;
use crate::pledge::OwnPledge;
use crate::relay::{Relay, RelayConfig};
use crate::store::{Held, MailboxKeys, MemStore, StoreDone, StoreOp, Tagged, Tombstone};
use crate::time::{Instant, Now};
use crate::wire::Message;
use crate::wire::mailbox::Deposit;
use crate::wire::members::{RosterAsk, RosterPart};
use crate::wire::verify::{Judge, Via};

mod statements;

pub(crate) use statements::{Owner, owner};

/// One relay and its surroundings.
pub(crate) struct Node {
    pub(crate) relay: Relay,
    pub(crate) store: MemStore,
    pub(crate) secret: SecretKey,
    pub(crate) key: NodeKey,
    /// A relay that is down hears nothing and does nothing.
    pub(crate) up: bool,
    /// Its disk has lost the bytes of envelopes and kept their names.
    pub(crate) hollow: bool,
    /// It lists a tombstone in this mailbox in the place of each envelope, and shows none.
    pub(crate) buries: Option<MailboxKeys>,
    /// While it stands, store operations wait in `waiting`.
    pub(crate) disk_stands: bool,
    /// Sectors of its plot from this one on are not there.
    pub(crate) plot_ends: u32,
    pub(crate) waiting: Vec<(OpId, StoreOp)>,
    pub(crate) events: Vec<Event>,
    pub(crate) last_record: Option<Record>,
}

impl Node {
    /// Makes of what its disk has what it lists.
    fn bend(&self, tags: &mut [Tagged]) {
        for tagged in tags.iter_mut() {
            if self.hollow {
                tagged.tag = [0; 32];
            }
            if let (Some(keys), Held::Envelope { id, expires, .. }) = (self.buries, &tagged.held) {
                tagged.held = Held::Tombstone(Tombstone {
                    keys,
                    id: *id,
                    expires: *expires,
                    signature: Signature([0; 64]),
                });
                // It has no bytes to hash.
                tagged.tag = [0; 32];
            }
        }
        tags.sort_unstable_by_key(|tagged| tagged.held.item());
    }
}

/// The correspondent.
pub(crate) struct Person {
    pub(crate) client: Client,
    pub(crate) events: Vec<client::Event>,
    pub(crate) asks: Vec<Ask>,
    /// While set, questions are noted and never answered.
    pub(crate) mute: bool,
    open: BTreeMap<StreamId, Ask>,
}

/// All of it.
pub(crate) struct Rig {
    pub(crate) network: Arc<Network>,
    pub(crate) crypto: NullCrypto,
    pub(crate) now: Now,
    pub(crate) nodes: Vec<Node>,
    pub(crate) person: Option<Person>,
    pub(crate) answers: BTreeMap<StreamId, Vec<Message>>,
    /// Everything that was sent between relays: from, to, what.
    pub(crate) sent: Vec<(usize, usize, Message)>,
    /// Links that lose everything, in this direction.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// Whether a relay notices that it cannot reach another.
    pub(crate) misses: bool,
    /// What relays answer in the place of what their machines say of eligible lists.
    pub(crate) lies: BTreeMap<usize, RosterLie>,
    /// What the correspondent asked about eligible lists, and whom.
    pub(crate) roster_asks: Vec<(usize, RosterAsk)>,
    queue: VecDeque<(usize, Input)>,
    next_stream: u64,
}

/// What is answered to a question, instead of the truth.
pub(crate) type RosterLie = fn(RosterAsk, Option<RosterPart>) -> Option<RosterPart>;

impl Rig {
    /// `count` relays, all founders, that know each other.
    pub(crate) fn new(count: u8) -> Self {
        let mut rig = Self::strangers(count);
        rig.meet();
        rig
    }

    /// All relays tell each other whom they know.
    pub(crate) fn meet(&mut self) {
        let records: Vec<Message> = self.nodes.iter().map(|node| all_of(&node.relay)).collect();
        for (from, records) in records.iter().enumerate() {
            for to in (0..self.nodes.len()).filter(|to| *to != from) {
                self.deliver(from, to, records.clone());
            }
        }
        self.run();
        self.sent.clear();
        let count = self.nodes.len();
        for node in &mut self.nodes {
            assert_eq!(node.relay.members().len(), count);
            node.events.clear();
        }
    }

    /// `count` relays that know each other, in a network with other numbers.
    pub(crate) fn tuned(count: u8, tune: impl Fn(&mut Network)) -> Self {
        let mut rig = Self::strangers_in(count, tune);
        rig.meet();
        rig
    }

    /// `count` relays, all founders, each of which knows itself only.
    pub(crate) fn strangers(count: u8) -> Self {
        Self::strangers_in(count, |_| {})
    }

    fn strangers_in(count: u8, tune: impl Fn(&mut Network)) -> Self {
        let secrets: Vec<SecretKey> = (1..=count)
            .map(|number| SecretKey::from_seed(&[number; 32]))
            .collect();
        let keys: Vec<NodeKey> = secrets.iter().map(|s| NodeKey(*s.public())).collect();
        let mut network = Network::public("rig", &keys);
        // Each relay goes by its own tries, unless a test wants watchers.
        network.verdicts.watchers = 0;
        tune(&mut network);
        let network = Arc::new(network);
        let now = Now {
            mono: Instant(1_000_000_000),
            unix: testing::at(10),
        };
        let mut rig = Self {
            crypto: NullCrypto::new(),
            now,
            nodes: Vec::new(),
            person: None,
            answers: BTreeMap::new(),
            sent: Vec::new(),
            cut: BTreeSet::new(),
            misses: false,
            lies: BTreeMap::new(),
            roster_asks: Vec::new(),
            queue: VecDeque::new(),
            next_stream: 0,
            network,
        };
        for (at, secret) in secrets.into_iter().enumerate() {
            let node = rig.node(at, secret, None);
            rig.nodes.push(node);
            rig.onion_keys(at);
        }
        rig.run();
        rig
    }

    fn node(&self, at: usize, secret: SecretKey, last_record: Option<Record>) -> Node {
        let key = NodeKey(*secret.public());
        let number = u32::try_from(at).unwrap();
        let config = RelayConfig {
            network: Arc::clone(&self.network),
            key,
            addresses: [testing::address(number), None],
            family: [0; 8],
            since: testing::tick_at(-240),
            last_record,
            convictions: Vec::new(),
            repair_bytes_per_s: 1 << 20,
            pledge: OwnPledge {
                class: self.network.pledge.class_min,
                puzzle: 0,
            },
        };
        let seed = [u8::try_from(at).unwrap(); 32];
        Node {
            relay: Relay::new(config, seed, self.now),
            store: MemStore::new(),
            key,
            secret,
            up: true,
            hollow: false,
            buries: None,
            disk_stands: false,
            plot_ends: u32::MAX,
            waiting: Vec::new(),
            events: Vec::new(),
            last_record: None,
        }
    }

    /// Gives a relay its onion keys, the same ones each time.
    pub(crate) fn onion_keys(&mut self, at: usize) {
        let seed = [u8::try_from(at).unwrap(); 32];
        let key = self.crypto.onion_key(&seed).public;
        let command = Command::OnionKeys {
            generation: 2_857,
            current: key.clone(),
            next: key,
        };
        self.input(at, Input::Command(command));
    }

    /// Starts a relay again: its machine forgets all but what a driver keeps.
    pub(crate) fn restart(&mut self, at: usize) {
        let fresh = self.node(
            at,
            SecretKey::from_seed(&[u8::try_from(at + 1).unwrap(); 32]),
            self.nodes[at].last_record.clone(),
        );
        let old = core::mem::replace(&mut self.nodes[at], fresh);
        self.nodes[at].store = old.store;
        self.nodes[at].last_record = old.last_record;
        self.onion_keys(at);
        self.run();
    }

    /// What the roles of one node share, with the members that it knows.
    pub(crate) fn view_of(&self, at: usize) -> Context {
        let mut view = View::new(self.network.scale);
        for member in self.nodes[at].relay.members().iter() {
            view.insert(member.verified().clone(), member.keys(), self.now);
        }
        view.refresh(&self.network, self.now);
        Context {
            me: self.nodes[at].key.node_id(),
            key: self.nodes[at].key,
            network_id: self.network.id(),
            rng: RefCell::new(ChaCha12Rng::from_seed([1; 32])),
            view,
            gone: BTreeSet::new(),
            presence: Presence::default(),
            possession: RefCell::default(),
            said: crate::standing::Said::default(),
            neighbours: Vec::new(),
            clock_off: false,
            network: Arc::clone(&self.network),
        }
    }

    /// Which node has this id.
    pub(crate) fn index(&self, id: &NodeId) -> usize {
        let is = |node: &Node| node.key.node_id() == *id;
        self.nodes.iter().position(is).unwrap()
    }

    /// The nodes around what is promised, best rank first.
    pub(crate) fn ranked(&self, promise: &Promise) -> Vec<usize> {
        let placement = self.placement(promise);
        placement.ranked().iter().map(|id| self.index(id)).collect()
    }

    pub(crate) fn placement(&self, promise: &Promise) -> Arc<Placement> {
        self.nodes[0].relay.placement(promise.epoch, promise.cell)
    }

    /// What is promised for a deposit.
    pub(crate) fn promise(&self, deposit: &Deposit) -> Promise {
        Promise::of(&deposit.envelope, &self.network)
    }

    /// Tells one relay something, without waiting for what follows.
    pub(crate) fn input(&mut self, at: usize, input: Input) {
        self.queue.push_back((at, input));
    }

    /// Says that one relay reached or lost another.
    pub(crate) fn peer(&mut self, at: usize, other: usize, change: PeerChange) {
        let id = self.nodes[other].key.node_id();
        self.input(at, Input::Peer { id, change });
        self.run();
    }

    /// A message over a relay's link, through the door of its receiver.
    pub(crate) fn deliver(&mut self, from: usize, to: usize, message: Message) {
        let message = Message::decode(message.kind(), Bytes::from(message.encode())).unwrap();
        let judge = Judge {
            crypto: &self.crypto,
            network: self.network.id(),
            me: self.nodes[to].key.node_id(),
        };
        let verified = judge
            .admit(message, Via::Relay(self.nodes[from].key))
            .unwrap();
        let from = Origin::Relay(self.nodes[from].key.node_id());
        self.input(
            to,
            Input::Message {
                from,
                message: verified,
            },
        );
    }

    /// A request of somebody, through an onion; the stream on which the answer comes.
    pub(crate) fn ask(&mut self, to: usize, message: Message) -> StreamId {
        let stream = self.stream(to, message);
        self.run();
        stream
    }

    fn stream(&mut self, to: usize, message: Message) -> StreamId {
        let stream = StreamId(self.next_stream);
        self.next_stream += 1;
        let message = Message::decode(message.kind(), Bytes::from(message.encode())).unwrap();
        let judge = Judge {
            crypto: &self.crypto,
            network: self.network.id(),
            me: self.nodes[to].key.node_id(),
        };
        let via = match message {
            Message::ListAsk(_) => Via::Client,
            _ => Via::Onion {
                reply_key_hash: REPLY_KEY_HASH,
            },
        };
        match judge.admit(message, via) {
            Ok(message) => self.input(
                to,
                Input::Message {
                    from: Origin::Stream(stream),
                    message,
                },
            ),
            Err(refusal) => {
                self.answers.insert(stream, vec![Message::Refusal(refusal)]);
            }
        }
        stream
    }

    /// The one answer on a stream, if it came.
    pub(crate) fn answer(&self, stream: StreamId) -> Option<&Message> {
        let answers = self.answers.get(&stream)?;
        assert_eq!(answers.len(), 1, "a stream is answered once");
        answers.first()
    }

    /// Carries out all there is to do at this moment.
    pub(crate) fn run(&mut self) {
        while let Some((at, input)) = self.queue.pop_front() {
            if !self.nodes[at].up {
                continue;
            }
            let mut out = Effects::default();
            self.nodes[at].relay.step(self.now, input, &mut out);
            let effects: Vec<Effect> = out.drain().collect();
            for effect in effects {
                self.effect(at, effect);
            }
        }
    }

    fn effect(&mut self, at: usize, effect: Effect) {
        match effect {
            Effect::Send { message, .. }
                if self.nodes[at].buries.is_some() && matches!(message, Message::Erase(_)) => {}
            Effect::Send { to, message } => {
                let to = self.index(&to);
                self.sent.push((at, to, message.clone()));
                if self.nodes[to].up && !self.cut.contains(&(at, to)) {
                    self.deliver(at, to, message);
                } else if self.misses {
                    let id = self.nodes[to].key.node_id();
                    let change = PeerChange::Gone;
                    self.input(at, Input::Peer { id, change });
                }
            }
            Effect::Answer { stream, message } => {
                self.answers
                    .entry(stream)
                    .or_default()
                    .push(message.clone());
                self.person_answered(stream, message);
            }
            Effect::Sign { id, bytes } => {
                let signature = self.crypto.sign(&self.nodes[at].secret, &bytes);
                self.input(at, Input::Signed { id, signature });
            }
            Effect::Store { op, request } if self.nodes[at].disk_stands => {
                self.nodes[at].waiting.push((op, request));
            }
            Effect::Store { op, request } => {
                let mut done = self.nodes[at].store.apply(request);
                if let StoreDone::Tags(tags) = &mut done {
                    self.nodes[at].bend(tags);
                }
                self.input(at, Input::Stored { op, done });
            }
            Effect::Plot { op, request } => {
                let (key, ends) = (self.nodes[at].key, self.nodes[at].plot_ends);
                let done = request.make(&self.network.pledge, &key, |sector| sector < ends);
                self.input(at, Input::Plotted { op, done });
            }
            Effect::Report(event) => {
                if let Event::RecordIssued(record) = &event {
                    self.nodes[at].last_record = Some(record.clone());
                }
                self.nodes[at].events.push(event);
            }
        }
    }

    /// Lets a disk that stood work off what waits.
    pub(crate) fn disk_goes_on(&mut self, at: usize) {
        self.nodes[at].disk_stands = false;
        for (op, request) in core::mem::take(&mut self.nodes[at].waiting) {
            let done = self.nodes[at].store.apply(request);
            self.input(at, Input::Stored { op, done });
        }
        self.run();
    }

    /// Lets time pass, with every machine woken when it wishes.
    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.now.mono.plus(by);
        for _ in 0..STEPS_MAX {
            let relays = self.nodes.iter().enumerate().filter(|(_, node)| node.up);
            let relays = relays.filter_map(|(at, node)| Some((node.relay.deadline()?.0, Some(at))));
            let person = self.person.as_ref().and_then(|p| p.client.deadline());
            let next = relays.chain(person.map(|due| (due, None))).min();
            let Some((due, who)) = next.filter(|(due, _)| *due <= end) else {
                let left = end.since(self.now.mono);
                self.pass(left);
                return;
            };
            self.pass(due.since(self.now.mono));
            match who {
                Some(at) => self.input(at, Input::Wake),
                None => self.person(client::Input::Wake),
            }
            self.run();
        }
        panic!("the machines want to be woken without end");
    }

    fn pass(&mut self, by: Duration) {
        self.now.mono = self.now.mono.plus(by);
        self.now.unix = self.now.unix.plus(by);
    }

    /// Whether a node's store has the envelope.
    pub(crate) fn holds(&mut self, at: usize, id: EnvelopeId) -> bool {
        let done = self.nodes[at].store.apply(StoreOp::Have { ids: vec![id] });
        done == StoreDone::Have(vec![id])
    }
}

/// The correspondent.
impl Rig {
    /// Brings a correspondent in that knows the first `sources` relays, and lets it load the list.
    pub(crate) fn join(&mut self, sources: usize) {
        self.join_again(sources, Pinned::default());
    }

    /// The same for one that was there before.
    pub(crate) fn join_again(&mut self, sources: usize, pinned: Pinned) {
        let sources = self.nodes.iter().take(sources).enumerate();
        let sources = sources.map(|(at, node)| Source {
            key: node.key,
            address: testing::address(u32::try_from(at).unwrap()).unwrap(),
        });
        let client = Client::new(
            Arc::clone(&self.network),
            sources.collect(),
            pinned,
            [99; 32],
            self.now,
        );
        self.person = Some(Person {
            client,
            events: Vec::new(),
            asks: Vec::new(),
            mute: false,
            open: BTreeMap::new(),
        });
        self.person(client::Input::Wake);
    }

    pub(crate) fn command(&mut self, id: u64, command: client::Command) {
        self.person(client::Input::Command {
            id: CommandId(id),
            command,
        });
    }

    /// What the correspondent was told, taken out.
    pub(crate) fn told(&mut self) -> Vec<client::Event> {
        core::mem::take(&mut self.person.as_mut().unwrap().events)
    }

    pub(crate) fn asks(&self) -> &[Ask] {
        &self.person.as_ref().unwrap().asks
    }

    /// Gives the correspondent an input and carries out what it wants.
    pub(crate) fn person(&mut self, input: client::Input) {
        let mut out = Vec::new();
        let person = self.person.as_mut().unwrap();
        person.client.step(self.now, input, &mut out);
        for effect in out {
            match effect {
                client::Effect::Report(event) => {
                    self.person.as_mut().unwrap().events.push(event);
                }
                client::Effect::List {
                    ask,
                    source,
                    question,
                } => self.list(ask, &source, question),
                client::Effect::Roster {
                    ask,
                    source,
                    question,
                } => self.roster(ask, &source, question),
                client::Effect::Ask(ask) => {
                    let person = self.person.as_mut().unwrap();
                    person.asks.push(ask.clone());
                    if !person.mute {
                        self.onion(ask);
                    }
                }
            }
        }
    }

    fn list(&mut self, ask: AskId, source: &Source, question: crate::wire::members::ListAsk) {
        let at = self.index(&source.key.node_id());
        let part = if self.nodes[at].up {
            let stream = self.ask(at, Message::ListAsk(question));
            match self.answer(stream) {
                Some(Message::ListPart(part)) => {
                    client::judge_list(part.clone(), &self.network, &self.crypto)
                }
                _ => None,
            }
        } else {
            None
        };
        self.person(client::Input::Listed { ask, part });
    }

    fn roster(&mut self, ask: AskId, source: &Source, question: RosterAsk) {
        let at = self.index(&source.key.node_id());
        self.roster_asks.push((at, question));
        let mut part = None;
        if self.nodes[at].up {
            let stream = self.ask(at, Message::RosterAsk(question));
            if let Some(Message::RosterPart(answer)) = self.answer(stream) {
                part = Some(answer.clone());
            }
        }
        if let Some(lie) = self.lies.get(&at) {
            part = lie(question, part);
        }
        self.person(client::Input::Rostered { ask, part });
    }

    fn onion(&mut self, ask: Ask) {
        let hops = ask.path.hops.map(|hop| self.index(&hop));
        let down = hops.iter().position(|hop| !self.nodes[*hop].up);
        if let Some(down) = down {
            let failure = down.checked_sub(1).map_or(AskFailure::Guard, |hop| {
                let refusal = crate::wire::refusal::Refusal::HopUnreachable;
                AskFailure::Hop { hop, refusal }
            });
            let answer = Err(failure);
            self.person(client::Input::Answered {
                ask: ask.id,
                answer,
            });
            return;
        }
        let mine = owner(PERSON, 0);
        let message = match &ask.request {
            Request::Deposit(deposit) => Message::Deposit(deposit.as_ref().clone()),
            Request::Fetch { after, answer, .. } => {
                Message::Fetch(self.fetch_sized(&mine, hops[3], *after, *answer))
            }
            Request::Delete(erase) => Message::Delete(erase.clone()),
            Request::CardPut(put) => Message::CardPut(put.as_ref().clone()),
            Request::CardAsk { keys: _ } => Message::CardAsk(self.card_ask(&mine, hops[3])),
        };
        let stream = self.stream(hops[3], message);
        self.person.as_mut().unwrap().open.insert(stream, ask);
        if let Some(message) = self.answer(stream).cloned() {
            self.person_answered(stream, message);
        }
        self.run();
    }

    fn person_answered(&mut self, stream: StreamId, message: Message) {
        let person = self.person.as_mut();
        let Some(ask) = person.and_then(|person| person.open.remove(&stream)) else {
            return;
        };
        let answer = client::judge(
            &ask.request,
            message,
            &self.network,
            &self.crypto,
            self.now.unix,
        );
        self.person(client::Input::Answered {
            ask: ask.id,
            answer,
        });
    }
}

/// The own record of a relay, as it would tell it.
fn all_of(relay: &Relay) -> Message {
    let snapshot = relay.members();
    let records = snapshot
        .iter()
        .map(|member| crate::wire::members::RecordWithKeys {
            record: member.record().clone(),
            keys: member.keys().clone(),
        });
    Message::Records(records.collect())
}

/// The seed of the correspondent's mailbox ([`owner`]).
pub(crate) const PERSON: u8 = 77;
const REPLY_KEY_HASH: [u8; 32] = [5; 32];
const STEPS_MAX: usize = 50_000;
