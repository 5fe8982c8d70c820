//! A command until it is done: which holder is asked next, what its answer means, when to try again.
//!
//! A retry is another onion to another holder through a fresh middle, after a growing pause ([PTH-4]).
//! Deposits are idempotent, so asking twice harms nobody. A refusal counts only when two holders say it
//! ([PLC-5]).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::Rng;

use super::path::pick;
use super::{AskFailure, Command, CommandId, Event, Request, Trouble};
use crate::envelope::{Envelope, SizeClass, grace};
use crate::id::{EnvelopeId, NodeId};
use crate::limits;
use crate::mailbox::receipt::{Promise, Receipt};
use crate::network::Network;
use crate::place::{Cell, cell_of};
use crate::store::{Card, Cursor, MailboxKeys, Page};
use crate::time::{Epoch, Instant, Now, Tick};
use crate::wire::Message;
use crate::wire::mailbox::{CardPut, Deposit, Deposited, Erase};
use crate::wire::refusal::Refusal;

/// One command under way.
#[derive(Debug)]
pub(super) struct Errand {
    id: CommandId,
    task: Task,
    epoch: Epoch,
    cell: Cell,
    /// Who is asked, and when its silence will be long; `None` once it is.
    asking: BTreeMap<NodeId, Option<Instant>>,
    tried: BTreeSet<NodeId>,
    refused: BTreeMap<u16, (Refusal, BTreeSet<NodeId>)>,
    rounds: u32,
    /// In this round a holder had no path without relays that failed a moment ago ...
    blocked: bool,
    /// ... and this is the round after such a one, in which they are tried again ([PTH-10]).
    insists: bool,
    trouble: Trouble,
    not_before: Instant,
    untold: bool,
}

#[derive(Debug)]
enum Task {
    Deposit {
        deposit: Arc<Deposit>,
        promise: Promise,
        receipts: BTreeMap<NodeId, Receipt>,
    },
    Fetch {
        keys: MailboxKeys,
        readers: BTreeMap<NodeId, Reading>,
        declined: BTreeSet<NodeId>,
        after: Cursor,
        rows: Rows,
    },
    CardAsk {
        keys: MailboxKeys,
        answers: BTreeMap<NodeId, Option<Card>>,
    },
    CardPut {
        put: Arc<CardPut>,
        done: bool,
    },
    Delete {
        erase: Erase,
        done: bool,
    },
}

type Rows = BTreeMap<EnvelopeId, (Tick, Envelope)>;

/// How far one holder was read.
#[derive(Clone, Debug)]
struct Reading {
    after: Cursor,
    /// There is more than the first, small, answer held.
    long: bool,
    ended: bool,
    listed: Vec<EnvelopeId>,
    bytes: u64,
}

/// What an errand wants next.
pub(super) enum Next {
    /// A question for a holder.
    Ask {
        holder: NodeId,
        size: SizeClass,
        answer: SizeClass,
        request: Request,
    },
    /// The program should know.
    Tell(Event),
    /// It is over.
    Over(Event),
    /// Nothing until an answer or its time comes.
    Wait,
}

impl Errand {
    /// Begins a command; `None` for a cancellation.
    pub(super) fn new(id: CommandId, command: Command, network: &Network) -> Option<Self> {
        let cell = |keys: &MailboxKeys| cell_of(&keys.address(), network.cell_bits);
        let (epoch, cell, task) = match command {
            Command::Deposit(deposit) => {
                let promise = Promise::of(&deposit.envelope, network);
                let receipts = BTreeMap::new();
                (
                    promise.epoch,
                    promise.cell,
                    Task::Deposit {
                        deposit,
                        promise,
                        receipts,
                    },
                )
            }
            Command::Fetch { keys, epoch, after } => {
                let readers = BTreeMap::new();
                (
                    epoch,
                    cell(&keys),
                    Task::Fetch {
                        keys,
                        readers,
                        declined: BTreeSet::new(),
                        after,
                        rows: Rows::new(),
                    },
                )
            }
            Command::CardAsk { keys, epoch } => (
                epoch,
                cell(&keys),
                Task::CardAsk {
                    keys,
                    answers: BTreeMap::new(),
                },
            ),
            Command::CardPut(put) => (
                put.epoch,
                cell(&put.keys),
                Task::CardPut { put, done: false },
            ),
            Command::Delete(erase) => (
                erase.epoch,
                cell(&erase.tombstone.keys),
                Task::Delete { erase, done: false },
            ),
            Command::Cancel => return None,
        };
        Some(Self {
            id,
            task,
            epoch,
            cell,
            asking: BTreeMap::new(),
            tried: BTreeSet::new(),
            refused: BTreeMap::new(),
            rounds: 0,
            blocked: false,
            insists: false,
            trouble: Trouble::Unreachable,
            not_before: Instant::default(),
            untold: false,
        })
    }

