//! Durability and expiry: disks are looked into at the moments at which something is promised or ends.

use std::collections::BTreeSet;

use swarm_proto::effects::Event;
use swarm_proto::id::{EnvelopeId, NodeId};
use swarm_proto::mailbox::receipt::{Promise, Receipt};
use swarm_proto::time::Hour;

use super::Fault;
use crate::host::Host;
use crate::people::LetterNo;
use crate::queue::index;
use crate::world::World;

impl World {
    /// Relays on whose disks a letter is at this moment, up or down.
    pub fn holders_of(&mut self, letter: LetterNo) -> Vec<u32> {
        let Some(kept) = self.letters.get(index(letter.0)) else {
            return Vec::new();
        };
        let (id, kept_by) = (kept.id, kept.kept_by.clone());
        kept_by
            .into_iter()
            .filter(|relay| self.has_row(*relay, id))
            .collect()
    }

    /// A machine reports something.
    pub(crate) fn reported(&mut self, relay: u32, event: &Event) {
        match event {
            Event::EffectsOverflowed => self.fault(Fault::EffectsOverflowed { relay }),
            Event::Acknowledged { promise, holders } => {
                if self.holders_among(relay, promise, holders) >= usize::from(self.network.receipts)
                {
                    self.totals.acknowledged = self.totals.acknowledged.saturating_add(1);
                    if let Some(host) = self.host_mut(relay) {
                        host.acknowledged = host.acknowledged.saturating_add(1);
                    }
                }
                let holders = holders.iter().filter_map(|id| self.number_of(id)).collect();
                self.check_durable(promise, &holders);
                let letter = self.letters_by_id.get(&promise.id).copied();
                let letter = letter.unwrap_or(u32::MAX);
                self.history.note(self.clock, ACKNOWLEDGED, relay, letter);
            }
            Event::Completed { id } => self.check_completed(relay, *id),
            Event::Refused(refusal) => {
                self.totals.refusals = self.totals.refusals.saturating_add(1);
                if let swarm_proto::wire::refusal::Refusal::Clock { .. } = refusal {
                    self.totals.refusals_clock = self.totals.refusals_clock.saturating_add(1);
                    if let Some(host) = self.host_mut(relay) {
                        host.refusals_clock = host.refusals_clock.saturating_add(1);
                    }
                }
            }
            Event::Expired { envelopes, .. } => {
                self.totals.expired = self.totals.expired.saturating_add(*envelopes);
            }
            Event::RecordIssued(_)
            | Event::MembersChanged(_)
            | Event::CopiesAbandoned { .. }
            | Event::Compared { .. }
            | Event::Drained
            | Event::Failed { .. }
            | Event::Condemned { .. }
            | Event::Convicted { .. }
            | Event::Proven(_)
            | Event::ClockOff { .. }
            | Event::ClockRight
            | Event::Challenged(_) => {}
        }
    }

    /// A row became durable.
    pub(crate) fn row_kept(&mut self, relay: u32, id: EnvelopeId) {
        let letter = self.letters_by_id.get(&id).copied();
        if let Some(letter) = letter.and_then(|letter| self.letters.get_mut(index(letter))) {
            letter.kept_by.insert(relay);
        }
    }

    /// A store dropped an hour: it must have come by that relay's clock.
    pub(crate) fn expired_at(&mut self, relay: u32, hour: Hour) {
        if self.network.scale.hour_start(hour) > self.now_of(relay).unix {
            self.fault(Fault::ExpiredEarly { relay, hour });
        }
    }

    /// An hour has begun: what ended with it is gone from every disk whose relay runs.
    pub(crate) fn hour_checked(&mut self, hour: Hour) {
        let later = self.checks.ends.split_off(&hour.plus(1));
        let ended = std::mem::replace(&mut self.checks.ends, later);
        for letter in ended.into_values().flatten() {
            for relay in self.holders_of(LetterNo(letter)) {
                if self.should_have_expired(relay, hour) {
                    self.fault(Fault::ExpiredLate { letter, relay });
                }
            }
        }
        self.check_hour();
    }

    /// Whether the relay was up when the hour began by its own clock.
    fn should_have_expired(&self, relay: u32, hour: Hour) -> bool {
        let began = self.network.scale.hour_start(hour);
        self.host(relay).is_some_and(|host| {
            let up_ms = self.clock.saturating_sub(host.up_since) / 1_000;
            let past_ms = self.unix().0.saturating_sub(began.0);
            host.is_up() && host.clock_off_ms == 0 && up_ms >= past_ms
        })
    }

    /// Behind every receipt lies a row.
    fn check_durable(&mut self, promise: &Promise, holders: &BTreeSet<u32>) {
        let Some(letter) = self.letters_by_id.get(&promise.id).copied() else {
            return;
        };
        if self.may_be_gone(letter) {
            return;
        }
        for relay in holders.iter().copied() {
            let should = !self.is_destroyed(relay) && !self.lies(relay);
            if should && !self.has_row(relay, promise.id) {
                self.fault(Fault::NotDurable { letter, relay });
            }
        }
    }

