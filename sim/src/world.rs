//! The world: the only place that advances time, and the order in which everything happens.
//!
//! One event at a time, in the order (time, sequence). Machines are told what happens by their drivers
//! ([`crate::host`], [`crate::people`]); whatever takes time becomes an event here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use swarm_proto::client::Source;
use swarm_proto::crypto::Crypto;
use swarm_proto::effects::{Command, Effects, Input};
use swarm_proto::id::{EnvelopeId, NetworkId, NodeId};
use swarm_proto::members::possession::Score;
use swarm_proto::network::Network;
use swarm_proto::relay::Readings;
use swarm_proto::standing::Judgement;
use swarm_proto::time::{Hour, Instant, Now, UnixTime};
use swarm_proto::wire::Message;

use crate::adversary::Lie;
use crate::check::{Checks, History, Totals};
use crate::costs::Costs;
use crate::host::Host;
use crate::links::{Links, Node};
use crate::people::{Letter, Person};
use crate::queue::{Queue, Slab, index, number};
use crate::road::Trip;
use crate::scenario::Scenario;

/// A relay's number, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelayNo(pub u32);

/// Relays and correspondents in virtual time.
pub struct World {
    pub(crate) scenario: Scenario,
    pub(crate) network: Arc<Network>,
    pub(crate) network_id: NetworkId,
    pub(crate) crypto: Arc<dyn Crypto>,
    /// Microseconds since the start.
    pub(crate) clock: u64,
    pub(crate) links: Links,
    pub(crate) hosts: Vec<Host>,
    pub(crate) people: Vec<Person>,
    pub(crate) letters: Vec<Letter>,
    pub(crate) letters_by_id: BTreeMap<EnvelopeId, u32>,
    pub(crate) checks: Checks,
    pub(crate) totals: Totals,
    pub(crate) costs: Option<Costs>,
    pub(crate) history: History,
    pub(crate) effects: Effects,
    pub(crate) next_stream: u64,
    /// What personas were shown, by the number of the holder.
    pub(crate) shown: BTreeMap<u32, Readings>,
    numbers: BTreeMap<NodeId, u32>,
    queue: Queue<What>,
    parcels: Slab<Parcel>,
}

/// What happens; small, since many wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    WakeRelay(u32),
    WakePerson(u32),
    WakePersona { relay: u32, life: u32 },
    Disk { relay: u32, life: u32 },
    Parcel(u32),
    Gone { relay: u32, peer: u32 },
    Dial { relay: u32, peer: u32 },
    Redial { relay: u32, peer: u32 },
    Turn { relay: u32, life: u32 },
    Stop { relay: u32, life: u32 },
    Start(u32),
    Write(u32),
    Poll(u32),
    HourChecked(u32),
}

/// What is on its way.
#[derive(Debug)]
pub(crate) enum Parcel {
    Told {
        from: u32,
        to: u32,
        life: u32,
        message: Box<Message>,
    },
    Trip(Box<Trip>),
}

impl World {
    /// A world at its first moment: all relays start, nobody knows anybody beyond the founders.
    pub fn new(scenario: Scenario) -> Self {
        let hosts: Vec<Host> = (0..scenario.relays)
            .map(|number| Host::new(&scenario, number))
            .collect();
        let founders: Vec<_> = hosts
            .iter()
            .take(index(scenario.founders))
            .map(|host| host.key)
            .collect();
        let network = scenario.network(&founders);
        let mut world = Self {
            network_id: network.id(),
            crypto: scenario.crypto(),
            clock: 0,
            links: Links::new(scenario.latency, scenario.loss_per_million),
            numbers: hosts.iter().map(|host| host.id).zip(0..).collect(),
            hosts,
            people: Vec::new(),
            letters: Vec::new(),
            letters_by_id: BTreeMap::new(),
            checks: Checks::default(),
            totals: Totals::default(),
            costs: None,
            history: History::new(),
            effects: Effects::default(),
            next_stream: 0,
            shown: BTreeMap::new(),
            queue: Queue::new(),
            parcels: Slab::new(),
            network,
            scenario,
        };
        for relay in 0..world.scenario.relays {
            world.choose_bootstrap(relay);
            world.start_relay(relay);
        }
        for person in 0..world.scenario.people {
            world.add_person(person);
        }
        world.check_hour();
        world
    }