    /// The epoch whose holders are asked.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The cell whose holders are asked.
    pub(super) fn cell(&self) -> Cell {
        self.cell
    }

    /// When the next try is due, or a silence has become long; `None` if it waits for answers alone.
    pub(super) fn wakes(&self) -> Option<Instant> {
        let pause = Some(self.not_before).filter(|at| *at > Instant::default());
        let silence = self.asking.values().flatten().copied();
        silence.chain(pause).min()
    }

    /// What to do next; called until it says [`Next::Wait`] or [`Next::Over`].
    pub(super) fn next(
        &mut self,
        now: Now,
        network: &Network,
        holders: &[NodeId],
        rng: &mut ChaCha12Rng,
    ) -> Next {
        if let Some(event) = self.over(now, network, holders) {
            return Next::Over(event);
        }
        for silence in self.asking.values_mut() {
            *silence = silence.filter(|at| now.mono < *at);
        }
        if self.untold && self.asking.is_empty() {
            self.untold = false;
            return Next::Tell(self.waiting(now, network, holders));
        }
        if now.mono < self.not_before {
            return Next::Wait;
        }
        self.not_before = Instant::default();
        if let Some(holder) = self.next_holder(network, holders, rng) {
            let long = now.mono.plus(self.late_after());
            self.asking.insert(holder, Some(long));
            let (size, answer, request) = self.request(holder);
            return Next::Ask {
                holder,
                size,
                answer,
                request,
            };
        }
        if self.asking.is_empty() {
            self.try_later(now, rng);
            if let Some(event) = self.over(now, network, holders) {
                return Next::Over(event);
            }
            self.untold = false;
            return Next::Tell(self.waiting(now, network, holders));
        }
        Next::Wait
    }

    /// A holder answered, or did not.
    pub(super) fn answered(
        &mut self,
        now: Now,
        holder: NodeId,
        answer: Result<Message, AskFailure>,
        holders: &[NodeId],
        rng: &mut ChaCha12Rng,
    ) {
        self.asking.remove(&holder);
        match answer {
            Ok(Message::Refusal(refusal)) | Err(AskFailure::Hop { hop: 3, refusal }) => {
                self.refused(holder, refusal);
            }
            Ok(Message::Elsewhere(_)) => self.refused(holder, Refusal::WrongHolder),
            Ok(message) => self.take(now, holder, message, holders, rng),
            // The holder has nothing to do with it: it is asked again at once, by the other guard. When no
            // guard is left there is no path, and that leads to a pause, also where guards are tried again.
            Err(AskFailure::Guard) => {
                self.trouble = Trouble::NoGuard;
                if self.insists {
                    self.tried.insert(holder);
                    self.blocked = true;
                }
            }
            Err(AskFailure::Timeout | AskFailure::Hop { .. } | AskFailure::Senseless) => {
                self.tried.insert(holder);
                self.trouble = Trouble::Unreachable;
            }
        }
    }

    /// The question cannot be asked yet: too many are under way.
    pub(super) fn put_off(&mut self, holder: NodeId) {
        self.asking.remove(&holder);
    }

    /// Whether relays that failed a moment ago are good enough, since there was no way without them.
    pub(super) fn insists(&self) -> bool {
        self.insists
    }

    /// There is no path to this holder, and why.
    pub(super) fn no_path(&mut self, holder: NodeId, why: Trouble) {
        self.asking.remove(&holder);
        self.tried.insert(holder);
        self.blocked |= why != Trouble::NoPath;
        self.trouble = why;
    }

