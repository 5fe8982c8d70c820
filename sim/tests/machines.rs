//! Machines are told anything in any order: they never panic, and never want more than they may.
//!
//! Every signature is taken for good here, so that nonsense gets past the door.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails here"
)]

mod common;

use std::sync::Arc;

use poste_sim::chance::{Chance, seed_of};
use swarm_proto::client::{self, AskFailure, AskId, Client, CommandId, Pinned, Source, judge_list};
use swarm_proto::crypto::null::NullCrypto;
use swarm_proto::crypto::{
    Crypto, KemCiphertext, OnionKey, OnionPublicKey, SecretKey, SharedSecret, Signature,
};
use swarm_proto::effects::{
    Command, Effect, Effects, Event, Input, OpId, Origin, PeerChange, PlotId, SignId, StreamId,
};
use swarm_proto::envelope::{Envelope, EnvelopeHeader, ExpiryClass, SizeClass};
use swarm_proto::id::{EnvelopeId, NodeId, NodeKey};
use swarm_proto::limits;
use swarm_proto::mailbox::receipt::{Promise, Receipt};
use swarm_proto::members::{Address, OnionKeys, Record, onion_key_hash};
use swarm_proto::network::Network;
use swarm_proto::place::{Cell, cell_of};
use swarm_proto::pledge::{OwnPledge, PlotDone, PlotOp};
use swarm_proto::relay::{Relay, RelayConfig};
use swarm_proto::store::{
    Card, Cursor, MailboxKeys, MemStore, NotKept, Page, Row, StoreDone, StoreOp, StoredRow,
    Tombstone,
};
use swarm_proto::time::{Epoch, Hour, Instant, Now, Tick, UnixTime};
use swarm_proto::wire::Message;
use swarm_proto::wire::copies::{Compare, Copied, Copy, CopyAge, Scope};
use swarm_proto::wire::mailbox::{CardAsk, CardPut, Deposit, Deposited, Erase, Fetch};
use swarm_proto::wire::members::{ListAsk, ListPart, Reconcile, RecordWithKeys, Want};
use swarm_proto::wire::pledge::{Challenge, ChallengeAnswer};
use swarm_proto::wire::refusal::Refusal;
use swarm_proto::wire::verify::{Judge, Via};

#[test]
fn a_relay_that_is_told_anything_keeps_its_bounds() {
    for minute_ms in common::SCALES {
        for seed in 0..RUNS {
            let mut world = Nonsense::new(seed, minute_ms);
            let mut relay = world.relay();
            let mut out = Effects::default();
            for step in 0..STEPS {
                let now = world.later();
                let input = world.input();
                relay.step(now, input, &mut out);
                assert!(
                    out.len() <= limits::EFFECTS_PER_STEP,
                    "seed {seed}, step {step}"
                );
                for effect in out.drain().collect::<Vec<_>>() {
                    assert_ne!(
                        effect,
                        Effect::Report(Event::EffectsOverflowed),
                        "seed {seed}, step {step}"
                    );
                    world.remember(effect);
                }
            }
        }
    }
}

#[test]
fn a_correspondent_that_is_told_anything_keeps_its_bounds() {
    for minute_ms in common::SCALES {
        for seed in 0..RUNS {
            let mut world = Nonsense::new(seed, minute_ms);
            let sources = world.sources();
            let network = Arc::clone(&world.network);
            let mut machine = Client::new(network, sources, Pinned::default(), [7; 32], world.now);
            for step in 0..STEPS {
                let now = world.later();
                let input = world.client_input();
                let mut out = Vec::new();
                machine.step(now, input, &mut out);
                assert!(
                    out.len() <= limits::EFFECTS_PER_STEP,
                    "seed {seed}, step {step}"
                );
                let asks = out
                    .iter()
                    .filter(|effect| matches!(effect, client::Effect::Ask(_)));
                assert!(
                    asks.count() <= limits::ASKS_IN_FLIGHT_MAX,
                    "seed {seed}, step {step}"
                );
            }
        }
    }
}

