//! A relay's own correspondent: it writes letters to itself and reads them back later, to see which holders
//! serve what they signed for ([CAN-1] to [CAN-9], `docs/spec/canaries.md`).
//!
//! Sweeps show that a relay has the bytes, not that it gives them to readers. A persona is a reader like any
//! other: its letters are sealed, addressed, deposited and fetched by the functions that people's are, over
//! paths and from holders that the ordinary machine chooses. It aims at nobody; the personas of all relays
//! together come by everywhere.
//!
//! The same contract as the machine's it stands beside: `step(now, input, &mut effects)` and `deadline()`. The
//! driver gives its commands to a [`Client`](super::Client) of its own, and that one's events back. What follows
//! from a failed reading is decided elsewhere. Nothing of it is kept across a restart ([CAN-8]).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

use super::{Command, CommandId, Event};
use crate::address::{Account, Context, OwnerSide};
use crate::crypto::{Crypto, SecretKey};
use crate::effects::Reading;
use crate::envelope::{Envelope, EnvelopeHeader, ExpiryClass, SizeClass};
use crate::id::{EnvelopeId, NodeId};
use crate::limits;
use crate::mailbox::receipt::{Promise, Receipt};
use crate::mailbox::statements::Statements;
use crate::network::Network;
use crate::seal;
use crate::store::Cursor;
use crate::time::{EPOCH_MINUTES, Epoch, HOUR_MINUTES, Instant, Now, UnixTime};
use crate::wire::mailbox::Deposit;

/// One relay's persona.
pub struct Persona {
    network: Arc<Network>,
    me: NodeId,
    rng: ChaCha12Rng,
    account: Account,
    contacts: Vec<Contact>,
    letters: BTreeMap<EnvelopeId, Letter>,
    writing: Option<(CommandId, Mailbox)>,
    reading: BTreeMap<CommandId, Look>,
    visit: Option<Instant>,
    next_command: u64,
}

/// What the persona is told.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Its machine reported this.
    Told(&'a Event),
    /// The deadline has come.
    Wake,
}

/// What the persona asks for.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a few at a visit, carried out at once"
)]
pub enum Effect {
    /// Give this to its machine.
    Give {
        /// The command's name.
        id: CommandId,
        /// What.
        command: Command,
        /// Signs it for its holders, if it is a fetch.
        read: Option<SecretKey>,
    },
    /// Tell the relay how holders served their letters, each holder once.
    Report(Vec<Reading>),
}

/// One of the secrets that people give to their contacts: it makes a mailbox of its own for each epoch.
struct Contact {
    s: [u8; 32],
    p: [u8; 32],
}

/// A contact, by its number, and the epoch.
type Mailbox = (usize, Epoch);

/// A stored letter.
#[derive(Debug)]
struct Letter {
    mailbox: Mailbox,
    stored: UnixTime,
    ends: UnixTime,
    /// Who signed for it.
    holders: Vec<NodeId>,
    /// When its mailbox is to be read for its sake; `None` once that was done.
    due: Option<UnixTime>,
}

/// A reading under way.
#[derive(Clone, Copy, Debug)]
struct Look {
    mailbox: Mailbox,
    begun: UnixTime,
}

impl Persona {
    /// A persona of the relay `me`, who judges everybody but that one. `seed` makes its account and all its
    /// chance.
    pub fn new(network: Arc<Network>, me: NodeId, seed: [u8; 32]) -> Self {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let mut draw = || {
            let mut bytes = [0; 32];
            rng.fill_bytes(&mut bytes);
            bytes
        };
        let account = Account::from_seed(&draw());
        let contacts = (0..CONTACTS).map(|_| Contact {
            s: draw(),
            p: draw(),
        });
        Self {
            contacts: contacts.collect(),
            account,
            network,
            me,
            rng,
            letters: BTreeMap::new(),
            writing: None,
            reading: BTreeMap::new(),
            visit: None,
            next_command: 0,
        }
    }

    /// Takes one input and adds what is to be done to `out`. `crypto` signs its letters.
    pub fn step(&mut self, now: Now, input: Input<'_>, crypto: &dyn Crypto, out: &mut Vec<Effect>) {
        match input {
            Input::Told(event) => self.told(now, event, out),
            Input::Wake => {
                if self.visit.is_some_and(|at| at <= now.mono) {
                    self.visit = Some(now.mono.plus(self.pause()));
                    self.write(now, crypto, out);
                    self.read(now, out);
                }
            }
        }
    }

    /// When to send [`Input::Wake`]: at its next visit to the network; never before there is a member list, and
    /// never in a network that wants no readings.
    pub fn deadline(&self) -> Option<Instant> {
        self.visit
    }

    /// Letters that it will read again.
    pub fn letters(&self) -> usize {
        self.letters.len()
    }

