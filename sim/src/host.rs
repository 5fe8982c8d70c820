//! A relay's driver in virtual time: it carries out what the machine asks for, as a volunteer's program
//! does with sockets, a disk and keys.
//!
//! A relay that dies keeps its key, its last record and its disk. Its peers notice after a silence, dial
//! again with growing pauses and tell their machines when it is back. Signing takes no time.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use swarm_proto::crypto::SecretKey;
use swarm_proto::effects::{Command, Effect, Event, Input, Origin, PeerChange, StreamId};
use swarm_proto::id::{NodeId, NodeKey};
use swarm_proto::limits;
use swarm_proto::members::{Address, Record};
use swarm_proto::pledge::OwnPledge;
use swarm_proto::relay::{Relay, RelayConfig};
use swarm_proto::store::{StoreDone, StoreOp};
use swarm_proto::time::{EPOCH_MINUTES, Tick};
use swarm_proto::wire::Message;
use swarm_proto::wire::proof::Conviction;
use swarm_proto::wire::standing::Testimony;
use swarm_proto::wire::sweeps::Step;
use swarm_proto::wire::verify::{Judge, Via};

use crate::adversary::slander;
use crate::chance::{Chance, seed_of};
use crate::check::Fault;
use crate::churn::Sessions;
use crate::disk::Disk;
use crate::links::Node;
use crate::personas::Companion;
use crate::queue::index;
use crate::road::Trip;
use crate::scenario::Scenario;
use crate::world::{Parcel, What, World};

/// One relay's machine and everything around it.
pub struct Host {
    pub(crate) id: NodeId,
    pub(crate) key: NodeKey,
    pub(crate) address: Address,
    pub(crate) relay: Option<Relay>,
    /// Counts its deaths: what was on its way to an earlier life never arrives.
    pub(crate) life: u32,
    pub(crate) up_since: u64,
    pub(crate) disk: Disk,
    pub(crate) disk_destroyed: bool,
    pub(crate) slanders: bool,
    pub(crate) clock_off_ms: i64,
    pub(crate) refusals_clock: u64,
    pub(crate) acknowledged: u64,
    pub(crate) streams: BTreeMap<StreamId, (u64, Trip)>,
    /// Its persona, while it runs.
    pub(crate) companion: Option<Box<Companion>>,
    pub(crate) chance: Chance,
    pub(crate) sessions: Option<Sessions>,
    pub(crate) bootstrap: Vec<u32>,
    secret: SecretKey,
    disk_chance: Chance,
    last_record: Option<Record>,
    convictions: Vec<Conviction>,
    since: Option<Tick>,
    armed: Option<u64>,
    wakes_in_place: u32,
    linked: BTreeSet<u32>,
    /// Peers that its machine believes gone, and how often they were dialled since.
    lost: BTreeMap<u32, u32>,
}

impl Host {
    /// A relay that was never started. Every number has a /16 of its own, up to 40,000 of them.
    pub(crate) fn new(scenario: &Scenario, number: u32) -> Self {
        let secret = SecretKey::from_seed(&seed_of(scenario.seed, "identity", number));
        let key = NodeKey(*secret.public());
        let mut chance = Chance::new(scenario.seed, "links", number);
        let sessions = scenario.churn.draw(&mut chance);
        Self {
            id: key.node_id(),
            key,
            address: address_of(number),
            relay: None,
            life: 0,
            up_since: 0,
            disk: Disk::new(scenario.disk),
            disk_destroyed: false,
            slanders: false,
            clock_off_ms: 0,
            refusals_clock: 0,
            acknowledged: 0,
            streams: BTreeMap::new(),
            companion: None,
            chance,
            sessions,
            bootstrap: Vec::new(),
            secret,
            disk_chance: Chance::new(scenario.seed, "disk", number),
            last_record: None,
            convictions: Vec::new(),
            since: None,
            armed: None,
            wakes_in_place: 0,
            linked: BTreeSet::new(),
            lost: BTreeMap::new(),
        }
    }

    /// It forgets what convicts others, as if that file were gone.
    pub(crate) fn lose_convictions(&mut self) {
        self.convictions.clear();
    }

    /// Whether it runs.
    pub fn is_up(&self) -> bool {
        self.relay.is_some()
    }

    /// Its machine, while it runs.
    pub fn relay(&self) -> Option<&Relay> {
        self.relay.as_ref()
    }

