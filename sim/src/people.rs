//! A correspondent's driver: accounts, mailboxes, letters of random bytes, signed requests, judged
//! answers. What people do is decided by tests or by [`crate::habits`].
//!
//! Letters are not sealed to anybody here: relays cannot tell.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use swarm_proto::address::{Account, Context, OwnerSide};
use swarm_proto::client::{Ask, Client, Command, CommandId, Effect, Event, Input, Pinned, Request};
use swarm_proto::crypto::SecretKey;
use swarm_proto::envelope::{Envelope, EnvelopeHeader, ExpiryClass, SizeClass};
use swarm_proto::id::EnvelopeId;
use swarm_proto::mailbox::receipt::{Promise, Receipt};
use swarm_proto::mailbox::statements::{AskTerms, FetchTerms, Statements};
use swarm_proto::store::{Cursor, MailboxKeys};
use swarm_proto::time::Epoch;
use swarm_proto::wire::Message;
use swarm_proto::wire::mailbox::{CardAsk, Deposit, Erase, Fetch};

use crate::chance::{Chance, seed_of};
use crate::check::Fault;
use crate::queue::{index, number};
use crate::road::Asker;
use crate::world::{What, World};

/// A correspondent's number, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PersonNo(pub u32);

/// A letter's number, from 0 in the order of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LetterNo(pub u32);

/// One correspondent.
pub struct Person {
    pub(crate) client: Client,
    pub(crate) chance: Chance,
    /// Delays of questions about eligible lists, which shall not change what letters a seed makes.
    pub(crate) roster_chance: Chance,
    pub(crate) polled: Epoch,
    account: Account,
    salt: [u8; 32],
    armed: Option<u64>,
    pinned: Pinned,
    wishes: BTreeMap<CommandId, Wish>,
    next_command: u64,
    sides: BTreeMap<Epoch, Arc<OwnerSide>>,
    cursors: BTreeMap<Epoch, Cursor>,
    received: BTreeSet<EnvelopeId>,
}

/// What a command was for.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Letter(u32),
    Read {
        epoch: Epoch,
        after: Cursor,
        since: u64,
    },
    Erase(u32),
}

/// A letter and what became of it.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The envelope.
    pub id: EnvelopeId,
    /// Who wrote it.
    pub from: PersonNo,
    /// For whom it is.
    pub to: PersonNo,
    /// What its holders undertake.
    pub promise: Promise,
    /// When it was written, in microseconds since the start.
    pub written_us: u64,
    /// When its writer knew it stored.
    pub stored_us: Option<u64>,
    /// When its recipient first read it.
    pub read_us: Option<u64>,
    /// When its recipient had it deleted.
    pub erased_us: Option<u64>,
    /// Whether its writer's machine gave up.
    pub failed: bool,
    /// The receipts with which it was stored.
    pub receipts: Vec<Receipt>,
    /// Relays on whose disks it was.
    pub kept_by: BTreeSet<u32>,
}

impl Person {
    /// The relays that it keeps using.
    pub fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    /// Its machine.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Commands under way.
    pub fn wishes(&self) -> usize {
        self.wishes.len()
    }

    /// The mailbox of an epoch; `None` with a chance of one in 2^252.
    fn side(&mut self, epoch: Epoch) -> Option<Arc<OwnerSide>> {
        if let Some(side) = self.sides.get(&epoch) {
            return Some(Arc::clone(side));
        }
        let side = self
            .account
            .mailbox(Context::Pair, &self.salt, epoch)
            .ok()?;
        let side = Arc::new(side);
        while self.sides.len() >= SIDES_MAX {
            self.sides.pop_first();
        }
        self.sides.insert(epoch, Arc::clone(&side));
        Some(side)
    }

    fn wish(&mut self, wish: Wish) -> CommandId {
        let id = CommandId(self.next_command);
        self.next_command = self.next_command.wrapping_add(1);
        self.wishes.insert(id, wish);
        id
    }
}