/// Inputs of a small domain, so that they meet each other.
struct Nonsense {
    chance: Chance,
    network: Arc<Network>,
    keys: Vec<NodeKey>,
    now: Now,
    store: MemStore,
    stores: Vec<(OpId, StoreOp)>,
    signs: Vec<SignId>,
    plots: Vec<(PlotId, PlotOp)>,
    nonce: [u8; 32],
}

impl Nonsense {
    fn new(seed: u64, minute_ms: u32) -> Self {
        let key = |n| NodeKey(*SecretKey::from_seed(&seed_of(1, "key", n)).public());
        let keys: Vec<NodeKey> = (0..9).map(key).collect();
        let mut network = Network::public("nonsense", &keys[..7]);
        network.scale.minute_ms = minute_ms;
        network.pledge.labels = 128;
        network.pledge.layers = 1;
        network.pledge.class_sectors = 1;
        let unix = UnixTime(1_800_000_000_000);
        Self {
            chance: Chance::new(seed, "nonsense", 0),
            network: Arc::new(network),
            keys,
            now: Now {
                mono: Instant(1),
                unix,
            },
            store: MemStore::new(),
            stores: Vec::new(),
            signs: Vec::new(),
            plots: Vec::new(),
            nonce: [0; 32],
        }
    }

    fn relay(&self) -> Relay {
        let config = RelayConfig {
            network: Arc::clone(&self.network),
            key: self.keys[0],
            addresses: [self.address(0), None],
            family: [0; 8],
            since: Tick(0),
            convictions: Vec::new(),
            last_record: None,
            repair_bytes_per_s: 1 << 20,
            pledge: OwnPledge::default(),
        };
        Relay::new(config, [3; 32], self.now)
    }

    fn sources(&self) -> Vec<Source> {
        let source = |(n, key): (u8, &NodeKey)| Source {
            key: *key,
            address: self.address(n).unwrap(),
        };
        (0..).zip(&self.keys).take(5).map(source).collect()
    }

    fn address(&self, n: u8) -> Option<Address> {
        Address::new([10 + n, n, 0, 1].into(), 4_300)
    }

    /// Mostly a little later; the time of day may jump either way.
    fn later(&mut self) -> Now {
        let step = [1, 1_000, 300_000, 20_000_000][self.index(4)];
        let passed = self.chance.below(step);
        self.now.mono = Instant(self.now.mono.0 + passed);
        self.now.unix = UnixTime(self.now.unix.0 + passed / 1_000);
        if self.chance.happens(2_000) {
            self.now.unix = UnixTime(self.chance.below(3_600_000_000_000));
        }
        self.now
    }

    fn remember(&mut self, effect: Effect) {
        match effect {
            Effect::Store { op, request } => self.stores.push((op, request)),
            Effect::Sign { id, .. } => self.signs.push(id),
            Effect::Plot { op, request } => self.plots.push((op, request)),
            Effect::Send {
                message: Message::Challenge(challenge),
                ..
            } => self.nonce = challenge.nonce,
            Effect::Send { .. } | Effect::Answer { .. } | Effect::Report(_) => {}
        }
    }

    fn input(&mut self) -> Input {
        match self.chance.below(13) {
            0 => Input::Wake,
            1 => Input::Peer {
                id: self.id(),
                change: [PeerChange::Seen, PeerChange::Linked, PeerChange::Gone][self.index(3)],
            },
            2 => Input::StreamClosed {
                stream: self.stream(),
            },
            3 => Input::Command(Command::OnionKeys {
                generation: 1,
                current: onion_key(self.byte()),
                next: onion_key(self.byte()),
            }),
            4 => Input::Command(Command::Addresses([self.address(1), None])),
            5 | 6 if !self.stores.is_empty() => {
                let at = self.index(self.stores.len());
                let (op, request) = self.stores.swap_remove(at);
                let done = if self.chance.happens(700_000) {
                    self.store.apply(request)
                } else {
                    self.done()
                };
                Input::Stored { op, done }
            }
            7 if !self.signs.is_empty() => {
                let at = self.index(self.signs.len());
                let id = self.signs.swap_remove(at);
                Input::Signed {
                    id,
                    signature: self.signature(),
                }
            }
            8 if !self.plots.is_empty() => self.plotted(),
            9 => Input::Command(match self.index(4) {
                0 => Command::Plotted {
                    class: self.byte() % 10,
                },
                _ => Command::Challenge { subject: self.id() },
            }),
            _ => self.message_input(),
        }
    }

