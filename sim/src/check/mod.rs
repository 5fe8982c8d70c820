//! What must hold at every moment of every run.
//!
//! - No step emits more effects than allowed, no machine spins, no stream is answered twice or never.
//! - A receipt binds, and behind it lies a durable row at the moment of acknowledgement.
//! - Nothing acknowledged is lost while the failures stay within what the scenario models: a reading that
//!   calls itself complete brings everything that was stored before it began.
//! - Nothing is dropped before its hour; nothing is kept after it.
//!
//! Faults are collected, not thrown: a run goes on, so that one seed shows all of them.

mod durable;
mod history;

pub(crate) use history::History;

use std::collections::BTreeMap;

use swarm_proto::limits;
use swarm_proto::time::{Hour, Tick};
use swarm_proto::wire::Message;
use swarm_proto::wire::refusal::Refusal;

use crate::world::World;

/// Something that must not happen. Relays, people and letters are named by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One step wanted more effects than allowed.
    EffectsOverflowed {
        /// Whose.
        relay: u32,
    },
    /// A machine is due again at once after every wake.
    Spinning {
        /// Whose.
        relay: u32,
    },
    /// A stream was answered that nobody waits on.
    AnsweredTwice {
        /// By whom.
        relay: u32,
    },
    /// A stream was not answered within [`ANSWER_MAX_US`].
    NeverAnswered {
        /// By whom.
        relay: u32,
    },
    /// A relay's message was not let in at another's door.
    TurnedAway {
        /// The sender.
        from: u32,
        /// The door.
        to: u32,
        /// Why.
        refusal: Refusal,
    },
    /// A message does not come back from its own bytes, or is longer than a frame.
    Misformed {
        /// The sender.
        relay: u32,
        /// Its type.
        kind: u16,
    },
    /// A holder was named in an acknowledgement and has no durable row.
    NotDurable {
        /// Which letter.
        letter: u32,
        /// Which holder.
        relay: u32,
    },
    /// A letter was called stored with too few receipts, or with one that binds nobody.
    BadReceipts {
        /// Which letter.
        letter: u32,
    },
    /// A letter was called complete while a holder has no row.
    NotComplete {
        /// Which letter.
        letter: u32,
        /// Which holder.
        relay: u32,
    },
    /// No disk has a stored letter any more before its end.
    Lost {
        /// Which letter.
        letter: u32,
    },
    /// A complete reading did not bring a letter that was stored before it began.
    Missed {
        /// Which letter.
        letter: u32,
        /// After which tick was read.
        after: Tick,
    },
    /// A correspondent was given an envelope that nobody wrote.
    Invented {
        /// Who.
        person: u32,
    },
    /// A relay dropped an hour that has not come.
    ExpiredEarly {
        /// Which relay.
        relay: u32,
        /// Which hour.
        hour: Hour,
    },
    /// A relay keeps a letter after its end.
    ExpiredLate {
        /// Which letter.
        letter: u32,
        /// Which relay.
        relay: u32,
    },
}

/// Faults found, and what is looked at later.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    faults: Vec<(u64, Fault)>,
    ends: BTreeMap<Hour, Vec<u32>>,
}

/// What happened, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Events of the world.
    pub events: u64,
    /// Steps of machines.
    pub steps: u64,
    /// Messages between relays.
    pub sends: u64,
    /// Messages and stretches of requests that were lost.
    pub lost: u64,
    /// Requests of correspondents through onions.
    pub asks: u64,
    /// Requests that had no answer of their holder.
    pub asks_failed: u64,
    /// Deposits that relays acknowledged with receipts of at least W holders.
    pub acknowledged: u64,
    /// Letters that their writers know stored.
    pub letters_stored: u64,
    /// Letters that their writers' machines gave up.
    pub letters_failed: u64,
    /// Letters that reached their readers.
    pub letters_read: u64,
    /// Letters that personas wrote.
    pub personas_wrote: u64,
    /// Mailboxes read completely.
    pub reads: u64,
    /// Readings that failed.
    pub reads_failed: u64,
    /// Requests that relays' machines declined.
    pub refusals: u64,
    /// Requests declined for a wrong clock.
    pub refusals_clock: u64,
    /// Envelopes that stores dropped at their hour, over all relays.
    pub expired: u64,
}

impl Checks {
    /// Remembers when a letter ends.
    pub(crate) fn will_expire(&mut self, hour: Hour, letter: u32) {
        self.ends.entry(hour).or_default().push(letter);
    }
}

impl World {
    /// Faults found so far, with the moment of each in microseconds; at most [`FAULTS_MAX`].
    pub fn faults(&self) -> &[(u64, Fault)] {
        &self.checks.faults
    }

    /// What happened so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The history so far: everything that happened, by the order and not by the bytes of ids.
    pub fn digest(&self) -> [u8; 32] {
        self.history.digest()
    }

    /// Looks at everything that can be looked at between two events.
    pub fn check_all(&mut self) {
        self.check_not_lost();
        let clock = self.clock;
        let mut silent = Vec::new();
        for (relay, host) in (0..).zip(&self.hosts) {
            let late = |(since, _): &&(u64, _)| clock.saturating_sub(*since) > ANSWER_MAX_US;
            let number = host.streams.values().filter(late).count();
            silent.extend(std::iter::repeat_n(relay, number));
        }
        for relay in silent {
            self.fault(Fault::NeverAnswered { relay });
        }
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        if self.checks.faults.len() < FAULTS_MAX {
            self.checks.faults.push((self.clock, fault));
        }
    }

    /// Whether a message fits into a frame and comes back from its own bytes.
    pub(crate) fn weigh(&mut self, relay: u32, message: &Message) {
        if !self.scenario.weigh_messages {
            return;
        }
        let (kind, bytes) = (message.kind(), message.encode());
        let fits = bytes.len() <= limits::FRAME_BYTES_MAX;
        if !fits || Message::decode(kind, bytes.into()).as_ref() != Ok(message) {
            self.fault(Fault::Misformed { relay, kind });
        }
    }
}

/// Faults that are kept; a run with more is as broken as one with these.
pub const FAULTS_MAX: usize = 1_000;
/// How long a relay may take to answer: the wait for receipts, and what a slow disk adds.
pub const ANSWER_MAX_US: u64 = 10_000_000;