    fn told(&mut self, now: Now, event: &Event, out: &mut Vec<Effect>) {
        match event {
            Event::Members(_) => {
                if self.visit.is_none() && self.network.verdicts.readings > 0 {
                    self.visit = Some(now.mono.plus(self.pause()));
                }
            }
            Event::Stored {
                id,
                promise,
                receipts,
            } => {
                let written = self.writing.take_if(|(command, _)| command == id);
                if let Some((_, mailbox)) = written {
                    self.keep(now, mailbox, promise, receipts);
                }
            }
            Event::Fetched {
                id,
                holders,
                declined,
                ..
            } => {
                if let Some(look) = self.reading.remove(id) {
                    let readings = self.judge(now, look, holders, declined);
                    if !readings.is_empty() {
                        out.push(Effect::Report(readings));
                    }
                }
            }
            Event::Failed { id, .. } => {
                self.writing.take_if(|(command, _)| command == id);
                self.reading.remove(id);
            }
            Event::NoMembers { .. }
            | Event::SourcesDiffer { .. }
            | Event::Roster { .. }
            | Event::Pinned(_)
            | Event::Waiting { .. }
            | Event::Card { .. }
            | Event::Done { .. } => {}
        }
    }

    /// Writes a letter, unless the last one is still on its way or too many wait to be read ([CAN-2]).
    fn write(&mut self, now: Now, crypto: &dyn Crypto, out: &mut Vec<Effect>) {
        if self.writing.is_some() || self.letters.len() >= limits::PERSONA_LETTERS_MAX {
            return;
        }
        let made = self.network.scale.tick_of(now.unix);
        let contact = usize::try_from(self.below(CONTACTS)).unwrap_or(0);
        let mailbox = (contact, made.epoch());
        let mut nonce = [0; 24];
        self.rng.fill_bytes(&mut nonce);
        let Some((p, side)) = self.side(mailbox) else {
            return;
        };
        let header = EnvelopeHeader {
            size: SizeClass::Small,
            expiry: EXPIRY,
            made,
            address: side.address(),
        };
        let plain = vec![
            0;
            header
                .size
                .body_bytes()
                .saturating_sub(seal::OVERHEAD_BYTES)
        ];
        let key = seal::pair_key(p, 0, &side.keys);
        let sealed = seal::seal(&key, &nonce, &header.encode(), &plain);
        let Some(envelope) = sealed.and_then(|body| Envelope::assemble(header, &body).ok()) else {
            return;
        };
        let statements = Statements::new(crypto, self.network.id());
        let deposit = Deposit {
            keys: side.keys,
            write_signature: statements.deposit(&side.write, &envelope.id()),
            long_stay: None,
            envelope,
        };
        let command = Command::Deposit(Arc::new(deposit));
        let id = self.name();
        self.writing = Some((id, mailbox));
        out.push(Effect::Give {
            id,
            command,
            read: None,
        });
    }

    /// Reads each mailbox of which a letter is due, as a whole ([CAN-3]); forgets those of which none will be.
    fn read(&mut self, now: Now, out: &mut Vec<Effect>) {
        let margin = self.network.scale.minutes(MARGIN_MINUTES);
        let looks = self.reading.values().map(|look| look.mailbox);
        let planned = self.letters.values().filter(|letter| letter.due.is_some());
        let live: BTreeSet<Mailbox> = planned.map(|letter| letter.mailbox).chain(looks).collect();
        self.letters.retain(|_, letter| {
            letter.ends > now.unix.plus(margin) && live.contains(&letter.mailbox)
        });
        let due = self.letters.values();
        let mut due: Vec<(UnixTime, Mailbox)> = due
            .filter_map(|letter| Some((letter.due.filter(|at| *at <= now.unix)?, letter.mailbox)))
            .collect();
        due.sort_unstable();
        for (_, mailbox) in due {
            let is_read = self.reading.values().any(|look| look.mailbox == mailbox);
            if is_read || self.reading.len() >= LOOKS_MAX {
                continue;
            }
            let Some((_, side)) = self.side(mailbox) else {
                continue;
            };
            let command = Command::Fetch {
                keys: side.keys,
                epoch: mailbox.1,
                after: Cursor::START,
            };
            let read = Some(side.read);
            let id = self.name();
            let begun = now.unix;
            self.reading.insert(id, Look { mailbox, begun });
            for letter in self.letters.values_mut() {
                if letter.mailbox == mailbox {
                    letter.due = letter.due.filter(|at| *at > now.unix);
                }
            }
            out.push(Effect::Give { id, command, read });
        }
    }

    /// Remembers a letter that is stored, and draws when its mailbox will be read for its sake ([CAN-3]).
    fn keep(&mut self, now: Now, mailbox: Mailbox, promise: &Promise, receipts: &[Receipt]) {
        let scale = self.network.scale;
        let age = scale.minutes(self.age_minutes());
        let letter = Letter {
            mailbox,
            stored: now.unix,
            ends: scale.hour_start(promise.expires),
            holders: receipts.iter().map(|one| one.holder.node_id()).collect(),
            due: Some(now.unix.plus(age)),
        };
        self.letters.insert(promise.id, letter);
    }