    /// What was asked of the plot, most often right.
    fn plotted(&mut self) -> Input {
        let at = self.index(self.plots.len());
        let (op, request) = self.plots.swap_remove(at);
        let done = match self.index(8) {
            0 => PlotDone::Failed,
            1 => PlotDone::Tags(vec![[self.byte(); 8]; self.index(4)]),
            _ => request.make(&self.network.pledge, &self.keys[0], |_| true),
        };
        Input::Plotted { op, done }
    }

    /// Of the last challenge, so that some answers are to what was asked.
    fn challenge_answer(&mut self) -> ChallengeAnswer {
        ChallengeAnswer {
            nonce: self.nonce,
            class: self.byte() % 4,
            tags: vec![[self.byte(); 8]; self.index(5)],
            signature: self.signature(),
        }
    }

    fn message_input(&mut self) -> Input {
        loop {
            let message = self.message();
            let key = self.key();
            let (from, via) = if self.chance.happens(500_000) {
                (Origin::Relay(key.node_id()), Via::Relay(key))
            } else {
                let reply_key_hash = [self.byte(); 32];
                (Origin::Stream(self.stream()), Via::Onion { reply_key_hash })
            };
            let judge = Judge {
                crypto: &Gullible,
                network: self.network.id(),
                me: self.keys[0].node_id(),
            };
            if let Ok(message) = judge.admit(message, via) {
                return Input::Message { from, message };
            }
        }
    }

    fn client_input(&mut self) -> client::Input {
        let ask = AskId(self.chance.below(600));
        let id = CommandId(self.chance.below(64));
        match self.chance.below(8) {
            0 | 1 => client::Input::Wake,
            2 => client::Input::Listed {
                ask,
                part: self.part(),
            },
            3 | 4 => client::Input::Answered {
                ask,
                answer: Ok(self.message()),
            },
            5 => client::Input::Answered {
                ask,
                answer: Err([
                    AskFailure::Guard,
                    AskFailure::Timeout,
                    AskFailure::Senseless,
                    AskFailure::Hop {
                        hop: self.index(9),
                        refusal: Refusal::HopUnreachable,
                    },
                ][self.index(4)]),
            },
            _ => {
                let keys = self.mailbox();
                let epoch = self.epoch();
                let command = match self.chance.below(6) {
                    0 => client::Command::Cancel,
                    1 => client::Command::Fetch {
                        keys,
                        epoch,
                        after: Cursor::START,
                    },
                    2 => client::Command::Delete(self.erase()),
                    3 => client::Command::CardPut(Arc::new(self.card_put())),
                    4 => client::Command::CardAsk { keys, epoch },
                    _ => client::Command::Deposit(Arc::new(self.deposit())),
                };
                client::Input::Command { id, command }
            }
        }
    }

    fn part(&mut self) -> Option<client::JudgedPart> {
        let members = self.records();
        let part = ListPart {
            hash: [1; 32],
            total: u32::try_from(self.chance.below(40)).unwrap(),
            from: u32::try_from(self.chance.below(20)).unwrap(),
            members,
        };
        judge_list(part, &self.network, &Gullible)
    }