    /// How many of these relays are holders by one relay's own list.
    fn holders_among(&self, relay: u32, promise: &Promise, signers: &[NodeId]) -> usize {
        let machine = self.host(relay).and_then(Host::relay);
        let placement = machine.map(|machine| machine.placement(promise.epoch, promise.cell));
        let is_holder = |id: &&NodeId| placement.as_ref().is_some_and(|own| own.is_holder(id));
        signers.iter().filter(is_holder).count()
    }

    /// A writer's machine calls a letter stored: W of those that signed are holders by its own list.
    pub(crate) fn check_receipts(&mut self, letter: u32, promise: &Promise, receipts: &[Receipt]) {
        let holders: BTreeSet<u32> = receipts
            .iter()
            .filter(|receipt| receipt.binds(promise, &self.network_id, &*self.crypto))
            .filter_map(|receipt| self.number_of(&receipt.holder.node_id()))
            .collect();
        let letter_of = self.letters.get(index(letter));
        let is_its = letter_of.is_some_and(|letter| letter.promise == *promise);
        let writer = letter_of.and_then(|letter| self.person(letter.from));
        let placement = writer.map(|person| person.client.placement(promise.epoch, promise.cell));
        let is_holder = |receipt: &&Receipt| {
            let id = receipt.holder.node_id();
            placement.as_ref().is_some_and(|own| own.is_holder(&id))
        };
        let counted = receipts.iter().filter(is_holder).count();
        let enough = counted >= usize::from(self.network.receipts);
        if !enough || !is_its || holders.len() != receipts.len() {
            self.fault(Fault::BadReceipts { letter });
        }
        self.check_durable(promise, &holders);
    }

    /// A first holder says that all holders have it: by its own view of who they are.
    fn check_completed(&mut self, relay: u32, id: EnvelopeId) {
        let letter = self.letters_by_id.get(&id).copied();
        let Some(letter) = letter.filter(|letter| !self.may_be_gone(*letter)) else {
            return;
        };
        let Some(promise) = self.letters.get(index(letter)).map(|letter| letter.promise) else {
            return;
        };
        // A relay that has just started computes holders from the part of the list that it has.
        let clock = self.clock;
        let learning = self.network.scale.minutes(LEARNING_MINUTES);
        let learning_us = u64::try_from(learning.as_micros()).unwrap_or(u64::MAX);
        let settled = self.host(relay).filter(|host| {
            clock.saturating_sub(host.up_since) > learning_us.saturating_add(LEARNING_US)
        });
        let Some(machine) = settled.and_then(Host::relay) else {
            return;
        };
        let placement = machine.placement(promise.epoch, promise.cell);
        let holders: Vec<u32> = placement
            .holders()
            .iter()
            .filter_map(|id| self.number_of(id))
            .collect();
        let lies: BTreeSet<u32> = holders
            .iter()
            .copied()
            .filter(|one| self.lies(*one))
            .collect();
        let (with, without): (Vec<u32>, Vec<u32>) = holders
            .into_iter()
            .filter(|relay| !lies.contains(relay))
            .partition(|relay| self.has_row(*relay, id) || self.is_destroyed(*relay));
        // With fewer than W nothing was promised: at the end of an epoch others decline for good.
        if with.len() >= usize::from(self.network.receipts) {
            for relay in without {
                self.fault(Fault::NotComplete { letter, relay });
            }
        }
    }

    /// Every stored letter that has not ended is on a disk somewhere.
    pub(crate) fn check_not_lost(&mut self) {
        let letters: Vec<u32> = (0..)
            .zip(&self.letters)
            .filter(|(_, letter)| letter.stored_us.is_some())
            .map(|(number, _)| number)
            .collect();
        for letter in letters {
            if !self.may_be_gone(letter) && self.holders_of(LetterNo(letter)).is_empty() {
                self.fault(Fault::Lost { letter });
            }
        }
    }

    /// Whether a letter has ended, or is about to, or was deleted.
    fn may_be_gone(&self, letter: u32) -> bool {
        let scale = self.network.scale;
        let soon = self.unix().plus(scale.minutes(MARGIN_MINUTES));
        self.letters.get(index(letter)).is_none_or(|letter| {
            letter.erased_us.is_some() || scale.hour_start(letter.promise.expires) <= soon
        })
    }

    pub(crate) fn has_row(&mut self, relay: u32, id: EnvelopeId) -> bool {
        self.host_mut(relay).is_some_and(|host| host.disk.has(id))
    }

    fn is_destroyed(&self, relay: u32) -> bool {
        self.host(relay).is_some_and(|host| host.disk_destroyed)
    }
}

/// A deposit was acknowledged, in the history.
const ACKNOWLEDGED: u8 = 34;
/// Letters this close to their end are not looked for.
const MARGIN_MINUTES: u64 = 1;
/// Minutes of the calendar in which a relay that has started compares its list with others twice.
const LEARNING_MINUTES: u64 = 25;
/// And the time that links take, in microseconds.
const LEARNING_US: u64 = 30_000_000;