    fn take(
        &mut self,
        now: Now,
        holder: NodeId,
        message: Message,
        holders: &[NodeId],
        rng: &mut ChaCha12Rng,
    ) {
        match (&mut self.task, message) {
            (
                Task::Deposit { receipts, .. },
                Message::Deposited(Deposited { receipts: more, .. }),
            ) => {
                // Only of relays near this cell: anybody can make keys that sign ([PLC-5]).
                let more = more.into_iter().map(|one| (one.holder.node_id(), one));
                receipts.extend(more.filter(|(signer, _)| holders.contains(signer)));
                self.tried.insert(holder);
                self.trouble = Trouble::TooFewCopies;
                self.pause(now, rng);
            }
            (
                Task::Fetch {
                    readers,
                    rows,
                    after,
                    ..
                },
                Message::Page(page),
            ) => {
                let reading = readers.entry(holder).or_insert(Reading {
                    after: *after,
                    long: false,
                    ended: false,
                    listed: Vec::new(),
                    bytes: 0,
                });
                if !take_page(reading, rows, page) {
                    self.tried.insert(holder);
                    self.trouble = Trouble::Unreachable;
                }
            }
            (Task::CardAsk { answers, .. }, Message::Card(card)) => {
                answers.insert(holder, Some(card));
            }
            (Task::CardPut { done, .. } | Task::Delete { done, .. }, Message::Done { .. }) => {
                *done = true;
            }
            (_, _) => {
                self.tried.insert(holder);
                self.trouble = Trouble::Unreachable;
            }
        }
    }

    fn refused(&mut self, holder: NodeId, refusal: Refusal) {
        if let (Task::CardAsk { answers, .. }, Refusal::NotFound) = (&mut self.task, refusal) {
            answers.insert(holder, None);
            return;
        }
        if let Task::Fetch { declined, .. } = &mut self.task
            && !may_refuse_a_reader(refusal)
        {
            declined.insert(holder);
        }
        self.tried.insert(holder);
        self.trouble = Trouble::Refused(refusal);
        let holders = &mut self
            .refused
            .entry(refusal.code())
            .or_insert((refusal, BTreeSet::new()))
            .1;
        holders.insert(holder);
    }

    /// Whether the errand has come to its end ([PTH-5], [PTH-7]).
    fn over(&self, now: Now, network: &Network, holders: &[NodeId]) -> Option<Event> {
        let id = self.id;
        let w = usize::from(network.receipts);
        match &self.task {
            Task::Deposit {
                promise, receipts, ..
            } => {
                if signed(receipts, network, holders) >= w {
                    return Some(Event::Stored {
                        id,
                        promise: *promise,
                        receipts: ranked(receipts, holders),
                    });
                }
                let epoch_ends = network.scale.epoch_start(promise.epoch.plus(1));
                if epoch_ends.plus(grace(network.scale)) < now.unix {
                    return Some(Event::Failed {
                        id,
                        why: Trouble::TooLate,
                    });
                }
                self.refused_for_good().map(|why| Event::Failed { id, why })
            }
            Task::Fetch { .. } => self.read(network, holders),
            Task::CardAsk { answers, .. } => self.carded(network, holders, answers),
            Task::CardPut { done, .. } | Task::Delete { done, .. } => {
                if *done {
                    return Some(Event::Done { id });
                }
                if self.rounds >= ROUNDS_MAX {
                    return Some(Event::Failed {
                        id,
                        why: self.trouble,
                    });
                }
                self.refused_for_good().map(|why| Event::Failed { id, why })
            }
        }
    }

    /// Whether enough holders were read, or no more can be.
    fn read(&self, network: &Network, holders: &[NodeId]) -> Option<Event> {
        let Task::Fetch {
            readers,
            declined,
            rows,
            ..
        } = &self.task
        else {
            return None;
        };
        let complete = all_read(readers, network, holders);
        if !complete && self.rounds < ROUNDS_MAX {
            return None;
        }
        let ended = readers.iter().filter(|(_, reading)| reading.ended);
        let ended: Vec<(NodeId, Vec<EnvelopeId>)> = ended
            .map(|(id, reading)| (*id, reading.listed.clone()))
            .collect();
        if ended.is_empty() {
            return Some(Event::Failed {
                id: self.id,
                why: self.trouble,
            });
        }
        Some(Event::Fetched {
            id: self.id,
            rows: in_order(rows),
            holders: ended,
            declined: declined.iter().copied().collect(),
            complete,
        })
    }

