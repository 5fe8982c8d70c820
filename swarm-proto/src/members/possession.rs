//! What other relays were found to have of what they had: a score each, and what it rests on.
//!
//! Blame needs certainty. A relay is blamed for lacking something only if this one knows from the relay itself
//! that it had it: by its receipt, or by a comparison that ended equal ([SWP-5]). Both live in memory: after a
//! restart nobody is blamed until the next comparison. Source: `docs/spec/sweeps.md`.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::effects::Reading;
use crate::id::{EnvelopeId, NodeId};
use crate::limits;
use crate::mailbox::receipt::{Promise, Receipt};
use crate::place::Cell;
use crate::time::{Epoch, Hour, Instant, Now, Tick, TimeScale};
use crate::wire::standing::Tally;

/// Of all relays that this one sweeps with.
#[derive(Debug, Default)]
pub(crate) struct Possession {
    scores: BTreeMap<NodeId, Score>,
    receipts: BTreeMap<(Epoch, Cell, NodeId, EnvelopeId), Instant>,
    /// The receipts themselves, until their envelopes end: with them a loss can be shown to others ([EVD-4]).
    signed: BTreeMap<(Epoch, Cell, NodeId, EnvelopeId), (Receipt, Hour)>,
    agreements: BTreeMap<(Epoch, Cell, NodeId), Agreement>,
    /// When a relay first listed a tombstone of something that this one still has: its owner's word is to come.
    excused: BTreeMap<(Epoch, Cell, NodeId, EnvelopeId), Instant>,
    /// What was found in this epoch, to be reported.
    sums: BTreeMap<NodeId, Sums>,
}

/// What one relay was found to have and to let be read, in sums.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    swept: u32,
    missing: u32,
    asked: u32,
    failed: u32,
}

/// Equal comparisons of one cell with one relay: two of them are known, since the last is seldom old enough.
#[derive(Clone, Copy, Debug)]
struct Agreement {
    /// The tick of one that is old enough to blame by.
    settled: Option<Tick>,
    /// One that gets older.
    last: Tick,
    at: Instant,
}

/// How one relay keeps what it has undertaken to keep: Beta with forgetting ([SWP-6]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Weight of what was there.
    kept: f64,
    /// Weight of what was not.
    lost: f64,
    /// Ranges swept.
    pub ranges: u32,
    /// Envelopes that it had had and lacked.
    pub missing: u64,
    /// The last time.
    pub at: Tick,
}

impl Score {
    /// Nothing is known.
    pub fn new() -> Self {
        Self {
            kept: 1.0,
            lost: 1.0,
            ranges: 0,
            missing: 0,
            at: Tick(0),
        }
    }

    /// The share that it keeps, by what is known: 0 to 1 ([SWP-6]).
    pub fn share(&self) -> f64 {
        self.kept / (self.kept + self.lost)
    }

    /// Another range: `missing` of the `of` envelopes that it should have were not there.
    pub fn add(&mut self, of: usize, missing: usize, at: Tick) {
        if of == 0 {
            return;
        }
        let lost = share_of(missing.min(of), of);
        self.kept = FORGETS * self.kept + (1.0 - lost);
        self.lost = FORGETS * self.lost + LOSS_WEIGHT * lost;
        self.ranges = self.ranges.saturating_add(1);
        self.missing = self.missing.saturating_add(missing as u64);
        self.at = at;
    }

    /// Whether it loses too much to be counted on.
    pub fn is_failed(&self) -> bool {
        self.ranges >= limits::SWEEPS_BEFORE_JUDGED && self.share() < FAILED_BELOW
    }
}

impl Default for Score {
    fn default() -> Self {
        Self::new()
    }
}

impl Possession {
    /// Whether a relay loses too much of what it had to be counted on ([SWP-7]).
    pub(crate) fn is_failed(&self, id: &NodeId) -> bool {
        self.scores.get(id).is_some_and(Score::is_failed)
    }

    /// The relays that are not counted on.
    pub(crate) fn failed(&self) -> usize {
        self.scores
            .values()
            .filter(|score| score.is_failed())
            .count()
    }

    /// What is known of a relay.
    pub(crate) fn score(&self, id: &NodeId) -> Option<Score> {
        self.scores.get(id).copied()
    }

