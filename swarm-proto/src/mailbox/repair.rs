//! What siblings do so that every envelope stays at R relays while relays come and go.
//!
//! 1. A relay knows in which cells of which epochs it has something ([REP-4]).
//! 2. Hour by hour for the present epoch, day by day for older ones, while a link is open anyway if one is
//!    in time ([REP-8]), and when a relay went or came back,
//!    it compares those cells with the relays that are to keep them: the R holders, or the next in rank for
//!    those that are away once too few are present ([REP-1], [REP-4]).
//! 3. Either side sends the other what it lacks: envelopes, tombstones, cards ([REP-2], [REP-5]), the
//!    least copied first, within a share of the uplink ([REP-6]).
//! 4. What differed is compared again until it is equal ([REP-5]).
//! 5. A relay that leaves for good does the same until all that it has is with others ([REP-7]).
//!
//! A copy is admitted by `replica.rs`, a tombstone and a card by `owner.rs`, as from any sibling.
//! Source: `docs/spec/repair.md`.

mod compare;
mod pushes;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use rand_core::Rng;

use crate::context::Context;
use crate::effects::{Effects, Event, Ticket};
use crate::id::NodeId;
use crate::limits;
use crate::place::{Cell, cell_of};
use crate::store::{Held, MailboxKeys, StoreDone, StoreOp, StoredRow};
use crate::time::{EPOCH_MINUTES, Epoch, HOUR_MINUTES, Instant, Now};
use crate::wire::Message;
use crate::wire::copies::Compare;

pub(crate) use compare::Key;
use compare::{Compares, Outcome};
use pushes::Pushes;

/// Repair of one relay.
#[derive(Debug)]
pub(crate) struct Repair {
    /// Where there may be something here.
    live: BTreeMap<Epoch, BTreeSet<Cell>>,
    known: Known,
    /// When each epoch is looked through next.
    passes: BTreeMap<Epoch, Instant>,
    /// Those in which something was found at the start: their first pass waits for no link.
    found: BTreeSet<Epoch>,
    waiting: BTreeMap<(Epoch, NodeId), Job>,
    /// The same by the moment at which each is due.
    due: BTreeSet<(Instant, Epoch, NodeId)>,
    compares: Compares,
    pushes: Pushes,
    counts: Counts,
    drain: Option<Drain>,
}

/// Whether the cells of an earlier run are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// The store is asked at this moment.
    AskAt(Instant),
    Asked,
    Yes,
}

/// Cells of an epoch to be compared with one relay.
#[derive(Debug)]
struct Job {
    cells: BTreeSet<Cell>,
    at: Instant,
    tries: u32,
    /// Whether it is done as soon as there is a link, and `at` is only when one is opened for it ([REP-8]).
    rides: bool,
}

/// A relay that leaves: told once when all is with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Drain {
    passed: bool,
    told: bool,
}

/// What repair did since the start, for the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Comparisons that came to their end, those that siblings opened included.
    pub compared: u64,
    /// Of these, how many found a difference.
    pub differed: u64,
    /// Messages of comparisons, sent and received.
    pub steps: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Envelopes, tombstones and cards sent because a sibling lacked them.
    pub pushed: u64,
}

/// What repair is doing, for the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepairState {
    /// What it did.
    pub counts: Counts,
    /// What waits to be sent.
    pub lacking: usize,
    /// Comparisons that wait or are under way.
    pub comparing: usize,
    /// Relays that count as away.
    pub away: usize,
    /// Whether this relay leaves, and all that it had is with others.
    pub drained: Option<bool>,
}

/// Which relays a pass compares with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum With {
    /// Those for which this relay opens in this turn ([REP-4]), a link at the latest after this time.
    Turn(u32, Duration),
    /// All that keep a cell of this relay.
    All,
    /// One that came back.
    One(NodeId),
    /// Those that keep a cell of this one, which went away.
    InPlaceOf(NodeId),
}

