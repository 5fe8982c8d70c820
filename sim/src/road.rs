//! The road of a request: from a correspondent over guard, second layer and middle to a holder, and the
//! answer back.
//!
//! This is the seam for onions. A trip walks its path hop by hop; every hop must be up and reachable from
//! the one before, or that one says so. What it carries is in the clear here: no layer is peeled, no
//! replay is looked for. Everything else sees only `World::depart` and its outcome.

use std::sync::Arc;

use swarm_proto::client::{AskFailure, AskId, Input as Told, Request, Source, judge, judge_list};
use swarm_proto::effects::{Input, Origin, StreamId};
use swarm_proto::envelope::SizeClass;
use swarm_proto::wire::Message;
use swarm_proto::wire::refusal::Refusal;
use swarm_proto::wire::verify::{Judge, Via};

use crate::check::Fault;
use crate::links::Node;
use crate::queue::index;
use crate::world::{Parcel, World};

/// Who asks, and is told the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    Person(u32),
    /// The persona of a relay, in one of that one's lives.
    Persona {
        relay: u32,
        life: u32,
    },
}

impl Asker {
    /// Where it is in the network.
    fn node(self) -> Node {
        match self {
            Self::Person(person) => Node::Person(person),
            Self::Persona { relay, .. } => Node::Relay(relay),
        }
    }
}

/// A request on its way to a holder, or its answer on the way back.
#[derive(Debug)]
pub(crate) struct Trip {
    asker: Asker,
    ask: AskId,
    /// Relays in the order of the road; one of them for a direct question.
    path: Vec<u32>,
    /// Where it is, or was last.
    hop: usize,
    wanted: Thing,
    /// The hash of the key that the answer will be sealed with.
    reply_key_hash: [u8; 32],
    load: Load,
}

/// What is asked for.
#[derive(Debug)]
enum Thing {
    /// Something of a holder, through an onion.
    Mail(Request),
    /// The member list, directly.
    List,
    /// An eligible list, directly.
    Roster,
}

#[derive(Debug)]
enum Load {
    There(Message),
    Back(Result<Message, AskFailure>),
}

impl Trip {
    /// The size of the answer that was asked for.
    fn answer(&self) -> SizeClass {
        match &self.wanted {
            Thing::Mail(Request::Fetch { answer, .. }) => *answer,
            Thing::Mail(Request::CardAsk { .. }) | Thing::List | Thing::Roster => SizeClass::Large,
            Thing::Mail(Request::Deposit(_) | Request::Delete(_) | Request::CardPut(_)) => {
                SizeClass::Small
            }
        }
    }
}

impl World {
    /// Sends a request along a path. The outcome is told to the correspondent's machine.
    pub(crate) fn depart(
        &mut self,
        asker: Asker,
        ask: AskId,
        path: Vec<u32>,
        request: Request,
        reply_key_hash: [u8; 32],
        message: Message,
    ) {
        self.totals.asks = self.totals.asks.saturating_add(1);
        let trip = Trip {
            asker,
            ask,
            path,
            hop: 0,
            wanted: Thing::Mail(request),
            reply_key_hash,
            load: Load::There(message),
        };
        self.go(asker.node(), trip);
    }

    /// Asks a relay for the member list, or an eligible one, over a direct, anonymous link.
    pub(crate) fn ask_source(
        &mut self,
        person: u32,
        ask: AskId,
        source: Source,
        question: Message,
    ) {
        let is_roster = matches!(question, Message::RosterAsk(_));
        let path = self.number_of(&source.key.node_id()).into_iter().collect();
        let trip = Trip {
            asker: Asker::Person(person),
            ask,
            path,
            hop: 0,
            wanted: if is_roster {
                Thing::Roster
            } else {
                Thing::List
            },
            reply_key_hash: [0; 32],
            load: Load::There(question),
        };
        self.go(Node::Person(person), trip);
    }

    /// Onwards from `from` to the trip's present hop.
    fn go(&mut self, from: Node, trip: Trip) {
        let reached = trip
            .path
            .get(trip.hop)
            .is_some_and(|to| self.can_reach(from, *to));
        if reached {
            if let (Node::Relay(from), Some(to), Load::There(message)) =
                (from, trip.path.get(trip.hop).copied(), &trip.load)
            {
                let bytes = message.encode().len();
                let answer = trip.answer();
                let own = trip.hop == 0;
                self.weigh_onion(trip.asker, (from, to), own, bytes, answer);
            }
            self.travel(trip);
        } else {
            self.not_reached(trip);
        }
    }

    /// A trip arrives where it was sent.
    pub(crate) fn arrived(&mut self, mut trip: Trip) {
        if let Load::Back(_) = trip.load {
            self.came_back(trip);
            return;
        }
        let Some(here) = trip.path.get(trip.hop).copied() else {
            return;
        };
        if self.host(here).is_none_or(|host| !host.is_up()) {
            self.not_reached(trip);
        } else if trip.hop + 1 < trip.path.len() {
            trip.hop += 1;
            self.go(Node::Relay(here), trip);
        } else {
            self.deliver(here, trip);
        }
    }

