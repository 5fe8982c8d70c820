//! Siblings sweep each other: once in a period each copy is proven, byte by byte, to another holder of it.
//!
//! 1. Each relay draws from the placement whom it sweeps in this period, and when ([SWP-4]).
//! 2. V commits to its own proof, P answers with its own, V reveals ([SWP-3]): neither can echo the other.
//! 3. If the proofs differ, both list what they have. What the other side lacks is sent to it as repair
//!    sends it, and counts against it if it surely had it ([SWP-5], [SWP-6]).
//! 4. Whoever loses too much is not counted on: the next in rank take its place ([SWP-7]).
//!
//! The bytes are read and hashed by the store. Source: `docs/spec/sweeps.md`.

mod exchange;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::context::Context;
use crate::crypto::Signature;
use crate::effects::Effects;
use crate::hash;
use crate::id::NodeId;
use crate::limits;
use crate::members::possession::SETTLED_TICKS;
use crate::place::Cell;
use crate::standing::Shown;
use crate::store::{Held, Part, StoreDone};
use crate::time::{Epoch, HOUR_MINUTES, Instant, Now, UnixTime};
use crate::wire::sweeps::Sweep;

use exchange::{Ended, Exchanges, Verdict};
pub(crate) use exchange::{Key, Signing};

/// Sweeps of one relay.
#[derive(Debug)]
pub(crate) struct Sweeps {
    /// Up to which moment of the calendar sweeps were drawn.
    drawn: Option<UnixTime>,
    draw_at: Instant,
    /// What is to be swept, and when at the latest: with a message from the prover, or then ([SWP-4]).
    waiting: BTreeMap<Job, Instant>,
    /// The same by its moment.
    due: BTreeSet<(Instant, Job)>,
    exchanges: Exchanges,
    /// How often in a row a prover has not answered for a part.
    silent: BTreeMap<Job, u8>,
    counts: SweepCounts,
}

/// What is to be swept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Job {
    /// First, so that what one prover is to be asked lies together.
    pub(crate) prover: NodeId,
    pub(crate) epoch: Epoch,
    pub(crate) cell: Cell,
    pub(crate) part: Part,
}

/// What sweeps did since the start, for the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepCounts {
    /// Sweeps that this relay opened.
    pub opened: u64,
    /// Sweeps that others opened with it.
    pub answered: u64,
    /// Of both, how many showed that both sides have the same.
    pub equal: u64,
    /// How many did not.
    pub unequal: u64,
    /// How many the other side left without an answer.
    pub silent: u64,
    /// How many the other side broke off by saying what cannot be.
    pub broken: u64,
    /// Envelopes that others had had and lacked.
    pub missing: u64,
    /// Envelopes that were read and hashed.
    pub hashed: u64,
    /// Bytes of messages, sent and received.
    pub bytes: u64,
}

/// What follows from a sweep outside of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Who lacks what of which epoch.
    pub(crate) lacking: Vec<(NodeId, Held, Epoch)>,
    /// Who is not counted on from here on.
    pub(crate) failed: Option<NodeId>,
    /// What a listing lacks for which there is a receipt.
    pub(crate) losses: Vec<Shown>,
}

impl Sweeps {
    /// Nothing was swept.
    pub(crate) fn new(now: Now) -> Self {
        Self {
            drawn: None,
            draw_at: now.mono,
            waiting: BTreeMap::new(),
            due: BTreeSet::new(),
            exchanges: Exchanges::default(),
            silent: BTreeMap::new(),
            counts: SweepCounts::default(),
        }
    }

    /// What it did.
    pub(crate) fn counts(&self) -> SweepCounts {
        self.counts
    }

    /// A step of a sweep, verified.
    pub(crate) fn step(
        &mut self,
        context: &Context,
        now: Now,
        from: NodeId,
        message: Sweep,
        out: &mut Effects,
    ) -> Outcome {
        let ended = self
            .exchanges
            .step(context, now, from, message, &mut self.counts, out);
        match ended {
            Some(Ended::Judged(verdict)) => self.judge(context, now, verdict),
            Some(Ended::TooMuch(job)) => {
                self.split(job);
                Outcome::default()
            }
            None => Outcome::default(),
        }
    }

    /// The store has read and hashed what is swept.
    pub(crate) fn tags(
        &mut self,
        context: &Context,
        now: Now,
        key: Key,
        done: StoreDone,
        out: &mut Effects,
    ) {
        let ended = self
            .exchanges
            .tags(context, now, key, done, &mut self.counts, out);
        if let Some(Ended::TooMuch(job)) = ended {
            self.split(job);
        }
    }