    /// A range was swept; true if the relay is not counted on from here on.
    pub(crate) fn swept(&mut self, id: NodeId, of: usize, missing: usize, at: Tick) -> bool {
        if self.scores.len() >= limits::MEMBERS_MAX && !self.scores.contains_key(&id) {
            return false;
        }
        let sums = self.sums.entry(id).or_default();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        sums.swept = sums.swept.saturating_add(number(of));
        sums.missing = sums.missing.saturating_add(number(missing.min(of)));
        let score = self.scores.entry(id).or_default();
        let failed = score.is_failed();
        score.add(of, missing, at);
        !failed && score.is_failed()
    }

    /// What holders showed to this relay's persona ([CAN-7]).
    pub(crate) fn read(&mut self, readings: &[Reading]) {
        for reading in readings {
            if self.sums.len() >= limits::MEMBERS_MAX && !self.sums.contains_key(&reading.holder) {
                continue;
            }
            let sums = self.sums.entry(reading.holder).or_default();
            let failed = reading.failed.min(reading.asked);
            sums.asked = sums.asked.saturating_add(reading.asked.into());
            sums.failed = sums.failed.saturating_add(failed.into());
        }
    }

    /// What was found in this epoch, for the watchers of each relay ([STD-6]).
    pub(crate) fn sums(&self, epoch: Epoch) -> alloc::vec::Vec<Tally> {
        let tally = |(subject, sums): (&NodeId, &Sums)| Tally {
            subject: *subject,
            epoch,
            swept: sums.swept,
            missing: sums.missing,
            asked: sums.asked,
            failed: sums.failed,
        };
        self.sums.iter().map(tally).collect()
    }

    /// Another epoch begins.
    pub(crate) fn clear_sums(&mut self) {
        self.sums.clear();
    }

    /// A relay signed that it keeps an envelope.
    pub(crate) fn receipted(
        &mut self,
        now: Now,
        from: NodeId,
        promise: &Promise,
        receipt: &Receipt,
    ) {
        let key = (promise.epoch, promise.cell, from, promise.id);
        let is_full = self.signed.len() >= limits::VOUCHED_MAX;
        let first = self.signed.first_key_value().map(|(first, _)| *first);
        // Those of the oldest epoch end soonest.
        if is_full && let Some(first) = first.filter(|first| *first < key) {
            self.signed.remove(&first);
        }
        if self.signed.len() < limits::VOUCHED_MAX {
            let signed = (*receipt, promise.expires);
            self.signed.entry(key).or_insert(signed);
        }
        if self.receipts.len() < limits::VOUCHED_MAX {
            self.receipts.entry(key).or_insert(now.mono);
        }
    }

    /// The first receipt of a relay for an envelope, to be shown to others.
    pub(crate) fn signed(
        &self,
        (epoch, cell, peer): (Epoch, Cell, NodeId),
        id: EnvelopeId,
    ) -> Option<&Receipt> {
        let signed = self.signed.get(&(epoch, cell, peer, id));
        signed.map(|(receipt, _)| receipt)
    }

    /// A comparison of a cell ended equal: the other side had all that was old enough.
    pub(crate) fn agreed(
        &mut self,
        now: Now,
        scale: TimeScale,
        (epoch, cell, with): (Epoch, Cell, NodeId),
    ) {
        let key = (epoch, cell, with);
        let fresh = Agreement {
            settled: None,
            last: scale.tick_of(now.unix),
            at: now.mono,
        };
        if let Some(known) = self.agreements.get_mut(&key) {
            if known.at.plus(settles(scale)) <= now.mono {
                *known = Agreement {
                    settled: Some(known.last),
                    ..fresh
                };
            }
        } else if self.agreements.len() < limits::VOUCHED_MAX {
            self.agreements.insert(key, fresh);
        }
        // What a comparison says, receipts of more than an hour ago need not say.
        let (first, last) = ((epoch, cell, with, LOWEST), (epoch, cell, with, HIGHEST));
        let hour = scale.minutes(u64::from(SETTLED_TICKS) * 10);
        let old: alloc::vec::Vec<_> = self
            .receipts
            .range(first..=last)
            .filter(|(_, at)| at.plus(hour) < now.mono)
            .map(|(key, _)| *key)
            .collect();
        for key in old {
            self.receipts.remove(&key);
        }
    }