    /// Requests that it declined for a wrong clock.
    pub fn refusals_clock(&self) -> u64 {
        self.refusals_clock
    }

    /// Deposits that it acknowledged with receipts of at least W holders.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Its place in the swarm.
    pub fn id(&self) -> NodeId {
        self.id
    }
}

impl World {
    /// Starts a relay that is down; one that runs is left alone.
    pub(crate) fn start_relay(&mut self, number: u32) {
        let now = self.now_of(number);
        let tick = self.network.scale.tick_of(now.unix);
        let (network, seed, clock) = (Arc::clone(&self.network), self.scenario.seed, self.clock);
        let repair_bytes_per_s = self.scenario.repair_bytes_per_s;
        let pledge = OwnPledge {
            class: network.pledge.class_min,
            puzzle: 0,
        };
        let Some(host) = self.host_mut(number).filter(|host| !host.is_up()) else {
            return;
        };
        let config = RelayConfig {
            network,
            key: host.key,
            addresses: [Some(host.address), None],
            family: [0; 8],
            since: *host.since.get_or_insert(tick),
            last_record: host.last_record.clone(),
            convictions: host.convictions.clone(),
            repair_bytes_per_s,
            pledge,
        };
        let seed = seed_of(seed, &format!("machine of life {}", host.life), number);
        host.relay = Some(Relay::new(config, seed, now));
        host.up_since = clock;
        host.armed = None;
        let (life, sessions, bootstrap) = (host.life, host.sessions, host.bootstrap.clone());
        let until_death = sessions.map(|sessions| sessions.draw_up(&mut host.chance));
        self.turn_keys(number, life);
        self.start_companion(number, life);
        for peer in bootstrap {
            let delay = self.road_delay(number);
            self.after(
                delay,
                What::Dial {
                    relay: number,
                    peer,
                },
            );
        }
        if let Some(up) = until_death {
            self.after(
                up,
                What::Stop {
                    relay: number,
                    life,
                },
            );
        }
    }

    /// The relay dies: memory, links and unanswered disk operations are lost.
    pub(crate) fn stop_relay(&mut self, number: u32) {
        let Some(host) = self.host_mut(number).filter(|host| host.is_up()) else {
            return;
        };
        host.relay = None;
        host.companion = None;
        host.life = host.life.wrapping_add(1);
        host.streams.clear();
        host.disk.crash(&mut host.disk_chance);
        host.lost.clear();
        for peer in std::mem::take(&mut host.linked) {
            if let Some(other) = self.host_mut(peer) {
                other.linked.remove(&number);
            }
            self.after(
                SILENCE_US,
                What::Gone {
                    relay: peer,
                    peer: number,
                },
            );
        }
    }