impl World {
    /// Writes a small letter of random bytes; its writer's machine deposits it until it is stored.
    pub fn write(&mut self, from: PersonNo, to: PersonNo, expiry: ExpiryClass) -> Option<LetterNo> {
        let scale = self.network.scale;
        let made = scale.tick_of(self.unix());
        let side = self.person_mut(to.0)?.side(made.epoch())?;
        let mut body = vec![0; SizeClass::Small.body_bytes()];
        self.person_mut(from.0)?.chance.fill(&mut body);
        let header = EnvelopeHeader {
            size: SizeClass::Small,
            expiry,
            made,
            address: side.address(),
        };
        let envelope = Envelope::assemble(header, &body).ok()?;
        let statements = Statements::new(&*self.crypto, self.network_id);
        let deposit = Deposit {
            keys: side.keys,
            write_signature: statements.deposit(&side.write, &envelope.id()),
            long_stay: expiry
                .needs_leave()
                .then(|| statements.long_stay(&side.read, &envelope.id())),
            envelope,
        };
        let letter = number(self.letters.len());
        let id = deposit.envelope.id();
        self.letters_by_id.insert(id, letter);
        let promise = Promise::of(&deposit.envelope, &self.network);
        self.letters.push(Letter {
            id,
            from,
            to,
            promise,
            written_us: self.clock,
            stored_us: None,
            read_us: None,
            erased_us: None,
            failed: false,
            receipts: Vec::new(),
            kept_by: BTreeSet::new(),
        });
        self.checks.will_expire(promise.expires, letter);
        let wish = Wish::Letter(letter);
        self.command(from.0, wish, Command::Deposit(Arc::new(deposit)));
        Some(LetterNo(letter))
    }

    /// Reads a correspondent's mailboxes of today and of this many epochs before.
    pub fn read(&mut self, person: PersonNo, epochs_back: u32) {
        let today = self.network.scale.epoch_of(self.unix());
        let since = self.clock;
        for epoch in (0..=epochs_back).rev().map(|back| today.minus(back)) {
            let Some(reader) = self.person_mut(person.0) else {
                return;
            };
            let Some(side) = reader.side(epoch) else {
                return;
            };
            let last = reader.cursors.get(&epoch).copied().unwrap_or(Cursor::START);
            // Letters of one tick are ordered by id, and clocks differ: what is young is read again.
            let after = Cursor {
                arrival: last.arrival.minus(TICKS_AGAIN),
                id: EnvelopeId([0; 32]),
            };
            let wish = Wish::Read {
                epoch,
                after,
                since,
            };
            let keys = side.keys;
            self.command(person.0, wish, Command::Fetch { keys, epoch, after });
        }
    }

    /// Has a letter deleted by its recipient.
    pub fn erase(&mut self, letter: LetterNo) {
        let Some((to, promise)) = self
            .letter(letter)
            .map(|letter| (letter.to, letter.promise))
        else {
            return;
        };
        let Some(side) = self
            .person_mut(to.0)
            .and_then(|person| person.side(promise.epoch))
        else {
            return;
        };
        let statements = Statements::new(&*self.crypto, self.network_id);
        let tombstone = statements.delete(&side.read, &side.keys, promise.id, promise.expires);
        let epoch = promise.epoch;
        let erase = Command::Delete(Erase { epoch, tombstone });
        self.command(to.0, Wish::Erase(letter.0), erase);
    }

    /// A correspondent.
    pub fn person(&self, person: PersonNo) -> Option<&Person> {
        self.people.get(index(person.0))
    }

    /// A letter.
    pub fn letter(&self, letter: LetterNo) -> Option<&Letter> {
        self.letters.get(index(letter.0))
    }

    /// All letters in the order of writing.
    pub fn letters(&self) -> &[Letter] {
        &self.letters
    }

    /// Whether everybody has a complete member list.
    pub fn everybody_is_ready(&self) -> bool {
        self.people.iter().all(|person| person.client.is_ready())
    }

    pub(crate) fn add_person(&mut self, person: u32) {
        let seed = self.scenario.seed;
        let (sources, now) = (self.sources(), self.now());
        let network = Arc::clone(&self.network);
        let machine = seed_of(seed, "correspondent", person);
        self.people.push(Person {
            client: Client::new(network, sources, Pinned::default(), machine, now),
            chance: Chance::new(seed, "person", person),
            roster_chance: Chance::new(seed, "rosters of person", person),
            polled: self.network.scale.epoch_of(self.unix()),
            account: Account::from_seed(&seed_of(seed, "account", person)),
            salt: seed_of(seed, "salt", person),
            armed: None,
            pinned: Pinned::default(),
            wishes: BTreeMap::new(),
            next_command: 0,
            sides: BTreeMap::new(),
            cursors: BTreeMap::new(),
            received: BTreeSet::new(),
        });
        // Nobody asks before the relays know each other.
        self.after(FIRST_LOOK_US, What::WakePerson(person));
        if let Some(person) = self.person_mut(person) {
            person.armed = Some(FIRST_LOOK_US.saturating_add(now.mono.0));
        }
        self.begin_habits(person);
    }

    pub(crate) fn person_mut(&mut self, person: u32) -> Option<&mut Person> {
        self.people.get_mut(index(person))
    }

