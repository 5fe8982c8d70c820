//! E2: what relays lost that they had signed for, told to their watchers and counted there.
//!
//! A sweep shows that a sibling does not list an envelope. Whoever has the sibling's receipt for it reads the envelope
//! and sends all three to those watchers of the sibling that it reports to, so that a watcher counts losses and what
//! was swept of the same reporters. Source: `docs/spec/evidence.md`, [EVD-4].

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Standing;
use super::reports::Reports;
use crate::context::Context;
use crate::effects::{Effects, Ticket};
use crate::id::{EnvelopeId, NodeId};
use crate::limits;
use crate::mailbox::receipt::{Promise, Receipt};
use crate::store::{StoreDone, StoreOp};
use crate::time::{Epoch, Now};
use crate::wire::Message;
use crate::wire::frames::FrameKind;
use crate::wire::loss::{Listed, Loss};
use crate::wire::proof::Proof;

/// A loss that a sweep showed; the envelope is still to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// What the other side lacks.
    pub(crate) id: EnvelopeId,
    /// Its receipt for it.
    pub(crate) receipt: Receipt,
    /// What it listed.
    pub(crate) listed: Arc<Listed>,
}

/// What relays under watch are proven to have lost within the last days.
#[derive(Debug, Default)]
pub(super) struct Losses {
    of: BTreeMap<NodeId, Lost>,
}

#[derive(Debug, Default)]
struct Lost {
    envelopes: BTreeMap<EnvelopeId, Epoch>,
    /// What was swept in days that are over.
    swept: BTreeMap<Epoch, u64>,
}

impl Losses {
    /// How many envelopes a relay is proven to have lost.
    pub(super) fn of(&self, subject: &NodeId) -> usize {
        self.of.get(subject).map_or(0, |lost| lost.envelopes.len())
    }

    /// Whether that is more than a hundredth of what was swept, as far as this watcher knows.
    pub(super) fn are_too_many(
        &self,
        context: &Context,
        reports: &Reports,
        subject: &NodeId,
    ) -> bool {
        let Some(lost) = self.of.get(subject) else {
            return false;
        };
        let count = lost.envelopes.len() as u64;
        let before: u64 = lost.swept.values().sum();
        let swept = before + reports.swept(context, subject).unwrap_or(0);
        swept >= SWEPT_MIN && count >= LOST_MIN && count * 100 > swept
    }

    /// Another epoch begins: what was swept in the one that ended is noted, what is too old forgotten.
    pub(super) fn turn(&mut self, context: &Context, reports: &Reports, today: Epoch) {
        let oldest = today.minus(DAYS - 1);
        for (subject, lost) in &mut self.of {
            if let Some(swept) = reports.swept(context, subject) {
                lost.swept.insert(today.minus(1), swept);
            }
            lost.swept = lost.swept.split_off(&oldest);
            lost.envelopes.retain(|_, epoch| *epoch >= oldest);
        }
        self.of.retain(|_, lost| !lost.envelopes.is_empty());
    }

    fn add(&mut self, subject: NodeId, id: EnvelopeId, today: Epoch) {
        let envelopes = &mut self.of.entry(subject).or_default().envelopes;
        if envelopes.len() < limits::LOSSES_COUNTED_MAX {
            envelopes.entry(id).or_insert(today);
        }
    }
}

impl Standing {
    /// Sweeps showed losses: the envelopes are read.
    pub(crate) fn shown(&self, context: &Context, shown: Vec<Shown>, out: &mut Effects) {
        if context.network.verdicts.watchers == 0 {
            return;
        }
        for shown in shown {
            let request = StoreOp::Read { id: shown.id };
            out.store(Ticket::Loss(Box::new(shown)), request);
        }
    }

    /// An envelope was read that a sibling lost: those of its watchers are told that this relay reports to.
    pub(crate) fn read(
        &mut self,
        context: &Context,
        now: Now,
        shown: Shown,
        done: StoreDone,
        out: &mut Effects,
    ) {
        let StoreDone::Row(Some(stored)) = done else {
            return;
        };
        let envelope = stored.row.envelope;
        let loss = Loss {
            promise: Promise::of(&envelope, &context.network),
            receipt: shown.receipt,
            listed: Listed::clone(&shown.listed),
            envelope,
        };
        let proof = Proof::Lost(Box::new(loss.clone()));
        // A long listing and a large envelope do not go into one frame.
        let fits = proof.bytes().len() <= FrameKind::Proof.body_bytes_max();
        if !fits || !loss.convicts(&context.network) {
            return;
        }
        let today = context.network.scale.epoch_of(now.unix);
        let subject = shown.receipt.holder.node_id();
        let watchers = self.heard.watchers(context, today, &subject);
        let told = watchers.told_by(&context.network, &context.me, today);
        for watcher in told.into_iter().filter(|watcher| *watcher != subject) {
            if watcher == context.me {
                self.lost(context, today, &loss);
            } else {
                self.send(watcher, Message::Proof(proof.clone()), out);
            }
        }
    }

    /// A loss came, let in at the door: counted if this relay watches the loser and the two contradict each other.
    pub(super) fn lost(&mut self, context: &Context, today: Epoch, loss: &Loss) {
        let subject = loss.receipt.holder.node_id();
        if self.duties.contains_key(&subject) && loss.convicts(&context.network) {
            self.losses.add(subject, loss.promise.id, today);
        }
    }
}

/// Days of which losses count together.
const DAYS: u32 = 7;
/// Fewer lost envelopes than this suspend nobody: one bad sector is no habit.
const LOST_MIN: u64 = 3;
/// Swept envelopes before a share of them says something.
const SWEPT_MIN: u64 = 300;

#[cfg(test)]
mod tests;