    fn message(&mut self) -> Message {
        match self.chance.below(23) {
            0 | 1 => Message::Records(self.records()),
            2 => Message::Want(Want {
                with_keys: self.chance.below(2) == 0,
                items: (0..self.chance.below(40)).map(|n| [n as u8; 32]).collect(),
            }),
            3 => Message::Reconcile(self.reconcile()),
            4 | 5 => Message::Copy(Copy {
                age: [CopyAge::First, CopyAge::Later][self.index(2)],
                keys: self.mailbox(),
                row: self.row(),
            }),
            6 | 7 => Message::Copied(self.copied()),
            8 => Message::Erase(self.erase()),
            9 => Message::CardCopy(self.card_put()),
            10 | 11 => Message::Deposit(self.deposit()),
            12 => Message::Fetch(Fetch {
                keys: self.mailbox(),
                after: Cursor::START,
                time: self.now.unix,
                answer: [SizeClass::Small, SizeClass::Large][self.index(2)],
                signature: self.signature(),
            }),
            13 => Message::Delete(self.erase()),
            14 => Message::CardPut(self.card_put()),
            15 => Message::CardAsk(CardAsk {
                keys: self.mailbox(),
                time: self.now.unix,
                signature: self.signature(),
            }),
            16 => Message::ListAsk(ListAsk {
                held: [0; 32],
                from: 0,
            }),
            17 => Message::Deposited(Deposited {
                arrival: self.tick(),
                receipts: vec![self.receipt()],
            }),
            18 => Message::Probe,
            19 => Message::Compare(self.compare()),
            20 => Message::Challenge(Challenge {
                class: 1 + self.byte() % 4,
                nonce: [self.byte(); 32],
            }),
            21 => Message::ChallengeAnswer(self.challenge_answer()),
            _ => Message::Page(Page {
                more: self.chance.happens(500_000),
                rows: vec![(self.tick(), self.envelope())],
                ..Page::default()
            }),
        }
    }

    fn records(&mut self) -> Vec<RecordWithKeys> {
        (0..self.chance.below(6)).map(|_| self.record()).collect()
    }

    fn record(&mut self) -> RecordWithKeys {
        let n = u8::try_from(self.index(self.keys.len())).unwrap();
        let (current, sequence) = (onion_key(n), self.tick());
        let record = Record {
            leaving: self.chance.happens(50_000),
            relay_only: self.chance.happens(50_000),
            network: self.network.id(),
            key: self.keys[usize::from(n)],
            sequence,
            since: sequence.minus(u32::from(self.byte())),
            onion_generation: 1,
            onion_current: onion_key_hash(&current),
            onion_next: None,
            family: [self.byte() % 2; 8],
            addresses: [self.address(n), None],
            class: self.byte() % 4,
            puzzle: 0,
            signature: self.signature(),
        };
        let keys = OnionKeys {
            current: Some(current),
            next: None,
        };
        RecordWithKeys { record, keys }
    }

    fn reconcile(&mut self) -> Reconcile {
        let mut ranges = vec![0; self.index(80)];
        self.chance.fill(&mut ranges);
        if self.chance.happens(300_000) {
            ranges.clear();
        }
        Reconcile {
            exchange: u32::from(self.byte()),
            step: self.byte() % 4,
            ranges: ranges.into(),
        }
    }

    fn compare(&mut self) -> Compare {
        let Reconcile {
            exchange,
            step,
            ranges,
        } = self.reconcile();
        let mut cells: Vec<Cell> = (0..=self.index(4))
            .map(|_| Cell(self.index(16_384) as u16))
            .collect();
        cells.push(cell_of(&self.mailbox().address(), self.network.cell_bits));
        cells.sort_unstable();
        cells.dedup();
        let epoch = self.tick().epoch();
        Compare {
            exchange,
            step,
            scope: (step == 1).then_some(Scope { epoch, cells }),
            ranges,
        }
    }

    fn copied(&mut self) -> Copied {
        let promise = Promise::of(&self.envelope(), &self.network);
        let outcome = if self.chance.happens(600_000) {
            Ok(self.receipt())
        } else {
            Err([
                Refusal::WrongHolder,
                Refusal::DiskFull,
                Refusal::MailboxFull,
            ][self.index(3)])
        };
        Copied {
            arrival: self.tick(),
            promise,
            outcome,
        }
    }

    fn receipt(&mut self) -> Receipt {
        Receipt {
            holder: self.key(),
            time: self.tick(),
            signature: self.signature(),
        }
    }

    fn deposit(&mut self) -> Deposit {
        let envelope = self.envelope();
        Deposit {
            keys: self.mailbox(),
            write_signature: self.signature(),
            long_stay: self.leave(&envelope),
            envelope,
        }
    }

    /// The owner's leave where it is needed.
    fn leave(&mut self, envelope: &Envelope) -> Option<Signature> {
        let needed = envelope.header().expiry.needs_leave();
        needed.then(|| self.signature())
    }