    /// The last hop lets the message in and the machine is asked.
    fn deliver(&mut self, here: u32, mut trip: Trip) {
        let Some(host) = self.host(here) else { return };
        let judge = Judge {
            crypto: &*self.crypto,
            network: self.network_id,
            me: host.id,
        };
        let via = match trip.wanted {
            Thing::Mail(_) => Via::Onion {
                reply_key_hash: trip.reply_key_hash,
            },
            Thing::List | Thing::Roster => Via::Client,
        };
        let failed = Load::Back(Err(AskFailure::Senseless));
        let Load::There(message) = std::mem::replace(&mut trip.load, failed) else {
            return;
        };
        match judge.admit(message, via) {
            Ok(message) => {
                let stream = StreamId(self.next_stream);
                self.next_stream = self.next_stream.wrapping_add(1);
                let clock = self.clock;
                if let Some(host) = self.host_mut(here) {
                    host.streams.insert(stream, (clock, trip));
                }
                let from = Origin::Stream(stream);
                self.tell(here, Input::Message { from, message });
            }
            Err(refusal) => {
                trip.load = Load::Back(Ok(Message::Refusal(refusal)));
                self.travel(trip);
            }
        }
    }

    /// A machine answers a stream.
    pub(crate) fn answer(&mut self, number: u32, stream: StreamId, message: Message) {
        self.weigh(number, &message);
        let found = self
            .host_mut(number)
            .and_then(|host| host.streams.remove(&stream));
        let Some((_, mut trip)) = found else {
            self.fault(Fault::AnsweredTwice { relay: number });
            return;
        };
        trip.load = Load::Back(Ok(message));
        self.travel(trip);
    }

    /// The hop before could not reach the present one.
    fn not_reached(&mut self, mut trip: Trip) {
        let failure = match trip.hop.checked_sub(1) {
            Some(hop) => AskFailure::Hop {
                hop,
                refusal: Refusal::HopUnreachable,
            },
            None => AskFailure::Guard,
        };
        trip.load = Load::Back(Err(failure));
        trip.hop = trip.hop.saturating_sub(1);
        let delay = self.trip_delay(&trip) + UNREACHED_US;
        self.put(delay, Parcel::Trip(Box::new(trip)));
    }

    /// An answer is at the hop after the present one, or back at its correspondent.
    fn came_back(&mut self, mut trip: Trip) {
        let here = trip.path.get(trip.hop).copied();
        let before = trip.hop.checked_sub(1);
        match before {
            Some(hop) => {
                let joined = trip
                    .path
                    .get(hop)
                    .zip(here)
                    .is_some_and(|(to, here)| self.can_reach(Node::Relay(here), *to));
                // A stream that broke on its way back is silence to those before it.
                if joined {
                    trip.hop = hop;
                    self.travel(trip);
                }
            }
            None => self.came_home(trip),
        }
    }

    fn came_home(&mut self, trip: Trip) {
        let Load::Back(answer) = trip.load else {
            return;
        };
        let ask = trip.ask;
        let request = match trip.wanted {
            Thing::Mail(request) => request,
            Thing::List => {
                let part = match answer {
                    Ok(Message::ListPart(part)) => judge_list(part, &self.network, &*self.crypto),
                    Ok(_) | Err(_) => None,
                };
                self.tell_asker(trip.asker, Told::Listed { ask, part });
                return;
            }
            Thing::Roster => {
                let part = match answer {
                    Ok(Message::RosterPart(part)) => Some(part),
                    Ok(_) | Err(_) => None,
                };
                self.tell_asker(trip.asker, Told::Rostered { ask, part });
                return;
            }
        };
        let network = Arc::clone(&self.network);
        let answer = answer.and_then(|message| {
            let now = match trip.asker {
                Asker::Person(_) => self.unix(),
                Asker::Persona { relay, .. } => self.now_of(relay).unix,
            };
            judge(&request, message, &network, &*self.crypto, now)
        });
        if answer.is_err() {
            self.totals.asks_failed = self.totals.asks_failed.saturating_add(1);
        }
        self.tell_asker(trip.asker, Told::Answered { ask, answer });
    }

    fn tell_asker(&mut self, asker: Asker, input: Told) {
        match asker {
            Asker::Person(person) => self.tell_person(person, input),
            Asker::Persona { relay, life } => self.tell_companion(relay, life, input),
        }
    }

    /// One more stretch of the way.
    fn travel(&mut self, trip: Trip) {
        let delay = self.trip_delay(&trip);
        self.put(delay, Parcel::Trip(Box::new(trip)));
    }

    /// Delays of a trip are drawn by its correspondent. It goes over streams, so what is lost is sent again.
    fn trip_delay(&mut self, trip: &Trip) -> u64 {
        let links = &self.links;
        let chance = match trip.asker {
            Asker::Person(person) => {
                let person = self.people.get_mut(index(person));
                person.map(|person| match trip.wanted {
                    Thing::Roster => &mut person.roster_chance,
                    Thing::Mail(_) | Thing::List => &mut person.chance,
                })
            }
            Asker::Persona { relay, .. } => {
                let host = self.hosts.get_mut(index(relay));
                let companion = host.and_then(|host| host.companion.as_mut());
                companion.map(|companion| &mut companion.chance)
            }
        };
        let Some(chance) = chance else {
            return 1;
        };
        let mut delay = links.delay(chance);
        for _ in 0..RESENDS_MAX {
            match links.carry(chance) {
                Some(_) => break,
                None => delay += RESEND_US,
            }
        }
        delay
    }
}

/// How long it takes to find out that a hop is not there.
const UNREACHED_US: u64 = 1_000_000;
/// How long it takes to find out that something was lost on a stream, and to send it again.
const RESEND_US: u64 = 250_000;
/// Times that one message is lost before it gets through in any case.
const RESENDS_MAX: u32 = 8;