impl Repair {
    /// Nothing is known yet; `bytes_per_s` is what siblings may be sent.
    pub(crate) fn new(bytes_per_s: u32, now: Now) -> Self {
        Self {
            live: BTreeMap::new(),
            known: Known::AskAt(now.mono),
            passes: BTreeMap::new(),
            found: BTreeSet::new(),
            waiting: BTreeMap::new(),
            due: BTreeSet::new(),
            compares: Compares::default(),
            pushes: Pushes::new(bytes_per_s, now.mono),
            counts: Counts::default(),
            drain: None,
        }
    }

    /// Something may be in that cell from here on.
    pub(crate) fn note(&mut self, context: &Context, now: Now, epoch: Epoch, cell: Cell) {
        self.live.entry(epoch).or_default().insert(cell);
        self.passes
            .entry(epoch)
            .or_insert_with(|| now.mono.plus(pause(context, HOUR_MINUTES)));
    }

    /// The same for a mailbox.
    pub(crate) fn note_mailbox(
        &mut self,
        context: &Context,
        now: Now,
        epoch: Epoch,
        keys: &MailboxKeys,
    ) {
        let cell = cell_of(&keys.address(), context.network.cell_bits);
        self.note(context, now, epoch, cell);
    }

    /// The store says where something is from earlier runs.
    pub(crate) fn cells(&mut self, context: &Context, now: Now, done: StoreDone) {
        let StoreDone::Cells(cells) = done else {
            self.known = Known::AskAt(now.mono.plus(STORE_RETRY));
            return;
        };
        self.known = Known::Yes;
        for (epoch, cell) in cells {
            self.live.entry(epoch).or_default().insert(cell);
            // What was unfinished before a restart is found by the first pass ([REP-4]).
            let at = now.mono.plus(pause(context, FIRST_PASS_MINUTES));
            self.passes.insert(epoch, at);
            self.found.insert(epoch);
        }
    }

    /// A relay came back, or a link to it works again after it had failed.
    pub(crate) fn returned(&mut self, context: &Context, now: Now, id: NodeId) {
        self.pass_all(context, now, With::One(id));
    }

    /// There is a link with a relay: what waits for one begins ([REP-8]).
    pub(crate) fn met(&mut self, context: &Context, now: Now, peer: NodeId, out: &mut Effects) {
        let mut rides = false;
        for epoch in self.live.keys() {
            let Some(job) = self.waiting.get_mut(&(*epoch, peer)) else {
                continue;
            };
            if core::mem::take(&mut job.rides) {
                self.due.remove(&(job.at, *epoch, peer));
                job.at = now.mono;
                self.due.insert((job.at, *epoch, peer));
                rides = true;
            }
        }
        if rides {
            self.open_next(context, now, out);
        }
    }

    /// A relay counts as away from here on.
    pub(crate) fn departed(&mut self, context: &Context, now: Now, id: NodeId) {
        self.forget_peer(&id);
        self.pass_all(context, now, With::InPlaceOf(id));
    }

    /// A relay is not counted on from here on ([SWP-7]).
    pub(crate) fn failed(&mut self, context: &Context, now: Now, id: NodeId) {
        self.pass_all(context, now, With::InPlaceOf(id));
    }

    /// A sweep found that a sibling lacks something.
    pub(crate) fn lacks(&mut self, context: &Context, to: NodeId, held: Held, epoch: Epoch) {
        let copies = compare::copies_left(context, epoch, &held);
        self.pushes.add(copies, to, held, epoch);
    }

    /// Where there may be something here.
    pub(crate) fn live(&self) -> &BTreeMap<Epoch, BTreeSet<Cell>> {
        &self.live
    }

    /// This relay is to leave for good ([REP-7]).
    pub(crate) fn drain(&mut self) {
        self.drain = Some(Drain {
            passed: false,
            told: false,
        });
    }

    /// A step of a comparison.
    pub(crate) fn compare(
        &mut self,
        context: &Context,
        now: Now,
        from: NodeId,
        message: Compare,
        out: &mut Effects,
    ) {
        self.counts.steps += 1;
        self.counts.bytes += bytes_of(&message);
        let outcome = self.compares.step(context, now, from, message, out);
        self.outcome(context, now, outcome, out);
    }