    fn row(&mut self) -> Row {
        let envelope = self.envelope();
        Row {
            write_signature: self.signature(),
            arrival: self.tick(),
            long_stay: self.leave(&envelope),
            envelope,
        }
    }

    fn envelope(&mut self) -> Envelope {
        let address = self.mailbox().address();
        let expiry = ExpiryClass::ALL[self.index(6)];
        let header = EnvelopeHeader {
            size: SizeClass::Small,
            expiry,
            made: self.tick(),
            address,
        };
        Envelope::assemble(
            header,
            &vec![self.byte() % 8; SizeClass::Small.body_bytes()],
        )
        .unwrap()
    }

    fn erase(&mut self) -> Erase {
        let expires = Hour(self.network.scale.hour_of(self.now.unix).0 + u32::from(self.byte()));
        let id = self.envelope().id();
        let tombstone = Tombstone {
            keys: self.mailbox(),
            id,
            expires,
            signature: self.signature(),
        };
        Erase {
            epoch: self.epoch(),
            tombstone,
        }
    }

    fn card_put(&mut self) -> CardPut {
        let card = Card {
            sequence: u64::from(self.byte()),
            expires: Hour(self.network.scale.hour_of(self.now.unix).0 + u32::from(self.byte())),
            signature: self.signature(),
            sealed: vec![self.byte(); limits::CARD_BYTES].into(),
        };
        CardPut {
            epoch: self.epoch(),
            keys: self.mailbox(),
            card,
        }
    }

    fn done(&mut self) -> StoreDone {
        match self.chance.below(8) {
            0 => StoreDone::Failed,
            1 => StoreDone::NotKept(NotKept::Busy),
            2 => StoreDone::Kept {
                fresh: true,
                arrival: self.tick(),
            },
            3 => StoreDone::Row(Some(StoredRow {
                keys: self.mailbox(),
                row: self.row(),
                expires: Hour(1),
            })),
            4 => StoreDone::Page(Page::default()),
            5 => StoreDone::Deleted { existed: true },
            6 => StoreDone::Have(vec![EnvelopeId([1; 32])]),
            _ => StoreDone::NotKept(NotKept::Expired),
        }
    }

    fn mailbox(&mut self) -> MailboxKeys {
        let n = self.byte() % 4;
        MailboxKeys {
            flags: n,
            read: [n; 32],
            write: [n; 32],
        }
    }

    fn tick(&mut self) -> Tick {
        let tick = self.network.scale.tick_of(self.now.unix);
        Tick((tick.0 + 3).saturating_sub(u32::from(self.byte() % 8)))
    }

    fn epoch(&mut self) -> Epoch {
        self.network
            .scale
            .epoch_of(self.now.unix)
            .minus(u32::from(self.byte() % 3))
    }

    fn key(&mut self) -> NodeKey {
        let at = self.index(self.keys.len());
        self.keys[at]
    }

    fn id(&mut self) -> NodeId {
        self.key().node_id()
    }

    fn stream(&mut self) -> StreamId {
        StreamId(self.chance.below(1_000))
    }

    fn signature(&mut self) -> Signature {
        Signature([self.byte(); 64])
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.chance.below(256)).unwrap()
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.chance.below(bound as u64)).unwrap()
    }
}

fn onion_key(n: u8) -> OnionPublicKey {
    OnionPublicKey(Arc::new([n; 1_216]))
}

/// Takes every signature for good.
struct Gullible;

impl Crypto for Gullible {
    fn verify(&self, _: &[u8; 32], _: &[u8], _: &Signature) -> bool {
        true
    }

    fn sign(&self, key: &SecretKey, statement: &[u8]) -> Signature {
        NullCrypto::new().sign(key, statement)
    }

    fn encapsulate(
        &self,
        to: &OnionPublicKey,
        seed: &[u8; 64],
    ) -> Option<(Box<KemCiphertext>, SharedSecret)> {
        NullCrypto::new().encapsulate(to, seed)
    }

    fn onion_key(&self, seed: &[u8; 32]) -> OnionKey {
        NullCrypto::new().onion_key(seed)
    }
}

/// Sequences for each scale.
const RUNS: u64 = 12;
/// Inputs in one sequence.
const STEPS: u32 = 1_500;
