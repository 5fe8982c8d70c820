//! A persona's driver in virtual time: the correspondent that a relay has of its own, with the machine of any
//! other, beside the relay's and gone with it.
//!
//! It begins an hour after its relay, takes that one's member list, and tells it what holders showed. What all
//! personas together were shown by one relay is counted here, for tests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use swarm_proto::client::persona::{Effect as Wish, Input as Told, Persona};
use swarm_proto::client::{
    Ask, Client, Command as Errand, CommandId, Effect, Event, Input as Heard, Pinned, Request,
};
use swarm_proto::crypto::SecretKey;
use swarm_proto::effects::{Command, Input, Reading};
use swarm_proto::mailbox::statements::{AskTerms, Statements};
use swarm_proto::relay::{Readings, Relay};
use swarm_proto::time::HOUR_MINUTES;
use swarm_proto::wire::Message;

use crate::chance::{Chance, seed_of};
use crate::people::signed_fetch;
use crate::road::Asker;
use crate::world::{RelayNo, What, World};

/// Two machines, the second of which gives the first its errands.
pub(crate) struct Companion {
    pub(crate) chance: Chance,
    client: Client,
    persona: Persona,
    /// Sign the fetches that are under way.
    reads: BTreeMap<CommandId, SecretKey>,
    begins: u64,
    armed: Option<u64>,
}

impl Companion {
    /// When something is due: its first look at its relay's list, or a wish of one of its machines.
    fn due(&self) -> u64 {
        if !self.client.is_ready() {
            return self.begins;
        }
        let due = [self.client.deadline(), self.persona.deadline()];
        due.into_iter()
            .flatten()
            .map(|at| at.0)
            .min()
            .unwrap_or(u64::MAX)
    }
}

impl World {
    /// What the personas of all relays together were shown by this one.
    pub fn shown_by(&self, relay: RelayNo) -> Readings {
        self.shown.get(&relay.0).copied().unwrap_or_default()
    }

    /// A relay has started: its persona starts with it.
    pub(crate) fn start_companion(&mut self, relay: u32, life: u32) {
        if !self.scenario.personas {
            return;
        }
        let (seed, now) = (self.scenario.seed, self.now_of(relay));
        let network = Arc::clone(&self.network);
        let of_life = |what: &str| seed_of(seed, &format!("{what} of life {life}"), relay);
        let settling = network.scale.minutes(HOUR_MINUTES).as_micros();
        let begins = self
            .clock
            .saturating_add(u64::try_from(settling).unwrap_or(u64::MAX));
        let Some(host) = self.host_mut(relay) else {
            return;
        };
        host.companion = Some(Box::new(Companion {
            chance: Chance::new(seed, &format!("links of persona {life}"), relay),
            persona: Persona::new(Arc::clone(&network), host.id, of_life("persona")),
            client: Client::new(
                network,
                Vec::new(),
                Pinned::default(),
                of_life("machine of persona"),
                now,
            ),
            reads: BTreeMap::new(),
            begins,
            armed: None,
        }));
        self.rearm_companion(relay);
    }

    /// Its timer has come.
    pub(crate) fn wake_companion(&mut self, relay: u32, life: u32) {
        let (clock, now) = (self.clock, self.now_of(relay));
        let Some(host) = self.host_mut(relay).filter(|host| host.life == life) else {
            return;
        };
        let members = host.relay.as_ref().map(Relay::members);
        let Some(woken) = host.companion.as_mut() else {
            return;
        };
        if woken.armed != Some(clock) {
            return;
        }
        woken.armed = None;
        let client_is_due = woken.client.deadline().is_some_and(|at| at.0 <= clock);
        let is_visit = woken.persona.deadline().is_none_or(|at| at.0 <= clock);
        if !woken.client.is_ready() {
            woken.begins = clock.saturating_add(LOOK_US);
        }
        if client_is_due {
            self.tell_companion(relay, life, Heard::Wake);
        }
        if let Some(members) = members.filter(|_| is_visit) {
            self.tell_companion(relay, life, Heard::Members(members));
            let crypto = Arc::clone(&self.crypto);
            let mut wishes = Vec::new();
            if let Some(woken) = self.companion(relay) {
                woken.persona.step(now, Told::Wake, &*crypto, &mut wishes);
            }
            self.carry_wishes(relay, life, wishes);
        }
        self.rearm_companion(relay);
    }