    /// The store says what is in the cells of a comparison.
    pub(crate) fn inventory(
        &mut self,
        context: &Context,
        now: Now,
        key: Key,
        done: StoreDone,
        out: &mut Effects,
    ) {
        let outcome = self.compares.inventory(context, key, done, out);
        self.outcome(context, now, outcome, out);
    }

    /// The store gave a row that a sibling lacks.
    pub(crate) fn row(&mut self, to: NodeId, row: Option<StoredRow>, out: &mut Effects) {
        self.counts.pushed += u64::from(row.is_some());
        self.pushes.row(to, row, out);
    }

    /// The store gave a card that a sibling lacks.
    pub(crate) fn card(
        &mut self,
        to: NodeId,
        keys: MailboxKeys,
        epoch: Epoch,
        done: StoreDone,
        out: &mut Effects,
    ) {
        let card = match done {
            StoreDone::Card(card) => card,
            _ => None,
        };
        self.counts.pushed += u64::from(card.is_some());
        self.pushes.card(to, keys, epoch, card, out);
    }

    /// Does what is due.
    pub(crate) fn wake(&mut self, context: &mut Context, now: Now, out: &mut Effects) {
        for id in context.presence.due(now.mono, context.network.scale) {
            out.send(id, Message::Probe);
        }
        if let Known::AskAt(at) = self.known
            && at <= now.mono
        {
            self.known = Known::Asked;
            let cell_bits = context.network.cell_bits;
            out.store(Ticket::Cells, StoreOp::Cells { cell_bits });
        }
        self.look_through(context, now);
        for job in self.compares.ended(now) {
            self.again(now, job.0, job.1, job.2);
        }
        self.open_next(context, now, out);
        self.pushes.send(now.mono, out);
        self.tell_drained(out);
    }