    /// Gives the machine the onion keys of this generation and the next, and looks again at its end.
    pub(crate) fn turn_keys(&mut self, number: u32, life: u32) {
        let scale = self.network.scale;
        let now = self.now_of(number);
        let length = scale.minutes(limits::ONION_GENERATION_DAYS * EPOCH_MINUTES);
        let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX).max(1);
        let generation = u32::try_from(now.unix.0 / length_ms).unwrap_or(u32::MAX);
        let public = |generation: u32| {
            let purpose = format!("onion key {generation}");
            let seed = seed_of(self.scenario.seed, &purpose, number);
            self.crypto.onion_key(&seed).public
        };
        let (current, next) = (public(generation), public(generation.saturating_add(1)));
        if self
            .host(number)
            .is_none_or(|host| host.life != life || !host.is_up())
        {
            return;
        }
        let left_ms = length_ms.saturating_sub(now.unix.0 % length_ms);
        self.after(
            left_ms.saturating_mul(1_000),
            What::Turn {
                relay: number,
                life,
            },
        );
        self.tell(
            number,
            Input::Command(Command::OnionKeys {
                generation,
                current,
                next,
            }),
        );
    }

    /// One input for a machine, and whatever follows from it at this moment.
    pub(crate) fn tell(&mut self, number: u32, input: Input) {
        let now = self.now_of(number);
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = std::mem::take(&mut self.effects);
            if let Some(relay) = self.host_mut(number).and_then(|host| host.relay.as_mut()) {
                relay.step(now, input, &mut effects);
                self.totals.steps = self.totals.steps.saturating_add(1);
            }
            let list: Vec<Effect> = effects.drain().collect();
            self.effects = effects;
            for effect in list {
                self.carry_out(number, effect, &mut inputs);
            }
        }
        self.rearm_relay(number);
    }

    fn carry_out(&mut self, number: u32, effect: Effect, inputs: &mut VecDeque<Input>) {
        match effect {
            Effect::Send { to, message } => self.send(number, to, message),
            Effect::Answer { stream, message } => self.answer(number, stream, message),
            Effect::Sign { id, bytes } => {
                let crypto = Arc::clone(&self.crypto);
                if let Some(host) = self.host(number) {
                    let signature = crypto.sign(&host.secret, &bytes);
                    inputs.push_back(Input::Signed { id, signature });
                }
            }
            Effect::Store { op, request } => {
                let clock = self.clock;
                if let Some(host) = self.host_mut(number) {
                    let at = host.disk.ask(clock, op, request, &mut host.disk_chance);
                    let life = host.life;
                    self.at(
                        at,
                        What::Disk {
                            relay: number,
                            life,
                        },
                    );
                }
            }
            Effect::Plot { op, request } => {
                let pledge = self.network.pledge;
                if let Some(host) = self.host(number) {
                    let keeps = |sector| host.disk.keeps_sector(sector);
                    let done = request.make(&pledge, &host.key, keeps);
                    inputs.push_back(Input::Plotted { op, done });
                }
            }
            Effect::Report(event) => {
                if let (Event::RecordIssued(record), Some(host)) = (&event, self.host_mut(number)) {
                    host.last_record = Some(record.clone());
                }
                if let (Event::Proven(conviction), Some(host)) = (&event, self.host_mut(number)) {
                    host.convictions.push((**conviction).clone());
                }
                self.reported(number, &event);
            }
        }
    }

    /// A slanderer says other things than its machine.
    fn bend(&self, number: u32, message: &mut Message) {
        if let Some(host) = self.host(number).filter(|host| host.slanders) {
            let sign = |one: &Testimony| {
                let bytes = one.statement(&self.network_id);
                self.crypto.sign(&host.secret, &bytes)
            };
            slander(message, &host.key, sign);
        }
    }

    /// Another relay is told something, if it can be reached; a first message opens the link.
    fn send(&mut self, number: u32, to: NodeId, mut message: Message) {
        self.bend(number, &mut message);
        let hoards = self.host_mut(number).and_then(|host| host.disk.hoard());
        if hoards.is_some() && is_opening(&message) {
            return;
        }
        self.totals.sends = self.totals.sends.saturating_add(1);
        self.weigh(number, &message);
        let Some(to) = self.number_of(&to) else {
            return;
        };
        if !self.can_reach(Node::Relay(number), to) {
            self.after(
                REFUSED_US,
                What::Gone {
                    relay: number,
                    peer: to,
                },
            );
            return;
        }
        self.weigh_told(number, to, &message);
        let life = self.host(to).map_or(0, |host| host.life);
        let is_linked = self
            .host(number)
            .is_some_and(|host| host.linked.contains(&to));
        let opening = if is_linked {
            0
        } else {
            2 * self.road_delay(number)
        };
        if !is_linked {
            self.after(
                opening,
                What::Dial {
                    relay: number,
                    peer: to,
                },
            );
        }
        let links = &self.links;
        let carried = self
            .hosts
            .get_mut(index(number))
            .and_then(|host| links.carry(&mut host.chance));
        let Some(delay) = carried else {
            self.totals.lost = self.totals.lost.saturating_add(1);
            return;
        };
        let parcel = Parcel::Told {
            from: number,
            to,
            life,
            message: Box::new(message),
        };
        self.put(opening + delay, parcel);
    }

    /// A message of another relay arrives at the door.
    pub(crate) fn told(&mut self, from: u32, to: u32, life: u32, message: Message) {
        let (Some(sender), Some(host)) = (self.host(from), self.host(to)) else {
            return;
        };
        let joined = self.links.joins(Node::Relay(from), Node::Relay(to));
        if host.life != life || !host.is_up() || !joined {
            self.after(
                REFUSED_US,
                What::Gone {
                    relay: from,
                    peer: to,
                },
            );
            return;
        }
        let (origin, via) = (Origin::Relay(sender.id), Via::Relay(sender.key));
        let me = host.id;
        if is_opening(&message)
            && let Some(wait_us) = self.fetch_first(from, to)
        {
            let message = Box::new(message);
            let parcel = Parcel::Told {
                from,
                to,
                life,
                message,
            };
            self.put(wait_us, parcel);
            return;
        }
        let judge = Judge {
            crypto: &*self.crypto,
            network: self.network_id,
            me,
        };
        match judge.admit(message, via) {
            Ok(message) => self.tell(
                to,
                Input::Message {
                    from: origin,
                    message,
                },
            ),
            Err(refusal) => self.fault(Fault::TurnedAway { from, to, refusal }),
        }
    }

    /// A relay that hoards gets from another sibling what `opener` wants to see: its machine is told that a link
    /// had failed and works again, which makes it compare. Gives how long the opener has to wait, if at all.
    fn fetch_first(&mut self, opener: u32, number: u32) -> Option<u64> {
        let clock = self.clock;
        let host = self.host_mut(number)?;
        let (wait_us, asks) = host.disk.hoard()?.swept(clock);
        let others: Vec<u32> = host
            .linked
            .iter()
            .copied()
            .filter(|one| *one != opener)
            .collect();
        let sibling = host.chance.pick(&others).copied();
        if let Some(id) = sibling
            .filter(|_| asks)
            .and_then(|one| self.host(one))
            .map(Host::id)
        {
            for change in [PeerChange::Gone, PeerChange::Linked] {
                self.tell(number, Input::Peer { id, change });
            }
        }
        (wait_us > 0).then_some(wait_us)
    }

    /// The disk has finished what is due.
    pub(crate) fn disk_done(&mut self, number: u32, life: u32) {
        let clock = self.clock;
        while let Some(host) = self.host_mut(number).filter(|host| host.life == life) {
            let Some((op, request, done)) = host.disk.finish(clock) else {
                return;
            };
            match (&request, &done) {
                (StoreOp::Put { row, .. }, StoreDone::Kept { fresh: true, .. })
                    if self.has_row(number, row.envelope.id()) =>
                {
                    self.row_kept(number, row.envelope.id());
                }
                (StoreOp::Expire { hour }, StoreDone::Expired { .. }) => {
                    self.expired_at(number, *hour);
                }
                (_, _) => {}
            }
            self.tell(number, Input::Stored { op, done });
        }
    }

    /// A relay dials another: both machines learn that they can reach each other, or the dialler that it
    /// cannot, and dials again later.
    pub(crate) fn dial(&mut self, number: u32, peer: u32) {
        if number == peer || self.host(number).is_none_or(|host| !host.is_up()) {
            return;
        }
        if !self.can_reach(Node::Relay(number), peer) {
            self.peer_gone(number, peer);
            return;
        }
        for (one, other) in [(number, peer), (peer, number)] {
            let id = self.host(other).map(|host| host.id);
            let Some(host) = self.host_mut(one) else {
                return;
            };
            let fresh = host.linked.insert(other);
            let was_lost = host.lost.remove(&other).is_some();
            if let Some(id) = id.filter(|_| fresh || was_lost) {
                let change = PeerChange::Linked;
                self.tell(one, Input::Peer { id, change });
                self.tell_clocks(one);
            }
        }
    }

    /// What a relay's links say of its clock, as a driver measures it.
    pub(crate) fn tell_clocks(&mut self, number: u32) {
        let Some(host) = self.host(number).filter(|host| host.is_up()) else {
            return;
        };
        let own = host.clock_off_ms;
        let linked = host.linked.iter().filter_map(|&peer| self.host(peer));
        let mut ahead: Vec<i64> = linked.map(|peer| peer.clock_off_ms - own).collect();
        ahead.sort_unstable();
        let command = Command::Clocks {
            ahead_ms: ahead.get(ahead.len() / 2).copied().unwrap_or(0),
            compared: ahead.len(),
        };
        self.tell(number, Input::Command(command));
    }

    /// A relay notices that another cannot be reached.
    pub(crate) fn peer_gone(&mut self, number: u32, peer: u32) {
        let reachable = self.can_reach(Node::Relay(number), peer);
        let id = self.host(peer).map(|host| host.id);
        let Some(host) = self.host_mut(number).filter(|host| host.is_up()) else {
            return;
        };
        let is_linked = reachable && host.linked.contains(&peer);
        if is_linked {
            return;
        }
        host.linked.remove(&peer);
        if let Entry::Vacant(slot) = host.lost.entry(peer) {
            slot.insert(0);
            self.dial_later(number, peer);
        }
        if let Some(id) = id {
            let change = PeerChange::Gone;
            self.tell(number, Input::Peer { id, change });
        }
    }

    /// A relay that is believed gone is dialled again.
    pub(crate) fn redial(&mut self, number: u32, peer: u32) {
        let wanted = self
            .host(number)
            .is_some_and(|host| host.is_up() && host.lost.contains_key(&peer));
        if !wanted {
            return;
        }
        if self.can_reach(Node::Relay(number), peer) {
            self.dial(number, peer);
        } else {
            self.dial_later(number, peer);
        }
    }

    fn dial_later(&mut self, number: u32, peer: u32) {
        let Some(host) = self.host_mut(number) else {
            return;
        };
        let tries = host.lost.entry(peer).or_insert(0);
        let pause = (REDIAL_MIN_US << (*tries).min(8)).min(REDIAL_MAX_US);
        *tries = tries.saturating_add(1);
        let spread = host.chance.below(pause / 4);
        self.after(
            pause + spread,
            What::Redial {
                relay: number,
                peer,
            },
        );
    }

    /// The relay's one timer has come.
    pub(crate) fn wake_relay(&mut self, number: u32) {
        let clock = self.clock;
        let Some(host) = self
            .host_mut(number)
            .filter(|host| host.armed == Some(clock))
        else {
            return;
        };
        host.armed = None;
        let due = host.relay.as_ref().and_then(Relay::deadline);
        if due.is_some_and(|(at, _)| at.0 <= clock) {
            self.tell(number, Input::Wake);
            self.notice_spinning(number);
        } else {
            self.rearm_relay(number);
        }
    }

    /// A machine that is due again at once, many times over, does not do what it is woken for.
    fn notice_spinning(&mut self, number: u32) {
        let clock = self.clock;
        let Some(host) = self.host_mut(number) else {
            return;
        };
        let due = host.relay.as_ref().and_then(Relay::deadline);
        if due.is_some_and(|(at, _)| at.0 <= clock) {
            host.wakes_in_place = host.wakes_in_place.saturating_add(1);
            if host.wakes_in_place == WAKES_IN_PLACE_MAX {
                self.fault(Fault::Spinning { relay: number });
            }
        } else {
            host.wakes_in_place = 0;
        }
    }

    /// Arms the relay's timer, unless it is armed for that time or an earlier one.
    fn rearm_relay(&mut self, number: u32) {
        let clock = self.clock;
        let Some(host) = self.host_mut(number) else {
            return;
        };
        let Some((at, _)) = host.relay.as_ref().and_then(Relay::deadline) else {
            return;
        };
        let at = at.0.max(clock.saturating_add(1));
        if host.armed.is_none_or(|armed| at < armed || armed < clock) {
            host.armed = Some(at);
            self.at(at, What::WakeRelay(number));
        }
    }

    /// A delay of this relay's links, in microseconds.
    fn road_delay(&mut self, number: u32) -> u64 {
        let links = &self.links;
        self.hosts
            .get_mut(index(number))
            .map_or(1, |host| links.delay(&mut host.chance))
    }
}