    /// One input for its client, and what follows from it; what was meant for an earlier life is lost.
    pub(crate) fn tell_companion(&mut self, relay: u32, life: u32, input: Heard) {
        let now = self.now_of(relay);
        if self.host(relay).is_none_or(|host| host.life != life) {
            return;
        }
        let Some(told) = self.companion(relay) else {
            return;
        };
        let mut out = Vec::new();
        told.client.step(now, input, &mut out);
        self.totals.steps = self.totals.steps.saturating_add(1);
        let mut effects = VecDeque::from(out);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Ask(ask) => self.companion_asks(relay, life, &ask),
                // It has no sources: its list is its relay's.
                Effect::List { .. } | Effect::Roster { .. } => {}
                Effect::Report(event) => self.companion_reported(relay, life, &event),
            }
        }
        self.rearm_companion(relay);
    }

    fn companion_reported(&mut self, relay: u32, life: u32, event: &Event) {
        let (now, crypto) = (self.now_of(relay), Arc::clone(&self.crypto));
        let mut wishes = Vec::new();
        if let Some(told) = self.companion(relay) {
            if let Event::Fetched { id, .. } | Event::Failed { id, .. } = event {
                told.reads.remove(id);
            }
            let event = Told::Told(event);
            told.persona.step(now, event, &*crypto, &mut wishes);
        }
        self.carry_wishes(relay, life, wishes);
    }

    fn carry_wishes(&mut self, relay: u32, life: u32, wishes: Vec<Wish>) {
        for wish in wishes {
            match wish {
                Wish::Give { id, command, read } => {
                    if let (Some(told), Some(read)) = (self.companion(relay), read) {
                        told.reads.insert(id, read);
                    }
                    let letter = matches!(command, Errand::Deposit(_));
                    self.totals.personas_wrote += u64::from(letter);
                    self.tell_companion(relay, life, Heard::Command { id, command });
                }
                Wish::Report(readings) => {
                    self.note_shown(&readings);
                    self.tell(relay, Input::Command(Command::Readings(readings)));
                }
            }
        }
    }

    fn note_shown(&mut self, readings: &[Reading]) {
        for reading in readings {
            let Some(holder) = self.number_of(&reading.holder) else {
                continue;
            };
            let shown = self.shown.entry(holder).or_default();
            shown.asked = shown.asked.saturating_add(reading.asked.into());
            shown.failed = shown.failed.saturating_add(reading.failed.into());
        }
    }

    /// Signs a request for its holder and sends it on its way.
    fn companion_asks(&mut self, relay: u32, life: u32, ask: &Ask) {
        let path: Option<Vec<u32>> = ask.path.hops.iter().map(|id| self.number_of(id)).collect();
        let reply_key_hash = seed_of(ask.id.0, "reply key of a persona", relay);
        let time = self.now_of(relay).unix;
        let crypto = Arc::clone(&self.crypto);
        let statements = Statements::new(&*crypto, self.network_id);
        let terms = AskTerms {
            holder: ask.path.holder(),
            reply_key_hash,
            time,
        };
        let message = match &ask.request {
            Request::Deposit(deposit) => Some(Message::Deposit((**deposit).clone())),
            Request::Fetch {
                keys,
                after,
                answer,
            } => {
                let read = self
                    .companion(relay)
                    .and_then(|asks| asks.reads.get(&ask.command));
                read.map(|read| signed_fetch(&statements, read, *answer, keys, *after, terms))
            }
            Request::Delete(_) | Request::CardPut(_) | Request::CardAsk { .. } => None,
        };
        if let Some((path, message)) = path.zip(message) {
            let asker = Asker::Persona { relay, life };
            let request = ask.request.clone();
            self.depart(asker, ask.id, path, request, reply_key_hash, message);
        }
    }

    fn companion(&mut self, relay: u32) -> Option<&mut Companion> {
        self.host_mut(relay)?.companion.as_deref_mut()
    }

    fn rearm_companion(&mut self, relay: u32) {
        let clock = self.clock;
        let Some(host) = self.host_mut(relay) else {
            return;
        };
        let life = host.life;
        let Some(armed) = host.companion.as_mut() else {
            return;
        };
        let at = armed.due().max(clock.saturating_add(WAKE_PAUSE_US));
        let is_sooner = armed.armed.is_none_or(|armed| at < armed || armed < clock);
        if at < u64::MAX && is_sooner {
            armed.armed = Some(at);
            self.at(at, What::WakePersona { relay, life });
        }
    }
}

/// How long after a look that found no list another one is made.
const LOOK_US: u64 = 5_000_000;
/// Shortest pause between two wakes.
const WAKE_PAUSE_US: u64 = 1_000;