    /// Lets this much time pass.
    pub fn run_for(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.run_until_us(self.clock.saturating_add(us));
    }

    /// Lets this many of the network's minutes pass.
    pub fn run_minutes(&mut self, minutes: u64) {
        self.run_for(self.network.scale.minutes(minutes));
    }

    /// Lets time pass until `done` or for at most `time`; true if it was done.
    pub fn run_while_not(&mut self, time: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let end = self.clock.saturating_add(us);
        while !done(self) {
            if self.clock >= end {
                return false;
            }
            self.run_until_us(self.clock.saturating_add(LOOK_US).min(end));
        }
        true
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        Duration::from_micros(self.clock)
    }

    /// The true time of day.
    pub fn unix(&self) -> UnixTime {
        UnixTime(START_UNIX_MS.saturating_add(self.clock / 1_000))
    }

    /// The network's parameters.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// A relay and its driver.
    pub fn relay(&self, relay: RelayNo) -> Option<&Host> {
        self.host(relay.0)
    }

    /// All relays' numbers.
    pub fn relays(&self) -> impl Iterator<Item = RelayNo> + use<> {
        (0..number(self.hosts.len())).map(RelayNo)
    }

    /// The number of a relay.
    pub fn relay_of(&self, id: &NodeId) -> Option<RelayNo> {
        self.number_of(id).map(RelayNo)
    }

    /// Adds a relay that knows one founder, and starts it.
    pub fn add_relay(&mut self) -> RelayNo {
        let relay = number(self.hosts.len());
        let host = Host::new(&self.scenario, relay);
        self.numbers.insert(host.id, relay);
        self.hosts.push(host);
        self.choose_bootstrap(relay);
        self.start_relay(relay);
        RelayNo(relay)
    }

    /// Kills a relay; its disk stays.
    pub fn kill(&mut self, relay: RelayNo) {
        self.stop_relay(relay.0);
    }

    /// Kills a relay for good; its disk is gone.
    pub fn destroy(&mut self, relay: RelayNo) {
        self.stop_relay(relay.0);
        if let Some(host) = self.host_mut(relay.0) {
            host.disk.destroy();
            host.disk_destroyed = true;
            host.lose_convictions();
        }
    }

    /// Starts a relay that is down.
    pub fn restart(&mut self, relay: RelayNo) {
        self.start_relay(relay.0);
    }

    /// Makes a relay's disk lie from here on; its machine stays honest.
    pub fn corrupt(&mut self, relay: RelayNo, lie: Lie) {
        if let Some(host) = self.host_mut(relay.0) {
            host.disk.corrupt(lie);
        }
    }

    /// Makes a relay's disk honest again; what it kept while it lied is all there.
    pub fn reform(&mut self, relay: RelayNo) {
        if let Some(host) = self.host_mut(relay.0) {
            host.disk.reform();
        }
    }

    /// Makes a relay say the worst of all others from here on.
    pub fn slander(&mut self, relay: RelayNo) {
        if let Some(host) = self.host_mut(relay.0) {
            host.slanders = true;
        }
    }

    /// How one relay stands with the network, by what another knows.
    pub fn judgement(&self, by: RelayNo, of: RelayNo) -> Option<Judgement> {
        let id = self.host(of.0)?.id();
        Some(self.host(by.0)?.relay()?.judgement(&id))
    }

    pub(crate) fn lies(&self, relay: u32) -> bool {
        self.host(relay).is_some_and(|host| host.disk.lies())
    }

    /// Has one relay ask another to show what it has pledged.
    pub fn challenge(&mut self, by: RelayNo, of: RelayNo) {
        if let Some(subject) = self.host(of.0).map(|host| host.id) {
            self.tell(by.0, Input::Command(Command::Challenge { subject }));
        }
    }