    /// Whether enough holders were asked for the card, or no more can be.
    fn carded(
        &self,
        network: &Network,
        holders: &[NodeId],
        answers: &BTreeMap<NodeId, Option<Card>>,
    ) -> Option<Event> {
        let enough = answers.len() >= readers_wanted(network).min(holders.len());
        if !enough && self.rounds < ROUNDS_MAX {
            return None;
        }
        if answers.is_empty() {
            return Some(Event::Failed {
                id: self.id,
                why: self.trouble,
            });
        }
        let card = answers
            .values()
            .flatten()
            .max_by(|a, b| supersedes(a, b))
            .cloned();
        Some(Event::Card { id: self.id, card })
    }

    fn refused_for_good(&self) -> Option<Trouble> {
        let twice = |(refusal, holders): &&(Refusal, BTreeSet<NodeId>)| {
            holders.len() >= 2 && is_lasting(*refusal)
        };
        self.refused
            .values()
            .find(twice)
            .map(|(refusal, _)| Trouble::Refused(*refusal))
    }

    fn next_holder(
        &mut self,
        network: &Network,
        holders: &[NodeId],
        rng: &mut ChaCha12Rng,
    ) -> Option<NodeId> {
        let r = usize::from(network.holders);
        let wanted = match &self.task {
            Task::Deposit { .. } | Task::CardPut { .. } | Task::Delete { .. } => 1,
            Task::Fetch { .. } | Task::CardAsk { .. } => readers_wanted(network),
        };
        if let Task::Fetch { readers, .. } = &self.task {
            let unended = |(holder, reading): &(&NodeId, &Reading)| {
                !reading.ended
                    && !self.asking.contains_key(*holder)
                    && !self.tried.contains(*holder)
            };
            if let Some((holder, _)) = readers.iter().find(unended) {
                return Some(*holder);
            }
        }
        let finished = self.finished();
        // A spare that was read stands in for a holder, but does not make a reading complete.
        let done = match &self.task {
            Task::Fetch { .. } => holders
                .iter()
                .take(r)
                .filter(|id| finished.contains(*id))
                .count(),
            Task::CardAsk { .. }
            | Task::Deposit { .. }
            | Task::CardPut { .. }
            | Task::Delete { .. } => finished.len(),
        };
        // Beside a silent holder another one is asked: it may be dead, and only the relay before it, or the
        // one before that, will ever know ([PTH-9]).
        let silent = self.asking.values().filter(|silence| silence.is_none());
        let asking = self
            .asking
            .len()
            .saturating_sub(silent.count().min(LATE_MAX));
        if asking + done >= wanted {
            return None;
        }
        let free = |holder: &&NodeId| {
            !self.tried.contains(*holder)
                && !self.asking.contains_key(*holder)
                && !finished.contains(*holder)
        };
        let first: Vec<NodeId> = holders.iter().take(r).filter(free).copied().collect();
        pick(&first, rng)
            .or_else(|| holders.iter().skip(r).find(free))
            .copied()
    }

    fn late_after(&self) -> Duration {
        match &self.task {
            Task::Fetch { .. } | Task::CardAsk { .. } => READ_LATE,
            Task::Deposit { .. } | Task::CardPut { .. } | Task::Delete { .. } => WRITE_LATE,
        }
    }

    /// Holders that need not be asked again.
    fn finished(&self) -> BTreeSet<NodeId> {
        match &self.task {
            Task::Fetch { readers, .. } => readers
                .iter()
                .filter(|(_, reading)| reading.ended)
                .map(|(id, _)| *id)
                .collect(),
            Task::CardAsk { answers, .. } => answers.keys().copied().collect(),
            Task::Deposit { .. } | Task::CardPut { .. } | Task::Delete { .. } => BTreeSet::new(),
        }
    }