    /// Smaller parts, one after the other.
    fn split(&mut self, job: Job) {
        self.silent.remove(&job);
        for part in job.part.children() {
            self.add(Job { part, ..job }, Instant::default());
        }
    }

    /// A step is signed and goes out.
    pub(crate) fn signed(
        &mut self,
        key: Key,
        what: Signing,
        signature: Signature,
        out: &mut Effects,
    ) {
        self.exchanges
            .signed(key, what, signature, &mut self.counts, out);
    }

    /// Does what is due. `live` says in which cells there is something.
    pub(crate) fn wake(
        &mut self,
        context: &Context,
        now: Now,
        live: &BTreeMap<Epoch, BTreeSet<Cell>>,
        out: &mut Effects,
    ) -> Outcome {
        if self.draw_at <= now.mono {
            self.draw(context, now, live);
        }
        let mut outcome = Outcome::default();
        for job in self.exchanges.ended(now, &mut self.counts) {
            if let Some(failed) = self.unanswered(context, now, job) {
                outcome.failed = Some(failed);
            }
        }
        self.open_next(context, now, out);
        outcome
    }

    /// When something is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let next = self.due.first().filter(|_| self.exchanges.has_room());
        let next = next.map(|(at, _)| *at);
        [Some(self.draw_at), next, self.exchanges.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Draws what this relay sweeps from the moment of the last draw until now ([SWP-4]).
    fn draw(&mut self, context: &Context, now: Now, live: &BTreeMap<Epoch, BTreeSet<Cell>>) {
        let period = context
            .network
            .scale
            .minutes(HOUR_MINUTES * u64::from(context.network.sweep_hours.max(1)));
        self.draw_at = now.mono.plus(period / DRAWS);
        let latest = now.mono.plus(period / WAITS);
        let from = self.drawn.replace(now.unix).unwrap_or(now.unix);
        let oldest = context.network.scale.epoch_of(now.unix);
        let oldest = oldest.minus(limits::EPOCHS_REMEMBERED);
        self.silent.retain(|job, _| job.epoch >= oldest);
        let hour = context.network.scale.hour_of(now.unix);
        context.possession.borrow_mut().forget_before(oldest, hour);
        let Ok(period_ms) = u64::try_from(period.as_millis()) else {
            return;
        };
        let first = from.0 / period_ms;
        for number in first..=(now.unix.0 / period_ms).min(first.saturating_add(1)) {
            for (epoch, cells) in live {
                for cell in cells {
                    for prover in provers(context, *epoch, *cell, number) {
                        let at = number * period_ms
                            + moment(&context.me, &prover, *epoch, *cell, number) % period_ms;
                        if from.0 < at && at <= now.unix.0 {
                            let (epoch, cell) = (*epoch, *cell);
                            let part = Part::ALL;
                            let job = Job {
                                prover,
                                epoch,
                                cell,
                                part,
                            };
                            self.add(job, latest);
                        }
                    }
                }
            }
        }
    }

    fn add(&mut self, job: Job, at: Instant) {
        if self.waiting.len() >= limits::SWEEPS_WAITING_MAX && !self.waiting.contains_key(&job) {
            return;
        }
        if let Some(before) = self.waiting.insert(job, at) {
            self.due.remove(&(before, job));
        }
        self.due.insert((at, job));
    }

    /// There is a link with a relay: what it is to be asked is asked ([SWP-4]).
    pub(crate) fn met(&mut self, context: &Context, now: Now, peer: NodeId, out: &mut Effects) {
        let first = Job {
            prover: peer,
            epoch: Epoch(0),
            cell: Cell(0),
            part: Part::ALL,
        };
        let its = self.waiting.range(first..);
        let its = its.take_while(|(job, _)| job.prover == peer);
        let waits = its.filter(|(_, at)| **at > now.mono);
        let waits: Vec<Job> = waits.map(|(job, _)| *job).collect();
        if waits.is_empty() {
            return;
        }
        for job in waits {
            self.add(job, now.mono);
        }
        self.open_next(context, now, out);
    }

    fn open_next(&mut self, context: &Context, now: Now, out: &mut Effects) {
        while self.exchanges.has_room() {
            let Some((_, job)) = self.due.first().copied().filter(|(at, _)| *at <= now.mono) else {
                return;
            };
            self.due.pop_first();
            self.waiting.remove(&job);
            let is_there = !context.is_away(&job.prover) && !context.is_gone(&job.prover);
            if is_there && !context.clock_off {
                self.exchanges.open(context, now, job, out);
            }
        }
    }

    /// A prover did not answer. Time-outs blame nobody, unless it is always the same question ([SWP-6]).
    fn unanswered(&mut self, context: &Context, now: Now, job: Job) -> Option<NodeId> {
        let place = (job.epoch, job.cell, job.prover);
        // One that does not count this relay among the keepers has no reason to answer.
        let should = context.possession.borrow().has_agreed(place);
        if !should || context.is_gone(&job.prover) || context.is_away(&job.prover) {
            return None;
        }
        if self.silent.len() >= limits::SWEEPS_WAITING_MAX && !self.silent.contains_key(&job) {
            return None;
        }
        let times = self.silent.entry(job).or_insert(0);
        *times = times.saturating_add(1);
        if *times < SILENT_MAX {
            return None;
        }
        self.silent.remove(&job);
        let tick = context.network.scale.tick_of(now.unix);
        let mut known = context.possession.borrow_mut();
        known.swept(job.prover, 1, 1, tick).then_some(job.prover)
    }

    fn judge(&mut self, context: &Context, now: Now, verdict: Verdict) -> Outcome {
        let mut outcome = Outcome::default();
        let Verdict {
            job,
            peer,
            of,
            lacking,
            missing,
            losses,
        } = verdict;
        outcome.losses = losses;
        self.silent.remove(&job);
        self.counts.missing += missing as u64;
        let tick = context.network.scale.tick_of(now.unix);
        let mut known = context.possession.borrow_mut();
        // What is proven in one go counts as so many ranges as it would be judged by ([SWP-6]).
        let ranges = of.div_ceil(limits::SWEEP_ITEMS_LISTED_MAX).max(1);
        for range in 0..ranges {
            let (from, to) = (of * range / ranges, of * (range + 1) / ranges);
            if known.swept(peer, to - from, missing.min(to) - missing.min(from), tick) {
                outcome.failed = Some(peer);
            }
        }
        let lacking = lacking.into_iter().map(|held| (peer, held, job.epoch));
        outcome.lacking.extend(lacking);
        outcome
    }
}

/// Whom this relay sweeps in a cell in a period: each keeper is swept by one of the others, each time by another one
/// ([SWP-4]).
fn provers(context: &Context, epoch: Epoch, cell: Cell, period: u64) -> Vec<NodeId> {
    let placement = context.placement(epoch, cell);
    let mut keepers = context.keepers(&placement);
    // Those that are not counted on may show that they keep what they have again.
    for holder in placement.holders() {
        if !keepers.contains(holder) && context.is_left_out(holder) {
            keepers.push(*holder);
        }
    }
    let spread = u64::from(epoch.0)
        .wrapping_mul(31)
        .wrapping_add(u64::from(cell.0));
    let is_mine = |prover: &NodeId| {
        let others = keepers.iter().filter(|one| *one != prover);
        let count = others.clone().count() as u64;
        let turn = period.wrapping_add(spread).checked_rem(count).unwrap_or(0);
        let turn = usize::try_from(turn).unwrap_or(0);
        *prover != context.me && others.clone().nth(turn) == Some(&context.me)
    };
    keepers.iter().copied().filter(is_mine).collect()
}

/// When in a period: spread over it, so that sweeps do not come all at once.
fn moment(opener: &NodeId, prover: &NodeId, epoch: Epoch, cell: Cell, period: u64) -> u64 {
    let parts: [&[u8]; 5] = [
        &opener.0,
        &prover.0,
        &epoch.0.to_be_bytes(),
        &cell.0.to_be_bytes(),
        &period.to_be_bytes(),
    ];
    let mut bytes = [0; 8];
    hash::derive_into("poste sweep moment", &parts, &mut bytes);
    u64::from_be_bytes(bytes) >> 1
}

/// How often in a period sweeps are drawn: at most so much later than their moment they are opened.
const DRAWS: u32 = 32;
/// The part of a period, an hour of a day, for which a sweep waits for a link that is opened for something else.
const WAITS: u32 = 24;
/// Unanswered questions about one part, after which it counts as lost ([SWP-6]).
const SILENT_MAX: u8 = 3;
/// How long a step of a sweep may take: half a MiB to read and hash, and a round trip.
const STEP_WAIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