/// Whether a message opens a sweep.
fn is_opening(message: &Message) -> bool {
    matches!(message, Message::Sweep(sweep) if matches!(sweep.step, Step::Open(_)))
}

/// A /16 for each number.
fn address_of(number: u32) -> Address {
    let second = u8::try_from(number % 250).unwrap_or(0);
    let first = u8::try_from(11 + (number / 250) % 100).unwrap_or(11);
    let third = u8::try_from((number / 25_000) % 250).unwrap_or(0);
    let ip = IpAddr::V4(Ipv4Addr::new(first, second, third, 1));
    Address::new(ip, PORT).unwrap_or_else(|| address_of(0))
}

/// Any port will do.
const PORT: u16 = 4_300;
/// How long a link is silent before its other end is given up: what QUIC's idle timer is set to.
const SILENCE_US: u64 = 10_000_000;
/// How long a dial takes that nobody answers.
const REFUSED_US: u64 = 1_000_000;
/// First pause before a lost peer is dialled again; doubles up to [`REDIAL_MAX_US`].
const REDIAL_MIN_US: u64 = 2_500_000;
/// Longest pause before a lost peer is dialled again.
const REDIAL_MAX_US: u64 = 300_000_000;
/// Wakes without progress that are a fault; a machine may need a few to work off a queue.
const WAKES_IN_PLACE_MAX: u32 = 1_000;