    fn request(&self, holder: NodeId) -> (SizeClass, SizeClass, Request) {
        match &self.task {
            Task::Deposit { deposit, .. } => {
                let size = deposit.envelope.header().size;
                (
                    size,
                    SizeClass::Small,
                    Request::Deposit(Arc::clone(deposit)),
                )
            }
            Task::Fetch {
                keys,
                readers,
                after,
                ..
            } => {
                let reading = readers.get(&holder);
                let after = reading.map_or(*after, |reading| reading.after);
                // Mostly there is little or nothing: who looks in every quarter of an hour need not be sent a
                // large answer each time ([FET-7]).
                let answer = if reading.is_some_and(|reading| reading.long) {
                    SizeClass::Large
                } else {
                    SizeClass::Small
                };
                let request = Request::Fetch {
                    keys: *keys,
                    after,
                    answer,
                };
                (SizeClass::Small, answer, request)
            }
            Task::CardAsk { keys, .. } => (
                SizeClass::Small,
                SizeClass::Large,
                Request::CardAsk { keys: *keys },
            ),
            Task::CardPut { put, .. } => (
                SizeClass::Large,
                SizeClass::Small,
                Request::CardPut(Arc::clone(put)),
            ),
            Task::Delete { erase, .. } => (
                SizeClass::Small,
                SizeClass::Small,
                Request::Delete(erase.clone()),
            ),
        }
    }

    /// All holders were tried: the next round begins after a pause.
    fn try_later(&mut self, now: Now, rng: &mut ChaCha12Rng) {
        self.tried.clear();
        self.insists = core::mem::take(&mut self.blocked);
        self.pause(now, rng);
    }

    fn pause(&mut self, now: Now, rng: &mut ChaCha12Rng) {
        self.rounds = self.rounds.saturating_add(1);
        let doubled = PAUSE_MIN.saturating_mul(1 << self.rounds.min(8));
        let most = u64::try_from(doubled.min(PAUSE_MAX).as_millis())
            .unwrap_or(u64::MAX)
            .max(2);
        let pause = Duration::from_millis(most / 2 + rng.next_u64() % (most / 2));
        self.not_before = now.mono.plus(pause);
        self.untold = true;
    }

    fn waiting(&self, now: Now, network: &Network, holders: &[NodeId]) -> Event {
        let receipts = match &self.task {
            Task::Deposit { receipts, .. } => signed(receipts, network, holders),
            Task::Fetch { .. }
            | Task::CardAsk { .. }
            | Task::CardPut { .. }
            | Task::Delete { .. } => 0,
        };
        let next = self.not_before.since(now.mono);
        Event::Waiting {
            id: self.id,
            receipts,
            why: self.trouble,
            next,
        }
    }
}

/// False if the holder shows more than any holder keeps of one mailbox ([FET-5]).
fn take_page(reading: &mut Reading, rows: &mut Rows, page: Page) -> bool {
    for (arrival, envelope) in page.rows {
        let id = envelope.id();
        let length = u64::try_from(envelope.bytes().len()).unwrap_or(u64::MAX);
        reading.listed.push(id);
        reading.bytes = reading.bytes.saturating_add(length);
        let listed = u32::try_from(reading.listed.len()).unwrap_or(u32::MAX);
        if listed > limits::MAILBOX_ENVELOPES_MAX * limits::REPLICA_QUOTA_FACTOR
            || reading.bytes > limits::MAILBOX_BYTES_MAX * u64::from(limits::REPLICA_QUOTA_FACTOR)
        {
            return false;
        }
        reading.after = reading.after.max(Cursor { arrival, id });
        let kept = rows.entry(id).or_insert((arrival, envelope));
        kept.0 = kept.0.min(arrival);
    }
    reading.ended = !page.more;
    reading.long |= page.more;
    true
}

/// How many of the R holders have signed, by the correspondent's own list: they alone are sure to be met by
/// whoever reads R - W + 1 of them ([PTH-5], [FET-4]).
fn signed(receipts: &BTreeMap<NodeId, Receipt>, network: &Network, holders: &[NodeId]) -> usize {
    let first = holders.iter().take(usize::from(network.holders));
    first.filter(|id| receipts.contains_key(*id)).count()
}