    /// When something is due.
    pub(crate) fn deadline(&self, context: &Context) -> Option<Instant> {
        let ask = match self.known {
            Known::AskAt(at) => Some(at),
            Known::Asked | Known::Yes => None,
        };
        let job = self.due.first().map(|(at, _, _)| *at);
        let job = job.filter(|_| self.compares.has_room());
        [
            ask,
            job,
            self.passes.values().min().copied(),
            self.compares.deadline(),
            self.pushes.deadline(),
            context.presence.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// For the operator.
    pub(crate) fn state(&self, context: &Context) -> RepairState {
        RepairState {
            counts: self.counts,
            lacking: self.pushes.len(),
            comparing: self.waiting.len().saturating_add(self.compares.opened()),
            away: context.presence.away(),
            drained: self.drain.map(|drain| drain.told),
        }
    }

    fn outcome(&mut self, context: &Context, now: Now, outcome: Outcome, out: &mut Effects) {
        for (to, held, epoch, copies) in outcome.lacking {
            self.pushes.add(copies, to, held, epoch);
        }
        self.counts.steps += outcome.steps;
        self.counts.bytes += outcome.bytes;
        let mut failed = None;
        if let Some(over) = outcome.over {
            self.counts.compared += 1;
            self.counts.differed += u64::from(over.differed);
            if over.missing > 0 {
                let tick = context.network.scale.tick_of(now.unix);
                let mut known = context.possession.borrow_mut();
                if known.swept(over.peer, over.of, over.missing, tick) {
                    out.report(Event::Failed { id: over.peer });
                    failed = Some(over.peer);
                }
            }
            if !over.differed {
                let mut known = context.possession.borrow_mut();
                for cell in over.cells {
                    let place = (over.epoch, cell, over.peer);
                    known.agreed(now, context.network.scale, place);
                }
            }
            out.report(Event::Compared {
                peer: over.peer,
                epoch: over.epoch,
                differed: over.differed,
            });
        }
        if let Some((epoch, peer, cells)) = outcome.again {
            self.again(now, epoch, peer, cells);
        }
        if let Some(id) = failed {
            self.failed(context, now, id);
        }
        self.open_next(context, now, out);
        self.pushes.send(now.mono, out);
    }

    /// Epochs whose turn it is, and those that nothing can be left of.
    fn look_through(&mut self, context: &Context, now: Now) {
        let today = context.network.scale.epoch_of(now.unix);
        let oldest = today.minus(limits::EPOCHS_REMEMBERED);
        self.live.retain(|epoch, _| *epoch >= oldest);
        self.passes.retain(|epoch, _| *epoch >= oldest);
        if let Some(drain) = self.drain.filter(|drain| !drain.passed)
            && self.known == Known::Yes
            && context.is_leaving()
        {
            self.pass_all(context, now, With::All);
            self.drain = Some(Drain {
                passed: true,
                ..drain
            });
        }
        let due: Vec<Epoch> = self
            .passes
            .iter()
            .filter(|(_, at)| **at <= now.mono)
            .map(|(epoch, _)| *epoch)
            .collect();
        for epoch in due {
            let scale = context.network.scale;
            // Yesterday's mailboxes take deposits a little longer, and then all is to be agreed on.
            let settles = scale.minutes(HOUR_MINUTES * EPOCH_SETTLES_HOURS);
            let fresh = now.unix < scale.epoch_start(epoch.plus(1)).plus(settles);
            let (turn, minutes, ride) = if fresh {
                let hour = scale.hour_of(now.unix);
                (hour.0, HOUR_MINUTES - RIDES_MINUTES / 2, RIDES_MINUTES)
            } else {
                (today.0, EPOCH_MINUTES, EPOCH_MINUTES / 2)
            };
            self.passes
                .insert(epoch, now.mono.plus(pause(context, minutes)));
            let ride = if self.found.remove(&epoch) { 0 } else { ride };
            let with = With::Turn(turn, scale.minutes(ride));
            self.pass(context, now, epoch, with);
        }
    }

    fn pass_all(&mut self, context: &Context, now: Now, with: With) {
        let epochs: Vec<Epoch> = self.live.keys().copied().collect();
        for epoch in epochs {
            self.pass(context, now, epoch, with);
        }
    }

    /// Finds out with whom the cells of an epoch are to be compared.
    fn pass(&mut self, context: &Context, now: Now, epoch: Epoch, with: With) {
        let cells = self.live.get(&epoch);
        let mut jobs: BTreeMap<NodeId, BTreeSet<Cell>> = BTreeMap::new();
        for cell in cells.into_iter().flatten() {
            let placement = context.placement(epoch, *cell);
            let mut keepers = context.keepers(&placement);
            // Those that are not counted on are helped all the same.
            let left_out = placement
                .holders()
                .iter()
                .filter(|id| context.is_left_out(id));
            keepers.extend(left_out);
            keepers.sort_unstable();
            keepers.dedup();
            if !keepers.contains(&context.me) && !context.is_leaving() {
                continue;
            }
            for peer in keepers.iter().filter(|peer| **peer != context.me) {
                let stands_in = !placement.is_holder(peer);
                let wanted = !context.is_away(peer)
                    && match with {
                        With::All => true,
                        // A relay that stands in does not know that it does.
                        With::Turn(turn, _) => {
                            stands_in || context.is_leaving() || opens(&context.me, peer, turn)
                        }
                        With::One(id) => *peer == id,
                        With::InPlaceOf(id) => placement.is_holder(&id),
                    };
                if wanted {
                    jobs.entry(*peer).or_default().insert(*cell);
                }
            }
        }
        for (peer, cells) in jobs {
            let (at, rides) = match with {
                With::Turn(_, ride) => (now.mono.plus(ride), true),
                With::All | With::One(_) | With::InPlaceOf(_) => (now.mono, false),
            };
            let job = Job {
                cells,
                at,
                tries: 0,
                rides,
            };
            self.job(epoch, peer, job);
        }
    }

    fn job(&mut self, epoch: Epoch, peer: NodeId, wanted: Job) {
        let key = (epoch, peer);
        if self.waiting.len() >= limits::COMPARES_WAITING_MAX && !self.waiting.contains_key(&key) {
            return;
        }
        let job = self.waiting.entry(key).or_insert(Job {
            cells: BTreeSet::new(),
            ..wanted
        });
        self.due.remove(&(job.at, epoch, peer));
        job.cells.extend(wanted.cells);
        job.at = job.at.min(wanted.at);
        job.tries = job.tries.min(wanted.tries);
        job.rides &= wanted.rides;
        self.due.insert((job.at, epoch, peer));
    }

    /// What differed, or was not answered, is compared again a little later ([REP-5]).
    fn again(&mut self, now: Now, epoch: Epoch, peer: NodeId, (cells, tries): (Vec<Cell>, u32)) {
        let tries = tries.saturating_add(1);
        // A relay that leaves may not go before all is with others.
        if tries > TRIES_MAX && self.drain.is_none() {
            return;
        }
        let at = now.mono.plus(AGAIN_MIN.saturating_mul(1 << tries.min(8)));
        let job = Job {
            cells: cells.into_iter().collect(),
            at,
            tries,
            rides: false,
        };
        self.job(epoch, peer, job);
    }

    fn open_next(&mut self, context: &Context, now: Now, out: &mut Effects) {
        while self.compares.has_room() {
            let Some((at, epoch, peer)) = self.due.first().copied() else {
                return;
            };
            if at > now.mono {
                return;
            }
            self.due.pop_first();
            let Some(mut job) = self.waiting.remove(&(epoch, peer)) else {
                continue;
            };
            if context.is_away(&peer) {
                continue;
            }
            let rest = job
                .cells
                .iter()
                .nth(limits::CELLS_PER_EXCHANGE_MAX)
                .copied();
            if let Some(rest) = rest {
                let cells = job.cells.split_off(&rest);
                self.job(epoch, peer, Job { cells, ..job });
            }
            let cells = job.cells.into_iter().collect();
            self.compares
                .open(context, now, peer, epoch, (cells, job.tries), out);
        }
    }

    fn forget_peer(&mut self, id: &NodeId) {
        self.due.retain(|(_, _, peer)| peer != id);
        self.waiting.retain(|(_, peer), _| peer != id);
    }

    fn tell_drained(&mut self, out: &mut Effects) {
        let done = self.waiting.is_empty() && self.compares.opened() == 0 && self.pushes.is_empty();
        if let Some(drain) = self
            .drain
            .filter(|drain| drain.passed && !drain.told && done)
        {
            self.drain = Some(Drain {
                told: true,
                ..drain
            });
            out.report(Event::Drained);
        }
    }
}

/// Which of two siblings opens in a turn: the one with the lower id in even ones ([REP-4]).
fn opens(me: &NodeId, peer: &NodeId, turn: u32) -> bool {
    (me < peer) == turn.is_multiple_of(2)
}

fn bytes_of(message: &Compare) -> u64 {
    let cells = message
        .scope
        .as_ref()
        .map_or(0, |scope| 6 + 2 * scope.cells.len());
    (5 + cells + message.ranges.len()) as u64
}

/// So many minutes, give or take a quarter, so that relays do not fall into step.
fn pause(context: &Context, minutes: u64) -> Duration {
    let pause = context.network.scale.minutes(minutes);
    let quarter = u64::try_from(pause.as_millis() / 4).unwrap_or(1).max(1);
    let random = context.rng.borrow_mut().next_u64() % (2 * quarter);
    pause.saturating_sub(Duration::from_millis(quarter)) + Duration::from_millis(random)
}

/// Hours after its end in which an epoch is compared like the present one: two comparisons that settle what
/// each holder has ([SWP-5]), and a deposit half an hour late.
const EPOCH_SETTLES_HOURS: u64 = 3;
/// Minutes for which an hourly comparison waits for a link that is opened for something else ([REP-8]).
const RIDES_MINUTES: u64 = 30;
/// Minutes until the first pass after a start: the member list has to be there.
const FIRST_PASS_MINUTES: u64 = 10;
/// When a store that could not answer is asked again.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// First pause before a comparison is repeated; doubles with each.
const AGAIN_MIN: Duration = Duration::from_millis(500);
/// Comparisons of one difference; then the next pass goes on.
const TRIES_MAX: u32 = 10;

#[cfg(test)]
mod tests;