    /// One input for a correspondent's machine, and what follows from it.
    pub(crate) fn tell_person(&mut self, person: u32, input: Input) {
        let now = self.now();
        let mut out = Vec::new();
        if let Some(asked) = self.person_mut(person) {
            asked.client.step(now, input, &mut out);
            self.totals.steps = self.totals.steps.saturating_add(1);
        }
        let mut effects = VecDeque::from(out);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Ask(ask) => self.ask(person, &ask),
                Effect::List {
                    ask,
                    source,
                    question,
                } => self.ask_source(person, ask, source, Message::ListAsk(question)),
                Effect::Roster {
                    ask,
                    source,
                    question,
                } => self.ask_source(person, ask, source, Message::RosterAsk(question)),
                Effect::Report(event) => self.person_reported(person, event),
            }
        }
        self.rearm_person(person);
    }

    /// The correspondent's one timer has come.
    pub(crate) fn wake_person(&mut self, person: u32) {
        let clock = self.clock;
        let Some(woken) = self
            .person_mut(person)
            .filter(|woken| woken.armed == Some(clock))
        else {
            return;
        };
        woken.armed = None;
        if woken.client.deadline().is_some_and(|at| at.0 <= clock) {
            self.tell_person(person, Input::Wake);
        } else {
            self.rearm_person(person);
        }
    }

    fn rearm_person(&mut self, person: u32) {
        let clock = self.clock;
        let Some(armed) = self.person_mut(person) else {
            return;
        };
        let Some(at) = armed.client.deadline() else {
            return;
        };
        let at = at.0.max(clock.saturating_add(WAKE_PAUSE_US));
        if armed.armed.is_none_or(|armed| at < armed || armed < clock) {
            armed.armed = Some(at);
            self.at(at, What::WakePerson(person));
        }
    }

    fn command(&mut self, person: u32, wish: Wish, command: Command) {
        if let Some(id) = self.person_mut(person).map(|person| person.wish(wish)) {
            self.tell_person(person, Input::Command { id, command });
        }
    }

    /// Signs a request for its holder and sends it on its way.
    fn ask(&mut self, person: u32, ask: &Ask) {
        let path: Option<Vec<u32>> = ask.path.hops.iter().map(|id| self.number_of(id)).collect();
        let reply_key_hash = seed_of(ask.id.0, "reply key", person);
        let message = self.request(person, ask, reply_key_hash);
        if let Some((path, message)) = path.zip(message) {
            self.depart(
                Asker::Person(person),
                ask.id,
                path,
                ask.request.clone(),
                reply_key_hash,
                message,
            );
        }
    }

    fn request(&mut self, person: u32, ask: &Ask, reply_key_hash: [u8; 32]) -> Option<Message> {
        let time = self.unix();
        let crypto = Arc::clone(&self.crypto);
        let statements = Statements::new(&*crypto, self.network_id);
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
                let reader = self.person_mut(person)?;
                let Some(Wish::Read { epoch, .. }) = reader.wishes.get(&ask.command).copied()
                else {
                    return None;
                };
                let side = reader.side(epoch)?;
                signed_fetch(&statements, &side.read, *answer, keys, *after, terms)
            }
            Request::CardAsk { keys } => {
                let epoch = self.network.scale.epoch_of(time);
                let side = self.person_mut(person)?.side(epoch)?;
                Message::CardAsk(CardAsk {
                    keys: *keys,
                    time,
                    signature: statements.card_ask(&side.write, keys, &terms),
                })
            }
        })
    }

    fn person_reported(&mut self, person: u32, event: Event) {
        match event {
            Event::Pinned(pinned) => {
                if let Some(person) = self.person_mut(person) {
                    person.pinned = pinned;
                }
            }
            Event::Stored {
                id,
                promise,
                receipts,
            } => {
                if let Some(Wish::Letter(letter)) = self.over(person, id) {
                    self.letter_stored(letter, promise, receipts);
                }
            }
            Event::Failed { id, .. } => match self.over(person, id) {
                Some(Wish::Letter(letter)) => {
                    self.totals.letters_failed = self.totals.letters_failed.saturating_add(1);
                    if let Some(letter) = self.letters.get_mut(index(letter)) {
                        letter.failed = true;
                    }
                }
                Some(Wish::Read { .. }) => {
                    self.totals.reads_failed = self.totals.reads_failed.saturating_add(1);
                }
                Some(Wish::Erase(_)) | None => {}
            },
            Event::Fetched {
                id, rows, complete, ..
            } => {
                if let Some(Wish::Read {
                    epoch,
                    after,
                    since,
                }) = self.over(person, id)
                {
                    self.took(person, epoch, &rows);
                    if complete {
                        self.totals.reads = self.totals.reads.saturating_add(1);
                        self.check_complete(person, epoch, after, since);
                    }
                }
            }
            Event::Done { id } => {
                if let Some(Wish::Erase(letter)) = self.over(person, id) {
                    let clock = self.clock;
                    if let Some(letter) = self.letters.get_mut(index(letter)) {
                        letter.erased_us = Some(clock);
                    }
                }
            }
            Event::Card { id, .. } => {
                self.over(person, id);
            }
            Event::Members(_)
            | Event::NoMembers { .. }
            | Event::SourcesDiffer { .. }
            | Event::Roster { .. }
            | Event::Waiting { .. } => {}
        }
    }

    fn over(&mut self, person: u32, id: CommandId) -> Option<Wish> {
        self.person_mut(person)?.wishes.remove(&id)
    }

    /// Rows of a mailbox reach their owner.
    fn took(&mut self, person: u32, epoch: Epoch, rows: &[(Cursor, Envelope)]) {
        let clock = self.clock;
        for (cursor, envelope) in rows {
            let Some(reader) = self.person_mut(person) else {
                return;
            };
            let last = reader.cursors.entry(epoch).or_insert(Cursor::START);
            *last = (*last).max(*cursor);
            let fresh = reader.received.insert(envelope.id());
            let Some(letter) = self.letters_by_id.get(&envelope.id()).copied() else {
                self.fault(Fault::Invented { person });
                continue;
            };
            self.history.note(clock, READ, person, letter);
            if let Some(letter) = self.letters.get_mut(index(letter)).filter(|_| fresh) {
                letter.read_us = Some(clock);
                self.totals.letters_read = self.totals.letters_read.saturating_add(1);
            }
        }
    }

    /// A reading that calls itself complete must have brought every letter that was stored before it began.
    fn check_complete(&mut self, person: u32, epoch: Epoch, after: Cursor, since: u64) {
        let Some(reader) = self.people.get(index(person)) else {
            return;
        };
        let scale = self.network.scale;
        let soon = self.unix().plus(scale.minutes(MARGIN_MINUTES));
        let missed: Vec<u32> = self
            .letters_of(person, epoch)
            .filter(|(_, letter)| letter.stored_us.is_some_and(|stored| stored < since))
            .filter(|(_, letter)| letter.erased_us.is_none() && letter.read_us.is_none())
            .filter(|(_, letter)| scale.hour_start(letter.promise.expires) > soon)
            .filter(|(_, letter)| !reader.received.contains(&letter.id))
            .map(|(number, _)| number)
            .collect();
        for letter in missed {
            let after = after.arrival;
            self.fault(Fault::Missed { letter, after });
        }
    }

    fn letters_of(&self, person: u32, epoch: Epoch) -> impl Iterator<Item = (u32, &Letter)> {
        (0..).zip(&self.letters).filter(move |(_, letter)| {
            letter.to == PersonNo(person) && letter.promise.epoch == epoch
        })
    }

    fn letter_stored(&mut self, letter: u32, promise: Promise, receipts: Vec<Receipt>) {
        self.history.note(self.clock, STORED, letter, 0);
        self.check_receipts(letter, &promise, &receipts);
        let clock = self.clock;
        if let Some(letter) = self.letters.get_mut(index(letter)) {
            letter.stored_us = Some(clock);
            letter.receipts = receipts;
            self.totals.letters_stored = self.totals.letters_stored.saturating_add(1);
        }
    }
}

/// A fetch as its holder reads it.
pub(crate) fn signed_fetch(
    statements: &Statements<'_>,
    read: &SecretKey,
    answer: SizeClass,
    keys: &MailboxKeys,
    after: Cursor,
    ask: AskTerms,
) -> Message {
    let terms = FetchTerms { ask, after, answer };
    Message::Fetch(Fetch {
        keys: *keys,
        after,
        time: ask.time,
        answer,
        signature: statements.fetch(read, keys, &terms),
    })
}

/// A letter was stored, in the history.
const STORED: u8 = 32;
/// A letter was read, in the history.
const READ: u8 = 33;
/// Mailboxes of a correspondent that are remembered: as long as mail lives, and today.
const SIDES_MAX: usize = 32;
/// Ticks that are read again: twice the grace of clocks, and the one under way.
const TICKS_AGAIN: u32 = 7;
/// How long after the start correspondents first look at the member list.
const FIRST_LOOK_US: u64 = 5_000_000;
/// Shortest pause between two wakes of one correspondent.
const WAKE_PAUSE_US: u64 = 1_000;
/// Letters this close to their end may be gone already.
const MARGIN_MINUTES: u64 = 30;