/// All receipts of relays near the cell, best rank first: those of spares are copies too ([PLC-5]).
fn ranked(receipts: &BTreeMap<NodeId, Receipt>, holders: &[NodeId]) -> Vec<Receipt> {
    holders
        .iter()
        .filter_map(|holder| receipts.get(holder))
        .copied()
        .collect()
}

fn in_order(rows: &Rows) -> Vec<(Cursor, Envelope)> {
    let mut list: Vec<(Cursor, Envelope)> = rows
        .iter()
        .map(|(id, (arrival, envelope))| {
            (
                Cursor {
                    arrival: *arrival,
                    id: *id,
                },
                envelope.clone(),
            )
        })
        .collect();
    list.sort_unstable_by_key(|(cursor, _)| *cursor);
    list
}

/// Whether enough of the R holders were read that each durable envelope was seen ([FET-4]).
fn all_read(readers: &BTreeMap<NodeId, Reading>, network: &Network, holders: &[NodeId]) -> bool {
    let ended = |id: &&NodeId| readers.get(*id).is_some_and(|reading| reading.ended);
    let first = holders.iter().take(usize::from(network.holders));
    let wanted = readers_wanted(network).min(first.len());
    wanted > 0 && first.filter(ended).count() >= wanted
}

/// Orders cards by sequence; of two equal ones the lower hash is the greater ([CRD-2]).
fn supersedes(one: &Card, other: &Card) -> core::cmp::Ordering {
    let hash = |card: &Card| *blake3::hash(&card.sealed).as_bytes();
    one.sequence
        .cmp(&other.sequence)
        .then_with(|| hash(other).cmp(&hash(one)))
}

/// Holders that are read so that every envelope with W receipts is seen: R - W + 1.
fn readers_wanted(network: &Network) -> usize {
    usize::from(network.holders.saturating_sub(network.receipts)) + 1
}

/// Whether a holder may say this to a reader who asks as he should: for a reason of the moment, of his list or of
/// the road ([FET-6]).
fn may_refuse_a_reader(refusal: Refusal) -> bool {
    match refusal {
        Refusal::Clock { .. }
        | Refusal::Restarted { .. }
        | Refusal::TooBusy { .. }
        | Refusal::WrongHolder
        | Refusal::HopUnreachable => true,
        Refusal::NoCapability
        | Refusal::Expired { .. }
        | Refusal::TooLarge
        | Refusal::MailboxFull
        | Refusal::OpenLaneFull
        | Refusal::StampNeeded { .. }
        | Refusal::DiskFull
        | Refusal::NotFound
        | Refusal::UnknownMessage { .. }
        | Refusal::WrongNetwork
        | Refusal::WrongVersion { .. } => false,
    }
}

/// Whether a refusal will be the same at the next try ([PTH-6]).
fn is_lasting(refusal: Refusal) -> bool {
    match refusal {
        Refusal::NoCapability
        | Refusal::Expired { .. }
        | Refusal::TooLarge
        | Refusal::MailboxFull
        | Refusal::OpenLaneFull
        | Refusal::NotFound
        | Refusal::UnknownMessage { .. }
        | Refusal::WrongNetwork
        | Refusal::WrongVersion { .. } => true,
        Refusal::WrongHolder
        | Refusal::StampNeeded { .. }
        | Refusal::DiskFull
        | Refusal::TooBusy { .. }
        | Refusal::Clock { .. }
        | Refusal::Restarted { .. }
        | Refusal::HopUnreachable => false,
    }
}

/// A holder that gives no page by then may be dead: four hops and a look at its disk take far less.
pub(super) const READ_LATE: Duration = Duration::from_secs(3);
/// The same for what must become durable: a holder waits 5 s for its siblings first.
pub(super) const WRITE_LATE: Duration = Duration::from_secs(6);
/// Silent holders of one errand beside which others are asked.
pub(super) const LATE_MAX: usize = 3;
/// First pause between two rounds; doubles with each.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// Longest pause between two rounds.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Rounds after which a reading gives back what it has; a deposit goes on until its epoch is over.
const ROUNDS_MAX: u32 = 4;