    /// This relay took something into a cell long after it had arrived at the first holder: what was equal
    /// before says nothing of it.
    pub(crate) fn late(&mut self, epoch: Epoch, cell: Cell) {
        let (first, last) = (
            (epoch, cell, NodeId([0; 32])),
            (epoch, cell, NodeId([0xff; 32])),
        );
        let keys: alloc::vec::Vec<_> = self
            .agreements
            .range(first..=last)
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            self.agreements.remove(&key);
        }
    }

    /// Whether `peer` is known to have had an envelope before `began`, long enough for it to show ([SWP-5]).
    pub(crate) fn had(
        &self,
        scale: TimeScale,
        (epoch, cell, peer): (Epoch, Cell, NodeId),
        id: EnvelopeId,
        arrival: Tick,
        began: Instant,
    ) -> bool {
        let receipt = self.receipts.get(&(epoch, cell, peer, id));
        receipt.is_some_and(|at| at.plus(settles(scale)) <= began)
            || self.had_by_agreement(scale, (epoch, cell, peer), arrival, began)
    }

    /// The same, by a comparison alone: the other side then counted this one among the keepers of the cell.
    pub(crate) fn had_by_agreement(
        &self,
        scale: TimeScale,
        place: (Epoch, Cell, NodeId),
        arrival: Tick,
        began: Instant,
    ) -> bool {
        let agreed = self.agreements.get(&place).and_then(|known| {
            let is_old = known.at.plus(settles(scale)) <= began;
            if is_old {
                Some(known.last)
            } else {
                known.settled
            }
        });
        agreed.is_some_and(|tick| arrival.plus(SETTLED_TICKS) < tick)
    }

    /// Whether `peer` may list a tombstone in the place of an envelope that this relay still has, in an exchange that
    /// `began` then: as long as the owner's word of it has not had time to come here ([SWP-5]).
    pub(crate) fn excuse(
        &mut self,
        scale: TimeScale,
        (epoch, cell, peer): (Epoch, Cell, NodeId),
        id: EnvelopeId,
        began: Instant,
    ) -> bool {
        let key = (epoch, cell, peer, id);
        if let Some(first) = self.excused.get(&key) {
            return first.plus(settles(scale)) > began;
        }
        if self.excused.len() < limits::VOUCHED_MAX {
            self.excused.insert(key, began);
        }
        true
    }

    /// Whether a comparison of a cell with that relay ever ended equal.
    pub(crate) fn has_agreed(&self, place: (Epoch, Cell, NodeId)) -> bool {
        self.agreements.contains_key(&place)
    }

    /// Forgets what epochs before `oldest` had, and receipts for what has ended by `hour`.
    pub(crate) fn forget_before(&mut self, oldest: Epoch, hour: Hour) {
        self.signed.retain(|_, (_, expires)| *expires > hour);
        self.receipts.retain(|(epoch, _, _, _), _| *epoch >= oldest);
        self.excused.retain(|(epoch, _, _, _), _| *epoch >= oldest);
        self.agreements.retain(|(epoch, _, _), _| *epoch >= oldest);
    }
}

/// How long before an exchange somebody must have been known to have something. An envelope that was deposited
/// twice may have come there later than here, and is not swept there before an hour has passed ([SWP-1]).
fn settles(scale: TimeScale) -> Duration {
    scale.minutes(SETTLES_MINUTES)
}

fn share_of(part: usize, of: usize) -> f64 {
    // Both are bounded by what one sweep holds.
    let number = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    number(part) / number(of).max(1.0)
}

/// Ticks after its arrival by which an envelope is at all its holders, if at all: an hour.
pub(crate) const SETTLED_TICKS: u32 = 6;
/// An hour and a tick.
const SETTLES_MINUTES: u64 = 70;
/// What a range weighs after the next one.
const FORGETS: f64 = 0.95;
/// What a lost share weighs against a kept one: 1 % loss is then noticed, one bad sector is not.
const LOSS_WEIGHT: f64 = 10.0;
/// Below this share a relay is not counted on.
const FAILED_BELOW: f64 = 0.85;
const LOWEST: EnvelopeId = EnvelopeId([0; 32]);
const HIGHEST: EnvelopeId = EnvelopeId([0xff; 32]);

#[cfg(test)]
mod tests;