    /// How one relay was found by another to keep what it had.
    pub fn score(&self, by: RelayNo, of: RelayNo) -> Option<Score> {
        let id = self.host(of.0)?.id();
        self.host(by.0)?.relay()?.score(&id)
    }

    /// Sets a relay's clock off the true time, in milliseconds.
    pub fn set_clock_off(&mut self, relay: RelayNo, off_ms: i64) {
        if let Some(host) = self.host_mut(relay.0) {
            host.clock_off_ms = off_ms;
        }
        self.tell_clocks(relay.0);
    }

    /// Cuts nodes off from all others.
    pub fn cut_off(&mut self, nodes: impl IntoIterator<Item = Node>) {
        self.links.cut_off(nodes);
    }

    /// Cuts each of these off from everybody, and nobody else.
    pub fn isolate(&mut self, nodes: impl IntoIterator<Item = Node>) {
        self.links.isolate(nodes);
    }

    /// Ends the partition, and lets everybody be reached.
    pub fn heal(&mut self) {
        self.links.heal();
    }

    /// Changes how many messages of a million are lost.
    pub fn set_loss(&mut self, per_million: u32) {
        self.links.set_loss(per_million);
    }

    /// Events that wait.
    pub fn events_waiting(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn host(&self, relay: u32) -> Option<&Host> {
        self.hosts.get(index(relay))
    }

    pub(crate) fn host_mut(&mut self, relay: u32) -> Option<&mut Host> {
        self.hosts.get_mut(index(relay))
    }

    pub(crate) fn number_of(&self, id: &NodeId) -> Option<u32> {
        self.numbers.get(id).copied()
    }

    /// Whether something sent by `from` at this moment would find the relay there.
    pub(crate) fn can_reach(&self, from: Node, to: u32) -> bool {
        self.links.joins(from, Node::Relay(to)) && self.host(to).is_some_and(Host::is_up)
    }

    /// Both clocks of a relay.
    pub(crate) fn now_of(&self, relay: u32) -> Now {
        let off_ms = self.host(relay).map_or(0, |host| host.clock_off_ms);
        let unix = UnixTime(self.unix().0.saturating_add_signed(off_ms));
        let mono = Instant(self.clock);
        Now { mono, unix }
    }

    /// Both clocks of those whose clock is right.
    pub(crate) fn now(&self) -> Now {
        let mono = Instant(self.clock);
        let unix = self.unix();
        Now { mono, unix }
    }

    pub(crate) fn at(&mut self, at: u64, what: What) {
        self.queue.push(at.max(self.clock), what);
    }

    pub(crate) fn after(&mut self, us: u64, what: What) {
        self.queue.push(self.clock.saturating_add(us), what);
    }

    pub(crate) fn put(&mut self, after_us: u64, parcel: Parcel) {
        let parcel = self.parcels.put(parcel);
        self.after(after_us, What::Parcel(parcel));
    }

    /// The relays that correspondents ask for the member list.
    pub(crate) fn sources(&self) -> Vec<Source> {
        let founders = self.hosts.iter().take(index(self.scenario.founders));
        let source = |host: &Host| Source {
            key: host.key,
            address: host.address,
        };
        founders.take(SOURCES_MAX).map(source).collect()
    }

    fn run_until_us(&mut self, end: u64) {
        while let Some((at, what)) = self.queue.pop(end) {
            self.clock = at;
            self.totals.events = self.totals.events.saturating_add(1);
            self.happen(what);
        }
        self.clock = self.clock.max(end);
    }

    fn happen(&mut self, what: What) {
        let (kind, one, other) = what.name();
        self.history.note(self.clock, kind, one, other);
        match what {
            What::WakeRelay(relay) => self.wake_relay(relay),
            What::WakePerson(person) => self.wake_person(person),
            What::WakePersona { relay, life } => self.wake_companion(relay, life),
            What::Disk { relay, life } => self.disk_done(relay, life),
            What::Parcel(parcel) => match self.parcels.take(parcel) {
                Some(Parcel::Told {
                    from,
                    to,
                    life,
                    message,
                }) => self.told(from, to, life, *message),
                Some(Parcel::Trip(trip)) => self.arrived(*trip),
                None => {}
            },
            What::Gone { relay, peer } => self.peer_gone(relay, peer),
            What::Dial { relay, peer } => self.dial(relay, peer),
            What::Redial { relay, peer } => self.redial(relay, peer),
            What::Turn { relay, life } => self.turn_keys(relay, life),
            What::Stop { relay, life } => self.die_by_chance(relay, life),
            What::Start(relay) => self.start_relay(relay),
            What::Write(person) => self.write_by_habit(person),
            What::Poll(person) => self.poll_by_habit(person),
            What::HourChecked(hour) => self.hour_checked(Hour(hour)),
        }
    }

    /// A death that was drawn; put off while too many are down.
    fn die_by_chance(&mut self, relay: u32, life: u32) {
        let down = self.hosts.iter().filter(|host| !host.is_up()).count();
        let is_this_life = self
            .host(relay)
            .is_some_and(|host| host.is_up() && host.life == life);
        if !is_this_life {
            return;
        }
        if number(down) >= self.scenario.churn.down_max {
            self.after(PUT_OFF_US, What::Stop { relay, life });
            return;
        }
        self.stop_relay(relay);
        let pause = self.host_mut(relay).and_then(|host| {
            let sessions = host.sessions?;
            Some(sessions.draw_down(&mut host.chance))
        });
        self.after(pause.unwrap_or(PUT_OFF_US), What::Start(relay));
    }

    /// A few founders that a relay was told of.
    fn choose_bootstrap(&mut self, relay: u32) {
        let founders = self.scenario.founders.min(self.scenario.relays);
        let Some(host) = self.host_mut(relay) else {
            return;
        };
        let others: Vec<u32> = (0..founders).filter(|founder| *founder != relay).collect();
        let mut chosen = Vec::new();
        for _ in 0..BOOTSTRAP {
            if let Some(founder) = host.chance.pick(&others) {
                chosen.push(*founder);
            }
        }
        chosen.sort_unstable();
        chosen.dedup();
        host.bootstrap = chosen;
    }

    /// Checks at every full hour of the network's calendar, once relays had time to act on it.
    pub(crate) fn check_hour(&mut self) {
        let next = self.network.scale.hour_of(self.unix()).plus(1);
        let left_ms = self.network.scale.hour_start(next).distance(self.unix());
        let left = u64::try_from(left_ms.as_micros()).unwrap_or(u64::MAX);
        self.after(
            left.saturating_add(HOUR_SLACK_US),
            What::HourChecked(next.0),
        );
    }
}

impl What {
    /// Kind and numbers for the history.
    fn name(self) -> (u8, u32, u32) {
        match self {
            Self::WakeRelay(relay) => (0, relay, 0),
            Self::WakePerson(person) => (1, person, 0),
            Self::Disk { relay, life } => (2, relay, life),
            Self::Parcel(parcel) => (3, parcel, 0),
            Self::Gone { relay, peer } => (4, relay, peer),
            Self::Dial { relay, peer } => (5, relay, peer),
            Self::Redial { relay, peer } => (6, relay, peer),
            Self::Turn { relay, life } => (7, relay, life),
            Self::Stop { relay, life } => (8, relay, life),
            Self::Start(relay) => (9, relay, 0),
            Self::Write(person) => (10, person, 0),
            Self::Poll(person) => (11, person, 0),
            Self::HourChecked(hour) => (12, hour, 0),
            Self::WakePersona { relay, life } => (13, relay, life),
        }
    }
}

/// The true time at the start: no epoch begins there at the scale of a public network.
pub(crate) const START_UNIX_MS: u64 = 1_800_000_000_000;
/// Founders that a relay was told of.
const BOOTSTRAP: usize = 3;
/// Relays in an invitation or a network file that correspondents ask for the list.
const SOURCES_MAX: usize = 8;
/// How often [`World::run_while_not`] looks.
const LOOK_US: u64 = 100_000;
/// How long a death is put off while too many are down.
const PUT_OFF_US: u64 = 60_000_000;
/// Time for relays to drop what ended with an hour.
const HOUR_SLACK_US: u64 = 1_000_000;