    /// What a reading says of those who had signed ([CAN-4]) and could be read ([CAN-5]), for letters that are old
    /// and not about to end ([CAN-6]).
    fn judge(
        &self,
        now: Now,
        look: Look,
        read: &[(NodeId, Vec<EnvelopeId>)],
        declined: &[NodeId],
    ) -> Vec<Reading> {
        let scale = self.network.scale;
        let soon = now.unix.plus(scale.minutes(MARGIN_MINUTES));
        let old = |letter: &Letter| letter.stored.plus(scale.minutes(HOUR_MINUTES)) <= look.begun;
        let letters = self.letters.iter().filter(|(_, letter)| {
            letter.mailbox == look.mailbox && old(letter) && letter.ends > soon
        });
        let mut readings: BTreeMap<NodeId, Reading> = BTreeMap::new();
        for (id, letter) in letters {
            let shown = read.iter().map(|(holder, ids)| (*holder, ids.contains(id)));
            let refused = declined.iter().map(|holder| (*holder, false));
            let refused = refused.filter(|(holder, _)| read.iter().all(|(one, _)| one != holder));
            for (holder, is_shown) in shown.chain(refused) {
                if holder == self.me || !letter.holders.contains(&holder) {
                    continue;
                }
                let reading = readings.entry(holder).or_insert(Reading {
                    holder,
                    asked: 0,
                    failed: 0,
                });
                reading.asked = reading.asked.saturating_add(1);
                reading.failed = reading.failed.saturating_add(u16::from(!is_shown));
            }
        }
        readings.into_values().collect()
    }

    /// The mailbox of a contact in an epoch, and the secret that seals; `None` with a chance of one in 2^252.
    fn side(&self, (contact, epoch): Mailbox) -> Option<(&[u8; 32], OwnerSide)> {
        let Contact { s, p } = self.contacts.get(contact)?;
        Some((p, self.account.mailbox(Context::Pair, s, epoch).ok()?))
    }

    fn name(&mut self) -> CommandId {
        let id = CommandId(self.next_command);
        self.next_command = self.next_command.wrapping_add(1);
        id
    }

    /// Until the next visit: irregular, and one in eight times much longer ([CAN-2]).
    fn pause(&mut self) -> Duration {
        let epoch = self.network.scale.minutes(EPOCH_MINUTES);
        let visits = u32::from(self.network.verdicts.readings)
            .saturating_mul(2)
            .div_ceil(READINGS_OF_TWO_LETTERS);
        let mean = epoch / visits.max(1) * 8 / 11;
        let mean_us = u64::try_from(mean.as_micros()).unwrap_or(u64::MAX);
        let pause_us = (mean_us / 4).saturating_add(self.below(mean_us.saturating_mul(3) / 2));
        let absent = self.below(8) == 0;
        let pause_us = pause_us.saturating_mul(if absent { 4 } else { 1 });
        Duration::from_micros(pause_us).max(PAUSE_MIN)
    }

    /// An age at which a letter is read: each doubling from one hour to 13 days is as likely ([CAN-3]).
    fn age_minutes(&mut self) -> u64 {
        let from = HOUR_MINUTES << self.below(AGE_DOUBLINGS);
        let to = (2 * from).min(AGE_MINUTES_MAX);
        from.saturating_add(self.below(to.saturating_sub(from)))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound.max(1)
    }
}

impl core::fmt::Debug for Persona {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Persona({} letters)", self.letters.len())
    }
}

/// Mailboxes in an epoch: twice as many as letters, so that mostly a small answer holds what lies in one of them, and
/// readings meet many holders.
const CONTACTS: u64 = 40;
/// What people's programs choose unless they are told otherwise.
const EXPIRY: ExpiryClass = ExpiryClass::Days14;
/// Readings that come of two letters. For the sake of each letter its mailbox is read once, at three of five holders
/// of which three have signed for it; and others that lie there are read as well.
const READINGS_OF_TWO_LETTERS: u32 = 5;
/// The age at which a letter is read at last: 13 days.
const AGE_MINUTES_MAX: u64 = 13 * EPOCH_MINUTES;
/// 1, 2, 4 ... 256 hours, and from there on to 13 days.
const AGE_DOUBLINGS: u64 = 9;
/// A letter is not judged by so close to its end: clocks differ by half of that.
const MARGIN_MINUTES: u64 = 60;
/// Mailboxes that are read at once; further ones wait for the next visit.
const LOOKS_MAX: usize = 16;
/// Shortest pause between two visits, however fast a network's calendar runs.
const PAUSE_MIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
